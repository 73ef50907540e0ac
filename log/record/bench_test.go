package record

import (
	"fmt"
	"testing"
)

const benchTime = 1_700_000_000_000

// benchBatch builds a batch of n records with values of size bytes, as a busy producer sends it: ten records in a
// millisecond.
func benchBatch(tb testing.TB, c *Codecs, codec Codec, n, size int, headers ...Header) Batch {
	tb.Helper()
	b := NewBuilder(c, BuilderOptions{Codec: codec, LeaderEpoch: NoLeaderEpoch})
	value := make([]byte, size)
	for i := range n {
		for j := range value { // compresses to about a half
			value[j] = byte((i*31+j*7)%61)*byte(j&1) + 'a'
		}
		b.Append(Record{Timestamp: benchTime + int64(i/10), Value: value, Headers: headers})
	}
	batch, err := b.Build()
	if err != nil {
		tb.Fatal(err)
	}
	return batch
}

func benchOptions(c *Codecs) *ValidateOptions {
	return &ValidateOptions{ProduceVersion: 9, MaxMessageBytes: 2 << 20, BeforeMaxMs: NoTimeLimit,
		AfterMaxMs: 3_600_000, Now: benchTime + 1000, Codecs: c}
}

func BenchmarkValidate(b *testing.B) {
	traced := []Header{{Key: "traceparent", Value: make([]byte, 55)}, {Key: "type", Value: []byte("order")}}
	c := NewCodecs()
	for _, bc := range []struct {
		name    string
		codec   Codec
		n, size int
		headers []Header
	}{
		{"1x100", None, 1, 100, nil},
		{"1x1024", None, 1, 1024, nil},
		{"1x1MiB", None, 1, 1 << 20, nil},
		{"100x100", None, 100, 100, nil},
		{"1000x100", None, 1000, 100, nil},
		{"1000x1000", None, 1000, 1000, nil},
		{"1000x100-headers", None, 1000, 100, traced},
		{"1000x100-gzip", Gzip, 1000, 100, nil},
		{"1000x100-snappy", Snappy, 1000, 100, nil},
		{"1000x100-lz4", LZ4, 1000, 100, nil},
		{"1000x100-zstd", Zstd, 1000, 100, nil},
	} {
		b.Run(bc.name, func(b *testing.B) {
			batch := benchBatch(b, c, bc.codec, bc.n, bc.size, bc.headers...)
			o := benchOptions(c)
			var s Scratch
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Validate(batch, o, &s); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(bc.n), "ns/record")
		})
	}
}

// BenchmarkWalk is Validate of an uncompressed batch without its checksum.
func BenchmarkWalk(b *testing.B) {
	for _, n := range []int{50, 1000} {
		b.Run(fmt.Sprintf("%dx100", n), func(b *testing.B) {
			batch := benchBatch(b, nil, None, n, 100)
			var w walk
			for b.Loop() {
				w.begin(batch, nil)
				if err := w.batch(batch, nil, limits{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
		})
	}
}

func BenchmarkCRC(b *testing.B) {
	batch := benchBatch(b, nil, None, 1000, 100)
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		if !batch.VerifyCRC() {
			b.Fatal("wrong")
		}
	}
}

func BenchmarkRecompress(b *testing.B) {
	c := NewCodecs()
	for _, to := range []Codec{None, Gzip, Snappy, LZ4, Zstd} {
		b.Run(fmt.Sprintf("snappy-to-%v", to), func(b *testing.B) {
			codec := Snappy
			if to == Snappy {
				codec = None
			}
			batch := benchBatch(b, c, codec, 1000, 100)
			o := benchOptions(c)
			o.Compression = Compression{Recompress: true, Codec: to}
			var s Scratch
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Validate(batch, o, &s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
