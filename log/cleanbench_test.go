package log

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/record"
)

// cleanBenchLog writes some 32 MiB of records of 20-byte keys and 100-byte values, as often new keys as old ones.
func cleanBenchLog(b *testing.B, codec record.Codec) *Log {
	cfg := DefaultConfig()
	cfg.Compact, cfg.MinCleanableDirtyRatio, cfg.SegmentBytes = true, 0, 16<<20
	m := openManager(b, vfs.OS(), cfg, b.TempDir())
	b.Cleanup(func() { _ = m.Close(1) })
	l := createLog(b, m, "t", 0, cfg)
	codecs := record.NewCodecs()
	value := make([]byte, 100)
	n := uint64(0)
	for written := 0; written < 32<<20; {
		batch := record.NewBuilder(codecs, record.BuilderOptions{Codec: codec})
		for range 120 {
			n++
			key := n
			if n%2 == 0 {
				key = n * 7919 % n
			}
			binary.BigEndian.PutUint64(value, n*0x9e3779b97f4a7c15)
			batch.Append(record.Record{Timestamp: int64(n), Key: fmt.Appendf(nil, "some-key-%011d", key), Value: value})
		}
		data, err := batch.Build()
		if err != nil {
			b.Fatal(err)
		}
		a := newAppend(data, 0)
		if err := l.Stage(a); err != nil {
			b.Fatal(err)
		}
		if err := l.Flush(); err != nil {
			b.Fatal(err)
		}
		written += batch.Size()
	}
	rollNow(b, l)
	waitDurable(b, l, l.End().Offset)
	l.HighWatermarkMoved(l.End().Offset)
	m.Checkpoint()
	return l
}

// BenchmarkCleaner cleans a log of which a half is superseded (first), the same log anew from its start, so that each
// pass reads all of it twice and writes what is left of the first one (again), and again with its first half clean, so
// that the keys of that are looked up (tail). MB/s are those of the log before, as compressed. The copy is the limit: the
// same bytes read twice, written once, and synced.
func BenchmarkCleaner(b *testing.B) {
	for _, codec := range []record.Codec{record.None, record.LZ4, record.Zstd} {
		b.Run(codec.String()+"/first", func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				l := cleanBenchLog(b, codec)
				b.SetBytes(l.Size())
				b.StartTimer()
				cleanAgain(b, l, newCleanWorker(l), -1)
			}
		})
		l := cleanBenchLog(b, codec)
		cleanLog(b, l.m)
		for _, from := range []int64{-1, l.End().Offset / 2} {
			b.Run(codec.String()+map[bool]string{true: "/again", false: "/tail"}[from < 0], func(b *testing.B) {
				w := newCleanWorker(l)
				b.SetBytes(l.Size())
				for b.Loop() {
					cleanAgain(b, l, w, from)
				}
			})
		}
	}
	b.Run("copy", func(b *testing.B) {
		l := cleanBenchLog(b, record.None)
		cleanLog(b, l.m)
		b.SetBytes(l.Size())
		for b.Loop() {
			for _, s := range l.segmentList() {
				copySegment(b, l, s)
			}
		}
	})
}

func newCleanWorker(l *Log) *cleanWorker {
	o := DefaultCleanerOptions()
	l.m.cleaner.options.Store(&o)
	return &cleanWorker{c: l.m.cleaner, sieve: record.NewSieve(l.m.codecs)}
}

// cleanAgain is one pass over a log that is clean below from.
func cleanAgain(b *testing.B, l *Log, w *cleanWorker, from int64) {
	l.cleaned.Store(from)
	if !w.cleanDirtiest() {
		b.Fatal("it was not cleaned")
	}
}

func copySegment(b *testing.B, l *Log, s *segment) {
	file, err := l.m.files.acquire(s)
	if err != nil {
		b.Fatal(err)
	}
	defer file.release()
	to, err := os.Create(s.path(".copy"))
	if err != nil {
		b.Fatal(err)
	}
	defer to.Close()
	size := s.size.Load()
	buf := make([]byte, 256<<10)
	for _, w := range []io.Writer{io.Discard, to} {
		if _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{io.NewSectionReader(file, 0, size)}, buf); err != nil {
			b.Fatal(err)
		}
	}
	if err := to.Sync(); err != nil {
		b.Fatal(err)
	}
}
