// Package dumptool lets Kafka's own dump tool read what kbroker's log writes. It has tests only.
//
// They guarantee that segments, indexes and snapshots are Kafka's to the byte: the tool checks every index entry
// against the segment, and prints the same lines as kbroker log dump.
package dumptool
