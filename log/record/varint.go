package record

import "math"

// bad is the position that reading past a malformed or cut varint yields. It lies behind every buffer, so reading on
// from it fails again and stays bad: a sequence of reads needs one check, at its end.
const bad = math.MaxInt / 2

// varint reads a zigzag varint of at most 64 bits at p and returns it with the position behind it, which is bad when
// the varint is cut or too long.
func varint(b []byte, p int) (int64, int) {
	var u uint64
	for shift := 0; p < len(b); shift += 7 {
		c := b[p]
		p++
		if shift == 63 && c > 1 {
			return 0, bad
		}
		u |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return zigzag(u), p
		}
	}
	return 0, bad
}

// varint32 is varint for the fields that Kafka reads as 32 bits: lengths, counts and offset deltas. Such a varint has at
// most five bytes, of which no reader of Kafka's takes more.
func varint32(b []byte, p int) (int, int) {
	v, q := varint(b, p)
	if v != int64(int32(v)) || q-p > maxVarint32 {
		return 0, bad
	}
	return int(v), q
}

// maxVarint32 is the length of the longest varint of 32 bits.
const maxVarint32 = 5

// zigzag turns an unsigned varint's value into the signed one it stands for.
func zigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// appendVarint appends v as a zigzag varint.
func appendVarint(dst []byte, v int64) []byte {
	u := uint64(v)<<1 ^ uint64(v>>63)
	for u >= 0x80 {
		dst = append(dst, byte(u)|0x80)
		u >>= 7
	}
	return append(dst, byte(u))
}

// varintLen returns the bytes that appendVarint takes for v.
func varintLen(v int64) int {
	u := uint64(v)<<1 ^ uint64(v>>63)
	n := 1
	for ; u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
