package log

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// txnSegments is a log's transaction index: one file for each segment, and all entries in one slice beside it.
type txnSegments struct {
	indexes []*txnIndex
	all     []AbortedTxn
}

// collect searches as the log does: from the segment of offset from on, until one says that it is done.
func (s *txnSegments) collect(t *testing.T, from, upper int64) []AbortedTxn {
	t.Helper()
	var txns []AbortedTxn
	for i, x := range s.indexes {
		if i+1 < len(s.indexes) && s.indexes[i+1].base <= from {
			continue
		}
		var done bool
		var err error
		if txns, done, err = x.collect(txns, from, upper); err != nil {
			t.Fatal(err)
		}
		if done {
			break
		}
	}
	return txns
}

// TestTxnIndexCollect compares the search over several segments with a look at every transaction (rule 3.2.9): a
// reader of [from, upper) gets all that overlap it. Too many would be harmless, but there are none.
func TestTxnIndexCollect(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 3))
		disk := newSimDisk(t)
		s, end := &txnSegments{}, int64(0)
		p := newProducerState(producerStateConfig{})
		for range 5 {
			x := newTxnIndex(disk, "/d/"+string(rune('a'+len(s.indexes))), end)
			s.indexes = append(s.indexes, x)
			for range r.IntN(40) {
				b := txnData(r.Int64N(4), 0, 0, 1+r.Int32N(3))
				if r.IntN(3) == 0 {
					b = marker(b.ProducerID, 0, abortMarker, 0)
					b.Marker += markerType(r.IntN(2))
				}
				if txn, aborted := p.update(&b, end, 0, &producerUndo{}); aborted {
					x.append(txn)
					s.all = append(s.all, txn)
				}
				end += int64(b.LastOffsetDelta) + 1
			}
			if r.IntN(2) == 0 {
				if err := x.seal(); err != nil {
					t.Fatal(err)
				}
				if reopened, err := openTxnIndex(disk, x.path, x.base); err != nil {
					t.Fatal(err)
				} else {
					s.indexes[len(s.indexes)-1] = reopened
				}
			}
		}
		for range 50 {
			from := r.Int64N(end + 1)
			upper := from + r.Int64N(end+1-from)
			var want []AbortedTxn
			for _, txn := range s.all {
				if txn.LastOffset >= from && txn.FirstOffset < upper {
					want = append(want, txn)
				}
			}
			if got := s.collect(t, from, upper); !slices.Equal(got, want) {
				t.Fatalf("seed %d: [%d, %d) gives %v, not %v", seed, from, upper, got, want)
			}
		}
		// Rule 3.8.4.
		cut := r.Int64N(end + 1)
		for _, x := range s.indexes {
			if err := x.truncateTo(cut); err != nil {
				t.Fatal(err)
			}
		}
		s.all = slices.DeleteFunc(s.all, func(txn AbortedTxn) bool { return txn.LastOffset >= cut })
		if got := s.collect(t, 0, end); !slices.Equal(got, s.all) {
			t.Fatalf("seed %d: after truncation to %d %v, not %v", seed, cut, got, s.all)
		}
	}
}

// TestTxnIndexHasNoFileBeforeItsFirstEntry is rule 3.2.9.
func TestTxnIndexHasNoFileBeforeItsFirstEntry(t *testing.T) {
	disk := newSimDisk(t)
	x := newTxnIndex(disk, "/d/0.txnindex", 0)
	for _, fn := range []func() error{x.flush, x.seal, x.reset, func() error { return x.truncateTo(0) }} {
		if err := fn(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := disk.Stat("/d/0.txnindex"); !isNotExist(err) {
		t.Fatalf("there is a file: %v", err)
	}
	if x, err := openTxnIndex(disk, "/d/0.txnindex", 0); err != nil || x.count() != 0 {
		t.Fatal(err)
	}
	x.append(AbortedTxn{1, 2, 3, 4})
	if err := x.flush(); err != nil {
		t.Fatal(err)
	}
	if info, err := disk.Stat("/d/0.txnindex"); err != nil || info.Size() != txnEntryBytes {
		t.Fatal(info, err)
	}
	if err := x.reset(); err != nil || x.count() != 0 {
		t.Fatal(err)
	}
}
