package record

import (
	"fmt"
)

// Codec is how a batch's records are compressed: attribute bits 0 to 2 (rule 2.1.2).
type Codec uint8

// The codecs of format 2. Values 5 to 7 fit into the bits but mean nothing.
const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	LZ4    Codec = 3
	Zstd   Codec = 4
)

var codecNames = [...]string{None: "none", Gzip: "gzip", Snappy: "snappy", LZ4: "lz4", Zstd: "zstd"}

// Valid reports whether c is one of the five codecs.
func (c Codec) Valid() bool { return c <= Zstd }

// String returns Kafka's name of the codec.
func (c Codec) String() string {
	if !c.Valid() {
		return fmt.Sprintf("codec %d", uint8(c))
	}
	return codecNames[c]
}

// DefaultLevel asks for the codec's own default level, which is also Kafka's: gzip -1, lz4 9, zstd 3.
const DefaultLevel = 0

// Compression is a topic's compression.type with the level of that codec (rule 2.5.4). The zero value is "producer".
type Compression struct {
	// Recompress asks for Codec; without it, batches stay as the producer compressed them.
	Recompress bool
	Codec      Codec
	// Level is Kafka's compression.gzip.level (-1, 1 to 9), compression.lz4.level (1 to 17) or compression.zstd.level
	// (-131072 to 22), or DefaultLevel. None and snappy have no levels. A difference in level alone never makes a
	// batch be compressed again.
	Level int
}
