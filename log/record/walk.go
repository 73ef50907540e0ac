package record

import (
	"cmp"
	"fmt"
)

// minRecord is the length of the smallest record: one byte for each of its seven fields (rule 2.2).
const minRecord = 7

// malformed says why a batch's records cannot be read. Validate turns it into INVALID_RECORD (rule 2.2.1).
type malformed struct {
	index int32 // the record it was found in
	what  string
}

// What malformed says where more than one place says it.
const (
	cutRecord  = "is missing or cut, the batch declares more records than it holds"
	misfit     = "has a field that does not fit into it"
	unfilled   = "does not fill the length that it declares"
	trailing   = "was not declared, but bytes follow the last record"
	outOfOrder = "is out of order by its offset delta"
)

func (m *malformed) Error() string { return fmt.Sprintf("record %d of the batch %s", m.index, m.what) }

// walk goes over the records of one batch in offset order, checking all of their structure (rule 2.2.1) and keeping the
// largest timestamp. It is what Validate and the searches by timestamp share; they differ in which records they want to
// see (keyed, lo, hi) and in the judge that sees them. Keys and values are stepped over, never copied.
type walk struct {
	count     int32 // records that the header declares
	index     int32 // records walked so far
	lastDelta int32 // offset delta of the last record walked, -1 before the first
	dense     bool  // offset deltas must be 0, 1, 2, … (rule 2.4.15), as in every batch that was never compacted
	keyed     bool  // the judge sees records without a key
	base      int64 // timestamp that deltas are relative to
	lo, hi    int64 // the judge sees records with a timestamp outside of [lo, hi]
	judge     judge
	stopped   bool // the judge has seen enough

	maxTimestamp int64 // largest timestamp walked, NoTimestamp when none is larger
	maxDelta     int32 // offset delta of the first record that has it
}

// judge looks at the records that a walk picked out.
type judge interface {
	// judge reports whether the walk shall stop at this record.
	judge(w *walk, offsetDelta int32, timestamp int64, hasKey bool) (stop bool)
}

// begin starts a walk over b's records. The caller sets what it wants to see afterwards.
func (w *walk) begin(b Batch, j judge) {
	*w = walk{
		count:        b.RecordCount(),
		lastDelta:    -1,
		base:         b.BaseTimestamp(),
		lo:           minInt64,
		hi:           maxInt64,
		judge:        j,
		maxTimestamp: NoTimestamp,
	}
}

const (
	minInt64 = -1 << 63
	maxInt64 = 1<<63 - 1
)

// finished reports whether all records have been walked, or as many as the judge wanted.
func (w *walk) finished() bool { return w.index >= w.count || w.stopped }

// run walks the records that lie whole in b, which begins with a record, and returns how many bytes they take. It ends
// at the last declared record, where the judge stops it, or at a record that b does not hold to its end.
func (w *walk) run(b []byte) (used int, err error) {
	p := 0
	for !w.finished() {
		if p = w.quick(b, p); w.finished() {
			break
		}
		end, what := recordEnd(b, p)
		if what != "" {
			return p, w.malformed(what)
		}
		if end > len(b) {
			return p, nil
		}
		timestampDelta, offsetDelta, hasKey, what := parseRecord(b[:end], p)
		if what != "" {
			return p, w.malformed(what)
		}
		if err := w.take(timestampDelta, offsetDelta, hasKey); err != nil {
			return p, err
		}
		p = end
	}
	return p, nil
}

// take accounts for one record.
func (w *walk) take(timestampDelta int64, offsetDelta int32, hasKey bool) error {
	if offsetDelta != w.lastDelta+1 && (w.dense || offsetDelta <= w.lastDelta) {
		return w.malformed(outOfOrder)
	}
	w.lastDelta = offsetDelta
	timestamp := w.base + timestampDelta
	if timestamp < w.lo || timestamp > w.hi || (w.keyed && !hasKey) {
		if w.judge.judge(w, offsetDelta, timestamp, hasKey) {
			w.stopped = true
			return nil
		}
	}
	if timestamp > w.maxTimestamp {
		w.maxTimestamp, w.maxDelta = timestamp, offsetDelta
	}
	w.index++
	return nil
}

func (w *walk) malformed(what string) error { return &malformed{index: w.index, what: what} }

// end reports what is wrong when the walk is over and left bytes follow it.
func (w *walk) end(left int) error {
	switch {
	case w.stopped:
		return nil
	case w.index < w.count:
		return w.malformed(cutRecord)
	case left > 0:
		return w.malformed(trailing)
	}
	return nil
}

// batch walks over all records of b, which must have a valid codec.
func (w *walk) batch(b Batch, c *Codecs, lim limits) error {
	if b.Codec() == None {
		payload := b.Payload()
		used, err := w.run(payload)
		if err != nil {
			return err
		}
		return w.end(len(payload) - used)
	}
	s := c.open(b.Codec(), b.Payload(), lim)
	defer c.close(s)
	return w.stream(s)
}

// stream walks over all records of a compressed payload.
func (w *walk) stream(s *stream) error {
	for !w.finished() {
		used, err := w.run(s.window())
		if err != nil {
			return err
		}
		s.consume(used)
		switch {
		case w.finished():
		case s.full():
			if err := w.runLong(s); err != nil {
				return err
			}
		case !s.fill():
			return cmp.Or(s.failed(), w.end(0))
		}
	}
	if !w.stopped && len(s.window()) == 0 {
		s.fill() // reads the payload's own end and its checksums
	}
	return cmp.Or(s.failed(), w.end(len(s.window())))
}

// recordEnd reads the length of the record at p of b and returns where it ends, behind b when b does not hold it whole.
// what says why the length is impossible.
func recordEnd(b []byte, p int) (end int, what string) {
	length, q := varint32(b, p)
	if q == bad {
		if len(b)-p < maxVarint32 {
			return bad, ""
		}
		return 0, "has no readable length"
	}
	if length < minRecord-1 {
		return 0, "is shorter than a record can be"
	}
	return q + length, ""
}

// parseRecord reads the record from p to the end of b. what says why it cannot be one.
func parseRecord(b []byte, p int) (timestampDelta int64, offsetDelta int32, hasKey bool, what string) {
	_, p = varint32(b, p) // the length, which recordEnd has read
	timestampDelta, p = varint(b, p+1)
	offset, p := varint32(b, p)
	keyLen, p := bytesField(b, p)
	_, p = bytesField(b, p)
	if p > len(b) {
		return 0, 0, false, misfit
	}
	n, p := varint32(b, p)
	if p > len(b) || n < 0 || n > len(b)-p {
		return 0, 0, false, "has an impossible header count"
	}
	for range n {
		var keyLen int
		keyLen, p = bytesField(b, p)
		if keyLen < 0 {
			return 0, 0, false, "has a header without a key"
		}
		_, p = bytesField(b, p)
	}
	if p != len(b) {
		return 0, 0, false, unfilled
	}
	return timestampDelta, int32(offset), keyLen >= 0, ""
}

// bytesField steps over a length and that many bytes at p and returns the length, -1 for null, and the position behind
// them, which is behind b when they do not fit. Lengths below -1 are refused: Kafka reads them as null, librdkafka reads
// them as huge.
func bytesField(b []byte, p int) (length, next int) {
	length, p = varint32(b, p)
	if length < -1 {
		return 0, bad
	}
	return length, p + max(length, 0)
}
