package metadata

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/kbroker/kbroker/internal/fields"
)

// batchFormat is the first byte of an encoded batch of records.
const batchFormat = 1

// EncodeRecords appends the encoding of a batch of records to b. FORMAT.md describes it.
func EncodeRecords(b []byte, records []Record) []byte {
	return ExtendRecords(append(b, batchFormat), records)
}

// ExtendRecords appends more records to a batch that EncodeRecords has made at the end of b.
func ExtendRecords(b []byte, records []Record) []byte {
	w := writer{b: b}
	var body writer
	for _, r := range records {
		body.b = body.b[:0]
		r.encode(&body)
		body.uint(0) // no tags yet
		w.uint(uint64(r.kind()))
		w.uint(recordTypes[r.kind()].version)
		w.uint(uint64(len(body.b)))
		w.b = append(w.b, body.b...)
	}
	return w.b
}

// DecodeRecords reads a batch of records. What it returns shares no memory with b. A record of a type or version that
// this code does not know is refused: its meaning cannot be guessed, and leaving it out would make this node's image
// differ from everybody else's.
func DecodeRecords(b []byte) ([]Record, error) {
	r := newReader(b)
	if f := r.Byte(); r.Err != nil {
		return nil, fmt.Errorf("metadata records: %w", r.Err)
	} else if f != batchFormat {
		return nil, fmt.Errorf("metadata records are in format %d, and this version of kbroker reads only format %d: "+
			"upgrade this node", f, batchFormat)
	}
	var records []Record
	for len(r.B) > 0 {
		record, err := decodeRecord(r)
		if err != nil {
			return nil, fmt.Errorf("metadata record %d: %w", len(records)+1, err)
		}
		records = append(records, record)
	}
	return records, nil
}

// decodeRecord reads one record.
func decodeRecord(r *reader) (Record, error) {
	kind, version, size := kind(r.Uint()), r.Uint(), r.Length(1)
	if r.Err != nil {
		return nil, r.Err
	}
	t, ok := recordTypes[kind]
	if !ok {
		return nil, fmt.Errorf("type %d is unknown to this version of kbroker; a newer one wrote it: upgrade this node", kind)
	}
	if version > t.version {
		return nil, fmt.Errorf("type %s has version %d, and this version of kbroker reads up to %d: upgrade this node",
			t.name, version, t.version)
	}
	body := newReader(r.B[:size])
	r.B = r.B[size:]
	record := t.make()
	record.decode(body)
	// A tag holds what a reader that does not know it may ignore.
	for range body.Length(2) {
		body.Uint()
		body.Bytes()
	}
	if body.Err == nil && len(body.B) > 0 {
		body.Fail("%d bytes behind its end", len(body.B))
	}
	if body.Err != nil {
		return nil, fmt.Errorf("type %s: %w", t.name, body.Err)
	}
	return record, nil
}

// writer appends fields to b.
type writer struct{ b []byte }

func (w *writer) uint(v uint64)   { w.b = binary.AppendUvarint(w.b, v) }
func (w *writer) int(v int64)     { w.b = binary.AppendVarint(w.b, v) }
func (w *writer) uuid(id UUID)    { w.b = append(w.b, id[:]...) }
func (w *writer) string(s string) { w.b = append(binary.AppendUvarint(w.b, uint64(len(s))), s...) }

func (w *writer) bool(v bool) {
	if v {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

func (w *writer) ids(ids []BrokerID) {
	w.uint(uint64(len(ids)))
	for _, id := range ids {
		w.int(int64(id))
	}
}

func (w *writer) uuids(ids []UUID) {
	w.uint(uint64(len(ids)))
	for _, id := range ids {
		w.uuid(id)
	}
}

// reader reads the types of these records.
type reader struct{ fields.Reader }

func newReader(b []byte) *reader { return &reader{fields.Reader{B: b}} }

// ranged reads a number between lo and hi.
func (r *reader) ranged(lo, hi int64) int64 {
	v := r.Int()
	if v < lo || v > hi {
		r.Fail("number %d is not between %d and %d", v, lo, hi)
		return 0
	}
	return v
}

func (r *reader) int8() int8   { return int8(r.ranged(math.MinInt8, math.MaxInt8)) }
func (r *reader) int16() int16 { return int16(r.ranged(math.MinInt16, math.MaxInt16)) }
func (r *reader) int32() int32 { return int32(r.ranged(math.MinInt32, math.MaxInt32)) }

func (r *reader) bool() bool {
	v := r.Byte()
	if v > 1 {
		r.Fail("a truth value is %d", v)
	}
	return v == 1
}

func (r *reader) string() string { return string(r.Bytes()) }

func (r *reader) uuid() UUID {
	if len(r.B) < len(UUID{}) {
		r.Fail("an id is cut off")
		return UUID{}
	}
	v := UUID(r.B[:16])
	r.B = r.B[16:]
	return v
}

// ids returns nil for an empty list.
func (r *reader) ids() []BrokerID {
	n := r.Length(1)
	if n == 0 {
		return nil
	}
	ids := make([]BrokerID, n)
	for i := range ids {
		ids[i] = r.int32()
	}
	return ids
}

// uuids returns nil for an empty list.
func (r *reader) uuids() []UUID {
	n := r.Length(len(UUID{}))
	if n == 0 {
		return nil
	}
	ids := make([]UUID, n)
	for i := range ids {
		ids[i] = r.uuid()
	}
	return ids
}
