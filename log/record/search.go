package record

import "fmt"

// Position is where a search found a record.
type Position struct {
	Offset    int64
	Timestamp int64 // milliseconds since 1970
}

// finder is the judge of FindTimestamp: it stops the walk at the first record that qualifies.
type finder struct {
	base      int64 // of the batch
	minOffset int64
	found     Position
}

// judge sees the records whose timestamp is large enough.
func (f *finder) judge(_ *walk, offsetDelta int32, timestamp int64, _ bool) bool {
	offset := f.base + int64(offsetDelta)
	if offset < f.minOffset {
		return false
	}
	f.found = Position{Offset: offset, Timestamp: timestamp}
	return true
}

// FindTimestamp returns the first record of the batch, by offset, that has an offset of at least minOffset and a
// timestamp of at least timestamp milliseconds (rule 6.7.11); ok is false when there is none, as in a batch that
// compaction emptied (rule 6.7.12). With LogAppendTime every record has the batch's timestamp. The header's
// MaxTimestamp is believed: a batch that it rules out is not even decompressed.
func (b Batch) FindTimestamp(c *Codecs, timestamp, minOffset int64) (p Position, ok bool, err error) {
	if b.MaxTimestamp() < timestamp || b.LastOffset() < minOffset {
		return Position{}, false, nil
	}
	f := finder{base: b.BaseOffset(), minOffset: minOffset}
	var w walk
	w.begin(b, &f)
	if b.TimestampType() == LogAppendTime || timestamp == minInt64 {
		w.lo, w.hi = maxInt64, minInt64 // every record
	} else {
		w.hi = timestamp - 1
	}
	if err := b.search(&w, c); err != nil || !w.stopped {
		return Position{}, false, err
	}
	if b.TimestampType() == LogAppendTime {
		f.found.Timestamp = b.MaxTimestamp()
	}
	return f.found, true, nil
}

// MaxTimestampRecord returns the record of the batch with the largest timestamp, the first of several by offset (rule
// 6.7.2); ok is false when no record has a timestamp.
func (b Batch) MaxTimestampRecord(c *Codecs) (p Position, ok bool, err error) {
	if b.TimestampType() == LogAppendTime {
		return b.FindTimestamp(c, b.MaxTimestamp(), minInt64)
	}
	var w walk
	w.begin(b, nil)
	if err := b.search(&w, c); err != nil || w.maxTimestamp == NoTimestamp {
		return Position{}, false, err
	}
	return Position{Offset: b.BaseOffset() + int64(w.maxDelta), Timestamp: w.maxTimestamp}, true, nil
}

// search walks over a batch from a log.
func (b Batch) search(w *walk, c *Codecs) error {
	if !b.Codec().Valid() {
		return fmt.Errorf("compression codec %d does not exist", uint8(b.Codec()))
	}
	if err := w.batch(b, c, storedLimits(len(b))); err != nil {
		return fmt.Errorf("searching the batch at offset %d by timestamp: %w", b.BaseOffset(), err)
	}
	return nil
}
