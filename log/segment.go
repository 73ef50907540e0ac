package log

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sort"
	"sync/atomic"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/record"
)

// Suffixes of a segment's files (rule 3.1.2).
const (
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	txnIndexSuffix  = ".txnindex"
	snapshotSuffix  = ".snapshot"
	deletedSuffix   = ".deleted"
	cleanedSuffix   = ".cleaned"
	swapSuffix      = ".swap"
)

// segmentSuffixes are those of the files that every segment may have.
var segmentSuffixes = [...]string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix}

// segment is one file of batches with its indexes. What it holds below size never changes, except by truncation, which
// cuts whole batches off its end.
type segment struct {
	base  int64
	dir   string // the log's directory
	index *offsetIndex
	times *timeIndex
	txns  *txnIndex

	size atomic.Int64 // bytes that may be read
	open atomic.Pointer[openFile]
	// ringAt is the segment's place in the ring of descriptors, whose mutex guards it.
	ringAt int
	// retired says that the segment has left its log: its files are not to be opened any more.
	retired atomic.Bool
	// unsynced says that bytes were written since the last sync began; set under the append lock.
	unsynced atomic.Bool
	// indexDirty says that index entries are in memory or not synced.
	indexDirty atomic.Bool
	// broken says that an index contradicts the log and has to be made anew.
	broken atomic.Bool
	// largest has the largest timestamp of a sealed segment; nil: to be looked up.
	largest atomic.Pointer[timeEntry]
}

// segmentPath returns the name of a file of the segment that starts at base.
func segmentPath(dir string, base int64, suffix string) string {
	return fmt.Sprintf("%s/%020d%s", dir, base, suffix)
}

func (s *segment) path(suffix string) string { return segmentPath(s.dir, s.base, suffix) }

// newSegment makes a segment without content, and touches no file.
func newSegment(fsys vfs.FS, dir string, base int64, cfg *Config) *segment {
	s := &segment{base: base, dir: dir}
	s.index = newOffsetIndex(fsys, s.path(indexSuffix), base, cfg.SegmentIndexBytes)
	s.times = newTimeIndex(fsys, s.path(timeIndexSuffix), base, cfg.SegmentIndexBytes)
	s.txns = newTxnIndex(fsys, s.path(txnIndexSuffix), base)
	return s
}

// create makes the segment's log file. Index files come with their first entries. An empty file of an earlier attempt is taken over; one with
// content is somebody's data and not ours to overwrite (rule 3.4.3).
func (s *segment) create(fsys vfs.FS) (vfs.File, error) {
	for _, suffix := range segmentSuffixes[1:] { // of a segment that was deleted or truncated away
		if err := fsys.Remove(s.path(suffix)); err != nil && !isNotExist(err) {
			return nil, err
		}
	}
	f, err := fsys.OpenFile(s.path(logSuffix), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err == nil || !errors.Is(err, os.ErrExist) {
		return f, err
	}
	if f, err = fsys.OpenFile(s.path(logSuffix), os.O_RDWR, 0o644); err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err == nil && size > 0 {
		err = fmt.Errorf("segment %s exists already with %d bytes, which belong to no log: move the file away", s.path(logSuffix), size)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// checkOffsets refuses a batch whose offsets the log can't have at this place, behind those below next: no checksum covers
// the base offset, and the indexes have no room for one that is too far from the segment's (rule 3.4.1d).
func (s *segment) checkOffsets(b record.Batch, next int64) error {
	first, delta := b.BaseOffset(), int64(b.LastOffsetDelta())
	if first < next || delta < 0 || first-s.base > math.MaxInt32-delta {
		return fmt.Errorf("segment %d has offsets %d to %d behind offset %d", s.base, first, b.LastOffset(), next-1)
	}
	return nil
}

// addEntries adds index entries for the batch at position that ends at lastOffset; t is the tail after it (rule 3.2.3).
func (s *segment) addEntries(t *tail, lastOffset, position int64) {
	s.index.append(lastOffset, position)
	if t.timeEntries > s.times.count() {
		s.times.add(t.maxTimestamp, t.maxTimestampAt)
	}
	s.indexDirty.Store(true)
}

// finish adds the final entry of the time index (rule 3.2.4) and notes the largest timestamp.
func (s *segment) finish(t *tail) {
	if t.maxTimestamp > t.timeIndexed {
		s.times.add(t.maxTimestamp, t.maxTimestampAt)
		t.timeIndexed, t.timeEntries = t.maxTimestamp, t.timeEntries+1
		s.indexDirty.Store(true)
	}
}

// flushIndexes writes the index entries that are in memory. The caller holds the append lock.
func (s *segment) flushIndexes() error {
	defer s.noteFlush()()
	return errors.Join(s.index.flush(), s.times.flush(), s.txns.flush())
}

// sealIndexes is flushIndexes for a segment that gets no more entries.
func (s *segment) sealIndexes() error {
	defer s.noteFlush()()
	return errors.Join(s.index.seal(), s.times.seal(), s.txns.seal())
}

// noteFlush returns what has to be called after a flush: a sync of the same segment that ran meanwhile may have missed what
// was written.
func (s *segment) noteFlush() func() {
	if !s.index.pending() && !s.times.pending() && !s.txns.pending() {
		return func() {}
	}
	return func() { s.indexDirty.Store(true) }
}

// syncIndexes makes the written index entries durable.
func (s *segment) syncIndexes() error {
	s.indexDirty.Store(false)
	err := errors.Join(s.index.sync(), s.times.sync(), s.txns.sync())
	if err != nil {
		s.indexDirty.Store(true)
	}
	return err
}

// closeIndexes closes the descriptors of the indexes, which open again when they are needed.
func (s *segment) closeIndexes() {
	s.index.close()
	s.times.close()
	s.txns.close()
}

// retireIndexes is closeIndexes for good.
func (s *segment) retireIndexes() {
	s.index.retire()
	s.times.retire()
	s.txns.retire()
}

// floorSegment returns the number of the last segment whose base is ≤ offset, or -1.
func floorSegment(segs []*segment, offset int64) int {
	return sort.Search(len(segs), func(i int) bool { return segs[i].base > offset }) - 1
}

// segmentList returns the segments, which are not to be changed.
func (l *Log) segmentList() []*segment {
	if p := l.segments.Load(); p != nil {
		return *p
	}
	return nil
}

// active returns the segment that is written to, or nil before the first append.
func (l *Log) active() *segment {
	if segs := l.segmentList(); len(segs) > 0 {
		return segs[len(segs)-1]
	}
	return nil
}

// Size returns the bytes in all of the log's segments.
func (l *Log) Size() int64 {
	var n int64
	for _, s := range l.segmentList() {
		n += s.size.Load()
	}
	return n
}

// SegmentCount returns the number of segments.
func (l *Log) SegmentCount() int { return len(l.segmentList()) }
