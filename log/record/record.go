package record

import (
	"fmt"
	"iter"
)

// Record is one record of a batch.
type Record struct {
	Offset    int64
	Timestamp int64  // milliseconds since 1970, NoTimestamp without one
	Key       []byte // nil for null
	Value     []byte // nil for null: a tombstone on a compacted topic
	Headers   []Header
}

// Header is one header of a record. Keys are UTF-8 by convention only, and may occur more than once.
type Header struct {
	Key   string
	Value []byte // nil for null
}

// Records iterates over the batch's records in offset order, decompressing them if need be. Records of a batch with
// LogAppendTime have its timestamp (rule 2.2.2). Key, Value, Headers and header values are valid until the next record
// only: they lie in the batch, or in buffers that are used again. An error ends the iteration; it comes with a zero
// Record.
//
// Memory is bounded by the longest record. c may be nil for an uncompressed batch.
func (b Batch) Records(c *Codecs) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		codec := b.Codec()
		if !codec.Valid() {
			yield(Record{}, fmt.Errorf("compression codec %d does not exist", uint8(codec)))
			return
		}
		r := reader{batch: b, data: b.Payload()}
		if codec != None {
			r.stream = c.take(codec, r.data, storedLimits(len(b)))
			defer c.put(r.stream)
			r.data = nil
		}
		for i := range b.RecordCount() {
			rec, err := r.next(i)
			if !yield(rec, err) || err != nil {
				return
			}
		}
		if err := r.end(); err != nil {
			yield(Record{}, err)
		}
	}
}

// reader reads whole records one after the other.
type reader struct {
	batch   Batch
	data    []byte  // what of an uncompressed payload has not been read
	stream  *stream // a compressed payload; nil for an uncompressed one
	taken   int     // bytes of the stream's window that the last record lies in
	long    []byte  // the last record, when it was longer than the window
	headers []Header
}

// next reads the record with this index.
func (r *reader) next(index int32) (Record, error) {
	raw, what, err := r.raw()
	if err != nil {
		return Record{}, err
	}
	if what == "" {
		var rec Record
		if rec, what = r.parse(raw); what == "" {
			return rec, nil
		}
	}
	return Record{}, &malformed{index: index, what: what}
}

// raw returns the bytes of the next record; what says why there is none.
func (r *reader) raw() (raw []byte, what string, err error) {
	if r.stream == nil {
		end, what := recordEnd(r.data, 0)
		if what == "" && end > len(r.data) {
			what = cutRecord
		}
		if what != "" {
			return nil, what, nil
		}
		raw, r.data = r.data[:end], r.data[end:]
		return raw, "", nil
	}
	s := r.stream
	s.consume(r.taken)
	r.taken = 0
	for {
		end, what := recordEnd(s.window(), 0)
		switch {
		case what != "":
			return nil, what, nil
		case end <= len(s.window()):
			r.taken = end
			return s.window()[:end], "", nil
		case s.full():
			return r.gather(end)
		case !s.fill():
			return nil, cutRecord, s.failed()
		}
	}
}

// gather copies a record that is longer than the window into a buffer, which grows only as bytes arrive: the length
// that the record declares may be a lie.
func (r *reader) gather(length int) (raw []byte, what string, err error) {
	s := r.stream
	r.long = r.long[:0]
	for {
		n := min(length-len(r.long), len(s.window()))
		r.long = append(r.long, s.window()[:n]...)
		s.consume(n)
		if len(r.long) == length {
			return r.long, "", nil
		}
		if !s.fill() {
			return nil, cutRecord, s.failed()
		}
	}
}

// trim lets go of a buffer that is too large to keep.
func (r *reader) trim() {
	if cap(r.long) > maxKept {
		r.long = nil
	}
}

// parse takes a whole record apart.
func (r *reader) parse(raw []byte) (rec Record, what string) {
	timestampDelta, offsetDelta, _, what := parseRecord(raw, 0)
	if what != "" {
		return rec, what
	}
	rec.Offset = r.batch.BaseOffset() + int64(offsetDelta)
	rec.Timestamp = r.batch.BaseTimestamp() + timestampDelta
	if r.batch.TimestampType() == LogAppendTime {
		rec.Timestamp = r.batch.MaxTimestamp()
	}
	// parseRecord has proved that all fields lie within raw.
	_, p := varint(raw, 0)
	_, p = varint(raw, p+1)
	_, p = varint(raw, p)
	rec.Key, p = field(raw, p)
	rec.Value, p = field(raw, p)
	n, p := varint32(raw, p)
	r.headers = r.headers[:0]
	for range n {
		var h Header
		var key []byte
		key, p = field(raw, p)
		h.Key = string(key)
		h.Value, p = field(raw, p)
		r.headers = append(r.headers, h)
	}
	rec.Headers = r.headers
	return rec, ""
}

// field returns the bytes behind the length at p, nil for null, and the position behind them.
func field(b []byte, p int) ([]byte, int) {
	n, p := varint32(b, p)
	if n < 0 {
		return nil, p
	}
	return b[p : p+n : p+n], p + n
}

// end reports what is wrong after the last record: bytes left over, or a compressed payload that does not end well.
func (r *reader) end() error {
	left := len(r.data)
	if s := r.stream; s != nil {
		s.consume(r.taken)
		if len(s.window()) == 0 {
			s.fill()
		}
		left = len(s.window())
		if err := s.failed(); err != nil {
			return err
		}
	}
	if left > 0 {
		return &malformed{index: r.batch.RecordCount(), what: trailing}
	}
	return nil
}
