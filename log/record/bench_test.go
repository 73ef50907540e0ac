package record

import (
	"encoding/binary"
	"fmt"
	"testing"
)

func plainBatch(n, valueLen int) Batch {
	b := make(Batch, HeaderSize)
	b[atMagic] = Magic2
	for i := range n {
		var r []byte
		r = append(r, 0)
		r = appendVarint(r, int64(i/10))
		r = appendVarint(r, int64(i))
		r = appendVarint(r, -1)
		r = appendVarint(r, int64(valueLen))
		r = append(r, make([]byte, valueLen)...)
		r = appendVarint(r, 0)
		b = appendVarint(b, int64(len(r)))
		b = append(b, r...)
	}
	binary.BigEndian.PutUint32(b[atBatchLength:], uint32(len(b)-Overhead))
	binary.BigEndian.PutUint32(b[atLastOffsetDelta:], uint32(n-1))
	binary.BigEndian.PutUint32(b[atRecordCount:], uint32(n))
	binary.BigEndian.PutUint64(b[atBaseTimestamp:], 1700000000000)
	binary.BigEndian.PutUint64(b[atMaxTimestamp:], uint64(1700000000000+(n-1)/10))
	binary.BigEndian.PutUint64(b[atProducerID:], 1<<64-1)
	b.Reseal()
	return b
}

func BenchmarkValidate(b *testing.B) {
	for _, c := range []struct{ n, size int }{{1, 100}, {1, 1 << 10}, {1000, 10}, {1000, 100}, {1000, 1000}, {9000, 100}} {
		b.Run(fmt.Sprintf("%dx%d", c.n, c.size), func(b *testing.B) {
			batch := plainBatch(c.n, c.size)
			o := &ValidateOptions{ProduceVersion: 9, MaxMessageBytes: 1 << 21, BeforeMaxMs: NoTimeLimit, AfterMaxMs: 3600000, Now: 1700000001000}
			var s Scratch
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Validate(batch, o, &s); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.n), "ns/record")
		})
	}
}

func BenchmarkCRC(b *testing.B) {
	batch := plainBatch(1000, 100)
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		batch.VerifyCRC()
	}
}

func BenchmarkWalk(b *testing.B) {
	for _, c := range []struct{ n, size int }{{50, 100}, {1000, 10}, {1000, 100}} {
		b.Run(fmt.Sprintf("%dx%d", c.n, c.size), func(b *testing.B) {
			batch := plainBatch(c.n, c.size)
			var w walk
			for b.Loop() {
				w.begin(batch, nil)
				if err := w.batch(batch, nil, limits{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.n), "ns/record")
		})
	}
}
