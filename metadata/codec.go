package metadata

import (
	"encoding/binary"
	"fmt"
	"math"
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
	r := reader{b: b}
	if f := r.byte(); r.err != nil {
		return nil, fmt.Errorf("metadata records: %w", r.err)
	} else if f != batchFormat {
		return nil, fmt.Errorf("metadata records are in format %d, and this version of kbroker reads only format %d: "+
			"upgrade this node", f, batchFormat)
	}
	var records []Record
	for len(r.b) > 0 {
		record, err := decodeRecord(&r)
		if err != nil {
			return nil, fmt.Errorf("metadata record %d: %w", len(records)+1, err)
		}
		records = append(records, record)
	}
	return records, nil
}

// decodeRecord reads one record.
func decodeRecord(r *reader) (Record, error) {
	kind, version, size := kind(r.uint()), r.uint(), r.length(1)
	if r.err != nil {
		return nil, r.err
	}
	t, ok := recordTypes[kind]
	if !ok {
		return nil, fmt.Errorf("type %d is unknown to this version of kbroker; a newer one wrote it: upgrade this node", kind)
	}
	if version > t.version {
		return nil, fmt.Errorf("type %s has version %d, and this version of kbroker reads up to %d: upgrade this node",
			t.name, version, t.version)
	}
	body := reader{b: r.b[:size]}
	r.b = r.b[size:]
	record := t.make()
	record.decode(&body)
	// A tag holds what a reader that does not know it may ignore.
	for range body.length(2) {
		body.uint()
		body.bytes()
	}
	if body.err == nil && len(body.b) > 0 {
		body.fail("%d bytes behind its end", len(body.b))
	}
	if body.err != nil {
		return nil, fmt.Errorf("type %s: %w", t.name, body.err)
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

// reader takes fields from b. After the first thing that is wrong it returns zero values, and err says what it was.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
		r.b = nil
	}
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("a number is cut off or too long")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("a number is cut off or too long")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// ranged reads a number between lo and hi.
func (r *reader) ranged(lo, hi int64) int64 {
	v := r.int()
	if v < lo || v > hi {
		r.fail("number %d is not between %d and %d", v, lo, hi)
		return 0
	}
	return v
}

func (r *reader) int8() int8   { return int8(r.ranged(math.MinInt8, math.MaxInt8)) }
func (r *reader) int16() int16 { return int16(r.ranged(math.MinInt16, math.MaxInt16)) }
func (r *reader) int32() int32 { return int32(r.ranged(math.MinInt32, math.MaxInt32)) }

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail("a byte is cut off")
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) bool() bool {
	v := r.byte()
	if v > 1 {
		r.fail("a truth value is %d", v)
	}
	return v == 1
}

// length reads the number of elements that follow, each of which takes at least size bytes: memory for more than the
// bytes at hand could hold is never asked for.
func (r *reader) length(size int) int {
	n := r.uint()
	if n > uint64(len(r.b)/size) {
		r.fail("a length of %d with %d bytes left", n, len(r.b))
		return 0
	}
	return int(n)
}

func (r *reader) bytes() []byte {
	n := r.length(1)
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string { return string(r.bytes()) }

func (r *reader) uuid() UUID {
	if len(r.b) < len(UUID{}) {
		r.fail("an id is cut off")
		return UUID{}
	}
	v := UUID(r.b[:16])
	r.b = r.b[16:]
	return v
}

// ids returns nil for an empty list.
func (r *reader) ids() []BrokerID {
	n := r.length(1)
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
	n := r.length(len(UUID{}))
	if n == 0 {
		return nil
	}
	ids := make([]UUID, n)
	for i := range ids {
		ids[i] = r.uuid()
	}
	return ids
}
