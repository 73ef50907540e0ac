package log

import (
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/record"
)

// TimestampOffset is where a search by timestamp ended (rule 6.7.2).
type TimestampOffset struct {
	Timestamp   int64 // of the record, in milliseconds since 1970
	Offset      int64 // of the record
	LeaderEpoch int32 // of its batch
}

// OffsetForTimestamp returns the first record, by offset, whose timestamp is at least timestamp and whose offset is at
// or above the log start (rule 6.7.11), and false when there is none. Segments are skipped by their largest timestamps,
// then the time index, the batch headers and the records lead there.
func (l *Log) OffsetForTimestamp(timestamp int64) (at TimestampOffset, ok bool, err error) {
	err = l.again(func() error {
		at, ok, err = l.offsetForTimestamp(timestamp)
		return err
	})
	return at, ok, err
}

// again calls fn anew when a segment left the log while it looked at it.
func (l *Log) again(fn func() error) error {
	for {
		seen := l.segments.Load()
		if err := fn(); err != errRetired {
			return err
		}
		if start := l.start.Load(); !l.movedOn(seen, start) {
			return l.goneMeanwhile(start)
		}
	}
}

func (l *Log) offsetForTimestamp(timestamp int64) (TimestampOffset, bool, error) {
	end, err := l.readable(l.start.Load())
	if err != nil {
		return TimestampOffset{}, false, err
	}
	segs := l.segmentList()
	for i, s := range segs {
		if i < len(segs)-1 {
			largest, err := l.largestTimestamp(s)
			if err != nil {
				return TimestampOffset{}, false, l.readFailed(err)
			}
			if largest < timestamp {
				continue
			}
		}
		limit := s.size.Load()
		if s.base == end.SegmentBase {
			limit = end.Bytes
		}
		at, ok, err := l.searchSegment(s, limit, end.Offset, timestamp)
		if err != nil || ok {
			return at, ok, err
		}
	}
	return TimestampOffset{}, false, nil
}

// largestTimestamp returns the largest timestamp of a sealed segment, noTimestamp when it has none. The time index says
// it, and is believed when the batch that it names agrees; otherwise the segment is looked through.
func (l *Log) largestTimestamp(s *segment) (int64, error) {
	if e := s.largest.Load(); e != nil {
		return e.Timestamp, nil
	}
	largest := noTimestamp
	file, err := l.m.files.acquire(s)
	if err != nil {
		return largest, err
	}
	defer file.release()
	e, ok, err := s.times.lastEntry()
	if err == nil && ok {
		err = l.checkTime(s, e)
		largest = e.Timestamp
	}
	misled, err := l.misled(s, err)
	if misled {
		largest = noTimestamp
		err = l.m.scanFile(file, 0, s.size.Load(), func(b record.Batch, _ int64, _ *headerScan) error {
			largest = max(largest, b.MaxTimestamp())
			return nil
		})
	}
	if err == nil {
		s.largest.Store(&timeEntry{Timestamp: largest})
	}
	return largest, err
}

// misled reports whether the error of a look into an index says that it is missing or damaged, and has it made anew then.
// Another error is returned: that of the disk, or errRetired.
func (l *Log) misled(s *segment, err error) (bool, error) {
	switch {
	case err == nil:
		return false, nil
	case s.retired.Load():
		return false, errRetired
	case isNotExist(err) || errors.Is(err, ErrCorrupt):
		l.distrust(s, err)
		return true, nil
	}
	return false, err
}

// checkTime compares a time index entry with the batch that it names.
func (l *Log) checkTime(s *segment, e timeEntry) error {
	file, err := l.m.files.acquire(s)
	if err != nil {
		return err
	}
	defer file.release()
	place, err := l.locateIn(s, file, e.Offset, s.size.Load())
	if err == io.EOF {
		return fmt.Errorf("index %s: there is no offset %d: %w", s.times.path, e.Offset, ErrCorrupt)
	}
	if err != nil {
		return err
	}
	var hdr [record.HeaderSize]byte
	if n, err := file.ReadAt(hdr[:], place.position); n < len(hdr) {
		return fmt.Errorf("read %s, position %d: %w", file.Name(), place.position, err)
	}
	if b := record.Batch(hdr[:]); b.LastOffset() != e.Offset || b.MaxTimestamp() != e.Timestamp {
		return fmt.Errorf("index %s: timestamp %d at offset %d, the batch has %d at %d: %w", s.times.path, e.Timestamp, e.Offset, b.MaxTimestamp(), b.LastOffset(), ErrCorrupt)
	}
	return nil
}

// distrust has the indexes of a segment made anew in the background.
func (l *Log) distrust(s *segment, why error) {
	l.m.logger.Warn("an index is damaged and is made anew", "segment", s.path(logSuffix), "error", why)
	s.broken.Store(true)
	l.m.changed(l)
}

// searchSegment looks for the record in the first limit bytes of s, from where the time index leads. The log ends at end.
func (l *Log) searchSegment(s *segment, limit, end, timestamp int64) (TimestampOffset, bool, error) {
	file, err := l.m.files.acquire(s)
	if err != nil {
		return TimestampOffset{}, false, l.readFailed(err)
	}
	defer file.release()
	var from int64
	e, err := s.times.lookup(timestamp - 1) // an entry with the very timestamp lies behind the first such batch
	if err == nil && e.Offset >= end {      // of a batch that is being appended: all before it are too old
		return TimestampOffset{}, false, nil
	}
	if err == nil && e.Timestamp >= 0 {
		if err = l.checkTime(s, e); err == nil {
			from, err = l.indexed(s, e.Offset)
		}
	}
	if misled, err := l.misled(s, err); misled {
		from = 0
	} else if err != nil {
		return TimestampOffset{}, false, l.readFailed(err)
	}
	return l.searchTime(file, from, limit, timestamp)
}

// searchTime looks for the record among the batches of a segment's file between two positions.
func (l *Log) searchTime(file *openFile, from, limit, timestamp int64) (at TimestampOffset, ok bool, err error) {
	scan := headerScan{file: file.File, pos: from, limit: limit, chunk: l.m.chunks.get()}
	defer l.m.chunks.put(scan.chunk)
	start := l.start.Load()
	for {
		b, position, err := scan.next()
		if err == io.EOF {
			return at, false, nil
		}
		if err != nil {
			return at, false, l.readFailed(err)
		}
		if b.MaxTimestamp() < timestamp || b.LastOffset() < start || b.RecordCount() == 0 { // rule 6.7.12
			continue
		}
		whole, err := readBatch(file, b, position)
		if err != nil {
			return at, false, l.readFailed(err)
		}
		found, ok, err := whole.FindTimestamp(l.m.codecs, timestamp, start)
		if err != nil {
			return at, false, fmt.Errorf("%s: %w: %w", l.tp, err, kerr.CorruptMessage)
		}
		if ok {
			return TimestampOffset{found.Timestamp, found.Offset, whole.PartitionLeaderEpoch()}, true, nil
		}
	}
}

// readBatch reads the batch whose header is b. It allocates: searches by timestamp are rare, and batches may be large.
func readBatch(file vfs.File, b record.Batch, position int64) (record.Batch, error) {
	whole := make([]byte, b.Size())
	if n, err := file.ReadAt(whole, position); n < len(whole) {
		return nil, fmt.Errorf("read %s, position %d: %w", file.Name(), position, err)
	}
	return whole, nil
}

// MaxTimestamp returns the record with the largest timestamp, the first of several by offset (rule 6.7.2), and false when
// no record has one.
func (l *Log) MaxTimestamp() (at TimestampOffset, ok bool, err error) {
	err = l.again(func() error {
		at, ok, err = l.maxTimestamp()
		return err
	})
	return at, ok, err
}

func (l *Log) maxTimestamp() (TimestampOffset, bool, error) {
	end, err := l.readable(l.start.Load())
	if err != nil {
		return TimestampOffset{}, false, err
	}
	segs, start := l.segmentList(), l.start.Load()
	if start == end.Offset {
		return TimestampOffset{}, false, nil
	}
	largest := noTimestamp
	for i, s := range segs {
		var of int64
		switch {
		case i+1 < len(segs) && segs[i+1].base <= start: // on its way out
			of = noTimestamp
		case start > s.base: // what the segment says may be of records that are deleted
			of, err = l.largestFrom(s, start)
		case i == len(segs)-1:
			l.mu.Lock()
			of = l.written.maxTimestamp
			l.mu.Unlock()
		default:
			of, err = l.largestTimestamp(s)
		}
		if err != nil {
			return TimestampOffset{}, false, l.readFailed(err)
		}
		largest = max(largest, of)
	}
	// Where no record has a time, which is -1, it is the first record.
	at, ok, err := l.offsetForTimestamp(largest)
	if ok || err != nil {
		return at, ok, err
	}
	// It was the time of a batch that compaction emptied, which headers and time indexes keep, as Kafka's do.
	largest = noTimestamp
	for _, s := range segs {
		of, err := l.largestFrom(s, start)
		if err != nil {
			return TimestampOffset{}, false, l.readFailed(err)
		}
		largest = max(largest, of)
	}
	return l.offsetForTimestamp(largest)
}

// largestFrom returns the largest timestamp of the records of s at or above offset.
func (l *Log) largestFrom(s *segment, offset int64) (int64, error) {
	largest := noTimestamp
	file, err := l.m.files.acquire(s)
	if err != nil {
		return largest, err
	}
	defer file.release()
	err = l.m.scanFile(file, 0, s.size.Load(), func(b record.Batch, position int64, scan *headerScan) error {
		if b.RecordCount() == 0 {
			return nil
		}
		if b.BaseOffset() >= offset || b.TimestampType() == record.LogAppendTime && b.LastOffset() >= offset {
			largest = max(largest, b.MaxTimestamp())
			return nil
		}
		if b.LastOffset() < offset {
			return nil
		}
		whole, err := readBatch(scan.file, b, position)
		if err != nil {
			return err
		}
		for rec, err := range whole.Records(l.m.codecs) {
			if err != nil {
				return err
			}
			if rec.Offset >= offset {
				largest = max(largest, rec.Timestamp)
			}
		}
		return nil
	})
	return largest, err
}
