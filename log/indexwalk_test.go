package log

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kbroker/kbroker/internal/simfs"
)

// indexWalk drives the offset and time index of one segment beside plain slices.
type indexWalk struct {
	t       *testing.T
	r       *rand.Rand
	disk    *simfs.FS
	base    int64
	offsets *offsetIndex
	times   *timeIndex

	wantOffsets []offsetEntry
	wantTimes   []timeEntry
}

const walkIndexBytes = 3000 // room for 375 offsets and 250 timestamps

func (w *indexWalk) names() (string, string) { return "/d/7.index", "/d/7.timeindex" }

func (w *indexWalk) open() {
	x, y := w.names()
	var err error
	if w.offsets, err = openOffsetIndex(w.disk, x, w.base, walkIndexBytes, 1<<30); err != nil {
		w.t.Fatal(err)
	}
	if w.times, err = openTimeIndex(w.disk, y, w.base, walkIndexBytes); err != nil {
		w.t.Fatal(err)
	}
}

// add appends n entries to both, as a log that adds one each index interval.
func (w *indexWalk) add(n int) {
	last := offsetEntry{Offset: w.base, Position: 0}
	if k := len(w.wantOffsets); k > 0 {
		last = w.wantOffsets[k-1]
	}
	for range n {
		last.Offset += 1 + w.r.Int64N(50)
		last.Position += 1 + w.r.Int64N(9000)
		w.offsets.append(last.Offset, last.Position)
		if len(w.wantOffsets) < walkIndexBytes/offsetEntryBytes {
			w.wantOffsets = append(w.wantOffsets, last)
		}
		e, force := timeEntry{Timestamp: w.r.Int64N(1e6), Offset: last.Offset}, w.r.IntN(10) == 0
		if k := len(w.wantTimes); k > 0 { // mostly ascending, or the index would never be full
			e.Timestamp = w.wantTimes[k-1].Timestamp - 100 + w.r.Int64N(3000)
		}
		if err := w.times.maybeAppend(e.Timestamp, e.Offset, force); err != nil {
			w.t.Fatal(err)
		}
		room, k := walkIndexBytes/timeEntryBytes-1, len(w.wantTimes)
		if force {
			room++
		}
		if k < room && (k == 0 || e.Timestamp > w.wantTimes[k-1].Timestamp && e.Offset > w.wantTimes[k-1].Offset) {
			w.wantTimes = append(w.wantTimes, e)
		}
	}
}

func (w *indexWalk) truncate(offset int64) {
	if err := w.offsets.truncateTo(offset); err != nil {
		w.t.Fatal(err)
	}
	if err := w.times.truncateTo(offset); err != nil {
		w.t.Fatal(err)
	}
	w.wantOffsets = slices.DeleteFunc(w.wantOffsets, func(e offsetEntry) bool { return e.Offset >= offset })
	w.wantTimes = slices.DeleteFunc(w.wantTimes, func(e timeEntry) bool { return e.Offset >= offset })
}

func (w *indexWalk) each(fn func(*entryFile) error) {
	for _, x := range []*entryFile{&w.offsets.entryFile, &w.times.entryFile} {
		if err := fn(x); err != nil {
			w.t.Fatal(err)
		}
	}
}

// compare looks up everything that can be asked for.
func (w *indexWalk) compare() {
	if got := offsetEntries(w.t, w.offsets); !slices.Equal(got, w.wantOffsets) {
		w.t.Fatalf("offsets %v, not %v", got, w.wantOffsets)
	}
	if got := timeEntries(w.t, w.times); !slices.Equal(got, w.wantTimes) {
		w.t.Fatalf("times %v, not %v", got, w.wantTimes)
	}
	if full := len(w.wantOffsets) == walkIndexBytes/offsetEntryBytes; w.offsets.full() != full {
		w.t.Fatalf("offset index full: %v with %d entries", !full, len(w.wantOffsets))
	}
	if full := len(w.wantTimes) >= walkIndexBytes/timeEntryBytes-1; w.times.full() != full {
		w.t.Fatalf("time index full: %v with %d entries", !full, len(w.wantTimes))
	}
	for range 20 {
		target := w.base + w.r.Int64N(20_000) - 100
		want := offsetEntry{Offset: w.base}
		for _, e := range w.wantOffsets {
			if e.Offset <= target {
				want = e
			}
		}
		if got, err := w.offsets.lookup(target); got != want || err != nil {
			w.t.Fatalf("lookup(%d) = %v, %v, not %v", target, got, err, want)
		}
		position := w.r.Int64N(2 << 20)
		want = offsetEntry{Offset: w.base}
		for _, e := range w.wantOffsets {
			if e.Position <= position {
				want = e
			}
		}
		if got, err := w.offsets.lookupPosition(position); got != want || err != nil {
			w.t.Fatalf("lookupPosition(%d) = %v, %v, not %v", position, got, err, want)
		}
		ts := w.r.Int64N(1e6)
		wantTime := timeEntry{Timestamp: -1, Offset: w.base}
		for _, e := range w.wantTimes {
			if e.Timestamp <= ts {
				wantTime = e
			}
		}
		if got, err := w.times.lookup(ts); got != wantTime || err != nil {
			w.t.Fatalf("time lookup(%d) = %v, %v, not %v", ts, got, err, wantTime)
		}
	}
}

// TestIndexWalk appends, flushes, seals, truncates, reopens and looks up at random.
func TestIndexWalk(t *testing.T) {
	for seed := range uint64(30) {
		w := &indexWalk{t: t, r: rand.New(rand.NewPCG(seed, 1)), disk: newSimDisk(t), base: int64(seed * 1000)}
		x, y := w.names()
		w.offsets, w.times = newOffsetIndex(w.disk, x, w.base, walkIndexBytes), newTimeIndex(w.disk, y, w.base, walkIndexBytes)
		for range 40 {
			switch w.r.IntN(8) {
			case 0:
				w.each((*entryFile).flush)
			case 1:
				if w.r.IntN(4) == 0 {
					w.truncate(w.base + w.r.Int64N(20_000))
				}
			case 2: // a clean restart
				w.each((*entryFile).seal)
				w.each((*entryFile).sync)
				w.each(func(x *entryFile) error { x.close(); return nil })
				w.disk = w.disk.Kill()
				w.open()
			case 3:
				if w.r.IntN(8) == 0 {
					w.each((*entryFile).reset)
					w.wantOffsets, w.wantTimes = nil, nil
				}
			default:
				w.add(w.r.IntN(60))
			}
			w.compare()
		}
	}
}

// lookupPosition returns the entry with the greatest position ≤ target, or the start of the segment.
func (x *offsetIndex) lookupPosition(target int64) (offsetEntry, error) {
	var e [offsetEntryBytes]byte
	i, err := x.floor(func(e []byte) bool { return int64(int32At(e, 4)) <= target }, e[:])
	return x.decode(i, e[:]), err
}

// maybeAppend adds an entry unless the timestamp is not above the last one, or offset not above its offset (rule
// 3.2.2). timestamp is the largest of the segment so far, offset the last offset of the batch that holds it. With force
// the slot kept for the last entry of a segment may be used (rules 3.2.4 and 3.2.5).
func (x *timeIndex) maybeAppend(timestamp, offset int64, force bool) error {
	rel := offset - x.base
	if rel < 0 || rel > math.MaxInt32 {
		panic(fmt.Sprintf("log: offset %d does not fit the time index of segment %d", offset, x.base))
	}
	if x.full() && (!force || x.count() >= x.capacity) {
		return nil
	}
	last, ok, err := x.lastEntry()
	if err != nil {
		return err
	}
	if timestamp < 0 || ok && (timestamp <= last.Timestamp || offset <= last.Offset) {
		return nil
	}
	x.add(timestamp, offset)
	return nil
}

// full reports whether the segment has to roll: one slot early, the last is for the forced entry (rule 3.2.5).
func (x *timeIndex) full() bool { return x.count() >= x.capacity-1 }
