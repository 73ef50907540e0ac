package log

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"
)

// recovery opens logs, one at a time; a worker of Load has one.
type recovery struct {
	m   *Manager
	buf []byte
	now int64

	epochsLost bool // of the log that is being opened: they have to be read from the batches
	// patient has a log opened although the disk has no room for what recovery writes: that stays in memory, and the first
	// checkpoint after there is room writes it. noRoom says that it came to that.
	patient bool
	noRoom  error
}

// putOff reports whether err, of a write, is to be lived with for now.
func (r *recovery) putOff(err error) bool {
	if !r.patient || !isNoSpace(err) {
		return false
	}
	r.noRoom = err
	return true
}

func newRecovery(m *Manager) *recovery {
	return &recovery{m: m, now: time.Now().UnixMilli()}
}

// plan says where recovery of a log begins, and with which producer state.
type plan struct {
	at       Position // everything below is taken as it is
	i        int      // number of the segment that holds it
	snapshot int64    // offset of the producer snapshot to start with, -1: none
	entries  []SnapshotEntry
	// promised is the offset below which everything was synced: what is missing there is lost, not torn. marked says
	// that a durable mark says so, and not only the recovery point of a log that Kafka wrote.
	promised int64
	marked   bool
	// proven says that at is the recovery point with its place: what lies below is on the disk, names included.
	proven bool
}

// open loads the log's files into l (rules 3.9.1 to 3.9.4). What lies above the recovery point is verified batch by
// batch; after a clean stop of kbroker that is nothing, and no log file is read.
func (r *recovery) open(l *Log) error {
	l.token <- struct{}{} // the keeper may come for a snapshot that is not needed any more
	defer func() { <-l.token }()
	r.noRoom = nil
	files, err := l.listFiles()
	if err != nil {
		return err
	}
	if err := r.openEpochs(l); err != nil {
		return err
	}
	mark, marked := l.dir.marks.read(l.key())
	if len(files.segments) == 0 {
		return r.openEmpty(l, mark)
	}
	segs, err := r.openSegments(l, files)
	if err != nil {
		return err
	}
	l.segments.Store(&segs)
	l.start.Store(max(l.dir.starts[l.tp], segs[0].base))
	p, err := r.plan(l, files, mark, marked)
	if err != nil {
		return err
	}
	found, err := r.verify(l, &p)
	if err != nil {
		return err
	}
	if err := r.conclude(l, &p, found); err != nil {
		return err
	}
	for _, offset := range files.snapshots {
		if l.loss != nil {
			break
		}
		if offset == p.snapshot { // of the marks on the disk, until they are written anew
			l.dir.keeper.stale.add(staleSnapshot{l, offset})
			continue
		}
		if err := l.dropSnapshot(offset); err != nil {
			return err
		}
	}
	if l.start.Load() <= l.end.Offset || l.loss != nil {
		return nil
	}
	r.m.logger.Warn("a log ends below its log start and starts anew there", "log", l.tp.String(), "end", l.end.Offset, "start", l.start.Load())
	return l.restartAt(l.start.Load()) // rule 3.9.3
}

// openEmpty is open for a log whose directory has no segment.
func (r *recovery) openEmpty(l *Log, v mark) error {
	l.begin(l.dir.starts[l.tp])
	err := r.settleNames(l) // segments that were truncated away must not come back
	if r.putOff(err) {
		err = r.m.fs.SyncDir(l.path)
	}
	if err != nil {
		return err
	}
	if v.end > l.start.Load() {
		l.loss = &Loss{Offset: l.start.Load(), Promised: v.end, Reason: "there is no segment in " + l.path}
		r.m.logger.Error("a log has lost acknowledged records", "log", l.tp.String(), "loss", l.loss.String())
	}
	return nil
}

// settleNames makes the log's directory and its topic id durable. The file is written anew and not only synced: after a
// sync that failed it may be in the page cache and never on the disk.
func (r *recovery) settleNames(l *Log) error {
	if err := WritePartitionMetadata(r.m.fs, l.path, l.topicID); err != nil {
		return err
	}
	return r.m.fs.SyncDir(path.Dir(l.path))
}

// openEpochs reads the leader epochs. Those of a damaged file are read from the batch headers of the whole log.
func (r *recovery) openEpochs(l *Log) error {
	r.epochsLost = false
	epochs, err := loadEpochs(r.m.fs, l.path)
	if errors.Is(err, ErrCorrupt) {
		r.m.logger.Warn("the leader epochs of a log are damaged and are read from its batches", "log", l.tp.String(), "error", err)
		epochs, err = &EpochCache{}, nil
		r.epochsLost = true
	}
	if err != nil {
		return err
	}
	l.epochs = epochs
	return nil
}

// openSegments opens the segments found, with the indexes that they have. A missing or damaged index is made anew from
// the headers of the log (rules 3.2.7 and 3.9.1).
func (r *recovery) openSegments(l *Log, files *logFiles) ([]*segment, error) {
	bases := slices.Sorted(maps.Keys(files.segments))
	segs := make([]*segment, 0, len(bases))
	for i, base := range bases {
		s := &segment{base: base, dir: l.path}
		s.size.Store(files.segments[base])
		err := r.openIndexes(s, l.cfg.Load())
		if err == nil && i+1 < len(bases) {
			err = s.checkTimes(bases[i+1])
		}
		s.closeIndexes() // a log may have more segments than this process may have descriptors
		if err != nil && !isNotExist(err) && !errors.Is(err, ErrCorrupt) {
			return nil, err
		}
		s.broken.Store(err != nil)
		segs = append(segs, s)
	}
	return segs, nil
}

// openIndexes opens the indexes of a segment. They are there, whatever the error; one of the disk comes before one that
// says that an index is missing or damaged.
func (r *recovery) openIndexes(s *segment, cfg *Config) error {
	var errs [3]error
	s.index, errs[0] = openOffsetIndex(r.m.fs, s.path(indexSuffix), s.base, cfg.SegmentIndexBytes, s.size.Load())
	s.times, errs[1] = openTimeIndex(r.m.fs, s.path(timeIndexSuffix), s.base, cfg.SegmentIndexBytes)
	s.txns, errs[2] = openTxnIndex(r.m.fs, s.path(txnIndexSuffix), s.base)
	if errs[2] == nil {
		errs[2] = s.txns.verify()
	}
	var damage error
	for _, err := range errs {
		if err != nil && !isNotExist(err) && !errors.Is(err, ErrCorrupt) {
			return err
		}
		damage = cmp.Or(damage, err)
	}
	return damage
}

// checkTimes checks what the time index of a sealed segment must have: an entry, whose offset lies in the segment (rule
// 3.2.4). Without one, a search by timestamp would pass over the segment. A segment without any timestamp has none
// either, and is looked through at each start.
func (s *segment) checkTimes(end int64) error {
	if s.size.Load() == 0 {
		return nil
	}
	e, ok, err := s.times.lastEntry()
	if err == nil && (!ok || e.Offset >= end) {
		err = fmt.Errorf("index %s, last entry: offset %d, timestamp %d: %w", s.times.path, e.Offset, e.Timestamp, ErrCorrupt)
	}
	return err
}

// plan decides where to begin. With kbroker's own mark that is the recovery point itself, if the producer state there
// was kept; otherwise the start of the segment that holds it, or of an earlier one with a snapshot (rule 3.9.4).
func (r *recovery) plan(l *Log, files *logFiles, v mark, marked bool) (plan, error) {
	segs := l.segmentList()
	p := plan{promised: v.end, snapshot: -1, marked: marked}
	recovery := v.recovery.Offset
	if !marked && l.dir.meta.Format == 0 { // Kafka's; in a directory of ours it may be that of an earlier log of this name
		p.promised = l.dir.recoveryPoints[l.tp]
		recovery = p.promised
	}
	p.i = max(floorSegment(segs, recovery), 0)
	last := segs[p.i]
	if marked && v.recovery.SegmentBase == last.base && last.size.Load() >= v.recovery.Bytes && r.sound(last) {
		entries, ok, err := r.snapshotAt(l, files, v.recovery.Offset)
		if err != nil {
			return p, err
		}
		if ok {
			p.at, p.snapshot, p.entries, p.proven = v.recovery, v.recovery.Offset, entries, true
			return p, nil
		}
	}
	for ; ; p.i-- {
		p.at = Position{Offset: segs[p.i].base, SegmentBase: segs[p.i].base}
		entries, ok, err := r.snapshotAt(l, files, p.at.Offset)
		if err != nil {
			return p, err
		}
		if ok {
			p.snapshot, p.entries = p.at.Offset, entries
			return p, nil
		}
		if p.i == 0 {
			return p, nil
		}
	}
}

// sound reports whether the indexes of a segment can be used.
func (r *recovery) sound(s *segment) bool {
	if s.broken.Load() {
		return false
	}
	if err := errors.Join(s.index.verify(), s.times.verify(), s.txns.verify()); err != nil {
		r.m.logger.Warn("an index is damaged and is made anew", "segment", s.path(logSuffix), "error", err)
		return false
	}
	return true
}

// snapshotAt reads the producer snapshot at offset; ok is false when there is none. A damaged one is removed (rule 3.2.10).
func (r *recovery) snapshotAt(l *Log, files *logFiles, offset int64) (entries []SnapshotEntry, ok bool, err error) {
	if !slices.Contains(files.snapshots, offset) {
		return nil, false, nil
	}
	name := segmentPath(l.path, offset, snapshotSuffix)
	entries, err = ReadSnapshot(r.m.fs, name)
	if errors.Is(err, ErrCorrupt) {
		r.m.logger.Warn("a producer snapshot is damaged; an older one is used", "file", name, "error", err)
		files.snapshots = slices.DeleteFunc(files.snapshots, func(o int64) bool { return o == offset })
		return nil, false, r.m.fs.Remove(name)
	}
	return entries, err == nil, err
}
