package log

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// step is one batch offered to a producerState, and what must come of it.
type step struct {
	what   string
	b      producerBatch
	origin Origin
	err    error // nil: appended, unless dup
	dup    int64 // base offset of the duplicate, when isDup
	isDup  bool
}

// data makes a batch of n records.
func data(id int64, epoch int16, seq, n int32) producerBatch {
	return producerBatch{ProducerID: id, Epoch: epoch, BaseSequence: seq, LastOffsetDelta: n - 1, MaxTimestamp: 1000}
}

func txnData(id int64, epoch int16, seq, n int32) producerBatch {
	b := data(id, epoch, seq, n)
	b.Transactional = true
	return b
}

func marker(id int64, epoch int16, m markerType, coordinatorEpoch int32) producerBatch {
	return producerBatch{ProducerID: id, Epoch: epoch, BaseSequence: -1, Transactional: true, Control: true, Marker: m, CoordinatorEpoch: coordinatorEpoch, MaxTimestamp: 2000}
}

func v2(b producerBatch) producerBatch { b.TxnV2 = true; return b }

// TestProducerRules plays the rules of section 4.2 and 5.7.3 one by one. Each script starts with an empty log; a
// batch that is accepted takes the next offsets.
func TestProducerRules(t *testing.T) {
	scripts := map[string][]step{
		"4.2.1 a duplicate is answered with the old offset, five batches back": {
			{b: data(1, 0, 0, 3)}, {b: data(1, 0, 3, 1)}, {b: data(1, 0, 4, 1)}, {b: data(1, 0, 5, 1)}, {b: data(1, 0, 6, 1)},
			{b: data(1, 0, 0, 3), isDup: true, dup: 0},
			{b: data(1, 0, 6, 1), isDup: true, dup: 6},
			{b: data(1, 0, 7, 2)},
			{what: "the sixth is forgotten", b: data(1, 0, 0, 3), err: kerr.OutOfOrderSequenceNumber},
			{b: data(1, 0, 3, 1), isDup: true, dup: 3},
			{what: "first sequence alone is no duplicate", b: data(1, 0, 7, 1), err: kerr.OutOfOrderSequenceNumber},
			{what: "last sequence alone is no duplicate", b: data(1, 0, 8, 1), err: kerr.OutOfOrderSequenceNumber},
		},
		"4.2.1 a duplicate comes before the epoch of another producer": {
			{b: data(1, 4, 0, 1)}, {b: data(2, 0, 0, 1)}, {b: data(1, 4, 0, 1), isDup: true, dup: 0},
		},
		"4.2.2 an older epoch": {
			{b: data(1, 4, 0, 1)}, {b: data(1, 3, 1, 1), err: kerr.InvalidProducerEpoch},
			{what: "also for a resend", b: data(1, 5, 0, 1)}, {b: data(1, 4, 0, 1), err: kerr.InvalidProducerEpoch},
		},
		"4.2.3 a newer epoch starts at 0": {
			{b: data(1, 0, 0, 1)}, {b: data(1, 1, 1, 1), err: kerr.OutOfOrderSequenceNumber},
			{b: data(1, 1, 0, 1)}, {b: data(1, 1, 1, 1)},
		},
		"4.2.4 gaps and overlaps": {
			{b: data(1, 0, 0, 5)}, {b: data(1, 0, 6, 1), err: kerr.OutOfOrderSequenceNumber},
			{b: data(1, 0, 4, 2), err: kerr.OutOfOrderSequenceNumber}, {b: data(1, 0, 5, 1)},
		},
		"4.1.2 sequences wrap after 2^31-1": {
			{b: data(1, 0, math.MaxInt32-2, 2)}, {b: data(1, 0, math.MaxInt32, 3)},
			{what: "0 and 1 were in that batch", b: data(1, 0, 0, 1), err: kerr.OutOfOrderSequenceNumber},
			{b: data(1, 0, math.MaxInt32, 3), isDup: true, dup: 2}, {b: data(1, 0, 2, 1)},
		},
		"4.2.5 after a marker of the same epoch sequences go on, after one of a newer epoch they start at 0": {
			{b: txnData(1, 0, 0, 2)}, {b: marker(1, 0, commitMarker, 0)}, {b: txnData(1, 0, 2, 1)},
			{b: marker(1, 1, abortMarker, 0)}, {b: txnData(1, 1, 3, 1), err: kerr.OutOfOrderSequenceNumber},
			{what: "what was cached of the old epoch is gone", b: txnData(1, 0, 2, 1), err: kerr.InvalidProducerEpoch},
			{b: txnData(1, 1, 0, 1)},
		},
		"4.2.5 an entry that only a marker made": {
			{b: marker(1, 3, abortMarker, 0)}, {b: data(1, 3, 1, 1), err: kerr.OutOfOrderSequenceNumber}, {b: data(1, 3, 0, 1)},
		},
		"4.2.6 an unknown producer may start anywhere, except in a transaction by Produce v12": {
			{b: data(1, 7, 99, 1)}, {b: txnData(2, 7, 99, 1)}, {b: v2(data(3, 7, 99, 1))},
			{b: v2(txnData(4, 7, 99, 1)), err: kerr.OutOfOrderSequenceNumber}, {b: v2(txnData(4, 7, 0, 1))},
		},
		"4.2.8 a batch outside of the open transaction": {
			{b: txnData(1, 0, 0, 1)}, {b: data(1, 0, 1, 1), err: kerr.InvalidTxnState}, {b: txnData(1, 0, 1, 1)},
			{what: "sequence comes first", b: data(1, 0, 7, 1), err: kerr.OutOfOrderSequenceNumber},
			{b: marker(1, 0, commitMarker, 0)}, {b: data(1, 0, 2, 1)},
		},
		"4.2.8b a coordinator's batches all have sequence 0": {
			{b: txnData(1, 0, 0, 1), origin: OriginCoordinator}, {b: txnData(1, 0, 0, 1), origin: OriginCoordinator},
			{b: marker(1, 1, commitMarker, 0), origin: OriginCoordinator},
			{b: txnData(1, 0, 0, 1), origin: OriginCoordinator, err: kerr.InvalidProducerEpoch},
		},
		"4.3.1 nothing is refused of a leader's data": {
			{b: data(1, 5, 0, 1)}, {b: data(1, 4, 17, 1), origin: OriginReplication}, {b: txnData(1, 4, 3, 1), origin: OriginReplication},
			{b: data(1, 4, 9, 1), origin: OriginReplication}, {b: marker(1, 2, abortMarker, -1), origin: OriginReplication},
		},
		"5.7.3 markers": {
			{b: txnData(1, 2, 0, 1)},
			{b: marker(1, 1, abortMarker, 0), err: kerr.InvalidProducerEpoch},
			{what: "under transaction version 2 the epoch has to rise", b: v2(marker(1, 2, abortMarker, 0)), err: kerr.InvalidProducerEpoch},
			{b: v2(marker(1, 3, abortMarker, 4))},
			{what: "repeated", b: v2(marker(1, 3, abortMarker, 4))},
			{b: marker(1, 3, abortMarker, 3), err: kerr.TransactionCoordinatorFenced},
			{what: "of a producer that is not known", b: marker(2, 0, commitMarker, 0)},
		},
	}
	for name, steps := range scripts {
		t.Run(name, func(t *testing.T) {
			s, end := newProducerState(producerStateConfig{}), int64(0)
			for i, st := range steps {
				dup, isDup, err := s.check(&st.b, st.origin)
				if !errors.Is(err, st.err) || (err == nil) != (st.err == nil) {
					t.Fatalf("step %d %s %+v: error %v, not %v", i, st.what, st.b, err, st.err)
				}
				if isDup != st.isDup || isDup && dup.baseOffset() != st.dup {
					t.Fatalf("step %d %s %+v: duplicate %v %+v, not %v %d", i, st.what, st.b, isDup, dup, st.isDup, st.dup)
				}
				if err == nil && !isDup {
					var u producerUndo
					s.update(&st.b, end, 0, &u)
					end += int64(st.b.LastOffsetDelta) + 1
				}
			}
		})
	}
}

// TestTxnVerification is rules 5.5.3, 5.5.6 and 4.2.7.
func TestTxnVerification(t *testing.T) {
	s, end := newProducerState(producerStateConfig{}), int64(0)
	offer := func(b producerBatch, want error) {
		t.Helper()
		if _, _, err := s.check(&b, OriginClient); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Fatalf("%+v: error %v, not %v", b, err, want)
		}
		if want == nil {
			s.update(&b, end, 0, &producerUndo{})
			end += int64(b.LastOffsetDelta) + 1
		}
	}
	verified := func(b producerBatch, guard TxnGuard) producerBatch {
		b.VerifyTxn, b.Guard = true, guard
		return b
	}
	start := func(epoch int16, seq int32) TxnGuard {
		t.Helper()
		guard, ok := s.startVerification(1, epoch, seq, 0)
		if !ok {
			t.Fatal("no verification needed")
		}
		return guard
	}

	offer(verified(txnData(1, 0, 0, 1), 0), kerr.InvalidTxnState)
	second := start(0, 5)
	first := start(0, 0)
	if first != second {
		t.Fatal("two guards for one producer and epoch")
	}
	offer(verified(txnData(1, 0, 5, 1), second), kerr.OutOfOrderSequenceNumber) // 4.2.7
	offer(verified(txnData(1, 0, 0, 5), first), nil)
	if _, ok := s.startVerification(1, 0, 5, 0); ok {
		t.Fatal("the transaction is open here, but was to be verified")
	}
	offer(verified(txnData(1, 0, 5, 1), 0), nil)
	offer(marker(1, 0, commitMarker, 0), nil)
	offer(verified(txnData(1, 0, 6, 1), second), kerr.InvalidTxnState) // a guard that was used

	late := start(0, 6)
	offer(marker(1, 0, abortMarker, 0), nil) // a marker while the coordinator was asked
	offer(verified(txnData(1, 0, 6, 1), late), kerr.InvalidTxnState)

	old := start(0, 6)
	if newer := start(1, 0); newer == old {
		t.Fatal("a new epoch has the guard of the old one")
	}
	offer(verified(txnData(1, 0, 6, 1), old), kerr.InvalidTxnState)
	if g := start(0, 6); g != 0 {
		t.Fatalf("a fenced epoch got guard %d", g)
	}

	s.cfg.Expiration = time.Second
	s.expire(1000)
	if _, ok := s.verifications.lowest(1); ok {
		t.Error("the verification has not expired")
	}
	for id := range int64(maxVerifications + 10) {
		s.startVerification(id, 0, 0, 0)
	}
	if n := len(s.verifications.m); n != maxVerifications {
		t.Errorf("%d verifications", n)
	}
	if _, ok := s.verifications.lowest(9); ok {
		t.Error("the oldest verification has not given way")
	}
}

// TestProducerEviction is the bound on producers: the longest idle goes first, one with an open transaction never.
func TestProducerEviction(t *testing.T) {
	s := newProducerState(producerStateConfig{MaxProducers: 3})
	add := func(b producerBatch, now int64) {
		s.update(&b, now, now, &producerUndo{})
	}
	add(txnData(1, 0, 0, 1), 1)
	add(data(2, 0, 0, 1), 2)
	add(data(3, 0, 0, 1), 3)
	add(data(2, 0, 1, 1), 4)
	add(data(4, 0, 0, 1), 5) // 3 goes
	if s.len() != 3 || s.lookup(3) != nil || s.lookup(1) == nil || s.lookup(2) == nil {
		t.Fatalf("%+v", s.describe(nil))
	}
	add(txnData(4, 0, 1, 1), 6)
	add(txnData(2, 0, 2, 1), 7)
	add(data(5, 0, 0, 1), 8)
	if s.len() != 4 || s.lookup(5) == nil {
		t.Fatalf("three transactions and a newcomer: %+v", s.describe(nil))
	}
	add(marker(1, 0, commitMarker, 0), 9)
	add(data(6, 0, 0, 1), 10) // 5 and 1 go
	if s.len() != 3 || s.lookup(5) != nil || s.lookup(1) != nil {
		t.Fatalf("%+v", s.describe(nil))
	}
}

// TestProducerStateAllocatesNothing for producers that it knows: it runs for every batch.
func TestProducerStateAllocatesNothing(t *testing.T) {
	s := newProducerState(producerStateConfig{})
	var u producerUndo
	offset, seq := int64(0), int32(0)
	round := func() {
		for id := range int64(100) {
			b := txnData(id, 0, seq, 10)
			if _, _, err := s.check(&b, OriginClient); err != nil {
				t.Fatal(err)
			}
			s.update(&b, offset, 0, &u)
			m := marker(id, 0, abortMarker, 0)
			s.update(&m, offset+10, 0, &u)
			s.undo(&u)
			s.update(&m, offset+10, 0, &u)
			offset += 11
			s.onHighWatermark(offset)
		}
		seq += 10
	}
	round()
	if n := testing.AllocsPerRun(20, round); n != 0 {
		t.Errorf("%v allocations per 300 updates", n)
	}
}

// TestProducerStateShrinks checks that memory comes back after many producers have expired.
func TestProducerStateShrinks(t *testing.T) {
	s := newProducerState(producerStateConfig{Expiration: time.Second})
	for id := range int64(10_000) {
		b := data(id, 0, 0, 1)
		if id%1000 == 0 {
			b.Transactional = true
		}
		s.update(&b, id, id, &producerUndo{})
	}
	if n := s.expire(10_500); n != 9_491 {
		t.Errorf("%d expired", n)
	}
	if len(s.entries) > 1000 || s.len() != len(s.entries) {
		t.Errorf("%d places for %d producers", len(s.entries), s.len())
	}
	for _, id := range []int64{0, 9_000, 9_501, 9_999} {
		if e := s.lookup(id); e == nil || e.id != id || e.newest().LastOffset != id {
			t.Errorf("producer %d became %+v", id, e)
		}
	}
	if n := s.expire(20_000); n != 499 || s.len() != 10 {
		t.Errorf("%d expired, %d left", n, s.len())
	}
}
