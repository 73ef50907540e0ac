package log

import (
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/vfs"
)

// Slice is a run of batches in one segment's file. It pins the file: deletion unlinks it, and it is closed when the last
// Slice was released.
type Slice struct {
	File   vfs.File // nil when N is 0
	Off, N int64    // bytes [Off, Off+N) of File; the last batch may be cut
	// FirstOffset is the base offset of the first batch. It may lie below the offset asked for: clients skip.
	FirstOffset int64

	ref *openFile
	seg *segment
}

// Current reports whether what was read is in the log as it is now, and not in a segment that the cleaner replaced: only
// then do the log's aborted transactions, asked for since, go with it.
func (l *Log) Current(s *Slice) bool {
	if s.seg == nil {
		return true
	}
	segs := l.segmentList()
	i := floorSegment(segs, s.seg.base)
	return i >= 0 && segs[i] == s.seg
}

// Release unpins the file. It must be called once for each Slice that Read returned; an empty one ignores it.
func (s *Slice) Release() {
	if s.ref != nil {
		s.ref.release()
		s.ref = nil
	}
}

// Pin hands the pin over to the caller, who releases it in the Slice's stead; the Slice is left as if it was released.
// It allocates nothing.
func (s *Slice) Pin() *Pin {
	ref := s.ref
	s.ref = nil
	return (*Pin)(ref)
}

// Pin keeps the file of a Slice open until it is released.
type Pin openFile

// Release unpins the file. It must be called once.
func (p *Pin) Release() { (*openFile)(p).release() }

// Read returns the batches from the one that holds offset on (rule 3.11.1): at most maxBytes, within one segment, and
// nothing at or above upper (rule 3.11.2). Like Kafka it may cut the last batch at maxBytes. If the first one alone is
// larger, it is returned whole when minOneBatch is set (rule 6.4.6) and not at all otherwise.
//
// An offset below the log start or above the log's end is an error that wraps kerr.OffsetOutOfRange; one at the end, or
// at or above upper, gives an empty Slice.
func (l *Log) Read(offset int64, maxBytes int32, minOneBatch bool, upper Position) (Slice, error) {
	end, err := l.readable(offset)
	if err != nil {
		return Slice{}, err
	}
	if upper.Offset > end.Offset {
		upper = end
	}
	if offset >= upper.Offset {
		return Slice{}, nil
	}
	if upper.SegmentBase == UnknownSegment {
		if upper, err = l.PositionOf(upper.Offset); err != nil {
			return Slice{}, err
		}
	}
	place, file, err := l.locate(offset, upper)
	if err != nil || file == nil {
		return Slice{}, err
	}
	n := min(int64(maxBytes), place.limit-place.position)
	if n < place.size {
		if !minOneBatch {
			file.release()
			return Slice{}, nil
		}
		n = place.size
	}
	return Slice{File: file.File, Off: place.position, N: n, FirstOffset: place.base, ref: file, seg: place.seg}, nil
}

// readable returns the log's end if a read at offset may be served.
func (l *Log) readable(offset int64) (Position, error) {
	if err := l.dir.failure(); err != nil {
		return Position{}, err
	}
	l.mu.Lock()
	end, closed := l.end, l.closed
	l.mu.Unlock()
	if closed != nil {
		return Position{}, closed
	}
	if start := l.start.Load(); offset < start || offset > end.Offset {
		return Position{}, fmt.Errorf("%s: offset %d lies outside of [%d, %d]: %w", l.tp, offset, start, end.Offset, kerr.OffsetOutOfRange)
	}
	return end, nil
}

// batchPlace is where a batch was found.
type batchPlace struct {
	seg            *segment
	position, size int64 // in the segment's file
	base           int64 // base offset
	limit          int64 // bytes of the segment that may be returned
}

// locate finds the first batch below upper that ends at or above offset, and pins its file. No file means that there is
// no such batch.
func (l *Log) locate(offset int64, upper Position) (batchPlace, *openFile, error) {
	for {
		seen := l.segments.Load()
		place, file, err := l.locateOnce(offset, upper)
		if err != errRetired {
			return place, file, err
		}
		if !l.movedOn(seen, offset) {
			return batchPlace{}, nil, l.goneMeanwhile(offset)
		}
	}
}

// movedOn reports whether a reader at offset, who met a segment that left the log and had seen this list of segments, finds
// another one. Retention and the cleaner publish what is left before they take segments away; a truncation does so
// later, and its readers have nothing to find.
func (l *Log) movedOn(seen *[]*segment, offset int64) bool {
	return l.segments.Load() != seen && offset >= l.start.Load()
}

// goneMeanwhile is the answer to a reader whose segment left the log while it read.
func (l *Log) goneMeanwhile(offset int64) error {
	if err := l.Err(); err != nil {
		return err
	}
	return fmt.Errorf("%s: offset %d was just deleted: %w", l.tp, offset, kerr.OffsetOutOfRange)
}

func (l *Log) locateOnce(offset int64, upper Position) (batchPlace, *openFile, error) {
	segs := l.segmentList()
	if upper.SegmentBase < l.rewritten.Load() { // its bytes are those of a segment that the cleaner replaced
		var err error
		if upper, err = l.PositionOf(upper.Offset); err != nil {
			return batchPlace{}, nil, err
		}
	}
	first := floorSegment(segs, offset)
	if first < 0 && len(segs) > 0 { // the segment that had it is gone, and what follows is not what was asked for
		return batchPlace{}, nil, errRetired
	}
	for i := max(first, 0); i < len(segs) && segs[i].base <= upper.SegmentBase; i++ {
		seg := segs[i]
		limit := seg.size.Load()
		if seg.base == upper.SegmentBase {
			limit = min(limit, upper.Bytes)
		}
		file, err := l.m.files.acquire(seg)
		if err != nil {
			return batchPlace{}, nil, l.readFailed(err)
		}
		place, err := l.locateIn(seg, file, offset, limit)
		if err == nil {
			return place, file, nil
		}
		file.release()
		if err != io.EOF {
			return batchPlace{}, nil, l.readFailed(err)
		}
	}
	return batchPlace{}, nil, nil
}

// locateIn finds the first batch of seg below limit that ends at or above offset; io.EOF when there is none.
func (l *Log) locateIn(seg *segment, file *openFile, offset, limit int64) (batchPlace, error) {
	if b, next, ok := l.findRecent(seg, offset); ok {
		if next > limit {
			return batchPlace{}, io.EOF
		}
		return batchPlace{seg, b.position, next - b.position, b.base, limit}, nil
	}
	from, err := l.indexed(seg, offset)
	if err != nil {
		return batchPlace{}, err
	}
	place, err := l.scanFrom(seg, file, from, offset, limit)
	if errors.Is(err, ErrCorrupt) && from > 0 { // the index may have led astray; the log itself has no gaps
		l.distrust(seg, err)
		place, err = l.scanFrom(seg, file, 0, offset, limit)
	}
	return place, err
}

func (l *Log) findRecent(seg *segment, offset int64) (b recentBatch, next int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.written.base != seg.base {
		return recentBatch{}, 0, false
	}
	return l.recent.find(offset, l.written.size)
}

// indexed returns a position of seg from which a scan for offset may start.
func (l *Log) indexed(seg *segment, offset int64) (position int64, err error) {
	if seg.broken.Load() {
		return 0, nil
	}
	e, err := seg.index.lookup(offset)
	if misled, err := l.misled(seg, err); misled || err != nil {
		return 0, err
	}
	return e.Position, nil
}

func (l *Log) scanFrom(seg *segment, file *openFile, from, offset, limit int64) (batchPlace, error) {
	scan := headerScan{file: file.File, pos: from, limit: limit, chunk: l.m.chunks.get()}
	defer l.m.chunks.put(scan.chunk)
	for {
		b, at, err := scan.next()
		if err != nil {
			return batchPlace{}, err
		}
		if b.LastOffset() < offset {
			continue
		}
		if at == from && from > 0 && b.BaseOffset() > offset {
			return batchPlace{}, fmt.Errorf("the index of %s leads to offset %d for %d: %w", file.Name(), b.BaseOffset(), offset, ErrCorrupt)
		}
		return batchPlace{seg, at, int64(b.Size()), b.BaseOffset(), limit}, nil
	}
}

// readFailed turns an error of the disk into the client's: storage error, with the cause. The client sees only the
// code, so the cause is logged. errRetired is no such error and stays what it is.
func (l *Log) readFailed(err error) error {
	if errors.Is(err, errRetired) {
		return errRetired
	}
	l.m.logger.Error("a read failed", "partition", l.tp.String(), "error", err)
	return fmt.Errorf("read %s: %w: %w", l.tp, err, kerr.KafkaStorageError)
}

// PositionOf returns the place of offset: that of the first batch that ends at or above it. Its error wraps
// kerr.OffsetOutOfRange as that of Read.
func (l *Log) PositionOf(offset int64) (Position, error) {
	end, err := l.readable(offset)
	if err != nil {
		return Position{}, err
	}
	if offset == end.Offset {
		return end, nil
	}
	place, file, err := l.locate(offset, end)
	if err != nil {
		return Position{}, err
	}
	if file == nil { // only compacted space is left above
		return Position{Offset: offset, SegmentBase: end.SegmentBase, Bytes: end.Bytes}, nil
	}
	file.release()
	return Position{Offset: offset, SegmentBase: place.seg.base, Bytes: place.position}, nil
}

// FirstUnstable returns the first offset of the oldest transaction that is open, or whose marker lies at or above the
// high watermark last told (rule 5.8.1), and false when there is none.
func (l *Log) FirstUnstable() (Position, bool) {
	l.mu.Lock()
	offset, ok := l.producers.firstUnstable()
	known := l.unstable
	l.mu.Unlock()
	if !ok {
		return Position{}, false
	}
	offset = max(offset, l.start.Load()) // the start may be raised above the beginning of a transaction (rule 3.7.5)
	if known.Offset == offset && known.SegmentBase != UnknownSegment {
		return known, true
	}
	p, err := l.PositionOf(offset)
	if err != nil { // staged and not written
		return At(offset), true
	}
	l.mu.Lock()
	l.unstable = p
	l.mu.Unlock()
	return p, true
}

// HighWatermarkMoved tells the log the high watermark, with which the marker of an ended transaction is replicated.
func (l *Log) HighWatermarkMoved(hw int64) {
	l.mu.Lock()
	l.committed = hw
	l.producers.onHighWatermark(hw)
	l.mu.Unlock()
}
