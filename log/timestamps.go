package log

import (
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kerr"

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
func (l *Log) OffsetForTimestamp(timestamp int64) (TimestampOffset, bool, error) {
	end, err := l.readable(l.start.Load())
	if err != nil {
		return TimestampOffset{}, false, err
	}
	segs := l.segmentList()
	for i, s := range segs {
		var from int64
		if i < len(segs)-1 {
			largest, err := s.largestTimestamp()
			if err != nil && !errors.Is(err, ErrCorrupt) {
				return TimestampOffset{}, false, l.readFailed(err)
			}
			if err == nil && largest.Timestamp < timestamp {
				continue
			}
		}
		if from, err = l.indexedTime(s, timestamp); err != nil {
			return TimestampOffset{}, false, l.readFailed(err)
		}
		limit := s.size.Load()
		if s.base == end.SegmentBase {
			limit = end.Bytes
		}
		at, ok, err := l.searchTime(s, from, limit, timestamp)
		if err != nil || ok {
			return at, ok, err
		}
	}
	return TimestampOffset{}, false, nil
}

// indexedTime returns a position of s below which no record is as young as timestamp.
func (l *Log) indexedTime(s *segment, timestamp int64) (int64, error) {
	var from int64
	err := retryClosed(func() error {
		e, err := s.times.lookup(timestamp - 1) // an entry with the very timestamp lies behind the first such batch
		if err != nil {
			return err
		}
		from, err = l.indexed(s, e.Offset)
		return err
	})
	if isNotExist(err) || errors.Is(err, ErrCorrupt) {
		s.broken.Store(true)
		l.m.changed(l)
		return 0, nil
	}
	return from, err
}

// searchTime looks for the record among the batches of s between two positions.
func (l *Log) searchTime(s *segment, from, limit, timestamp int64) (at TimestampOffset, ok bool, err error) {
	file, err := l.m.files.acquire(s)
	if err != nil {
		return at, false, l.readFailed(err)
	}
	defer file.release()
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
func readBatch(file *openFile, b record.Batch, position int64) (record.Batch, error) {
	whole := make([]byte, b.Size())
	if n, err := file.ReadAt(whole, position); n < len(whole) {
		return nil, fmt.Errorf("read %s, position %d: %w", file.Name(), position, err)
	}
	return whole, nil
}

// MaxTimestamp returns the record with the largest timestamp, the first of several by offset (rule 6.7.2), and false when
// no record has one.
func (l *Log) MaxTimestamp() (TimestampOffset, bool, error) {
	if _, err := l.readable(l.start.Load()); err != nil {
		return TimestampOffset{}, false, err
	}
	segs := l.segmentList()
	largest := noTimestamp
	for i, s := range segs {
		if i == len(segs)-1 {
			l.mu.Lock()
			largest = max(largest, l.written.maxTimestamp)
			l.mu.Unlock()
			break
		}
		e, err := s.largestTimestamp()
		if err != nil {
			return TimestampOffset{}, false, l.readFailed(err)
		}
		largest = max(largest, e.Timestamp)
	}
	if l.start.Load() == l.End().Offset {
		return TimestampOffset{}, false, nil
	}
	// Where no record has a time, which is -1, it is the first record.
	return l.OffsetForTimestamp(largest)
}
