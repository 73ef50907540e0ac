package log

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// maxVerifications bounds the verifications under way in one log; it is far above what max.in.flight of any number of
// real clients needs. Beyond it the oldest gives way, and its batch is refused and sent again.
const maxVerifications = 10_000

// TxnGuard stands for one verification that a transaction is open at its coordinator (rule 5.5.3). It is taken before
// the coordinator is asked and must still be current when the batch is appended: that a marker came in between is
// seen by its absence. The zero TxnGuard is never current.
type TxnGuard uint64

// verification is one that is under way, or has succeeded and waits for its batch.
type verification struct {
	guard   TxnGuard
	lowest  int32 // lowest sequence seen while verifying (rule 4.2.7)
	epoch   int16
	started int64 // broker time in ms
}

// verifications are the verifications of a log by producer id.
type verifications struct {
	last TxnGuard // the newest guard given out; they are never used twice
	m    map[int64]verification
}

// startVerification returns the guard under which a transactional batch of this producer may be appended once its
// coordinator has confirmed the transaction, and false when none is needed because the transaction is open here. now is
// the broker's time in milliseconds.
func (s *producerState) startVerification(producerID int64, epoch int16, sequence int32, now int64) (TxnGuard, bool) {
	if e := s.lookup(producerID); e != nil && e.txnFirstOffset >= 0 && e.epoch == epoch {
		return 0, false
	}
	return s.verifications.start(producerID, epoch, sequence, now), true
}

// checkVerified is rule 5.5.6: a transactional batch needs a transaction that is open here, or a current guard.
func (s *producerState) checkVerified(e *producerEntry, b *producerBatch) error {
	if !b.VerifyTxn || !b.Transactional || e != nil && e.txnFirstOffset >= 0 && e.epoch == b.Epoch {
		return nil
	}
	if v, ok := s.verifications.m[b.ProducerID]; ok && b.Guard != 0 && v.guard == b.Guard {
		return nil
	}
	return fmt.Errorf("producer %d, epoch %d: the batch belongs to no open transaction: %w", b.ProducerID, b.Epoch, kerr.InvalidTxnState)
}

func (v *verifications) start(producerID int64, epoch int16, sequence int32, now int64) TxnGuard {
	w, ok := v.m[producerID]
	switch {
	case !ok || epoch > w.epoch: // a new epoch invalidates the guard of the old one
		v.makeRoom()
		v.last++
		w = verification{guard: v.last, epoch: epoch, lowest: sequence, started: now}
	case epoch == w.epoch:
		w.lowest = min(w.lowest, sequence)
	default:
		return 0 // a fenced epoch: the epoch check refuses its batch
	}
	if v.m == nil {
		v.m = make(map[int64]verification)
	}
	v.m[producerID] = w
	return w.guard
}

// makeRoom drops the oldest verification when there are too many.
func (v *verifications) makeRoom() {
	if len(v.m) < maxVerifications {
		return
	}
	oldest, guard := int64(-1), v.last+1
	for id, w := range v.m {
		if w.guard < guard {
			oldest, guard = id, w.guard
		}
	}
	delete(v.m, oldest)
}

func (v *verifications) lowest(producerID int64) (int32, bool) {
	w, ok := v.m[producerID]
	return w.lowest, ok
}

func (v *verifications) clear(producerID int64) { delete(v.m, producerID) }

// expire drops the verifications started at or before time before, in milliseconds.
func (v *verifications) expire(before int64) {
	for id, w := range v.m {
		if w.started <= before {
			delete(v.m, id)
		}
	}
}
