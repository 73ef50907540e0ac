package log

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kbroker/kbroker/internal/simfs"
)

// TestEndOffsetFor is rule 6.8.2, line by line.
func TestEndOffsetFor(t *testing.T) {
	c := &EpochCache{}
	if e, end := c.EndOffsetFor(3, 100); e != -1 || end != -1 {
		t.Errorf("an empty cache answers (%d, %d)", e, end)
	}
	for _, e := range []EpochEntry{{2, 10}, {5, 30}, {6, 40}} {
		c.Assign(e.Epoch, e.StartOffset)
	}
	for _, q := range []struct {
		epoch, want int32
		end         int64
	}{
		{6, 6, 100},  // the latest: log end
		{7, -1, -1},  // above it: unknown
		{-1, -1, -1}, // a follower without any
		{1, 1, 10},   // below the first: echoed, with its start
		{0, 0, 10},
		{-2, -2, 10}, // also when it is nonsense (seen on Kafka 4.3.1)
		{2, 2, 30},
		{3, 2, 30}, // between: the one below, with the start of the next
		{4, 2, 30},
		{5, 5, 40},
	} {
		if e, end := c.EndOffsetFor(q.epoch, 100); e != q.want || end != q.end {
			t.Errorf("epoch %d: (%d, %d), not (%d, %d)", q.epoch, e, end, q.want, q.end)
		}
	}
}

// TestEpochTruncation is rules 3.6.4 and 3.8.2.
func TestEpochTruncation(t *testing.T) {
	fresh := func() *EpochCache {
		c := &EpochCache{}
		c.Assign(2, 10)
		c.Assign(5, 30)
		c.Assign(6, 40)
		return c
	}
	for _, q := range []struct {
		start, end int64
		want       []EpochEntry
	}{
		{start: 5, want: []EpochEntry{{2, 10}, {5, 30}, {6, 40}}},
		{start: 10, want: []EpochEntry{{2, 10}, {5, 30}, {6, 40}}},
		{start: 11, want: []EpochEntry{{2, 11}, {5, 30}, {6, 40}}},
		{start: 30, want: []EpochEntry{{5, 30}, {6, 40}}},
		{start: 35, want: []EpochEntry{{5, 35}, {6, 40}}},
		{start: 99, want: []EpochEntry{{6, 99}}},
		{end: 41, want: []EpochEntry{{2, 10}, {5, 30}, {6, 40}}},
		{end: 40, want: []EpochEntry{{2, 10}, {5, 30}}},
		{end: 31, want: []EpochEntry{{2, 10}, {5, 30}}},
		{end: 10, want: nil},
		{end: 1, want: nil},
	} {
		c, before := fresh(), fresh().Entries()
		var changed bool
		if q.start > 0 {
			changed = c.TruncateFromStart(q.start)
		} else {
			changed = c.TruncateFromEnd(q.end)
		}
		if got := c.Entries(); !slices.Equal(got, q.want) || changed == slices.Equal(got, before) {
			t.Errorf("start %d, end %d: %v (changed %v), not %v", q.start, q.end, got, changed, q.want)
		}
	}
}

// epochModel knows the epoch of each offset, from the log start on.
type epochModel struct {
	start  int64
	epochs []int32 // of offset start+i
}

func (m *epochModel) end() int64 { return m.start + int64(len(m.epochs)) }

// entries returns what a cache should hold: an entry wherever the epoch changes.
func (m *epochModel) entries() []EpochEntry {
	var entries []EpochEntry
	for i, e := range m.epochs {
		if i == 0 || e != m.epochs[i-1] {
			entries = append(entries, EpochEntry{e, m.start + int64(i)})
		}
	}
	return entries
}

// TestEpochCacheWalk appends, truncates and persists at random, and compares with a log in which every offset has its
// epoch.
func TestEpochCacheWalk(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 7))
		disk := newSimDisk(t)
		c, m, epoch := &EpochCache{}, epochModel{}, int32(0)
		for range 100 {
			switch r.IntN(8) {
			case 0: // truncation by a diverging leader
				if len(m.epochs) > 0 {
					m.epochs = m.epochs[:r.IntN(len(m.epochs)+1)]
					c.TruncateFromEnd(m.end())
				}
			case 1: // retention
				n := r.IntN(len(m.epochs) + 1)
				if n < len(m.epochs) { // an emptied log keeps its newest epoch, which the model cannot say
					m.epochs, m.start = m.epochs[n:], m.start+int64(n)
					c.TruncateFromStart(m.start)
				}
			case 2:
				if err := c.Persist(disk, "/d"); err != nil || c.Dirty() {
					t.Fatal(err, c.Dirty())
				}
				disk = disk.CrashWorst()
				var err error
				if c, err = loadEpochs(disk, "/d"); err != nil {
					t.Fatal(err)
				}
			case 3:
				epoch += r.Int32N(3)
				fallthrough
			default: // a batch
				changed := c.Assign(epoch, m.end())
				if wasNew := len(m.epochs) == 0 || m.epochs[len(m.epochs)-1] != epoch; changed != wasNew {
					t.Fatalf("epoch %d at %d: changed %v", epoch, m.end(), changed)
				}
				for range 1 + r.IntN(3) {
					m.epochs = append(m.epochs, epoch)
				}
			}
			if got, want := c.Entries(), m.entries(); !slices.Equal(got, want) {
				t.Fatalf("seed %d: %v, not %v", seed, got, want)
			}
			for offset := m.start - 1; offset < m.end(); offset++ {
				got, ok := c.EpochFor(offset)
				if want := offset >= m.start; ok != want || ok && got != m.epochs[offset-m.start] {
					t.Fatalf("seed %d: epoch %d %v at %d of %v", seed, got, ok, offset, m.entries())
				}
			}
		}
	}
}

// TestEpochAssignDropsWhatContradicts is rule 3.4.6 for entries that cannot come from a healthy leader.
func TestEpochAssignDropsWhatContradicts(t *testing.T) {
	for _, q := range []struct {
		epoch   int32
		start   int64
		changed bool
		want    []EpochEntry
	}{
		{5, 30, false, []EpochEntry{{2, 10}, {5, 20}}},
		{5, 20, false, []EpochEntry{{2, 10}, {5, 20}}},
		{5, 15, true, []EpochEntry{{2, 10}, {5, 15}}},
		{6, 20, true, []EpochEntry{{2, 10}, {6, 20}}}, // a leader that wrote nothing (empty log: `0 0`, then `2 0`)
		{6, 5, true, []EpochEntry{{6, 5}}},
		{3, 40, true, []EpochEntry{{2, 10}, {3, 40}}},
		{-1, 40, false, []EpochEntry{{2, 10}, {5, 20}}},
		{6, -1, false, []EpochEntry{{2, 10}, {5, 20}}},
	} {
		c := &EpochCache{entries: []EpochEntry{{2, 10}, {5, 20}}}
		if changed := c.Assign(q.epoch, q.start); changed != q.changed || !slices.Equal(c.Entries(), q.want) {
			t.Errorf("epoch %d at %d: %v (changed %v), not %v", q.epoch, q.start, c.Entries(), changed, q.want)
		}
	}
}

// TestEpochsFileSurvives checks that a crash at any moment leaves the old file or the new one (pitfall P18).
func TestEpochsFileSurvives(t *testing.T) {
	for seed := range uint64(50) {
		disk := newSimDisk(t)
		c := &EpochCache{}
		c.Assign(1, 0)
		if err := c.Persist(disk, "/d"); err != nil {
			t.Fatal(err)
		}
		c.Assign(2, 10)
		disk.Inject(simfs.Rule{Ops: simfs.OpSync | simfs.OpRename | simfs.OpSyncDir, Pattern: "*", Skip: int(seed % 3), Err: errors.New("stop here")})
		if err := c.Persist(disk, "/d"); err == nil || !c.Dirty() {
			t.Fatalf("persisted: %v", err)
		}
		again, err := loadEpochs(disk.Crash(seed), "/d")
		if err != nil {
			t.Fatal(err)
		}
		if got := again.Entries(); !slices.Equal(got, c.Entries()) && !slices.Equal(got, []EpochEntry{{1, 0}}) {
			t.Fatalf("%v after a crash", got)
		}
	}
}
