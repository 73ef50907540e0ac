// Package compaction proves the compaction of logs on running brokers. It has tests only.
//
// They guarantee that kbroker leaves what a real Kafka leaves: the same batches go to both, both clean their logs, and what
// is left is the same record by record and batch by batch; and that __consumer_offsets can be compacted under the groups
// that commit to it, without one of them losing anything, a kill included;
// and that kbroker reads the one that a Kafka wrote.
package compaction
