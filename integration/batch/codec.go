package batch

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Compress returns plain in a codec's format.
func Compress(codec Codec, plain []byte) []byte { return compress(codec, false, plain) }

// compress uses the Go client's codecs, which are not the ones that the broker uses.
func compress(codec Codec, xerial bool, plain []byte) []byte {
	var c kgo.CompressionCodec
	switch codec {
	case None:
		return plain
	case Gzip:
		c = kgo.GzipCompression()
	case Snappy:
		c = kgo.SnappyCompression()
	case LZ4:
		c = kgo.Lz4Compression()
	case Zstd:
		c = kgo.ZstdCompression()
	default:
		return plain // an attribute without meaning: the test wants to see it refused
	}
	compressor, err := kgo.DefaultCompressor(c)
	if err != nil {
		panic(fmt.Sprintf("batch: codec %d: %v", codec, err))
	}
	out, _ := compressor.Compress(new(bytes.Buffer), plain)
	out = bytes.Clone(out)
	if codec == Snappy && xerial {
		return frameXerial(out)
	}
	return out
}

// frameXerial wraps one raw snappy block the way the Java library writes it: a magic, version and compatible version 1,
// and the block behind its length.
func frameXerial(block []byte) []byte {
	out := []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}
	out = binary.BigEndian.AppendUint32(out, uint32(len(block)))
	return append(out, block...)
}

func decompress(codec Codec, in []byte) ([]byte, error) {
	if codec == None {
		return in, nil
	}
	return kgo.DefaultDecompressor().Decompress(in, kgo.CompressionCodecType(codec))
}
