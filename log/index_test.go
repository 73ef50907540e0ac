package log

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/kbroker/kbroker/internal/simfs"
)

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
