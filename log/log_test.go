package log

import (
	"bytes"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/record"
)

func smallSegments() Config {
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 4096, 256
	return cfg
}

// TestAppendReadRestart appends over several segments, reads everything back, stops cleanly, crashes, and reads again.
func TestAppendReadRestart(t *testing.T) {
	for _, tc := range []struct {
		name string
		fs   func(t *testing.T) (vfs.FS, string)
	}{
		{"simfs", func(*testing.T) (vfs.FS, string) { return simfs.New(), "/data" }},
		{"os", func(t *testing.T) (vfs.FS, string) { return vfs.OS(), t.TempDir() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fsys, dir := tc.fs(t)
			cfg := smallSegments()
			m := openManager(t, fsys, cfg, dir)
			l := createLog(t, m, "a-b", 3, cfg)
			var want []byte
			for i := range 100 {
				b := makeBatch(batchSpec{n: int32(1 + i%3), value: 50 + i, timestamp: int64(1000 + i), pid: 5, seq: l.nextSeq(5)})
				a := mustAppend(t, l, b, 2)
				want = append(want, a.Batch...)
			}
			end := l.End()
			waitDurable(t, l, end.Offset)
			if got := readAll(t, l); !bytes.Equal(got, want) {
				t.Fatal("what was read is not what was appended")
			}
			if l.SegmentCount() < 3 {
				t.Fatalf("%d segments", l.SegmentCount())
			}
			if err := m.Close(42); err != nil {
				t.Fatal(err)
			}
			m = openManager(t, fsys, cfg, dir)
			if m.BrokerEpoch() != 42 {
				t.Errorf("broker epoch %d", m.BrokerEpoch())
			}
			l = m.Get(TopicPartition{"a-b", 3})
			if l == nil || l.End() != end || l.DurableEnd() != end {
				t.Fatalf("after a restart: %+v", l)
			}
			if got := readAll(t, l); !bytes.Equal(got, want) {
				t.Fatal("what was read after a restart is not what was appended")
			}
			if err := m.Close(43); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// nextSeq returns the next sequence of a producer.
func (l *Log) nextSeq(pid int64) int32 {
	for _, p := range l.ActiveProducers(nil) {
		if p.ProducerID == pid {
			return record.AddSequence(p.LastSequence, 1)
		}
	}
	return 0
}

// TestReadLimits checks rules 3.11.1 to 3.11.3 and 6.4.6.
func TestReadLimits(t *testing.T) {
	fsys, cfg := simfs.New(), DefaultConfig()
	m := openManager(t, fsys, cfg, "/data")
	defer m.Close(1)
	l := createLog(t, m, "t", 0, cfg)
	if s, err := l.Read(0, 100, true, l.End()); err != nil || s.N != 0 {
		t.Fatal("an empty log:", s, err)
	}
	if _, err := l.Read(1, 100, true, l.End()); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Fatal(err)
	}
	size := int64(0)
	for range 4 {
		a := mustAppend(t, l, makeBatch(batchSpec{n: 5, value: 20, timestamp: 1}), 0)
		size = int64(a.Info.Size)
	}
	middle, err := l.PositionOf(12)
	if err != nil || middle != (Position{12, 0, 2 * size}) {
		t.Fatal(middle, err)
	}
	for _, tc := range []struct {
		offset   int64
		max      int32
		one      bool
		upper    Position
		off, n   int64
		outRange bool
	}{
		{offset: 0, max: 1 << 20, upper: l.End(), n: 4 * size},
		{offset: 7, max: 1 << 20, upper: l.End(), off: size, n: 3 * size},
		{offset: 7, max: 1 << 20, upper: Position{15, 0, 3 * size}, off: size, n: 2 * size},
		{offset: 7, max: 1 << 20, upper: At(15), off: size, n: 2 * size},
		{offset: 15, max: 1 << 20, upper: At(15)},
		{offset: 17, max: 1 << 20, upper: At(15)},
		{offset: 0, max: 10, one: true, upper: l.End(), n: size},
		{offset: 0, max: 10, upper: l.End()},
		{offset: 0, max: int32(size) + 7, upper: l.End(), n: size + 7},
		{offset: 20, max: 10, one: true, upper: l.End()},
		{offset: 21, max: 10, upper: l.End(), outRange: true},
		{offset: -1, max: 10, upper: l.End(), outRange: true},
	} {
		s, err := l.Read(tc.offset, tc.max, tc.one, tc.upper)
		if tc.outRange != errors.Is(err, kerr.OffsetOutOfRange) || !tc.outRange && (err != nil || s.Off != tc.off && s.N > 0 || s.N != tc.n) {
			t.Errorf("%+v: %+v %v", tc, s, err)
		}
		s.Release()
	}
}
