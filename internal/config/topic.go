package config

import "math"

// Compression is the codec that a topic's batches are kept in. Its values are those of a batch's attributes, and
// CompressionProducer where the producer chooses (compression.type).
type Compression int8

// The codecs, as in the attributes of a record batch (rule 2.1).
const (
	CompressionProducer     Compression = -1
	CompressionUncompressed Compression = 0
	CompressionGzip         Compression = 1
	CompressionSnappy       Compression = 2
	CompressionLz4          Compression = 3
	CompressionZstd         Compression = 4
)

// Durability says when a record counts as kept.
type Durability uint8

const (
	// Fsync counts a record when it is synced to the disk.
	Fsync Durability = iota
	// Replicated counts a record when the in-sync replicas have it in memory: Kafka's way.
	Replicated
)

// NoLimit is what a bound in milliseconds, bytes or messages is when there is none.
const NoLimit = math.MaxInt64

// Topic is the effective setting of one topic: its own overrides, and for the rest what the broker has (rule 7.7.3).
// Sizes are in bytes.
type Topic struct {
	CleanupDelete  bool // cleanup.policy has delete
	CleanupCompact bool // cleanup.policy has compact; neither keeps everything forever

	RetentionMillis int64 // -1: no limit
	RetentionBytes  int64 // of a partition; -1: no limit

	SegmentBytes        int32
	SegmentMillis       int64 // a segment is rolled when its first batch is this old
	SegmentJitterMillis int64 // at most this much is taken from SegmentMillis, by chance
	SegmentIndexBytes   int32
	IndexIntervalBytes  int32
	FileDeleteMillis    int64 // between a segment's removal from the log and its deletion
	Preallocate         bool

	MaxMessageBytes int32 // of a batch, compressed
	Compression     Compression
	GzipLevel       int // 1 to 9, -1: the codec's own
	Lz4Level        int // 1 to 17
	ZstdLevel       int // -131072 to 22

	LogAppendTime         bool  // message.timestamp.type
	TimestampBeforeMillis int64 // a CreateTime may be this far in the past; NoLimit
	TimestampAfterMillis  int64 // a CreateTime may be this far in the future; NoLimit

	MinInsyncReplicas      int
	UncleanLeaderElection  bool
	MinCleanableDirtyRatio float64
	MinCompactionLagMillis int64
	MaxCompactionLagMillis int64
	DeleteRetentionMillis  int64 // how long tombstones and transaction markers outlive compaction

	FlushMessages int64 // NoLimit: never because of their number
	FlushMillis   int64 // NoLimit: never because of time
	Durability    Durability
}
