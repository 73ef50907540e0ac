package record

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/pierrec/lz4/v4"
)

// lz4Reader decompresses one LZ4 frame. The frame is parsed here, over the library's block decoder, for three reasons:
// a block is decoded straight from the payload, where the library's reader copies it first and keeps two buffers of 4
// MiB in pools of its own; Kafka's clients read one frame with independent blocks and nothing else, so other frames must
// be refused though the library takes them; and a frame's checksums are looked at before its records are believed.
type lz4Reader struct {
	src      []byte
	flags    byte
	maxBlock int
	size     uint64 // content size that the frame declares, when flags has lz4ContentSize
	read     uint64 // bytes decompressed
	sum      xxh32  // of the content, when flags has lz4ContentSum
	block    []byte // buffer for the current block
	rest     []byte // what of the current block has not been read
}

// The header of an LZ4 frame: magic, flags, block descriptor, content size when flagged, header checksum.
const (
	lz4Magic        = 0x184d2204
	lz4Version      = 0x40 // of flags
	lz4VersionMask  = 0xc0
	lz4Independent  = 0x20 // blocks don't refer to earlier ones
	lz4BlockSums    = 0x10 // a checksum follows each block
	lz4ContentSize  = 0x08
	lz4ContentSum   = 0x04 // a checksum of everything follows the last block
	lz4Reserved     = 0x03 // includes the dictionary flag
	lz4MinHeader    = 7
	lz4Uncompressed = 1 << 31 // flag in a block's length
)

var errLZ4 = errors.New("the compressed records are not one LZ4 frame with independent blocks")

func (r *lz4Reader) reset(src []byte, _ limits) error {
	*r = lz4Reader{src: src, block: r.block}
	return r.header()
}

func (r *lz4Reader) release() {
	// The block stays, whatever its size: the format bounds it to 4 MiB and the codec's slots their number. Making a new
	// one for every hostile frame would fill the heap with garbage faster than it is collected.
	r.src, r.rest = nil, nil
}

// header reads the frame's header.
func (r *lz4Reader) header() error {
	src := r.src
	if len(src) < lz4MinHeader || binary.LittleEndian.Uint32(src) != lz4Magic {
		return errLZ4
	}
	r.flags = src[4]
	descriptor := src[5]
	sizeCode := descriptor >> 4 & 7
	if r.flags&(lz4VersionMask|lz4Independent|lz4Reserved) != lz4Version|lz4Independent ||
		descriptor != sizeCode<<4 || sizeCode < 4 {
		return errLZ4
	}
	r.maxBlock = 1 << (8 + 2*sizeCode) // 64 KiB to 4 MiB
	n := 6
	if r.flags&lz4ContentSize != 0 {
		if len(src) < n+8+1 {
			return errLZ4
		}
		r.size = binary.LittleEndian.Uint64(src[n:])
		n += 8
	}
	if byte(sum32(src[4:n])>>8) != src[n] {
		return errLZ4
	}
	r.src = src[n+1:]
	r.sum.reset()
	return nil
}

func (r *lz4Reader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if err := r.nextBlock(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// nextBlock decompresses the next block into r.rest; io.EOF says that the frame has ended and is complete.
func (r *lz4Reader) nextBlock() error {
	word, err := r.word()
	if err != nil {
		return err
	}
	if word == 0 {
		return r.end()
	}
	n := int(word &^ lz4Uncompressed)
	if n == 0 || n > r.maxBlock { // Java's client takes an empty block for the frame's end
		return errLZ4
	}
	if n > len(r.src) {
		return io.ErrUnexpectedEOF
	}
	data := r.src[:n]
	r.src = r.src[n:]
	if r.flags&lz4BlockSums != 0 {
		sum, err := r.word()
		if err != nil {
			return err
		}
		if sum != sum32(data) {
			return errLZ4
		}
	}
	if word&lz4Uncompressed != 0 {
		r.rest = data
	} else if err := r.decode(data); err != nil {
		return err
	}
	r.read += uint64(len(r.rest))
	if r.flags&lz4ContentSum != 0 {
		r.sum.write(r.rest)
	}
	return nil
}

// maxLZ4Ratio is how much LZ4 expands at most: a byte of a length stands for 255.
const maxLZ4Ratio = 255

func (r *lz4Reader) decode(data []byte) error {
	size := min(r.maxBlock, maxLZ4Ratio*len(data))
	if cap(r.block) < size {
		r.block = make([]byte, size)
	}
	n, err := lz4.UncompressBlock(data, r.block[:size])
	if err != nil {
		return errLZ4
	}
	r.rest = r.block[:n]
	return nil
}

// end checks what the frame promised; the blocks have ended.
func (r *lz4Reader) end() error {
	if r.flags&lz4ContentSum != 0 {
		sum, err := r.word()
		if err != nil {
			return err
		}
		if sum != r.sum.sum() {
			return errLZ4
		}
	}
	if r.flags&lz4ContentSize != 0 && r.read != r.size || len(r.src) > 0 {
		return errLZ4
	}
	return io.EOF
}

// word takes 4 bytes off the input.
func (r *lz4Reader) word() (uint32, error) {
	if len(r.src) < 4 {
		return 0, io.ErrUnexpectedEOF
	}
	v := binary.LittleEndian.Uint32(r.src)
	r.src = r.src[4:]
	return v, nil
}
