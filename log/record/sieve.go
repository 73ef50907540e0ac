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

// Judge decides which records of a batch stay.
type Judge interface {
	// See is called with each record, in offset order.
	See(e Entry)
	// Stay returns for each record that was seen since the last call whether it stays. A judge that has to look for keys
	// can look for many at once; it is asked for some 64 at a time.
	Stay() []bool
}

// sieveGroup is how many records a judge sees before it is asked.
const sieveGroup = 64

// Sieve reads batches of a log for the cleaner and rebuilds them without some of their records (rules 3.10.3 to
// 3.10.8). It keeps its buffers from one batch to the next; it is not safe for concurrent use.
//
// Records that stay keep their bytes, and the batch its base timestamp, unless a delete horizon takes its place: then
// the timestamps are written anew, relative to it (rule 2.2.3).
type Sieve struct {
	codecs *Codecs
	r      reader
	batch  Batch       // of the last Sift
	plain  []byte      // its records that stay, uncompressed
	moved  []byte      // the same with other timestamp deltas
	group  []sievedRec // seen, and not judged yet; behind those that stay in plain
	kept   int32
	max    int64 // largest timestamp of those that stay
}

// sievedRec is a record between See and Stay.
type sievedRec struct {
	timestamp int64
	size      int // bytes
	tombstone bool
}

// NewSieve returns a Sieve. The codecs decompress and compress what is compressed.
func NewSieve(c *Codecs) *Sieve { return &Sieve{codecs: c} }

// Each calls see with each record of b, in offset order, until it returns false.
func (s *Sieve) Each(b Batch, see func(Entry) bool) error {
	err := s.begin(b)
	defer s.close()
	for i := int32(0); err == nil && i < b.RecordCount(); i++ {
		var v recordView
		if _, v, err = s.next(i); err == nil && !see(v.entry(b)) {
			return nil
		}
	}
	return s.finish(err)
}

// Sift shows judge each record of b and holds on to those that stay, for AppendTo; with a nil judge all do. b must not
// change before that.
func (s *Sieve) Sift(b Batch, judge Judge) (Sifted, error) {
	var found Sifted
	s.batch, s.plain, s.group, s.max = b, s.plain[:0], s.group[:0], NoTimestamp
	err := s.begin(b)
	defer s.close()
	first := b.BaseTimestamp()
	for i := int32(0); err == nil && i < b.RecordCount(); i++ {
		var raw []byte
		var v recordView
		if raw, v, err = s.next(i); err != nil {
			break
		}
		s.plain = append(s.plain, raw...)
		s.group = append(s.group, sievedRec{timestamp: first + v.timestampDelta, size: len(raw), tombstone: v.tombstone})
		if judge != nil {
			judge.See(v.entry(b))
		}
		if len(s.group) == sieveGroup {
			s.settle(judge, &found)
		}
	}
	s.settle(judge, &found)
	s.kept = found.Kept
	return found, s.finish(err)
}

// settle asks the judge about the group, and closes the gaps of those that do not stay.
func (s *Sieve) settle(judge Judge, found *Sifted) {
	var stay []bool
	if judge != nil {
		stay = judge.Stay()
	}
	size := 0
	for i := range s.group {
		size += s.group[i].size
	}
	from := len(s.plain) - size // of the record in plain
	to := from                  // where it goes
	for i := range s.group {
		rec := &s.group[i]
		if stay == nil || stay[i] {
			found.Kept++
			found.Tombstone = found.Tombstone || rec.tombstone
			s.max = max(s.max, rec.timestamp)
			if from > to {
				copy(s.plain[to:], s.plain[from:from+rec.size])
			}
			to += rec.size
		} else {
			found.Dropped++
		}
		from += rec.size
	}
	s.plain, s.group = s.plain[:to], s.group[:0]
}

// begin starts to read the records of b.
func (s *Sieve) begin(b Batch) error {
	codec := b.Codec()
	r := &s.r
	r.batch, r.data, r.stream, r.taken = b, b.Payload(), nil, 0
	if !codec.Valid() {
		return fmt.Errorf("the batch at offset %d: compression codec %d does not exist", b.BaseOffset(), uint8(codec))
	}
	if codec != None {
		r.stream = s.codecs.take(codec, r.data, storedLimits(len(b)))
		r.data = nil
	}
	return nil
}

// close gives back what begin took.
func (s *Sieve) close() {
	if s.r.stream != nil {
		s.codecs.put(s.r.stream)
		s.r.stream = nil
	}
}

// next returns the bytes of the record with this index, valid until the following call, and what the cleaner looks at.
func (s *Sieve) next(index int32) (raw []byte, v recordView, err error) {
	raw, what, err := s.r.raw()
	if what == "" && err == nil {
		v, what = viewRecord(raw)
	}
	if what != "" {
		err = &malformed{index: index, what: what}
	}
	if err != nil {
		err = fmt.Errorf("the batch at offset %d: %w", s.r.batch.BaseOffset(), err)
	}
	return raw, v, err
}

// finish returns err, or what is wrong behind the last record.
func (s *Sieve) finish(err error) error {
	if err != nil {
		return err
	}
	if err := s.r.end(); err != nil {
		return fmt.Errorf("the batch at offset %d: %w", s.r.batch.BaseOffset(), err)
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

// entry returns what the cleaner looks at; the record is one of b.
func (v *recordView) entry(b Batch) Entry {
	return Entry{Offset: b.BaseOffset() + int64(v.offsetDelta), Key: v.key, Tombstone: v.tombstone}
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
