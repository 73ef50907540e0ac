package log

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"slices"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/record"
)

// unsyncedNames says which names were made since the last sync of their directory; guarded by Log.mu.
type unsyncedNames struct {
	segment   bool // in the log's directory
	directory bool // the log's directory itself, with its partition.metadata
}

// makeRoom gets the active segment ready for a: it writes what is queued and makes the first segment, or the next one.
// Meanwhile other appends come here too and wait for the append lock, so that nothing is queued across the roll.
func (l *Log) makeRoom(a *Append, cfg *Config) error {
	defer l.wrote()
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	l.mu.Lock()
	if l.closed != nil { // since it was admitted: a deleted log must not make its directory anew
		defer l.mu.Unlock()
		return l.closed
	}
	if l.roomFor(a, cfg) { // somebody else was here
		l.mu.Unlock()
		return nil
	}
	l.rolling = true
	target := l.stagedSeq
	l.mu.Unlock()
	err := l.writePending(target)
	if err == nil {
		err = l.extend(int64(a.Info.Size), int64(a.Info.LastOffsetDelta), a.Info.MaxTimestamp, a.Now, cfg)
	}
	l.mu.Lock()
	l.rolling = false
	l.mu.Unlock()
	return err
}

// extend makes sure that the active segment takes a batch of size bytes and delta+1 offsets at the log's end; appendMu
// is held and nothing is queued.
func (l *Log) extend(size, delta, maxTimestamp, now int64, cfg *Config) error {
	var err error
	switch {
	case l.active() == nil:
		err = l.createFirst(now, cfg)
	case l.written.firstTimestamp == unreadTimestamp:
		err = l.readFirstTimestamp()
	}
	last := l.written.next + delta
	if err == nil && l.written.mustRoll(cfg, size, last, maxTimestamp, now, l.jitter) {
		err = l.roll(max(l.written.next, last-math.MaxInt32), now, cfg)
	}
	if err != nil {
		return l.dir.writeFailed(l.tp, err)
	}
	return nil
}

// createFirst makes the log's directory, its partition.metadata and its first segment. None of it is synced here: the
// Committer does that before it publishes the first DurableEnd (rules 3.3.3 and 3.5.3).
func (l *Log) createFirst(now int64, cfg *Config) error {
	if err := l.m.fs.MkdirAll(l.path, 0o755); err != nil {
		return err
	}
	id, err := ReadPartitionMetadata(l.m.fs, l.path) // it is there after a restart of the log
	if err != nil && !isNotExist(err) && !errors.Is(err, ErrCorrupt) {
		return err
	}
	if err != nil || id != l.topicID {
		f, err := l.m.fs.OpenFile(path.Join(l.path, PartitionMetadataFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(formatPartitionMetadata(l.topicID), 0)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.names.directory = true
	l.mu.Unlock()
	return l.addSegment(l.written.next, now, cfg)
}

// readFirstTimestamp looks at the first batch of a segment that was there when the log was opened (rule 3.4.1b); appendMu
// is held.
func (l *Log) readFirstTimestamp() error {
	file, err := l.m.files.acquire(l.active())
	if err != nil {
		return err
	}
	defer file.release()
	var hdr [record.HeaderSize]byte
	if n, err := file.ReadAt(hdr[:], 0); n < len(hdr) {
		return fmt.Errorf("read the first batch of %s: %w", file.Name(), err)
	}
	l.mu.Lock()
	l.written.firstTimestamp = record.Batch(hdr[:]).MaxTimestamp()
	l.staged.firstTimestamp = l.written.firstTimestamp
	l.mu.Unlock()
	return nil
}

// roll ends the active segment and starts one at base (rule 3.4.4); appendMu is held and nothing is queued. The old
// segment and its indexes are synced in the background, and then the recovery point moves over them.
func (l *Log) roll(base, now int64, cfg *Config) error {
	old, t := l.active(), l.written
	if t.size == 0 { // an offset too far for an empty segment: it makes way
		return l.replaceEmpty(old, base, now, cfg)
	}
	old.finish(&t)
	l.mu.Lock()
	l.written, l.staged = t, t // the final time index entry is there, should what follows fail
	l.mu.Unlock()
	if err := old.sealIndexes(); err != nil {
		return err
	}
	old.largest.Store(&timeEntry{Timestamp: t.maxTimestamp, Offset: t.maxTimestampAt})
	if err := l.addSegment(base, now, cfg); err != nil {
		return err
	}
	l.mu.Lock() // nothing was staged meanwhile
	l.checkpoint.snapshots = append(l.checkpoint.snapshots, pendingSnapshot{base, l.producers.snapshot()})
	l.mu.Unlock()
	return nil
}

// addSegment makes a segment at base the active one; appendMu is held and nothing is queued.
func (l *Log) addSegment(base, now int64, cfg *Config) error {
	seg, err := l.createSegment(base, cfg)
	if err != nil {
		return err
	}
	l.install(append(slices.Clip(l.segmentList()), seg), now, cfg)
	return nil
}

// replaceEmpty puts a segment at base in the place of the empty active one.
func (l *Log) replaceEmpty(old *segment, base, now int64, cfg *Config) error {
	seg, err := l.createSegment(base, cfg)
	if err != nil {
		return err
	}
	segs := slices.Clone(l.segmentList())
	segs[len(segs)-1] = seg
	l.install(segs, now, cfg)
	return l.m.removeSegmentFiles(old)
}

// createSegment makes the file of a new segment at base, which is not in the list yet.
func (l *Log) createSegment(base int64, cfg *Config) (*segment, error) {
	seg := newSegment(l.m.fs, l.path, base, cfg)
	file, err := seg.create(l.m.fs)
	if err != nil {
		return nil, err
	}
	opened, err := l.m.files.adopt(seg, file)
	if err != nil {
		return nil, err
	}
	opened.release()
	return seg, nil
}

// install publishes a list of segments whose last one is new and empty.
func (l *Log) install(segs []*segment, now int64, cfg *Config) {
	seg := segs[len(segs)-1]
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.written.next
	l.segments.Store(&segs)
	l.written = newTail(seg.base, now)
	l.written.next = next
	l.staged = l.written
	l.end = l.written.end()
	l.recent.reset()
	l.names.segment = true
	l.jitter = 0
	if cfg.SegmentJitterMs > 0 {
		l.jitter = rand.Int64N(min(cfg.SegmentJitterMs, max(cfg.SegmentMs, 1)))
	}
}

// flushEntries writes index entries when there are many in memory; appendMu is held. The batches are in the log already,
// so that a failure concerns the data directory and not this append.
func (l *Log) flushEntries(seg *segment) {
	if !seg.index.wantsFlush() && !seg.times.wantsFlush() {
		return
	}
	if err := seg.flushIndexes(); err != nil {
		_ = l.dir.writeFailed(l.tp, err)
	}
}

// removeSegmentFiles removes the files of a segment that is in no list any more.
func (m *Manager) removeSegmentFiles(s *segment) error {
	m.files.retire(s)
	for _, suffix := range segmentSuffixes {
		if err := m.fs.Remove(s.path(suffix)); err != nil && !isNotExist(err) {
			return err
		}
	}
	return nil
}

// removeSegments removes the files of the last segments of a log, the newest first: a crash in between leaves a log that
// ends earlier, and never one with a hole.
func (m *Manager) removeSegments(segs []*segment) error {
	for _, s := range slices.Backward(segs) {
		if err := m.removeSegmentFiles(s); err != nil {
			return err
		}
	}
	return nil
}

// syncFile opens a file that was written without a handle kept, and syncs it.
func syncFile(fsys vfs.FS, name string) error {
	f, err := fsys.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
