package config

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// value is what a setting has been set to, checked by Key.Parse: the conversions below cannot fail, and are zero for
// what did not pass it.
type value string

func (v value) bool() bool       { return v == "true" }
func (v value) int() int         { return int(v.int64()) }
func (v value) int16() int16     { return int16(v.int64()) }
func (v value) int32() int32     { return int32(v.int64()) }
func (v value) list() []string   { return splitList(string(v)) }
func (v value) float64() float64 { f, _ := strconv.ParseFloat(string(v), 64); return f }

func (v value) int64() int64 { n, _ := strconv.ParseInt(string(v), 10, 64); return n }

// millis is a duration in milliseconds, capped at the longest that there is: Kafka writes "never" as 2^63-1 ms.
func (v value) millis() time.Duration { return v.times(time.Millisecond) }

func (v value) times(unit time.Duration) time.Duration {
	n := v.int64()
	switch most := math.MaxInt64 / int64(unit); {
	case n > most:
		return math.MaxInt64
	case n < -most:
		return math.MinInt64
	}
	return time.Duration(n) * unit
}

// codec is a codec by its number. What is none is left for Groups.check to refuse.
func (v value) codec() Compression {
	if n := v.int64(); n >= 0 && n <= int64(CompressionZstd) {
		return Compression(n)
	}
	return CompressionProducer
}

// compression is a codec by Kafka's name.
func (v value) compression() Compression {
	switch v {
	case "uncompressed":
		return CompressionUncompressed
	case "gzip":
		return CompressionGzip
	case "snappy":
		return CompressionSnappy
	case "lz4":
		return CompressionLz4
	case "zstd":
		return CompressionZstd
	}
	return CompressionProducer
}

// assignorClasses are the names of Kafka's classes for the assignors that there are: a list may have either.
var assignorClasses = map[string]string{
	"org.apache.kafka.coordinator.group.assignor.UniformAssignor": "uniform",
	"org.apache.kafka.coordinator.group.assignor.RangeAssignor":   "range",
}

// assignors are the names of assignors. What is none is left for ConsumerGroups.check to refuse.
func (v value) assignors() []string {
	names := v.list()
	for i, name := range names {
		if short, ok := assignorClasses[name]; ok {
			names[i] = short
		}
	}
	return names
}

func (v value) durability() Durability {
	if v == "replicated" {
		return Replicated
	}
	return Fsync
}

func (v value) migration() MigrationPolicy {
	switch strings.ToLower(string(v)) {
	case "upgrade":
		return MigrateUp
	case "downgrade":
		return MigrateDown
	case "disabled":
		return MigrateNever
	}
	return MigrateBothWays
}
