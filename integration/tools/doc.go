// Package tools lets Kafka's own command line tools, unchanged, work on kbroker, and on a real Kafka beside it: what they
// print must be the same, after masks that each have a reason. It has tests only.
package tools
