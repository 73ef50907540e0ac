// Package log is one replica's log on disk: segments of record batches with their indexes, the state of the producers
// that wrote them, recovery after a crash, and the Committer that makes appends durable together.
//
// It guarantees that what it published as durable is there after a power cut, or that it says what is missing; that
// offsets are dense and batches whole; and that files are Kafka's, byte for byte (FORMAT.md). It knows no topic
// setting by name, no network and no roles: the high watermark and who leads are package replica's business.
package log
