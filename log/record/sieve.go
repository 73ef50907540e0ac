package record

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Entry is what the cleaner looks at in a record. Key is valid during the call only.
type Entry struct {
	Offset    int64
	Key       []byte // nil for null
	Tombstone bool   // the value is null
}

// Sifted says what Sift found in a batch.
type Sifted struct {
	Kept, Dropped int32 // records
	Tombstone     bool  // one of those kept has no value
}

// Sieve reads batches of a log for the cleaner and rebuilds them without some of their records (rules 3.10.3 to
// 3.10.8). It keeps its buffers from one batch to the next; it is not safe for concurrent use.
//
// Records that stay keep their bytes, and the batch its base timestamp, unless a delete horizon takes its place: then
// the timestamps are written anew, relative to it (rule 2.2.3).
type Sieve struct {
	codecs *Codecs
	r      reader
	batch  Batch  // of the last Sift
	plain  []byte // its records that stay, uncompressed
	moved  []byte // the same with other timestamp deltas
	kept   int32
	max    int64 // largest timestamp of those that stay
}

// NewSieve returns a Sieve. The codecs decompress and compress what is compressed.
func NewSieve(c *Codecs) *Sieve { return &Sieve{codecs: c} }

// Each calls see with each record of b, in offset order, until it returns false.
func (s *Sieve) Each(b Batch, see func(Entry) bool) error {
	return s.walk(b, func(_ []byte, _ int64, e Entry) bool { return see(e) })
}

// Sift calls keep with each record of b, in offset order, and holds on to those for which it returns true, for AppendTo.
// b must not change before that.
func (s *Sieve) Sift(b Batch, keep func(Entry) bool) (Sifted, error) {
	var found Sifted
	s.batch, s.plain, s.max = b, s.plain[:0], NoTimestamp
	err := s.walk(b, func(raw []byte, timestamp int64, e Entry) bool {
		if !keep(e) {
			found.Dropped++
			return true
		}
		found.Kept++
		found.Tombstone = found.Tombstone || e.Tombstone
		s.max = max(s.max, timestamp)
		s.plain = append(s.plain, raw...)
		return true
	})
	s.kept = found.Kept
	return found, err
}

// walk calls see with the bytes of each record, its timestamp and what the cleaner looks at.
func (s *Sieve) walk(b Batch, see func(raw []byte, timestamp int64, e Entry) bool) error {
	codec := b.Codec()
	if !codec.Valid() {
		return fmt.Errorf("the batch at offset %d: compression codec %d does not exist", b.BaseOffset(), uint8(codec))
	}
	r := &s.r
	r.batch, r.data, r.stream, r.taken = b, b.Payload(), nil, 0
	if codec != None {
		r.stream = s.codecs.take(codec, r.data, storedLimits(len(b)))
		defer s.codecs.put(r.stream)
		r.data = nil
	}
	base, first := b.BaseOffset(), b.BaseTimestamp()
	for i := range b.RecordCount() {
		raw, what, err := r.raw()
		if err != nil {
			return fmt.Errorf("the batch at offset %d: %w", base, err)
		}
		var v recordView
		if what == "" {
			v, what = viewRecord(raw)
		}
		if what != "" {
			return fmt.Errorf("the batch at offset %d: %w", base, &malformed{index: i, what: what})
		}
		if !see(raw, first+v.timestampDelta, Entry{Offset: base + int64(v.offsetDelta), Key: v.key, Tombstone: v.tombstone}) {
			return nil
		}
	}
	if err := r.end(); err != nil {
		return fmt.Errorf("the batch at offset %d: %w", base, err)
	}
	return nil
}

// recordView is a record with its headers left unread.
type recordView struct {
	timestampDelta int64
	offsetDelta    int32
	key            []byte
	tombstone      bool
	// from and to are the place of the timestamp delta; what lies behind it does not depend on it.
	from, to int
}

// viewRecord looks at the record that raw is; what says why it cannot be one.
func viewRecord(raw []byte) (v recordView, what string) {
	_, p := varint32(raw, 0)
	v.from = p + 1 // behind the attributes
	v.timestampDelta, v.to = varint(raw, v.from)
	offset, p := varint32(raw, v.to)
	n, at := varint32(raw, p)
	if n < -1 || at+max(n, 0) > len(raw) {
		return v, misfit
	}
	if n >= 0 {
		v.key = raw[at : at+n : at+n]
	}
	value, p := varint32(raw, at+max(n, 0))
	if value < -1 || p+max(value, 0) > len(raw) {
		return v, misfit
	}
	v.offsetDelta, v.tombstone = int32(offset), value < 0
	return v, ""
}

// AppendTo appends the batch of the last Sift to dst with the records that stay, one at least: base and last offset,
// producer, sequence, epoch and codec are those that it had (rule 3.10.7). A horizon above 0, in milliseconds since
// 1970, becomes its delete horizon (rule 3.10.5).
func (s *Sieve) AppendTo(dst []byte, horizon int64) ([]byte, error) {
	records := s.plain
	if horizon > 0 {
		records = s.shift(horizon)
	}
	at := len(dst)
	out, err := s.codecs.compress(append(dst, s.batch[:HeaderSize]...), records, Compression{Codec: s.batch.Codec()}, math.MaxInt32)
	if err != nil {
		return dst, fmt.Errorf("rebuilding the batch at offset %d with %v: %w", s.batch.BaseOffset(), s.batch.Codec(), err)
	}
	b := Batch(out[at:])
	attrs := s.batch.Attributes() & attrKnown
	if horizon > 0 {
		attrs |= attrDeleteHorizon
		binary.BigEndian.PutUint64(b[atBaseTimestamp:], uint64(horizon))
	}
	if b.TimestampType() == CreateTime {
		binary.BigEndian.PutUint64(b[atMaxTimestamp:], uint64(s.max))
	}
	binary.BigEndian.PutUint16(b[atAttributes:], uint16(attrs))
	binary.BigEndian.PutUint32(b[atBatchLength:], uint32(len(b)-Overhead))
	binary.BigEndian.PutUint32(b[atRecordCount:], uint32(s.kept))
	b.Reseal()
	s.trim()
	return out, nil
}

// shift writes the records anew with timestamps relative to base.
func (s *Sieve) shift(base int64) []byte {
	by := s.batch.BaseTimestamp() - base
	s.moved = s.moved[:0]
	for rest := s.plain; len(rest) > 0; {
		end, _ := recordEnd(rest, 0)
		raw := rest[:end]
		rest = rest[end:]
		v, _ := viewRecord(raw) // Sift has proved that it is one
		delta := v.timestampDelta + by
		s.moved = appendVarint(s.moved, int64(1+varintLen(delta)+len(raw)-v.to))
		s.moved = append(s.moved, raw[v.from-1]) // attributes
		s.moved = appendVarint(s.moved, delta)
		s.moved = append(s.moved, raw[v.to:]...)
	}
	return s.moved
}

// trim lets go of buffers that are too large to keep.
func (s *Sieve) trim() {
	if cap(s.plain) > maxKept {
		s.plain = nil
	}
	if cap(s.moved) > maxKept {
		s.moved = nil
	}
	s.r.trim()
}

// AppendEmpty appends b without any record to dst: the 61 bytes that keep its producer's last sequence, or its last
// offset, when all that it held is gone (rule 3.10.8).
func AppendEmpty(dst []byte, b Batch) []byte {
	at := len(dst)
	dst = append(dst, b[:HeaderSize]...)
	e := Batch(dst[at:])
	attrs := b.Attributes() & (attrLogAppendTime | attrTransactional | attrControl)
	binary.BigEndian.PutUint16(e[atAttributes:], uint16(attrs))
	binary.BigEndian.PutUint32(e[atBatchLength:], HeaderSize-Overhead)
	binary.BigEndian.PutUint64(e[atBaseTimestamp:], math.MaxUint64) // NoTimestamp
	binary.BigEndian.PutUint32(e[atRecordCount:], 0)
	e.Reseal()
	return dst
}
