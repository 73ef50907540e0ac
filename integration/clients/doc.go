// Package clients lets other people's Kafka clients work on kbroker, unchanged: it has tests only. README.md says which
// clients, and how to add one.
package clients
