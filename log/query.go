package log

import (
	"time"
)

// EndOffsetForEpoch answers OffsetForLeaderEpoch (rule 6.8.2): the largest epoch ≤ epoch that the log knows, and the
// offset at which it ends; (-1, -1) when that is unknown.
func (l *Log) EndOffsetForEpoch(epoch int32) (int32, int64) {
	return l.epochs.EndOffsetFor(epoch, l.End().Offset)
}

// EpochForOffset returns the leader epoch of the record at offset, -1 when it is unknown (rule 6.7.3).
func (l *Log) EpochForOffset(offset int64) int32 {
	epoch, ok := l.epochs.EpochFor(offset)
	if !ok {
		return -1
	}
	return epoch
}

// LatestEpoch returns the newest leader epoch in the log's data or that it became leader in, and false when there is none: what
// a follower sends as the epoch of its last record.
func (l *Log) LatestEpoch() (EpochEntry, bool) { return l.epochs.Latest() }

// ActiveProducers appends what is known of each producer to dst (rule 5.11.3), in no order.
func (l *Log) ActiveProducers(dst []ProducerInfo) []ProducerInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.describe(dst)
}

// ExpireProducers forgets producers that were not seen for producer.id.expiration.ms, and returns how many (rule 4.4.1).
func (l *Log) ExpireProducers(now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.expire(now.UnixMilli())
}

// StartVerification returns the guard under which a transactional batch may be appended once its coordinator has
// confirmed the transaction, and false when it is open here already (rule 5.5.3).
func (l *Log) StartVerification(producerID int64, epoch int16, sequence int32, now time.Time) (TxnGuard, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.startVerification(producerID, epoch, sequence, now.UnixMilli())
}

// AbortedTransactions returns the aborted transactions that overlap the offsets [from, upper), in the order of their
// markers (rules 3.2.9, 5.8.3 and 5.8.5). Too many are harmless, too few are not: an index that can't be read is an
// error.
func (l *Log) AbortedTransactions(from, upper int64) ([]AbortedTxn, error) {
	for {
		seen := l.segments.Load()
		txns, err := l.abortedIn(l.segmentList(), from, upper)
		if err == nil {
			return txns, nil
		}
		if err = l.readFailed(err); err != errRetired {
			return nil, err
		}
		if !l.movedOn(seen, from) {
			return nil, l.goneMeanwhile(from)
		}
	}
}

func (l *Log) abortedIn(segs []*segment, from, upper int64) (txns []AbortedTxn, err error) {
	for i := max(floorSegment(segs, from), 0); i < len(segs); i++ {
		s := segs[i]
		if s.txns.count() == 0 { // the rule: nothing is opened
			continue
		}
		file, err := l.m.files.acquire(s)
		if err != nil {
			return nil, err
		}
		var done bool
		txns, done, err = s.txns.collect(txns, from, upper)
		file.release()
		if err != nil && s.retired.Load() {
			err = errRetired
		}
		if err != nil || done {
			return txns, err
		}
	}
	return txns, nil
}

// UpperBound returns an offset above all records in s, for the lookup of aborted transactions (rule 5.8.4): the one that the next
// index entry after s tells, or that of upper.
func (l *Log) UpperBound(s *Slice, upper Position) int64 {
	if s.seg == nil {
		return upper.Offset
	}
	if e, ok, err := s.seg.index.after(s.Off + s.N); err == nil && ok {
		return min(upper.Offset, e.Offset+1)
	}
	return upper.Offset
}
