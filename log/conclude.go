package log

import (
	"fmt"
)

// conclude makes what was found the log's content: a torn tail is cut, what is kept is synced, and only then the end is
// durable. Lost data is reported, and nothing on the disk changes.
func (r *recovery) conclude(l *Log, p *plan, found findings) error {
	segs := l.segmentList()
	end := found.t.end()
	if end.Offset < p.promised && (p.marked || found.cause == nil) {
		reason := fmt.Sprintf("the log ends in %s at %d bytes", segs[found.i].path(logSuffix), found.t.size)
		if found.cause != nil {
			reason = found.cause.Error()
		}
		l.loss = &Loss{Offset: end.Offset, Promised: p.promised, Reason: reason}
		r.m.logger.Error("a log has lost acknowledged records: it can be read up to there, and takes no appends", "log", l.tp.String(), "loss", l.loss.String())
		l.dir.marks.set(l.dir.marks.slot(l.key()), p.promised) // Kafka's promise is ours from now on
	} else if err := r.cutTorn(l, segs, &found); err != nil {
		return err
	}
	kept := segs[:found.i+1]
	l.segments.Store(&kept)
	segs[found.i].size.Store(found.t.size)
	l.written, l.staged, l.end = found.t, found.t, end
	l.durable = end
	l.epochs.TruncateFromEnd(end.Offset + 1)
	l.epochs.TruncateFromStart(l.start.Load())
	if e, ok := l.epochs.Latest(); ok {
		l.lastEpoch = e.Epoch
	}
	l.checkpoint.recovery, l.snapshotAt = p.at, p.snapshot
	if l.loss != nil || p.proven && end == p.at && found.cause == nil {
		return nil
	}
	if err := r.settle(l, p, &found); err != nil && !r.putOff(err) {
		return err
	}
	if r.noRoom != nil {
		r.leaveUnsettled(l, p, &found)
	}
	return nil
}

// leaveUnsettled opens a log for which the disk has no room: what is kept is served, is durable as far as it was promised,
// and has to be synced and checkpointed as if it was appended now.
func (r *recovery) leaveUnsettled(l *Log, p *plan, found *findings) {
	_ = l.dir.writeFailed(l.tp, r.noRoom)
	for _, s := range l.segmentList()[p.i:] {
		s.unsynced.Store(true)
		s.indexDirty.Store(true)
	}
	l.durable = lowerTo(l.end, min(p.promised, l.end.Offset))
	l.names = unsyncedNames{segment: true, directory: true}
	l.checkpoint.snapshots = found.snapshots
	l.snapshotAt, l.checkpoint.recovery = p.snapshot, p.at
}

// cutTorn removes what follows the first bad batch (rule 3.9.2).
func (r *recovery) cutTorn(l *Log, segs []*segment, found *findings) error {
	if found.cause == nil {
		return nil
	}
	s := segs[found.i]
	r.m.logger.Warn("the end of a log is torn and is cut: it was not acknowledged", "log", l.tp.String(),
		"end", found.t.next, "bytes", s.size.Load()-found.t.size, "later_segments", len(segs)-1-found.i, "cause", found.cause)
	if err := r.m.removeSegments(segs[found.i+1:]); err != nil {
		return err
	}
	file, err := r.m.files.acquire(s)
	if err != nil {
		return err
	}
	defer file.release()
	return file.Truncate(found.t.size)
}

// settle syncs what recovery kept and made, and moves the recovery point to the log's end, so that the next one has
// nothing to read.
func (r *recovery) settle(l *Log, p *plan, found *findings) error {
	if err := l.dropSnapshotsAbove(p.at.Offset); err != nil {
		return err
	}
	for _, s := range l.segmentList()[p.i:] {
		file, err := r.m.files.acquire(s)
		if err != nil {
			return err
		}
		err = file.Sync()
		file.release()
		if err == nil {
			err = s.flushIndexes()
		}
		if err == nil {
			err = s.syncIndexes()
		}
		if err != nil {
			return err
		}
	}
	for _, s := range append(found.snapshots, pendingSnapshot{l.end.Offset, l.producers.snapshot()}) {
		if err := writeSnapshot(r.m.fs, segmentPath(l.path, s.offset, snapshotSuffix), s.entries); err != nil {
			return err
		}
	}
	if err := l.epochs.Persist(r.m.fs, l.path); err != nil {
		return err
	}
	if err := r.settleNames(l); err != nil {
		return err
	}
	l.snapshotAt, l.checkpoint.recovery = l.end.Offset, l.end
	slot := l.dir.marks.slot(l.key())
	l.dir.marks.set(slot, l.end.Offset)
	l.dir.marks.setRecovery(slot, l.end)
	l.dir.keeper.note(l.tp, l.end.Offset)
	return nil
}
