package log

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log/record"
)

// searchRecord is a record as searches by timestamp see it.
type searchRecord struct {
	offset, timestamp int64
	epoch             int32
}

// TestTimestampSearch compares searches by timestamp with a walk over all records (rules 6.7.2 and 6.7.11), over random
// timestamps that go up and down, segments, codecs and log starts.
func TestTimestampSearch(t *testing.T) {
	codecs := record.NewCodecs()
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 5))
		cfg := DefaultConfig()
		cfg.SegmentBytes, cfg.IndexIntervalBytes = int32(1000+r.IntN(4000)), int32(100+r.IntN(400))
		disk := simfs.New()
		disk.SetCapacity(16 << 20)
		m := openManager(t, disk, cfg, "/data")
		l := createLog(t, m, "t", 0, cfg)
		var all []searchRecord
		for i := range 60 {
			o := record.BuilderOptions{Codec: record.Codec(r.IntN(5)), Level: record.DefaultLevel}
			if r.IntN(5) == 0 {
				o.LogAppendTime = 1000 + r.Int64N(500)
			}
			b := record.NewBuilder(codecs, o)
			n := 1 + r.IntN(5)
			times := make([]int64, n)
			for k := range n {
				times[k] = 1000 + int64(i)*3 + r.Int64N(200) - 100
				b.Append(record.Record{Timestamp: times[k], Value: make([]byte, r.IntN(100))})
			}
			batch, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			a := mustAppend(t, l, batch, int32(i/20))
			for k, ts := range times {
				if o.LogAppendTime > 0 {
					ts = o.LogAppendTime
				}
				all = append(all, searchRecord{a.BaseOffset + int64(k), ts, int32(i / 20)})
			}
		}
		for round := range 3 {
			checkTimestamps(t, l, all)
			switch round {
			case 0:
				start := r.Int64N(l.End().Offset)
				if err := l.RaiseStart(start); err != nil {
					t.Fatal(err)
				}
				all = slices.DeleteFunc(all, func(x searchRecord) bool { return x.offset < start })
			case 1:
				if err := m.Close(1); err != nil {
					t.Fatal(err)
				}
				m = openManager(t, disk, cfg, "/data")
				l = m.Get(l.TopicPartition())
			}
		}
		m.kill()
	}
}

func checkTimestamps(t *testing.T, l *Log, all []searchRecord) {
	t.Helper()
	for ts := int64(880); ts < 1520; ts += 7 {
		i := slices.IndexFunc(all, func(x searchRecord) bool { return x.timestamp >= ts })
		got, ok, err := l.OffsetForTimestamp(ts)
		if err != nil || ok != (i >= 0) || ok && got != (TimestampOffset{all[i].timestamp, all[i].offset, all[i].epoch}) {
			t.Fatalf("timestamp %d from %d: %+v %v %v, want record %d of %v", ts, l.StartOffset(), got, ok, err, i, all)
		}
	}
	most := slices.MaxFunc(all, func(a, b searchRecord) int { return cmp.Compare(a.timestamp, b.timestamp) })
	got, ok, err := l.MaxTimestamp()
	if err != nil || !ok || got != (TimestampOffset{most.timestamp, most.offset, most.epoch}) {
		t.Fatalf("the largest timestamp: %+v %v %v, want %+v", got, ok, err, most)
	}
}

// TestNoTimestamps checks the searches on an empty log, and on records without timestamps: the first of those has the
// largest one, as in Kafka.
func TestNoTimestamps(t *testing.T) {
	cfg := smallSegments()
	m := openManager(t, simfs.New(), cfg, "/data")
	defer m.Close(1)
	l := createLog(t, m, "t", 0, cfg)
	if got, ok, err := l.MaxTimestamp(); ok || err != nil {
		t.Error(got, ok, err)
	}
	for range 40 {
		mustAppend(t, l, makeBatch(batchSpec{n: 2, value: 200, timestamp: -1}), 0)
	}
	if got, ok, err := l.OffsetForTimestamp(0); ok || err != nil {
		t.Error(got, ok, err)
	}
	if got, ok, err := l.MaxTimestamp(); !ok || got.Offset != 0 || got.Timestamp != -1 || err != nil {
		t.Error(got, ok, err)
	}
}

// TestRaiseStart checks rules 3.7.1 and 3.7.3: what lies below the start is not served and its segments go, the
// start survives a restart, and an epoch and a transaction that began below it are kept.
func TestRaiseStart(t *testing.T) {
	cfg := smallSegments()
	disk := simfs.New()
	disk.SetCapacity(16 << 20)
	m := openManager(t, disk, cfg, "/data")
	l := createLog(t, m, "t", 0, cfg)
	for i := range 100 {
		mustAppend(t, l, makeBatch(batchSpec{n: 2, value: 100, timestamp: 1}), int32(i/40))
	}
	pinned, err := l.Read(0, 100, true, l.End())
	if err != nil {
		t.Fatal(err)
	}
	segments := l.SegmentCount()
	if err := l.RaiseStart(201); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Error(err)
	}
	if err := l.RaiseStart(99); err != nil {
		t.Fatal(err)
	}
	if err := l.RaiseStart(50); err != nil || l.StartOffset() != 99 {
		t.Error(err, l.StartOffset())
	}
	waitFor(t, "the segments below to go", func() bool { return l.SegmentCount() < segments && l.segmentList()[1].base > 99 })
	if l.SegmentCount() >= segments || l.segmentList()[0].base > 99 || l.segmentList()[1].base <= 99 {
		t.Error(segments, l.SegmentCount(), l.segmentList()[0].base)
	}
	if _, err := pinned.File.ReadAt(make([]byte, pinned.N), pinned.Off); err != nil {
		t.Error("a slice of a removed segment:", err)
	}
	pinned.Release()
	for range 2 {
		if _, err := l.Read(98, 100, true, l.End()); !errors.Is(err, kerr.OffsetOutOfRange) {
			t.Error(err)
		}
		if s, err := l.Read(99, 100, true, l.End()); err != nil || s.FirstOffset != 98 {
			t.Error(s, err)
		} else {
			s.Release()
		}
		if got := l.epochs.Entries(); !slices.Equal(got, []EpochEntry{{1, 99}, {2, 160}}) {
			t.Error(got)
		}
		if err := m.Close(1); err != nil {
			t.Fatal(err)
		}
		m = openManager(t, disk, cfg, "/data")
		l = m.Get(l.TopicPartition())
	}
	m.kill()
}

// TestAbortedTransactions appends transactions with their markers, and compares what the log says with them, for every range
// of offsets (rules 3.2.9 and 5.8).
func TestAbortedTransactions(t *testing.T) {
	type txn struct {
		pid, first, marker int64
		aborted            bool
	}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 8))
		cfg := DefaultConfig()
		cfg.SegmentBytes = int32(600 + r.IntN(2000))
		disk := simfs.New()
		disk.SetCapacity(16 << 20)
		m := openManager(t, disk, cfg, "/data")
		l := createLog(t, m, "t", 0, cfg)
		open, ended := map[int64]*txn{}, []*txn{}
		seqs := map[int64]int32{}
		for range 120 {
			pid := 1 + r.Int64N(5)
			if x := open[pid]; x != nil && r.IntN(2) == 0 {
				marker := record.Batch(record.AppendEndTxnMarker(nil, record.EndTxnMarker{Commit: r.IntN(2) == 0, ProducerID: pid, CoordinatorEpoch: 1, Timestamp: 1}))
				a := newAppend(marker, 0)
				a.Origin = OriginCoordinator
				if err := errors.Join(l.Stage(a), l.Flush(), a.Err); err != nil {
					t.Fatal(err)
				}
				kind, _, err := a.Batch.Control()
				if err != nil {
					t.Fatal(err)
				}
				x.marker, x.aborted = a.BaseOffset, kind == record.ControlAbort
				ended = append(ended, x)
				delete(open, pid)
				continue
			}
			a := mustAppend(t, l, makeBatch(batchSpec{n: 2, value: 20, timestamp: 1, pid: pid, seq: seqs[pid], txn: true}), 0)
			seqs[pid] += 2
			if open[pid] == nil {
				open[pid] = &txn{pid: pid, first: a.BaseOffset}
			}
		}
		for range 2 {
			checkUnstable := l.End().Offset
			for _, x := range open {
				checkUnstable = min(checkUnstable, x.first)
			}
			l.HighWatermarkMoved(l.End().Offset)
			if p, ok := l.FirstUnstable(); ok != (len(open) > 0) || ok && p.Offset != checkUnstable {
				t.Fatalf("seed %d: first unstable %+v %v, want %d", seed, p, ok, checkUnstable)
			}
			for from := int64(0); from < l.End().Offset; from += 5 {
				upper := from + 1 + r.Int64N(l.End().Offset-from)
				got, err := l.AbortedTransactions(from, upper)
				if err != nil {
					t.Fatal(err)
				}
				for _, x := range ended {
					has := slices.ContainsFunc(got, func(g AbortedTxn) bool { return g.ProducerID == x.pid && g.FirstOffset == x.first })
					if want := x.aborted && x.marker >= from && x.first < upper; want && !has || has && !x.aborted {
						t.Fatalf("seed %d, [%d, %d): transaction %+v listed: %v", seed, from, upper, *x, has)
					}
				}
			}
			disk = disk.Kill()
			m.kill()
			m = openManager(t, disk, cfg, "/data")
			l = m.Get(l.TopicPartition())
		}
		m.kill()
	}
}

// TestUpperBound checks rule 5.8.4: the bound lies above every record of the slice.
func TestUpperBound(t *testing.T) {
	cfg := smallSegments()
	m := openManager(t, simfs.New(), cfg, "/data")
	defer m.Close(1)
	l := createLog(t, m, "t", 0, cfg)
	for range 100 {
		mustAppend(t, l, makeBatch(batchSpec{n: 3, value: 30, timestamp: 1}), 0)
	}
	tight := 0
	for offset := range l.End().Offset {
		s, err := l.Read(offset, 500, true, l.End())
		if err != nil {
			t.Fatal(err)
		}
		bound, last := l.UpperBound(&s, l.End()), s.FirstOffset+2
		data := make([]byte, s.N)
		if _, err := s.File.ReadAt(data, s.Off); err != nil {
			t.Fatal(err)
		}
		s.Release()
		for b, rest, err := record.Next(data); err == nil && b != nil; b, rest, err = record.Next(rest) {
			last = b.LastOffset()
		}
		if bound <= last || bound > l.End().Offset {
			t.Fatalf("from %d: bound %d, the last whole batch ends at %d", offset, bound, last)
		}
		if bound < last+20 {
			tight++
		}
	}
	if tight < 200 {
		t.Errorf("only %d bounds of 300 are tight", tight)
	}
}

// TestConcurrentReaders has writers, readers, checkpoints and the removal of segments at the same time, mostly for the
// race detector. Readers must find whole, valid batches at the offsets they ask for.
func TestConcurrentReaders(t *testing.T) {
	cfg := smallSegments()
	cfg.SegmentBytes = 20_000
	disk := simfs.New()
	disk.SetCapacity(64 << 20)
	m, err := openWith(Options{FS: disk, Dirs: []string{"/data"}, OpenSegments: 3}, cfg) // descriptors come and go
	if err != nil {
		t.Fatal(err)
	}
	l := createLog(t, m, "t", 0, cfg)
	var stop atomic.Bool
	var writers, others sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for range 400 {
				a := newAppend(makeBatch(batchSpec{n: 1 + r.Int32N(3), value: r.IntN(200), timestamp: 1}), 0)
				if err := errors.Join(l.Stage(a), l.Flush(), a.Err); err != nil {
					t.Error(err)
					return
				}
				if end := l.End().Offset; end <= a.LastOffset {
					t.Errorf("the end is %d after the append of %d", end, a.LastOffset)
				}
			}
		})
	}
	for w := range 3 {
		others.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 2))
			for !stop.Load() {
				readSome(t, l, r)
			}
		})
	}
	others.Go(func() {
		for !stop.Load() {
			m.Checkpoint()
			if end := l.DurableEnd(); end.Offset > 2000 {
				if err := l.RaiseStart(end.Offset - 2000); err != nil {
					t.Error(err)
				}
			}
		}
	})
	writers.Wait()
	stop.Store(true)
	others.Wait()
	if err := m.Close(1); err != nil {
		t.Error(err)
	}
	if n := m.files.count(); n != 0 {
		t.Errorf("%d segments are open after Close", n)
	}
}

func readSome(t *testing.T, l *Log, r *rand.Rand) {
	start, end := l.StartOffset(), l.DurableEnd()
	if end.Offset <= start {
		return
	}
	offset := start + r.Int64N(end.Offset-start)
	s, err := l.Read(offset, int32(r.IntN(5000)), true, end)
	if errors.Is(err, kerr.OffsetOutOfRange) && offset < l.StartOffset() { // removed meanwhile
		return
	}
	if err != nil || s.N == 0 {
		t.Errorf("read %d of [%d, %d): %+v %v", offset, start, end.Offset, s, err)
		return
	}
	defer s.Release()
	data := make([]byte, s.N)
	if _, err := s.File.ReadAt(data, s.Off); err != nil {
		t.Error(err)
		return
	}
	b, _, err := record.Next(data)
	if err != nil || !b.VerifyCRC() || b.BaseOffset() > offset || b.LastOffset() < offset || b.BaseOffset() != s.FirstOffset {
		t.Errorf("read %d: a batch %d to %d, %v", offset, b.BaseOffset(), b.LastOffset(), err)
	}
}

// count returns the number of segments that are open.
func (d *descriptors) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ring)
}
