package log

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/log/record"
)

// Append is one validated batch on its way into a Log. The caller owns it (it may be pooled; Reset it between uses) and
// keeps the batch's bytes alive until Flush has returned.
type Append struct {
	Batch record.Batch
	Info  record.Info
	// LeaderEpoch is the epoch in which the caller believes to lead; the log refuses one older than its own.
	LeaderEpoch int32
	Origin      Origin
	// Now is the broker's time in milliseconds when the batch was received; 0 asks the clock.
	Now int64
	// TxnV2, VerifyTxn and Guard are those of a transactional batch (rule 5.5).
	TxnV2, VerifyTxn bool
	Guard            TxnGuard

	// Set by Stage. For a duplicate they are those of the batch that was appended before (rule 4.2.1).
	BaseOffset, LastOffset int64
	AppendTime             int64 // log_append_time of the response in ms, -1 with CreateTime
	LogStartOffset         int64
	Duplicate              bool

	// Err is set by the Flush that wrote, or could not write, the batch. It is to be read after Flush.
	Err error

	next      *Append // in the log's queue
	undo      producerUndo
	abortedAt AbortedTxn
	aborted   bool
}

// Reset makes a ready for another batch and lets go of this one's bytes.
func (a *Append) Reset() { *a = Append{} }

// appendQueue is an intrusive list of appends in the order of their offsets.
type appendQueue struct{ head, tail *Append }

func (q *appendQueue) push(a *Append) {
	a.next = nil
	if q.tail == nil {
		q.head = a
	} else {
		q.tail.next = a
	}
	q.tail = a
}

// take removes appends from the front until their batches have more than bound bytes, one at least.
func (q *appendQueue) take(bound int64) (first *Append, n int) {
	first = q.head
	var last *Append
	for a := q.head; a != nil; a = a.next {
		if !a.Duplicate {
			bound -= int64(a.Info.Size)
		}
		if last != nil && bound < 0 {
			break
		}
		last = a
		n++
	}
	if last == nil {
		return nil, 0
	}
	if q.head = last.next; q.head == nil {
		q.tail = nil
	}
	last.next = nil
	return first, n
}

// Stage gives the batch its offsets, patches them and the leader epoch into its bytes (rule 2.5.1) and queues it for the
// next Flush, all under the log's mutex and in memory: the order of Stage calls is the order of offsets. The exception
// is a batch that needs a new segment: then what is queued is written and the segment made first, under the append lock.
//
// An error means that nothing was queued. It wraps the kerr value for the client.
func (l *Log) Stage(a *Append) error {
	if a.Now == 0 {
		a.Now = time.Now().UnixMilli()
	}
	cfg := l.cfg.Load()
	pb, err := a.producerBatch()
	if err != nil {
		return fmt.Errorf("append to %s: %w", l.tp, err)
	}
	l.mu.Lock()
	for !l.roomFor(a, cfg) {
		if err := l.admit(a, cfg); err != nil {
			l.mu.Unlock()
			return err
		}
		l.mu.Unlock()
		if err := l.makeRoom(a, cfg); err != nil {
			return err
		}
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	if err := l.admit(a, cfg); err != nil {
		return err
	}
	a.LogStartOffset = l.start.Load()
	if pb.ProducerID >= 0 {
		dup, duplicate, err := l.producers.check(&pb, a.Origin)
		if err != nil {
			return fmt.Errorf("append to %s: %w", l.tp, err)
		}
		if duplicate {
			l.answerDuplicate(a, &dup)
			return nil
		}
	}
	l.assign(a, &pb, int64(cfg.IndexIntervalBytes))
	return nil
}

// admit refuses what may not be appended to this log now, whatever the batch says; mu is held.
func (l *Log) admit(a *Append, cfg *Config) error {
	switch {
	case l.closed != nil:
		return l.closed
	case l.cutting:
		return fmt.Errorf("append to %s: the log is being truncated: %w", l.tp, kerr.NotLeaderForPartition)
	case a.LeaderEpoch < l.leaderEpoch:
		return fmt.Errorf("append to %s: leader epoch %d is older than %d: %w", l.tp, a.LeaderEpoch, l.leaderEpoch, kerr.NotLeaderForPartition)
	case a.Info.Size > cfg.SegmentBytes:
		return fmt.Errorf("append to %s: the batch of %d bytes is larger than segment.bytes=%d: %w", l.tp, a.Info.Size, cfg.SegmentBytes, kerr.RecordListTooLarge)
	case l.loss != nil:
		return l.loss.refuse(l.tp)
	}
	return l.dir.admit(a.Origin)
}

// roomFor reports whether the batch fits the active segment as it is planned; mu is held.
func (l *Log) roomFor(a *Append, cfg *Config) bool {
	t := &l.staged
	return !l.rolling && l.segments.Load() != nil && t.firstTimestamp != unreadTimestamp &&
		!t.mustRoll(cfg, int64(a.Info.Size), t.next+int64(a.Info.LastOffsetDelta), a.Info.MaxTimestamp, a.Now, l.jitter)
}

// answerDuplicate answers with the batch appended before; mu is held. If that one waits to be written, a waits with it:
// when its write fails, a has failed too.
func (l *Log) answerDuplicate(a *Append, dup *batchMeta) {
	a.Duplicate, a.Err = true, nil
	a.BaseOffset, a.LastOffset, a.AppendTime = dup.baseOffset(), dup.LastOffset, dup.Timestamp
	if dup.LastOffset >= l.written.next {
		l.stagedSeq++
		l.pending.push(a)
	}
}

// assign gives a its offsets and queues it; mu is held and it fits.
func (l *Log) assign(a *Append, pb *producerBatch, interval int64) {
	a.Duplicate, a.Err, a.aborted = false, nil, false
	a.BaseOffset = l.staged.next
	a.LastOffset = a.BaseOffset + int64(a.Info.LastOffsetDelta)
	a.AppendTime = a.Info.LogAppendTime
	a.Batch.SetBaseOffset(a.BaseOffset)
	a.Batch.SetPartitionLeaderEpoch(a.LeaderEpoch)
	a.undo.changed = false
	if pb.ProducerID >= 0 {
		a.abortedAt, a.aborted = l.producers.update(pb, a.BaseOffset, a.Now, &a.undo)
	}
	l.staged.add(int64(a.Info.Size), a.LastOffset, a.Info.MaxTimestamp, interval)
	l.stagedSeq++
	l.pending.push(a)
}

// producerBatch is what the producer state has to know of the batch.
func (a *Append) producerBatch() (producerBatch, error) {
	pb := newProducerBatch(&a.Info)
	pb.TxnV2, pb.VerifyTxn, pb.Guard = a.TxnV2, a.VerifyTxn, a.Guard
	if !a.Info.Control {
		return pb, nil
	}
	var err error
	pb.Marker, pb.CoordinatorEpoch, err = markerOf(a.Batch)
	return pb, err
}

func newProducerBatch(i *record.Info) producerBatch {
	return producerBatch{
		ProducerID: i.ProducerID, Epoch: i.ProducerEpoch, BaseSequence: i.BaseSequence, LastOffsetDelta: i.LastOffsetDelta,
		MaxTimestamp: i.MaxTimestamp, Transactional: i.Transactional, Control: i.Control,
	}
}

// markerOf returns what a control batch says of a transaction. Kinds that end none are kept and mean nothing here (rule
// 2.3.3), and so do control batches that compaction emptied.
func markerOf(b record.Batch) (markerType, int32, error) {
	m, ok, err := b.EndTxnMarker()
	switch {
	case err != nil || !ok:
		return noMarker, -1, err
	case m.Commit:
		return commitMarker, m.CoordinatorEpoch, nil
	default:
		return abortMarker, m.CoordinatorEpoch, nil
	}
}
