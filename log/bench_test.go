package log

import (
	"testing"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/record"
)

// benchLog is a log on the real disk whose active segment's pages are warm: it was written and truncated before.
func benchLog(b *testing.B, batch int) (*Log, func()) {
	cfg := DefaultConfig()
	cfg.Durability = Replicated // the Committer works beside, not before, the append
	m := openManager(b, vfs.OS(), cfg, b.TempDir())
	l := createLog(b, m, "bench", 0, cfg)
	return l, func() {
		if err := m.Close(1); err != nil {
			b.Fatal(err)
		}
	}
}

// benchBytes bounds what a benchmark leaves in its file before it begins anew.
const benchBytes = 256 << 20

func benchAppend(b *testing.B, size, joined int) {
	l, done := benchLog(b, size)
	defer done()
	batch := makeBatch(batchSpec{n: 1, value: size - 75, timestamp: 1})
	appends := make([]Append, joined)
	for i := range appends {
		appends[i] = Append{Batch: append(record.Batch(nil), batch...), Info: batch.Info(), LeaderEpoch: 1, Now: 1}
	}
	round := func() {
		for i := range appends {
			if err := l.Stage(&appends[i]); err != nil {
				b.Fatal(err)
			}
		}
		if err := l.Flush(); err != nil {
			b.Fatal(err)
		}
	}
	for range 1000 {
		round()
	}
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	b.ResetTimer()
	for range max(b.N/joined, 1) {
		round()
		if l.Size() > benchBytes {
			b.StopTimer()
			if err := l.TruncateTo(0); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
}

func BenchmarkAppend1K(b *testing.B)          { benchAppend(b, 1024, 1) }
func BenchmarkAppend1K16Joined(b *testing.B)  { benchAppend(b, 1024, 16) }
func BenchmarkAppend16K(b *testing.B)         { benchAppend(b, 16384, 1) }
func BenchmarkAppend16K16Joined(b *testing.B) { benchAppend(b, 16384, 16) }
func BenchmarkAppend1M(b *testing.B)          { benchAppend(b, 1<<20, 1) }

// BenchmarkAppend1KIdempotent is Append1K from an idempotent producer.
func BenchmarkAppend1KIdempotent(b *testing.B) {
	l, done := benchLog(b, 1024)
	defer done()
	batch := makeBatch(batchSpec{n: 1, value: 1024 - 75, timestamp: 1, pid: 9})
	a := Append{Batch: batch, Info: batch.Info(), LeaderEpoch: 1, Now: 1}
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Stage(&a); err != nil {
			b.Fatal(err)
		}
		if err := l.Flush(); err != nil {
			b.Fatal(err)
		}
		a.Info.BaseSequence = record.AddSequence(a.Info.BaseSequence, 1)
	}
}

func benchRead(b *testing.B, tail bool) {
	l, done := benchLog(b, 1024)
	defer done()
	for range 20_000 {
		mustAppend(b, l, makeBatch(batchSpec{n: 1, value: 1024 - 75, timestamp: 1}), 1)
	}
	end := l.End()
	i := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		offset := end.Offset - 1 - i%100
		if !tail {
			offset = i * 7919 % (end.Offset - 1000)
		}
		i++
		s, err := l.Read(offset, 1<<20, true, end)
		if err != nil || s.N == 0 {
			b.Fatal(s, err)
		}
		s.Release()
	}
}

func BenchmarkReadTail(b *testing.B)  { benchRead(b, true) }
func BenchmarkReadOlder(b *testing.B) { benchRead(b, false) }
