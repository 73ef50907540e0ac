package log

import (
	"math"

	"github.com/kbroker/kbroker/log/record"
)

// Durability says what an append waits for before it counts as acknowledged on this replica.
type Durability uint8

const (
	// Fsync counts what the Committer has synced: DurableEnd.
	Fsync Durability = iota
	// Replicated counts what is written, as Kafka does; the disk follows in the background.
	Replicated
)

// String returns the value of kbroker.durability.
func (d Durability) String() string {
	if d == Replicated {
		return "replicated"
	}
	return "fsync"
}

// NoLimit is the value of a limit in bytes, messages or milliseconds that is switched off.
const NoLimit int64 = math.MaxInt64

// Config is how a log is kept: the topic's settings that concern the replica's log, already parsed. A Config that a Log
// was given is never changed; SetConfig replaces it.
type Config struct {
	SegmentBytes       int32 // segment.bytes; also the largest batch (rule 2.4.14)
	SegmentMs          int64 // segment.ms
	SegmentJitterMs    int64 // segment.jitter.ms
	SegmentIndexBytes  int32 // segment.index.bytes
	IndexIntervalBytes int32 // index.interval.bytes
	// Preallocate is accepted for Kafka's sake and changes nothing: our index files grow as they are written (rule
	// 3.2.8) and a preallocated segment would not shorten a sync (measured).
	Preallocate bool

	MaxMessageBytes        int32
	TimestampType          record.TimestampType
	TimestampBeforeMaxMs   int64
	TimestampAfterMaxMs    int64
	Compression            record.Compression
	ProducerExpirationMs   int64 // producer.id.expiration.ms
	Compact, Delete        bool  // cleanup.policy
	RetentionMs            int64 // NoLimit: keep
	RetentionBytes         int64 // NoLimit: keep
	DeleteRetentionMs      int64
	MinCompactionLagMs     int64
	MaxCompactionLagMs     int64
	MinCleanableDirtyRatio float64

	FlushMessages     int64 // flush.messages
	FlushMs           int64 // flush.ms
	FileDeleteDelayMs int64 // file.delete.delay.ms

	Durability Durability
}

// DefaultConfig returns Kafka's defaults (appendix A), with durability fsync.
func DefaultConfig() Config {
	return Config{
		SegmentBytes: 1 << 30, SegmentMs: 7 * 24 * 3600 * 1000, SegmentIndexBytes: 10 << 20, IndexIntervalBytes: 4096,
		MaxMessageBytes: 1<<20 + 12, TimestampBeforeMaxMs: NoLimit, TimestampAfterMaxMs: 3600 * 1000,
		ProducerExpirationMs: DefaultProducerExpiration.Milliseconds(),
		Delete:               true, RetentionMs: 7 * 24 * 3600 * 1000, RetentionBytes: NoLimit,
		DeleteRetentionMs: 24 * 3600 * 1000, MaxCompactionLagMs: NoLimit, MinCleanableDirtyRatio: 0.5,
		FlushMessages: NoLimit, FlushMs: NoLimit, FileDeleteDelayMs: 60 * 1000,
	}
}

// rollMs is the age in ms at which a segment ends: a compacted topic's within max.compaction.lag.ms, since the active
// segment is never cleaned.
func (c *Config) rollMs() int64 {
	if c.Compact && c.MaxCompactionLagMs > 0 {
		return min(c.SegmentMs, c.MaxCompactionLagMs)
	}
	return c.SegmentMs
}

// AckDurable reports whether an append is acknowledged by DurableEnd and not by End. flush.messages=1 is Kafka's way to
// ask for a sync before each acknowledgement, and keeps that meaning with any durability (rule 3.5.4).
func (c *Config) AckDurable() bool { return c.Durability == Fsync || c.FlushMessages <= 1 }
