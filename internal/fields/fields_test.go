package fields

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
)

// TestReader: what was written is read, and what is cut anywhere is an error.
func TestReader(t *testing.T) {
	b := []byte{7}
	b = binary.AppendUvarint(b, math.MaxUint64)
	b = binary.AppendVarint(b, math.MinInt64)
	b = append(binary.AppendUvarint(b, 3), "abc"...)
	b = binary.AppendUvarint(b, 0)
	read := func(b []byte) error {
		r := Reader{B: b}
		v, u, i, s, none := r.Byte(), r.Uint(), r.Int(), r.Bytes(), r.Bytes()
		if r.Err == nil && (v != 7 || u != math.MaxUint64 || i != math.MinInt64 || string(s) != "abc" || none != nil || len(r.B) > 0) {
			t.Errorf("read %d, %d, %d, %q, %q; %d bytes are left", v, u, i, s, none, len(r.B))
		}
		return r.Err
	}
	if err := read(b); err != nil {
		t.Error(err)
	}
	for n := range b {
		if read(b[:n]) == nil {
			t.Errorf("no error for the first %d bytes", n)
		}
	}
}

// TestFirstErrorCounts: after an error nothing is read any more.
func TestFirstErrorCounts(t *testing.T) {
	r := Reader{B: bytes.Repeat([]byte{0xff}, 20)}
	if v := r.Uint(); v != 0 || r.Err == nil {
		t.Errorf("a number of 20 bytes is read as %d", v)
	}
	first := r.Err
	if r.Byte() != 0 || r.Int() != 0 || r.Length(1) != 0 || r.Bytes() != nil || r.Err != first {
		t.Errorf("read on after %v: %v", first, r.Err)
	}
}

// TestLength: a length that the bytes at hand cannot hold is refused.
func TestLength(t *testing.T) {
	for size, want := range map[int]int{1: 4, 2: 4, 3: 0} {
		r := Reader{B: append([]byte{4}, make([]byte, 8)...)}
		if got := r.Length(size); got != want || (r.Err == nil) != (want > 0) {
			t.Errorf("4 elements of %d bytes in 8: %d, %v", size, got, r.Err)
		}
	}
}
