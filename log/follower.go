package log

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/log/record"
)

// FollowerAppend says what AppendAsFollower appended.
type FollowerAppend struct {
	FirstOffset  int64 // base offset of the first batch, -1: nothing was appended
	LastOffset   int64 // of the last batch, -1: nothing was appended
	Batches      int
	Bytes        int64
	MaxTimestamp int64 // -1: none
}

// AppendAsFollower appends batches as a leader sent them, byte for byte (rule 2.5.6): their lengths, checksums and the
// order of their offsets are checked, sequences are not (rule 4.3.1). A batch that the end of the bytes cuts is left
// out. Whatever the result says is in the log, even beside an error, which wraps kerr.CorruptMessage for bad bytes and
// kerr.OffsetOutOfRange when the first batch begins below the log's end.
//
// There may be no Stage or Flush at the same time: a replica is a leader or a follower.
func (l *Log) AppendAsFollower(batches []byte) (FollowerAppend, error) {
	res := FollowerAppend{FirstOffset: -1, LastOffset: -1, MaxTimestamp: noTimestamp}
	whole, err := checkFollowerBatches(batches)
	if err != nil {
		return res, fmt.Errorf("append to %s as a follower: %w", l.tp, err)
	}
	if len(whole) == 0 {
		return res, nil
	}
	defer l.wrote()
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.admitFollower(record.Batch(whole)); err != nil {
		return res, err
	}
	cfg, now := l.cfg.Load(), time.Now().UnixMilli()
	for len(whole) > 0 {
		// One write for all batches that go into the same segment.
		b := record.Batch(whole)
		if err := l.extendTo(b, now, cfg); err != nil {
			return res, err
		}
		n := l.fits(whole, now, cfg)
		if err := l.write([][]byte{whole[:n]}); err != nil {
			return res, l.failWrite(err)
		}
		l.publishedVerbatim(whole[:n], now, cfg, &res)
		whole = whole[n:]
	}
	return res, nil
}

// checkFollowerBatches verifies the batches and returns them without a cut one at the end.
func checkFollowerBatches(batches []byte) ([]byte, error) {
	next := int64(-1)
	rest := batches
	for len(rest) > 0 {
		b, r, err := record.Next(rest)
		if errors.Is(err, record.ErrIncomplete) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", err, kerr.CorruptMessage)
		}
		if !b.VerifyCRC() {
			return nil, fmt.Errorf("the batch at offset %d has CRC %08x, its bytes have %08x: %w", b.BaseOffset(), b.CRC(), b.ComputeCRC(), kerr.CorruptMessage)
		}
		if b.BaseOffset() < next || b.LastOffsetDelta() < 0 {
			return nil, fmt.Errorf("a batch with offsets %d to %d follows offset %d: %w", b.BaseOffset(), b.LastOffset(), next-1, kerr.CorruptMessage)
		}
		next, rest = b.LastOffset()+1, r
	}
	return batches[:len(batches)-len(rest)], nil
}

// admitFollower refuses an append that does not continue the log; appendMu is held.
func (l *Log) admitFollower(first record.Batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed != nil:
		return l.closed
	case l.cutting || l.pending.head != nil:
		return fmt.Errorf("append to %s as a follower: the log is being truncated or written by a leader: %w", l.tp, kerr.NotLeaderForPartition)
	case l.loss != nil:
		return l.loss.refuse(l.tp)
	case first.BaseOffset() < l.written.next:
		return fmt.Errorf("append to %s as a follower: offset %d, but the log ends at %d: %w", l.tp, first.BaseOffset(), l.written.next, kerr.OffsetOutOfRange)
	}
	return l.dir.admit(OriginReplication)
}

// extendTo gets the active segment ready for the batch b, whose offsets are given.
func (l *Log) extendTo(b record.Batch, now int64, cfg *Config) error {
	return l.extend(int64(b.Size()), b.LastOffset()-l.written.next, b.MaxTimestamp(), now, cfg)
}

// fits returns how many bytes of batches, the first one at least, go into the active segment.
func (l *Log) fits(batches []byte, now int64, cfg *Config) int {
	t, interval := l.written, int64(cfg.IndexIntervalBytes)
	n := 0
	for n < len(batches) {
		b := record.Batch(batches[n:])
		if n > 0 && t.mustRoll(cfg, int64(b.Size()), b.LastOffset(), b.MaxTimestamp(), now, l.jitter) {
			break
		}
		t.add(int64(b.Size()), b.LastOffset(), b.MaxTimestamp(), interval)
		n += b.Size()
	}
	return n
}

// publishedVerbatim makes batches that are in the file visible; appendMu is held.
func (l *Log) publishedVerbatim(batches []byte, now int64, cfg *Config, res *FollowerAppend) {
	seg, t, interval := l.active(), l.written, int64(cfg.IndexIntervalBytes)
	l.mu.Lock()
	var undo producerUndo
	for rest := batches; len(rest) > 0; {
		b := record.Batch(rest)
		rest = rest[b.Size():]
		info := b.Info()
		position := t.size
		if t.add(int64(info.Size), b.LastOffset(), info.MaxTimestamp, interval) {
			seg.addEntries(&t, b.LastOffset(), position)
		}
		pb := newProducerBatch(&info)
		if info.Control {
			var err error
			if pb.Marker, pb.CoordinatorEpoch, err = markerOf(b[:info.Size]); err != nil {
				l.m.logger.Warn("a control batch can't be read", "log", l.tp.String(), "error", err)
			}
		}
		if txn, aborted := l.producers.update(&pb, b.BaseOffset(), now, &undo); aborted {
			seg.txns.append(txn)
			seg.indexDirty.Store(true)
		}
		l.recent.add(b.BaseOffset(), b.LastOffset(), position)
		if epoch := b.PartitionLeaderEpoch(); epoch > l.lastEpoch {
			l.assignEpoch(epoch, b.BaseOffset())
		}
		l.flush.add(&info, now)
		res.note(&info, b.BaseOffset())
	}
	l.publish(seg, t)
	l.staged = t
	l.mu.Unlock()
	l.flushEntries(seg)
}

func (r *FollowerAppend) note(info *record.Info, base int64) {
	if r.FirstOffset < 0 {
		r.FirstOffset = base
	}
	r.LastOffset = base + int64(info.LastOffsetDelta)
	r.Batches++
	r.Bytes += int64(info.Size)
	r.MaxTimestamp = max(r.MaxTimestamp, info.MaxTimestamp)
}
