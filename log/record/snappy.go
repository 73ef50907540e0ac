package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/s2"
)

// xerialHeader begins the framing that Java's snappy stream puts around blocks: a magic of 8 bytes, and two versions of
// 4 bytes, here as we write them. Then come blocks, each a length of 4 bytes and that many bytes of raw snappy (rule
// 2.1.5).
var xerialHeader = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}

const (
	xerialMagic = 8        // bytes of xerialHeader that readers look at
	xerialBlock = 32 << 10 // uncompressed bytes per block that Java's client writes
)

var errSnappy = errors.New("the compressed records are not snappy")

// snappyReader decompresses snappy, in the Xerial framing or as one raw block; clients send both.
type snappyReader struct {
	src   []byte
	raw   bool
	limit int
	block []byte // the current block, decompressed
	rest  []byte // what of block has not been read
}

func (r *snappyReader) reset(src []byte, lim limits) error {
	r.src, r.rest, r.limit = src, nil, lim.whole
	r.raw = len(src) < len(xerialHeader) || !bytes.Equal(src[:xerialMagic], xerialHeader[:xerialMagic])
	return nil
}

func (r *snappyReader) release() {
	r.src, r.rest = nil, nil
	if cap(r.block) > maxKept {
		r.block = nil
	}
}

func (r *snappyReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		block, err := r.nextBlock()
		if err != nil {
			return 0, err
		}
		if r.rest, err = r.decode(block); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// nextBlock takes the next compressed block off the input; io.EOF says that there is none.
func (r *snappyReader) nextBlock() ([]byte, error) {
	if len(r.src) == 0 {
		return nil, io.EOF
	}
	if r.raw {
		block := r.src
		r.src = nil
		return block, nil
	}
	for len(r.src) >= len(xerialHeader) && bytes.Equal(r.src[:xerialMagic], xerialHeader[:xerialMagic]) {
		r.src = r.src[len(xerialHeader):] // the first header, or that of a stream appended to the first
	}
	if len(r.src) == 0 {
		return nil, io.EOF
	}
	if len(r.src) < 4 {
		return nil, io.ErrUnexpectedEOF
	}
	n := binary.BigEndian.Uint32(r.src)
	if uint64(n) > uint64(len(r.src)-4) {
		return nil, io.ErrUnexpectedEOF
	}
	block := r.src[4 : 4+n]
	r.src = r.src[4+n:]
	return block, nil
}

// decode decompresses a raw block. The length that it declares is believed only within the limit and as far as its
// bytes can hold it: six bytes can declare 2 GiB.
func (r *snappyReader) decode(block []byte) ([]byte, error) {
	n, err := s2.DecodedLen(block)
	if err != nil || n/maxSnappyRatio > len(block) {
		return nil, errSnappy
	}
	if n > r.limit {
		return nil, fmt.Errorf("%w: a snappy block declares %d bytes, the limit is %d", errExpands, n, r.limit)
	}
	if !plainSnappy(block) {
		return nil, errSnappy
	}
	if cap(r.block) < n {
		r.block = make([]byte, max(n, 2*xerialBlock))
	}
	out, err := s2.Decode(r.block[:cap(r.block)], block)
	if err != nil {
		return nil, errSnappy
	}
	return out, nil
}

// plainSnappy reports whether a block has none of the repeat codes by which S2 extends snappy. The decoder at hand
// understands them, but no other reader of the log does.
func plainSnappy(block []byte) bool {
	_, p := binary.Uvarint(block)
	for p >= 0 && p < len(block) {
		tag := block[p]
		switch tag & 3 {
		case 0: // literal: its length less 1 is in the tag, or in the 1 to 4 bytes behind it
			n := int(tag >> 2)
			extra := max(0, n-59)
			if p+extra >= len(block) {
				return false
			}
			if extra > 0 {
				n = 0
				for i := range extra {
					n |= int(block[p+1+i]) << (8 * i)
				}
			}
			p += 1 + extra + n + 1
		case 1: // copy with an offset of 11 bits
			if p+1 >= len(block) || tag>>5 == 0 && block[p+1] == 0 {
				return false // offset 0: a repeat
			}
			p += 2
		case 2:
			p += 3
		case 3:
			p += 5
		}
	}
	return p == len(block)
}
