package log

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log/record"
)

// TestOffsetMap compares the map of keys with a Go map, up to its bound and beyond.
func TestOffsetMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	m, want := newOffsetMap(1000*mapSlotBytes, 0.9, 1<<40), map[string]int64{}
	for offset := range int64(5000) {
		key := strings.Repeat("k", r.IntN(40)) + fmt.Sprint(r.IntN(900))
		if !m.put([]byte(key), offset) {
			if _, ok := want[key]; ok || len(want) != m.room {
				t.Fatalf("no room for %s with %d of %d keys", key, len(want), m.room)
			}
			continue
		}
		want[key] = offset
	}
	for key, offset := range want {
		if got := m.get([]byte(key)); got != offset {
			t.Errorf("%s is at %d, not %d", key, got, offset)
		}
	}
	if m.get([]byte("no")) != -1 || m.utilization() != 1 || len(want) != 900 {
		t.Errorf("%d keys, utilization %v", len(want), m.utilization())
	}
	if small := newOffsetMap(128<<20, 0.9, 90); len(small.slots) > 200 {
		t.Errorf("90 records get a map of %d slots", len(small.slots))
	}
}

// keyedManager makes a log on a disk in memory.
func keyedManager(t *testing.T, cfg Config) (*keyedLog, *Manager) {
	disk := simfs.New()
	disk.SetCapacity(32 << 20)
	m := openManager(t, disk, cfg, "/data")
	t.Cleanup(func() { _ = m.Close(1) })
	return newKeyedLog(t, createLog(t, m, "t", 0, cfg), record.NewCodecs()), m
}

// TestCleanedSegmentGrows: tombstones get longer with their delete horizon; what does not fit is a segment of its own.
func TestCleanedSegmentGrows(t *testing.T) {
	cfg := compactConfig()
	cfg.DeleteRetentionMs, cfg.SegmentBytes = 1<<40, 2000
	k, m := keyedManager(t, cfg)
	for i := 0; k.l.written.size < 1900; i++ {
		k.put(0, false, record.None, fmt.Sprint("a", i), fmt.Sprint("b", i), fmt.Sprint("c", i), fmt.Sprint("d", i))
	}
	rollNow(t, k.l)
	k.put(0, false, record.None, "x=")
	k.settle()
	before := k.l.SegmentCount()
	cleanLog(t, m)
	if k.l.SegmentCount() != before+1 {
		t.Errorf("%d segments became %d", before, k.l.SegmentCount())
	}
	if err := checkCleaned(k.l, k.codecs, k.view, k.l.End().Offset); err != nil {
		t.Error(err)
	}
}

// TestCleanerBuffersGrow: batches may be larger than the buffers.
func TestCleanerBuffersGrow(t *testing.T) {
	cfg := compactConfig()
	cfg.SegmentBytes = 1 << 20
	k, m := keyedManager(t, cfg)
	for range 3 {
		var records []string
		for i := range 500 {
			records = append(records, fmt.Sprintf("some-longer-key-%d=", i))
		}
		k.put(0, false, record.None, records...)
	}
	rollNow(t, k.l)
	k.put(0, false, record.None, "x=")
	k.settle()
	size := k.l.Size()
	cleanLog(t, m, func(o *CleanerOptions) { o.IOBufferBytes = 0 })
	if k.l.Size() > size/2 {
		t.Errorf("%d bytes became %d", size, k.l.Size())
	}
	if err := checkCleaned(k.l, k.codecs, k.view, k.l.End().Offset); err != nil {
		t.Error(err)
	}
}

// TestUncleanable: a log with damage is set aside as it is, counted, and forgotten with the log.
func TestUncleanable(t *testing.T) {
	k, m := keyedManager(t, compactConfig())
	k.put(0, false, record.None, "a=", "b=")
	k.put(0, false, record.None, "a=", "b=")
	rollNow(t, k.l)
	k.put(0, false, record.None, "x=")
	k.settle()
	file, err := m.files.acquire(k.l.segmentList()[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte{0xff}, record.HeaderSize+3); err != nil {
		t.Fatal(err)
	}
	file.release()
	size := k.l.Size()
	cleanLog(t, m)
	cleanLog(t, m) // the next look counts its bytes
	s := m.CleanerStats()
	if s.Uncleanable[k.l.dir] != 1 || s.UncleanableBytes[k.l.dir] == 0 || k.l.Size() != size || s.Passes != 0 {
		t.Errorf("%+v, %d bytes of %d", s, k.l.Size(), size)
	}
	if err := m.Delete(k.l.tp); err != nil {
		t.Fatal(err)
	}
	if n := m.CleanerStats().Uncleanable[k.l.dir]; n != 0 {
		t.Errorf("%d logs are uncleanable after the log was deleted", n)
	}
}
