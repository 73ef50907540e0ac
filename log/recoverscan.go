package log

import (
	"errors"
	"fmt"
	"io"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/record"
)

// findings are what verify found.
type findings struct {
	t     tail
	i     int   // number of the segment in which the log ends
	read  int64 // bytes of log files that were read
	cause error // why the log ends before its files do; nil: it does not
	// snapshots are the producer states at the starts of the segments that were read.
	snapshots []pendingSnapshot
}

// verify reads the log from p.at on up to its end or the first bad batch, and makes indexes, producer state and epochs
// anew from there on.
func (r *recovery) verify(l *Log, p *plan) (findings, error) {
	segs := l.segmentList()
	for _, s := range segs[:p.i] {
		if !s.broken.Load() {
			continue
		}
		err := l.rebuildIndexes(s)
		if errors.Is(err, ErrCorrupt) { // the log file itself; readers come to it when they come to it
			r.m.logger.Error("a segment is damaged below the recovery point", "segment", s.path(logSuffix), "error", err)
			s.broken.Store(true)
		} else if err != nil && !r.putOff(err) {
			return findings{}, err
		}
	}
	if _, ok := l.epochs.Latest(); !ok && p.at.Offset > segs[0].base {
		r.epochsLost = true // the file is missing
	}
	if r.epochsLost {
		if err := r.rereadEpochs(l, p); err != nil {
			return findings{}, err
		}
	}
	l.producers.load(p.entries, r.now)
	found := findings{i: p.i}
	for i := p.i; i < len(segs); i++ {
		s := segs[i]
		if i > p.i {
			// Only kbroker's segments follow one another without a hole, unless they are compacted. They never overlap.
			if l.dir.meta.Format > 0 && s.base != found.t.next && (!l.cfg.Load().Compact || s.base < found.t.next) {
				found.cause = fmt.Errorf("the segment after offset %d begins at %d", found.t.next-1, s.base)
				return found, nil
			}
			segs[i-1].finish(&found.t)
			if err := segs[i-1].sealIndexes(); err != nil && !r.putOff(err) {
				return found, err
			}
			found.snapshots = append(found.snapshots, pendingSnapshot{s.base, l.producers.snapshot()})
		}
		at := Position{Offset: s.base, SegmentBase: s.base}
		if i == p.i {
			at = p.at
		}
		t, err := s.tailAt(at, r.now)
		if err != nil {
			return found, err
		}
		found.i, found.t = i, t
		if err := r.verifySegment(l, s, &found); err != nil || found.cause != nil {
			return found, err
		}
	}
	return found, nil
}

// tailAt cuts the segment's indexes to what lies below at, and returns the tail there.
func (s *segment) tailAt(at Position, now int64) (tail, error) {
	t := newTail(s.base, now)
	t.next = at.Offset
	if at.Bytes == 0 {
		s.broken.Store(false)
		return t, errors.Join(s.index.reset(), s.times.reset(), s.txns.reset())
	}
	if err := errors.Join(s.index.truncateTo(at.Offset), s.times.truncateTo(at.Offset), s.txns.truncateTo(at.Offset)); err != nil {
		return t, err
	}
	return s.tailOf(t, at)
}

// tailOf fills in what the indexes say of a tail at a position above 0.
func (s *segment) tailOf(t tail, at Position) (tail, error) {
	index, err := s.index.lastEntry()
	if err != nil {
		return t, err
	}
	times, _, err := s.times.lastEntry()
	if err != nil {
		return t, err
	}
	t.size = at.Bytes
	t.unindexed = at.Bytes - index.Position
	t.entries, t.timeEntries = s.index.count(), s.times.count()
	t.timeIndexed, t.maxTimestamp, t.maxTimestampAt = times.Timestamp, times.Timestamp, times.Offset
	t.firstTimestamp = unreadTimestamp
	return t, nil
}

// verifySegment verifies the batches of one segment from found.t on.
func (r *recovery) verifySegment(l *Log, s *segment, found *findings) error {
	size := s.size.Load()
	if size <= found.t.size {
		return nil
	}
	r.m.progress.bytes.Add(size - found.t.size)
	file, err := r.m.fs.OpenDirect(s.path(logSuffix))
	if err != nil {
		return err
	}
	defer file.Close()
	if r.buf == nil {
		r.buf = vfs.AlignedBuffer(verifyBytes)
	}
	v := &verifier{seg: s, file: file, size: size, pos: found.t.size, next: found.t.next, buf: r.buf, read: func(n int64) {
		found.read += n
		r.m.progress.bytesDone.Add(n)
	}}
	interval := int64(l.cfg.Load().IndexIntervalBytes)
	for {
		b, whole, err := v.batch()
		if err == io.EOF {
			return nil
		}
		if errors.Is(err, errDamaged) {
			found.cause = fmt.Errorf("%s, position %d: %w", s.path(logSuffix), found.t.size, err)
			return nil
		}
		if err != nil {
			return err
		}
		r.replay(l, s, b, whole, found, interval)
	}
}

// replay takes a verified batch into the log's state, as if it was appended now.
func (r *recovery) replay(l *Log, s *segment, b record.Batch, whole bool, found *findings, interval int64) {
	info := b.Info()
	position := found.t.size
	if found.t.add(int64(info.Size), b.LastOffset(), info.MaxTimestamp, interval) {
		s.addEntries(&found.t, b.LastOffset(), position)
	}
	fitEpoch(l.epochs, b.PartitionLeaderEpoch(), b.BaseOffset())
	pb := newProducerBatch(&info)
	if info.Control && whole {
		var err error
		if pb.Marker, pb.CoordinatorEpoch, err = markerOf(b); err != nil {
			r.m.logger.Warn("a control batch can't be read", "log", l.tp.String(), "error", err)
		}
	}
	var undo producerUndo
	if txn, aborted := l.producers.update(&pb, b.BaseOffset(), r.now, &undo); aborted {
		s.txns.append(txn)
		s.indexDirty.Store(true)
	}
}

// fitEpoch makes the cache agree with a batch. Entries that no batch contradicts are kept: the data of an epoch may have
// been compacted away, or a leader may have written nothing yet.
func fitEpoch(c *EpochCache, epoch int32, offset int64) {
	if epoch < 0 { // unknown, and no contradiction
		return
	}
	if known, ok := c.EpochFor(offset); ok && known == epoch {
		return
	}
	for {
		e, ok := c.Latest()
		if !ok || e.Epoch <= epoch {
			break
		}
		c.TruncateFromEnd(e.StartOffset)
	}
	c.Assign(epoch, offset)
}
