package record

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxZstdWindow is the largest window, in bytes, for which a frame is streamed: the decoder keeps that much of what it
// decoded. It is what the format recommends every decoder to support, and what levels up to 19 use. Frames that look
// back further (Java's producer at levels 20 to 22) are decoded whole when they are small, as nearly all are.
const maxZstdWindow = 8 << 20

// widestZstd is the largest window, in bytes, that a frame may have at all: the one beyond which the reference decoder,
// which Kafka's clients use, refuses frames. Levels 20 to 22 reach it.
const widestZstd = 128 << 20

// smallZstd is the size up to which payloads are decoded whole whatever their window, in bytes: two blocks, as the
// batches of a client with default settings have. It is faster, and spares the stream's window.
const smallZstd = 2 * zstdBlock

// zstdBlock is the most bytes that any block of zstd decodes to.
const zstdBlock = 128 << 10

// largeWindow is the window, in bytes, from which on a decoder takes more than others do. Java's producer stays below
// with default settings.
const largeWindow = 2 << 20

// needsMuch reports whether decompressing src takes some 10 MiB.
func needsMuch(src []byte) bool {
	shape, err := surveyZstd(src)
	return err == nil && shape.window > largeWindow
}

// zstdReader decompresses zstd frames (RFC 8878), one or several after each other.
type zstdReader struct {
	src   bytes.Reader
	dec   *zstd.Decoder // streams; made when first needed
	whole *zstd.Decoder // decodes payloads whole; made when first needed
	buf   []byte        // what whole decodes into
	out   bytes.Reader  // what it has decoded
	cur   io.Reader     // dec or &out
}

func (r *zstdReader) reset(src []byte, lim limits) error {
	shape, err := surveyZstd(src)
	if err != nil {
		return err
	}
	if shape.window > widestZstd {
		return errZstd
	}
	if shape.most <= smallZstd || shape.window > maxZstdWindow {
		return r.decodeWhole(src, lim.whole, shape.most)
	}
	if r.dec == nil {
		r.dec, err = zstd.NewReader(nil,
			zstd.WithDecoderConcurrency(1), // no goroutines: nothing to stop, and one per slot is all that is wanted
			zstd.WithDecoderMaxWindow(maxZstdWindow),
			zstd.WithDecodeBuffersBelow(0)) // else small input is decoded whole, however large it becomes
		if err != nil {
			return err
		}
	}
	r.src.Reset(src)
	r.cur = r.dec
	return r.dec.Reset(&r.src)
}

func (r *zstdReader) release() {
	r.src.Reset(nil)
	r.out.Reset(nil)
	if cap(r.buf) > smallZstd {
		r.buf = nil
	}
	if r.dec != nil {
		_ = r.dec.Reset(nil) // fails only on a closed decoder, which this never is
	}
}

// zstdShape is what the headers in a payload say without decoding anything.
type zstdShape struct {
	window uint64 // largest window of a frame, in bytes
	most   uint64 // bytes that all blocks can decode to
}

var errZstd = errors.New("the compressed records are not zstd frames that every client can read")

// surveyZstd goes over the headers of all frames and blocks. It proves that the payload is whole and holds nothing but
// frames, where the decoder lets up to three bytes pass at the end that other readers stumble over.
func surveyZstd(src []byte) (zstdShape, error) {
	var shape zstdShape
	for len(src) > 0 {
		var h zstd.Header
		if err := h.Decode(src); err != nil {
			return shape, cut(err)
		}
		n := uint64(h.HeaderSize)
		if h.Skippable {
			n += uint64(h.SkippableSize)
		} else {
			shape.window = max(shape.window, h.WindowSize)
			if h.SingleSegment {
				shape.window = max(shape.window, h.FrameContentSize)
			}
			blocks, err := shape.blocks(src[h.HeaderSize:])
			if err != nil {
				return shape, err
			}
			n += uint64(blocks)
			if h.HasCheckSum {
				n += 4
			}
		}
		if n > uint64(len(src)) {
			return shape, io.ErrUnexpectedEOF
		}
		src = src[n:]
	}
	return shape, nil
}

// blocks steps over the blocks of a frame and returns the bytes they take.
func (z *zstdShape) blocks(src []byte) (int, error) {
	const (
		header   = 3 // last-block flag, type and size in 24 bits
		rle      = 1 // the type whose size is what one byte expands to
		reserved = 3 // the type that does not exist
	)
	for p := 0; ; {
		if len(src)-p < header {
			return 0, io.ErrUnexpectedEOF
		}
		word := uint32(src[p]) | uint32(src[p+1])<<8 | uint32(src[p+2])<<16
		size := int(word >> 3)
		switch word >> 1 & 3 {
		case rle:
			size = 1
		case reserved:
			return 0, errZstd
		}
		p += header + size
		z.most += zstdBlock
		if p > len(src) {
			return 0, io.ErrUnexpectedEOF
		}
		if word&1 != 0 {
			return p, nil
		}
	}
}

// decodeWhole decodes src, which can become most bytes and may become limit.
func (r *zstdReader) decodeWhole(src []byte, limit int, most uint64) error {
	if r.whole == nil {
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return err
		}
		r.whole = dec
	}
	size := int(min(uint64(limit), most))
	if cap(r.buf) < size {
		r.buf = make([]byte, 0, size)
	}
	out, err := r.whole.DecodeAll(src, r.buf[:0:size])
	if err != nil {
		if uint64(size) < most {
			return errExpands // the decoder has several errors for a buffer that is too short
		}
		return err
	}
	r.out.Reset(out)
	r.cur = &r.out
	return nil
}

func (r *zstdReader) Read(p []byte) (int, error) {
	n, err := r.cur.Read(p)
	return n, zstdError(err)
}

func zstdError(err error) error {
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return errExpands
	}
	return err
}
