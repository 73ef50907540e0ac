package log

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log/record"
)

// TestOffsetMap compares the map of keys with a Go map, up to its bound and beyond, and what it knows of the records'
// fates with what became of them.
func TestOffsetMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const records = 5000
	for _, size := range []int64{1 << 20, 30000, 1000} { // room for all, for some keys, and too little for fates
		var m offsetMap
		for range 2 { // anew in the same memory
			m.reset(size, 0.9, 100, 100+records)
			if n := int64(len(m.slots)*mapSlotBytes + 8*len(m.fates.superseded.words) + 8*len(m.fates.special.words)); n > size {
				t.Errorf("the map takes %d bytes of %d", n, size)
			}
			want, gone := map[string]int64{}, map[int64]bool{}
			full := false
			for offset := int64(100); offset < 100+records && !full; offset++ {
				key := strings.Repeat("k", r.IntN(40)) + fmt.Sprint(r.IntN(900))
				full = !m.note(record.Entry{Offset: offset, Key: []byte(key)})
				if before, ok := want[key]; ok {
					gone[before] = true
				}
				want[key] = offset
			}
			full = !m.settle() || full
			checkOffsetMap(t, &m, want, gone, full)
		}
	}
	var small offsetMap
	if small.reset(128<<20, 0.9, 0, 90); len(small.slots) > 200 {
		t.Errorf("90 records get a map of %d slots", len(small.slots))
	}
}

func checkOffsetMap(t *testing.T, m *offsetMap, want map[string]int64, gone map[int64]bool, full bool) {
	t.Helper()
	if full != (m.utilization() == 1) {
		t.Errorf("full: %v, utilization: %v", full, m.utilization())
	}
	known := m.fates.cover(100, m.last)
	for key, offset := range want {
		h := m.hasher.hash([]byte(key))
		q := []keyQuery{{hash: h}}
		m.fetch(q)
		if got := m.find(h, q[0].slot).after - 1; got != offset && offset <= m.last {
			t.Errorf("%s is at %d, not %d", key, got, offset)
		}
		if known && offset <= m.last && m.fates.superseded.has(offset) {
			t.Errorf("%d is superseded", offset)
		}
	}
	n := 0
	for offset := range gone {
		if offset <= m.last && m.fates.superseded.has(offset) {
			n++
		}
	}
	if known && !full && n != len(gone) || known && m.fates.superseded.count(100, m.last) != n {
		t.Errorf("%d of %d are superseded, %d by their bits", n, len(gone), m.fates.superseded.count(100, m.last))
	}
}

// TestKeyHash: keys that look alike have different hashes, and keys that count up are spread over a table.
func TestKeyHash(t *testing.T) {
	h := newKeyHasher()
	seen := map[keyHash][]byte{}
	for n := range 30 {
		for i := range n + 1 { // all zero, or all but one byte
			key := make([]byte, n)
			if i < n {
				key[i] = 1
			}
			hash := h.hash(key)
			if other, ok := seen[hash]; ok || hash != h.hash(bytes.Clone(key)) {
				t.Fatalf("%x has the hash of %x, or two", key, other)
			}
			seen[hash] = key
		}
	}
	const keys, slots = 64_000, 64
	var places [slots]int
	for i := range keys {
		places[h.hash(fmt.Appendf(nil, "key-%09d", i)).slot(slots)]++
	}
	if least, most := slices.Min(places[:]), slices.Max(places[:]); least < keys/slots/2 || most > 2*keys/slots {
		t.Errorf("a slot gets %d to %d of %d keys", least, most, keys/slots)
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
