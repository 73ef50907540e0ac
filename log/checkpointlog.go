package log

import (
	"errors"
	"slices"
	"time"
)

// checkpointState is what a log's next checkpoint needs; guarded by Log.mu.
type checkpointState struct {
	recovery  Position          // recovery point: below, log, indexes, epochs and a producer snapshot are synced
	snapshots []pendingSnapshot // of rolls, not written yet
	since     time.Time         // when the keeper first saw the log ahead of its recovery point
}

// pendingSnapshot is the producer state at offset.
type pendingSnapshot struct {
	offset  int64
	entries []SnapshotEntry
}

// capture is a log's state at one moment, from which a checkpoint is made.
type capture struct {
	l         *Log
	at        Position
	snapshots []pendingSnapshot // those of rolls, and that of at
}

// captureTries bounds how often a checkpoint waits for a moment in which nothing is queued.
const captureTries = 16

// errBusy says that a log could not be captured now.
var errBusy = errors.New("the log is too busy")

// behind returns the bytes above the recovery point, whether it is time to move it, and false when there is nothing to
// do or the log is gone.
func (l *Log) behind(now time.Time) (distance int64, due, live bool) {
	segs := l.segmentList()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed != nil || len(segs) == 0 || l.loss != nil {
		return 0, false, false
	}
	at := l.checkpoint.recovery
	if at == l.end && len(l.checkpoint.snapshots) == 0 && !l.epochs.Dirty() {
		l.checkpoint.since = time.Time{}
		return 0, false, false
	}
	for i := len(segs) - 1; i >= 0 && segs[i].base >= at.SegmentBase; i-- {
		distance += segs[i].size.Load()
		if segs[i].base == at.SegmentBase {
			distance -= at.Bytes
		}
	}
	if l.checkpoint.since.IsZero() {
		l.checkpoint.since = now
	}
	due = len(l.checkpoint.snapshots) > 0 || now.Sub(l.checkpoint.since) >= maxCheckpointAge
	return distance, due, true
}

// capture notes the log's end with the producer state there, and writes the index entries below it. With a reason in
// closing the log takes nothing any more from that moment on. The token is held.
func (l *Log) capture(closing error) (capture, error) {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.lockQuiet(); err != nil {
		return capture{}, err
	}
	seg := l.active()
	if l.closed != nil || seg == nil {
		l.mu.Unlock()
		return capture{}, errStopped
	}
	c := capture{l: l, at: l.end, snapshots: slices.Clone(l.checkpoint.snapshots)}
	c.snapshots = append(c.snapshots, pendingSnapshot{l.end.Offset, l.producers.snapshot()})
	// A time index entry for the largest timestamp so far: recovery starts from here and does not see older batches.
	if l.written.timeEntries < l.timeCapacity() {
		seg.finish(&l.written)
		l.staged = l.written
	}
	l.closed = closing
	l.mu.Unlock()
	return c, seg.flushIndexes()
}

// lockQuiet writes what is queued until nothing is, and returns with mu locked unless there is an error; appendMu is
// held.
func (l *Log) lockQuiet() error {
	for range captureTries {
		l.mu.Lock()
		if l.pending.head == nil {
			return nil
		}
		target := l.stagedSeq
		l.mu.Unlock()
		if err := l.writePending(target); err != nil {
			return err
		}
	}
	return errBusy
}

// timeCapacity is the number of time index entries that leaves the slot for the one at the end (rule 3.2.5).
func (l *Log) timeCapacity() int64 {
	return int64(l.cfg.Load().SegmentIndexBytes)/timeEntryBytes - 1
}

// finishCheckpoint makes durable what recovery from c.at needs, and moves the recovery point, in memory: the marks are
// written later. It reports false when the log is not durable up to there. The token is held, no lock is.
func (l *Log) finishCheckpoint(c *capture) (bool, error) {
	l.mu.Lock()
	durable, from, old := l.durable.Offset, l.checkpoint.recovery, l.snapshotAt
	l.mu.Unlock()
	if durable < c.at.Offset {
		return false, nil
	}
	for _, s := range l.segmentList() {
		if s.base < from.SegmentBase || !s.indexDirty.Load() {
			continue
		}
		if s.base != c.at.SegmentBase { // the active one was flushed by capture
			l.appendMu.Lock()
			err := s.sealIndexes()
			l.appendMu.Unlock()
			if err != nil {
				return false, err
			}
		}
		if err := s.syncIndexes(); isTooManyFiles(err) { // nothing was synced yet
			return false, err
		} else if err != nil {
			return false, l.dir.fail(err) // also when the disk is full: a second sync would succeed without the entries
		}
		if s.base != c.at.SegmentBase {
			l.m.files.closeIdle(s)
		} else if !s.indexDirty.Load() {
			s.closeIndexes() // the next entries come with the next checkpoint, or in a while
		}
	}
	if err := l.epochs.Persist(l.m.fs, l.path); err != nil {
		return false, err
	}
	for _, s := range c.snapshots {
		if s.offset == old { // nothing was appended since
			continue
		}
		if err := writeSnapshot(l.m.fs, segmentPath(l.path, s.offset, snapshotSuffix), s.entries); err != nil {
			return false, err
		}
	}
	l.mu.Lock()
	l.snapshotAt = c.at.Offset
	l.checkpoint.recovery = c.at
	l.checkpoint.since = time.Time{}
	l.checkpoint.snapshots = slices.Delete(l.checkpoint.snapshots, 0, len(c.snapshots)-1)
	l.mu.Unlock()
	l.dir.marks.setRecovery(l.dir.marks.slot(l.key()), c.at)
	if old >= 0 && old != c.at.Offset {
		l.dir.keeper.stale.add(staleSnapshot{l, old})
	}
	return true, nil
}

// dropSnapshot removes the snapshot at offset unless it is the newest or belongs to a segment (rule 3.2.11).
func (l *Log) dropSnapshot(offset int64) error {
	segs := l.segmentList()
	i := floorSegment(segs, offset)
	if offset < 0 || offset == l.snapshotAt || i >= 0 && segs[i].base == offset {
		return nil
	}
	err := l.m.fs.Remove(segmentPath(l.path, offset, snapshotSuffix))
	if isNotExist(err) {
		return nil
	}
	return err
}
