package record

import (
	"encoding/binary"
	"math/bits"
)

// xxh32 is the 32-bit xxHash with seed 0, the checksum of LZ4 frames. It is a variable-free algorithm: four lanes of 32
// bits take 16 bytes at a time.
type xxh32 struct {
	lanes [4]uint32
	total uint64
	buf   [16]byte // the first total%16 bytes have not gone into the lanes yet
}

// The primes of xxHash.
const (
	xxPrime1 uint32 = 2654435761
	xxPrime2 uint32 = 2246822519
	xxPrime3 uint32 = 3266489917
	xxPrime4 uint32 = 668265263
	xxPrime5 uint32 = 374761393
)

// sum32 returns the hash of b.
func sum32(b []byte) uint32 {
	var x xxh32
	x.reset()
	x.write(b)
	return x.sum()
}

func (x *xxh32) reset() {
	one, two := xxPrime1, xxPrime2 // variables, because the sums wrap
	x.lanes = [4]uint32{one + two, two, 0, -one}
	x.total = 0
}

func (x *xxh32) write(b []byte) {
	have := int(x.total % 16)
	x.total += uint64(len(b))
	if have > 0 {
		n := copy(x.buf[have:], b)
		b = b[n:]
		if have+n < 16 {
			return
		}
		x.block(x.buf[:])
	}
	whole := len(b) &^ 15
	x.block(b[:whole])
	copy(x.buf[:], b[whole:])
}

// block mixes in b, whose length is a multiple of 16.
func (x *xxh32) block(b []byte) {
	v0, v1, v2, v3 := x.lanes[0], x.lanes[1], x.lanes[2], x.lanes[3]
	for ; len(b) >= 16; b = b[16:] {
		v0 = xxRound(v0, binary.LittleEndian.Uint32(b))
		v1 = xxRound(v1, binary.LittleEndian.Uint32(b[4:]))
		v2 = xxRound(v2, binary.LittleEndian.Uint32(b[8:]))
		v3 = xxRound(v3, binary.LittleEndian.Uint32(b[12:]))
	}
	x.lanes = [4]uint32{v0, v1, v2, v3}
}

func xxRound(lane, word uint32) uint32 {
	return bits.RotateLeft32(lane+word*xxPrime2, 13) * xxPrime1
}

func (x *xxh32) sum() uint32 {
	h := xxPrime5
	if x.total >= 16 {
		h = bits.RotateLeft32(x.lanes[0], 1) + bits.RotateLeft32(x.lanes[1], 7) +
			bits.RotateLeft32(x.lanes[2], 12) + bits.RotateLeft32(x.lanes[3], 18)
	}
	h += uint32(x.total)
	tail := x.buf[:x.total%16]
	for ; len(tail) >= 4; tail = tail[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(tail)*xxPrime3, 17) * xxPrime4
	}
	for _, c := range tail {
		h = bits.RotateLeft32(h+uint32(c)*xxPrime5, 11) * xxPrime1
	}
	h = (h ^ h>>15) * xxPrime2
	h = (h ^ h>>13) * xxPrime3
	return h ^ h>>16
}
