package log

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
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

// TestIndexIsSyncedBeforeItCounts checks what a power cut leaves: after flush and sync everything.
func TestIndexIsSyncedBeforeItCounts(t *testing.T) {
	w := &indexWalk{t: t, r: rand.New(rand.NewPCG(1, 1)), disk: newSimDisk(t)}
	x, y := w.names()
	w.offsets, w.times = newOffsetIndex(w.disk, x, 0, walkIndexBytes), newTimeIndex(w.disk, y, 0, walkIndexBytes)
	w.add(100)
	w.each((*entryFile).flush)
	w.each((*entryFile).sync)
	if err := w.disk.SyncDir("/d"); err != nil {
		t.Fatal(err)
	}
	flushed, times := slices.Clone(w.wantOffsets), slices.Clone(w.wantTimes)
	w.add(100)
	w.each((*entryFile).flush)
	w.disk = w.disk.CrashWorst()
	w.open()
	w.wantOffsets, w.wantTimes = flushed, times
	w.compare()
}

// TestDamagedIndexes is T153 for the indexes alone: every kind of damage that rule 3.2.7 names is found, when the
// file is opened or when it is first searched.
func TestDamagedIndexes(t *testing.T) {
	w := &indexWalk{t: t, r: rand.New(rand.NewPCG(1, 1)), disk: newSimDisk(t), base: 1000}
	x, y := w.names()
	w.offsets, w.times = newOffsetIndex(w.disk, x, w.base, walkIndexBytes), newTimeIndex(w.disk, y, w.base, walkIndexBytes)
	for i := range int64(100) {
		w.offsets.append(w.base+10*i+9, 5000*i+4000)
		if err := w.times.maybeAppend(1e6+i, w.base+10*i+9, false); err != nil {
			t.Fatal(err)
		}
	}
	w.each((*entryFile).seal)
	z := "/d/7.txnindex"
	txns := newTxnIndex(w.disk, z, w.base)
	for i := range int64(10) {
		txns.append(AbortedTxn{ProducerID: i, FirstOffset: 900 + 100*i, LastOffset: 1050 + 100*i, LastStableOffset: 1051 + 100*i})
	}
	if err := txns.seal(); err != nil {
		t.Fatal(err)
	}
	search := map[string]func(name string) error{
		x: func(name string) error {
			i, err := openOffsetIndex(w.disk, name, w.base, walkIndexBytes, 1<<30)
			if err == nil {
				_, err = i.lookup(5000)
			}
			return err
		},
		y: func(name string) error {
			i, err := openTimeIndex(w.disk, name, w.base, walkIndexBytes)
			if err == nil {
				_, err = i.lookup(1e6 + 50)
			}
			return err
		},
		z: func(name string) error {
			i, err := openTxnIndex(w.disk, name, w.base)
			if err == nil {
				_, _, err = i.collect(nil, 1100, 1200)
			}
			return err
		},
	}
	width := map[string]int{x: offsetEntryBytes, y: timeEntryBytes, z: txnEntryBytes}
	for name, fn := range search {
		good, n := readSim(t, w.disk, name), width[name]
		if err := fn(name); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		entry := func(i int) []byte { return good[i*n : (i+1)*n] }
		for what, bad := range map[string][]byte{
			"cut in an entry":     good[:len(good)-3],
			"stray bytes":         append(slices.Clone(good), 1, 2, 3, 4, 5),
			"zeros at the end":    append(slices.Clone(good), make([]byte, 3*n)...),
			"zeros in the middle": slices.Concat(good[:4*n], make([]byte, n), good[5*n:]),
			"an entry twice":      slices.Concat(good[:4*n], entry(3), good[4*n:]),
			"two swapped":         slices.Concat(good[:4*n], entry(5), entry(4), good[6*n:]),
			"all bits set":        slices.Concat(good[:4*n], slices.Repeat([]byte{0xff}, n), good[5*n:]),
			"reversed": func() []byte {
				var b []byte
				for i := len(good)/n - 1; i >= 0; i-- {
					b = append(b, entry(i)...)
				}
				return b
			}(),
		} {
			writeTestFile(t, w.disk, name+"2", bad)
			if err := fn(name + "2"); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
	}
	if _, err := openOffsetIndex(w.disk, x, w.base, walkIndexBytes, 100); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an index beyond the log: %v", err)
	}
	if _, err := openOffsetIndex(w.disk, "/d/8.index", w.base, walkIndexBytes, 100); !isNotExist(err) {
		t.Errorf("no index: %v", err)
	}
}

func readSim(t testing.TB, disk *simfs.FS, name string) []byte {
	t.Helper()
	data, err := readFileBounded(disk, name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestFlushAfterDiskFull checks that entries stay in memory until there is room.
func TestFlushAfterDiskFull(t *testing.T) {
	w := &indexWalk{t: t, r: rand.New(rand.NewPCG(1, 1)), disk: newSimDisk(t)}
	x, y := w.names()
	w.offsets, w.times = newOffsetIndex(w.disk, x, 0, 1<<20), newTimeIndex(w.disk, y, 0, 1<<20)
	w.disk.SetCapacity(1000)
	for i := range int64(1000) {
		w.offsets.append(i+1, i+1)
		w.wantOffsets = append(w.wantOffsets, offsetEntry{i + 1, i + 1})
	}
	if !w.offsets.wantsFlush() {
		t.Error("8000 bytes in memory, and no flush is wanted")
	}
	if err := w.offsets.flush(); err == nil {
		t.Fatal("1000 bytes of room took 8000")
	}
	if got := offsetEntries(t, w.offsets); !slices.Equal(got, w.wantOffsets) {
		t.Fatal("entries were lost")
	}
	w.disk.SetCapacity(1 << 20)
	if err := w.offsets.flush(); err != nil || w.offsets.wantsFlush() {
		t.Fatal(err)
	}
	if got := offsetEntries(t, w.offsets); !slices.Equal(got, w.wantOffsets) {
		t.Fatal("entries were lost")
	}
}

// TestLookupBesideAppend lets readers search while the writer appends and flushes; it is meant for -race.
func TestLookupBesideAppend(t *testing.T) {
	disk := newSimDisk(t)
	x := newOffsetIndex(disk, "/d/0.index", 0, 1<<20)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for i := int64(0); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				target := i % 5000
				e, err := x.lookup(target)
				if err != nil || e.Offset > target || e.Offset != e.Position*2 {
					t.Errorf("lookup(%d) = %v, %v", target, e, err)
					return
				}
			}
		})
	}
	for i := int64(1); i <= 2500; i++ {
		x.append(2*i, i)
		if x.wantsFlush() {
			if err := x.flush(); err != nil {
				t.Error(err)
			}
		}
	}
	close(stop)
	wg.Wait()
}

// TestIndexAllocatesNothing in steady state: appends for every few batches, lookups for every fetch.
func TestIndexAllocatesNothing(t *testing.T) {
	disk := newSimDisk(t)
	x, y := newOffsetIndex(disk, "/d/0.index", 0, 10<<20), newTimeIndex(disk, "/d/0.timeindex", 0, 10<<20)
	i := int64(0)
	appendSome := func() {
		for range 100 {
			i++
			x.append(2*i, i)
			if err := y.maybeAppend(i, i, false); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range []*entryFile{&x.entryFile, &y.entryFile} {
			if e.wantsFlush() {
				if err := e.flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for range 30 {
		appendSome()
	}
	lookups := func() {
		for target := range int64(100) {
			if _, err := x.lookup(target * i / 100); err != nil {
				t.Fatal(err)
			}
			if _, err := y.lookup(target * i / 100); err != nil {
				t.Fatal(err)
			}
		}
	}
	lookups()
	if n := testing.AllocsPerRun(20, lookups); n != 0 {
		t.Errorf("200 lookups allocate %v times", n)
	}
	// simfs keeps what was written in memory, so flushes are left out here; the operating system does not allocate.
	for _, e := range []*entryFile{&x.entryFile, &y.entryFile} {
		if err := e.flush(); err != nil {
			t.Fatal(err)
		}
	}
	append100 := func() {
		for range 10 {
			i++
			x.append(2*i, i)
			if err := y.maybeAppend(i, i, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := testing.AllocsPerRun(20, append100); n != 0 {
		t.Errorf("20 appends allocate %v times", n)
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
