package log

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/kbroker/kbroker/log/record"
)

// TruncateTo cuts the log at offset: batches that end at or above it go, whole batches only (rule 3.8.1). With an
// offset at or above the end nothing is cut, and epochs that start above the end are forgotten; with one below the first
// segment, the log starts anew at offset. Meanwhile appends are refused. It waits for the disk, and for room on a full one.
//
// What DurableEnd promised is lowered on the disk first, so that a crash in between is no loss of data.
func (l *Log) TruncateTo(offset int64) error {
	l.token <- struct{}{}
	defer func() { <-l.token }()
	if l.End().Offset <= offset {
		l.epochs.TruncateFromEnd(offset)
		l.resetLastEpoch()
		return nil
	}
	return l.cut(func() error {
		segs := l.segmentList()
		i := floorSegment(segs, offset)
		if i < 0 {
			return l.promiseLessAnd(0, func() error { return l.restartAt(offset) })
		}
		var place Position
		err := l.dir.untilRoom(l.tp, func() (err error) {
			place, err = l.cutPlace(segs[i], offset)
			return err
		})
		if err != nil {
			return err
		}
		return l.promiseLessAnd(place.Offset, func() error { return l.truncateTo(segs[:i+1], place) })
	})
}

// TruncateFullyAndStartAt empties the log and lets it start at offset, which a follower does whose end lies below the
// leader's log start (rule 3.8.3). Meanwhile appends are refused. It waits as TruncateTo does.
func (l *Log) TruncateFullyAndStartAt(offset int64) error {
	l.token <- struct{}{}
	defer func() { <-l.token }()
	return l.cut(func() error {
		return l.promiseLessAnd(0, func() error { return l.restartAt(offset) })
	})
}

// cut runs fn, which cuts files, while appends are refused, and syncs what is left before they go on: what was cut must
// not come back behind them. The token is held.
func (l *Log) cut(fn func() error) error {
	if err := l.beginCut(); err != nil {
		return err
	}
	start := l.start.Load()
	err := fn()
	if err == nil {
		l.dir.committer.add(l)
		err = l.dir.untilRoom(l.tp, l.dir.committer.barrier)
	}
	if err == nil && l.start.Load() < start {
		err = l.dir.untilRoom(l.tp, func() error { return l.dir.keeper.lowerStart(l) })
	}
	if end := l.End().Offset; err == nil && l.cleaned.Load() > end { // what is appended now is dirty (rule 3.10.10)
		l.cleaned.Store(end)
		err = l.dir.keeper.writeCleaned(l)
	}
	l.mu.Lock()
	l.cutting = false
	if err == nil {
		l.durable = l.end
	}
	l.mu.Unlock()
	l.dir.committer.add(l) // if nothing was cut after all, everything is durable as before
	l.m.changed(l)
	return err
}

// beginCut has appends refused, after what is queued is written.
func (l *Log) beginCut() error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.lockQuiet(); err != nil {
		return err
	}
	defer l.mu.Unlock()
	if l.closed != nil {
		return l.closed
	}
	l.cuts++
	l.cutting = true
	return nil
}

// promiseLessAnd cuts files with fn so that the log ends at offset, after it has promised no more than that.
func (l *Log) promiseLessAnd(offset int64, fn func() error) error {
	err := l.dir.untilRoom(l.tp, func() error { return l.promiseLess(offset) })
	if err != nil {
		return err
	}
	// What fn does it can do again, so that it goes on where a full disk stopped it.
	if err := l.dir.untilRoom(l.tp, fn); err != nil {
		return l.dir.fail(fmt.Errorf("truncate %s to %d: %w", l.tp, offset, err))
	}
	return nil
}

// roomPoll is how often somebody who waits for room looks again; the keeper looks as often whether there is some.
const roomPoll = 50 * time.Millisecond

// untilRoom calls fn, and again while the disk is full or the process has no descriptor left. A truncation that has begun
// has to be completed: the log's files say neither what it was nor what it is to be. It waits, for as long as the keeper
// runs: no lock may be held. The log's token may.
func (d *Dir) untilRoom(tp TopicPartition, fn func() error) error {
	for {
		err := fn()
		if !isNoSpace(err) && !isTooManyFiles(err) || d.State() == DirFailed {
			return err
		}
		_ = d.writeFailed(tp, err)
		d.keeper.poke()
		select {
		case <-time.After(roomPoll):
		case <-d.keeper.quit:
			return fmt.Errorf("%w: %w", errStopped, err)
		}
	}
}

// promiseLess lowers the log's durable mark and recovery point to offset, on the disk too.
func (l *Log) promiseLess(offset int64) error {
	l.mu.Lock()
	l.durable = lowerTo(l.durable, offset)
	l.checkpoint.recovery = At(min(l.checkpoint.recovery.Offset, offset))
	l.mu.Unlock()
	l.dir.keeper.note(l.tp, min(offset, l.DurableEnd().Offset))
	return l.dir.committer.do(func() {
		l.dir.marks.lower(l.dir.marks.slot(l.key()), offset)
	}, true)
}

// lowerTo returns p, or offset if that is lower.
func lowerTo(p Position, offset int64) Position {
	if p.Offset <= offset {
		return p
	}
	return At(offset)
}

// truncateTo leaves the segments kept, the last of them cut at place.
func (l *Log) truncateTo(kept []*segment, place Position) error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.m.removeSegments(l.segmentList()[len(kept):]); err != nil {
		return err
	}
	kept = slices.Clone(kept)
	seg := kept[len(kept)-1]
	if err := l.cutFile(seg, place); err != nil {
		return err
	}
	t, err := l.tailAfterCut(seg, place)
	if err != nil {
		return err
	}
	if err := l.dropSnapshotsAbove(t.next); err != nil {
		return err
	}
	producers, err := l.producersAt(kept, t.end())
	if err != nil {
		return err
	}
	l.afterCut(kept, t, producers)
	return nil
}

// cutPlace finds where to cut seg: the first batch that ends at or above offset, whose start is also the log's new end
// if it lies below offset.
func (l *Log) cutPlace(seg *segment, offset int64) (Position, error) {
	file, err := l.m.files.acquire(seg)
	if err != nil {
		return Position{}, err
	}
	defer file.release()
	at := Position{Offset: offset, SegmentBase: seg.base, Bytes: seg.size.Load()}
	place, err := l.locateIn(seg, file, offset, at.Bytes)
	if err == io.EOF {
		return at, nil
	}
	if err != nil {
		return Position{}, err
	}
	at.Bytes, at.Offset = place.position, min(offset, place.base)
	return at, nil
}

// tailAfterCut cuts the segment's indexes and returns the tail at place. The batches behind the last index entry are
// looked at again: one of them may have the largest timestamp.
func (l *Log) tailAfterCut(seg *segment, place Position) (tail, error) {
	t, err := seg.tailAt(place, time.Now().UnixMilli())
	if err != nil || place.Bytes == 0 {
		return t, err
	}
	t.size, t.unindexed = t.size-t.unindexed, 0
	interval := int64(l.cfg.Load().IndexIntervalBytes)
	err = l.m.scanHeaders(seg.path(logSuffix), t.size, place.Bytes, func(b record.Batch, _ int64, _ *headerScan) error {
		t.add(int64(b.Size()), b.LastOffset(), b.MaxTimestamp(), interval)
		return nil
	})
	t.next = place.Offset
	return t, err
}

// producersAt makes the producer state at the end of segs anew: the newest snapshot and what was appended since (rule
// 3.8.2).
func (l *Log) producersAt(segs []*segment, end Position) (*producerState, error) {
	now := time.Now().UnixMilli()
	s := newProducerState(producerLimits(l.cfg.Load()))
	first := len(segs) - 1
	for ; first >= 0; first-- {
		entries, ok, err := l.findSnapshot(segs[first].base)
		if err != nil {
			return nil, err
		}
		if ok {
			s.load(entries, now)
			break
		}
	}
	for i := max(first, 0); i < len(segs); i++ {
		size := segs[i].size.Load()
		if i == len(segs)-1 {
			size = end.Bytes
		}
		err := l.m.scanHeaders(segs[i].path(logSuffix), 0, size, func(b record.Batch, position int64, scan *headerScan) error {
			_, _, err := replayProducer(s, b, position, scan, now)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// findSnapshot returns the producer snapshot at offset, from the disk or from a roll that is not checkpointed yet.
func (l *Log) findSnapshot(offset int64) (entries []SnapshotEntry, ok bool, err error) {
	l.mu.Lock()
	for _, s := range l.checkpoint.snapshots {
		if s.offset == offset {
			entries, ok = s.entries, true
		}
	}
	l.mu.Unlock()
	if ok {
		return entries, true, nil
	}
	entries, err = ReadSnapshot(l.m.fs, segmentPath(l.path, offset, snapshotSuffix))
	if isNotExist(err) || errors.Is(err, ErrCorrupt) {
		return nil, false, nil
	}
	return entries, err == nil, err
}

func (l *Log) cutFile(seg *segment, at Position) error {
	file, err := l.m.files.acquire(seg)
	if err != nil {
		return err
	}
	defer file.release()
	return file.Truncate(at.Bytes)
}

// afterCut makes segs the log, which ends at t; appendMu is held.
func (l *Log) afterCut(segs []*segment, t tail, producers *producerState) {
	seg := segs[len(segs)-1]
	l.mu.Lock()
	defer l.mu.Unlock()
	seg.size.Store(t.size)
	seg.unsynced.Store(true)
	seg.largest.Store(nil)
	l.segments.Store(&segs)
	l.written, l.staged, l.end = t, t, t.end()
	l.rewritten.Store(min(l.rewritten.Load(), t.base)) // positions in this segment are good from now on
	l.start.Store(min(l.start.Load(), t.next))
	l.producers = producers
	l.unstable = At(-1)
	l.recent.reset()
	l.names.segment = true // the names of what was removed
	l.checkpoint.snapshots = slices.DeleteFunc(l.checkpoint.snapshots, func(s pendingSnapshot) bool { return s.offset > t.next })
	if l.snapshotAt > t.next {
		l.snapshotAt = -1
	}
	l.epochs.TruncateFromEnd(t.next)
	l.lastEpoch = -1
	if e, ok := l.epochs.Latest(); ok {
		l.lastEpoch = e.Epoch
	}
}

func (l *Log) resetLastEpoch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastEpoch = -1
	if e, ok := l.epochs.Latest(); ok {
		l.lastEpoch = e.Epoch
	}
}

// restartAt empties the log and lets it start at offset; nothing is queued. The new, empty segment is what remembers the
// offset. Nothing is durable before the next round of the Committer.
func (l *Log) restartAt(offset int64) error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.m.removeSegments(l.segmentList()); err != nil {
		return err
	}
	if err := l.dropSnapshotsAbove(-1); err != nil {
		return err
	}
	l.mu.Lock()
	l.segments.Store(nil)
	l.rewritten.Store(0)
	l.begin(offset)
	l.durable, l.checkpoint.recovery = At(0), At(0)
	l.producers.reset()
	l.unstable = At(-1)
	l.checkpoint.snapshots, l.snapshotAt = nil, -1
	l.epochs.Clear()
	l.lastEpoch = -1
	l.mu.Unlock()
	return l.createFirst(time.Now().UnixMilli(), l.cfg.Load())
}

// dropSnapshotsAbove removes the producer snapshots above offset.
func (l *Log) dropSnapshotsAbove(offset int64) error {
	entries, err := l.m.fs.ReadDir(l.path)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), snapshotSuffix)
		if at, err := parseSegmentBase(digits); ok && err == nil && at > offset {
			errs = append(errs, l.m.fs.Remove(path.Join(l.path, e.Name())))
		}
	}
	return errors.Join(errs...)
}
