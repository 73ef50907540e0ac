// Package fields reads the fields of the formats that are kbroker's own: the metadata records and the log of Raft.
//
// It guarantees that reading costs no more memory than the bytes that are read, whatever they are, and that what is cut
// off or too long is found out.
package fields

import (
	"encoding/binary"
	"fmt"
)

// Reader takes fields from B. After the first thing that is wrong its methods return zero values, and Err says what it
// was: who reads needs to look only at the end.
type Reader struct {
	B   []byte // what is not read yet
	Err error
}

// Fail notes what is wrong, unless something was before.
func (r *Reader) Fail(format string, args ...any) {
	if r.Err == nil {
		r.Err, r.B = fmt.Errorf(format, args...), nil
	}
}

// Byte reads a byte.
func (r *Reader) Byte() byte {
	if len(r.B) == 0 {
		r.Fail("a byte is cut off")
		return 0
	}
	v := r.B[0]
	r.B = r.B[1:]
	return v
}

// Uint reads an unsigned LEB128 number.
func (r *Reader) Uint() uint64 {
	v, n := binary.Uvarint(r.B)
	r.skip(n)
	return v
}

// Int reads a zig-zag number.
func (r *Reader) Int() int64 {
	v, n := binary.Varint(r.B)
	r.skip(n)
	return v
}

// skip passes over a number of n bytes. Where there is no whole number n is not above 0, and encoding/binary gives 0 for it.
func (r *Reader) skip(n int) {
	if n <= 0 {
		r.Fail("a number is cut off or too long")
		return
	}
	r.B = r.B[n:]
}

// Length reads the number of elements that follow, each of which takes at least size bytes: memory for more than the
// bytes at hand could hold is never asked for.
func (r *Reader) Length(size int) int {
	n := r.Uint()
	if n > uint64(len(r.B)/size) {
		r.Fail("a length of %d with %d bytes left", n, len(r.B))
		return 0
	}
	return int(n)
}

// Bytes reads a length and so many bytes, which are part of B; nil when there are none.
func (r *Reader) Bytes() []byte {
	n := r.Length(1)
	if n == 0 {
		return nil
	}
	v := r.B[:n:n]
	r.B = r.B[n:]
	return v
}
