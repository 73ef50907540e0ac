package log

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/log/record"
)

// subSequence returns the sequence n ≥ 0 before seq: the reverse of record.AddSequence (rule 4.1.2).
func subSequence(seq, n int32) int32 { return int32((uint32(seq) - uint32(n)) & 0x7fffffff) }

// inSequence reports whether first is the sequence that follows last; last is -1 when there is none, then it must be 0
// (rule 4.2.5).
func inSequence(last, first int32) bool {
	if last < 0 {
		return first == 0
	}
	return first == record.AddSequence(last, 1)
}

// check decides whether batch b may be appended now, in the order of rule 4.2.8a. For a duplicate it returns the old
// batch, which the caller answers with: not before that batch is durable and replicated (rule 4.2.1). Errors wrap the
// kerr value that the client gets. Nothing changes; update follows under the same lock (rule 4.2.9).
func (s *producerState) check(b *producerBatch, origin Origin) (dup batchMeta, duplicate bool, err error) {
	if origin == OriginReplication {
		return batchMeta{}, false, nil
	}
	e := s.lookup(b.ProducerID)
	if b.Control {
		return batchMeta{}, false, s.checkMarker(e, b)
	}
	if origin == OriginClient && e != nil {
		if m := e.duplicate(b); m != nil {
			return *m, true, nil
		}
	}
	if err := s.checkVerified(e, b); err != nil {
		return batchMeta{}, false, err
	}
	newest := record.NoProducerEpoch // of a producer that is not known here
	if e != nil {
		newest = e.epoch
	}
	if b.Epoch < newest {
		return batchMeta{}, false, fmt.Errorf("producer %d: epoch %d is older than %d, the newest seen on this partition: %w",
			b.ProducerID, b.Epoch, newest, kerr.InvalidProducerEpoch)
	}
	if origin == OriginClient {
		if err := s.checkSequence(e, b); err != nil {
			return batchMeta{}, false, err
		}
	}
	if e != nil && e.txnFirstOffset >= 0 && !b.Transactional {
		return batchMeta{}, false, fmt.Errorf("producer %d: a batch outside of the transaction that is open since offset %d: %w",
			b.ProducerID, e.txnFirstOffset, kerr.InvalidTxnState)
	}
	return batchMeta{}, false, nil
}

// checkSequence is rules 4.2.3 to 4.2.7; e is nil for an unknown producer.
func (s *producerState) checkSequence(e *producerEntry, b *producerBatch) error {
	outOfOrder := func(expected int32) error {
		return fmt.Errorf("producer %d, epoch %d: sequence %d, but %d is next: %w",
			b.ProducerID, b.Epoch, b.BaseSequence, expected, kerr.OutOfOrderSequenceNumber)
	}
	if e == nil && b.Transactional && b.TxnV2 && b.BaseSequence != 0 {
		return outOfOrder(0)
	}
	if lowest, ok := s.verifications.lowest(b.ProducerID); ok && b.BaseSequence > lowest {
		return outOfOrder(lowest)
	}
	switch {
	case e == nil: // expired, or new here: any sequence (rule 4.2.6)
		return nil
	case b.Epoch > e.epoch:
		if b.BaseSequence != 0 {
			return outOfOrder(0)
		}
	case !inSequence(e.lastSeq(), b.BaseSequence):
		if e.nBatches == 0 {
			return outOfOrder(0)
		}
		return outOfOrder(record.AddSequence(e.lastSeq(), 1))
	}
	return nil
}

// checkMarker is rule 5.7.3; e is nil for an unknown producer.
func (s *producerState) checkMarker(e *producerEntry, b *producerBatch) error {
	if e == nil || b.Marker == noMarker {
		return nil
	}
	if b.Epoch < e.epoch || b.TxnV2 && b.Epoch == e.epoch && e.txnFirstOffset >= 0 {
		return fmt.Errorf("producer %d: a marker with epoch %d, but %d has been seen: %w",
			b.ProducerID, b.Epoch, e.epoch, kerr.InvalidProducerEpoch)
	}
	if b.CoordinatorEpoch < e.coordinatorEpoch {
		return fmt.Errorf("producer %d: a marker of coordinator epoch %d, but %d has been seen: %w",
			b.ProducerID, b.CoordinatorEpoch, e.coordinatorEpoch, kerr.TransactionCoordinatorFenced)
	}
	return nil
}
