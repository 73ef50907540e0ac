package record

import (
	"errors"
	"fmt"
	"io"
)

// limits bound what a compressed payload may cost. Nothing is rejected for its ratio alone: a thousand equal lines
// compress by zstd to a thousandth, and such batches are legitimate.
type limits struct {
	// total is the largest decompressed size in bytes. Time grows with it, memory does not: payloads are streamed.
	total int64
	// whole is the largest piece in bytes that has to be decompressed into memory at once, because its format knows no
	// streaming (a snappy block) or looks back too far (a zstd frame with a window over maxZstdWindow).
	whole int
}

const (
	// minTotal is limits.total where messages are small. Clients count max.message.bytes before they compress, but for
	// Java's, which fills a batch by its estimated compressed size: with default settings that gives some 16 MiB at the
	// best ratio there is. 64 MiB cost some 50 ms at the speed of gzip or zstd on such data.
	minTotal = 64 << 20
	// minWhole is limits.whole where messages are small: raw snappy is sent by clients that hold the uncompressed batch
	// to about max.message.bytes, 1 MiB unless configured.
	minWhole = 8 << 20
	// maxStored is limits.total for batches in a log. Another broker's log may hold what Validate would refuse.
	maxStored = 1 << 30
	// maxSnappyRatio is more than a snappy block can ever expand (about 21).
	maxSnappyRatio = 32
)

// produceLimits are the limits for a batch that a client sends to a topic with this max.message.bytes.
func produceLimits(maxMessageBytes int32) limits {
	n := int64(maxMessageBytes)
	return limits{total: max(minTotal, 8*n), whole: int(max(minWhole, 2*n))}
}

// storedLimits are the limits for a batch of this size in bytes from a log: generous, but not boundless, as a log may
// have been copied from elsewhere.
func storedLimits(size int) limits {
	return limits{total: maxStored, whole: max(minWhole, maxSnappyRatio*size)}
}

// errExpands is why a payload is refused that decompresses beyond its limits.
var errExpands = errors.New("the compressed records expand too far")

// decompressor turns one payload into the bytes of its records. Read returns io.EOF after the last byte, once the
// payload proved complete and its checksums, where it has any, right. Errors but for io.EOF and errExpands mean that the
// payload is none.
type decompressor interface {
	io.Reader
	// reset starts on another payload.
	reset(src []byte, lim limits) error
	// release lets go of the payload and of buffers that are too large to keep.
	release()
}

// maxKept is the largest buffer, in bytes, that a pooled decompressor keeps for its next payload: the largest block of
// LZ4, which franz-go's frames declare. What a buffer never held costs no memory.
const maxKept = 4 << 20

// windowSize is the length of the window through which decompressed records are seen. Records that fit, nearly all, are
// read like those of an uncompressed batch; longer ones field by field.
const windowSize = 64 << 10

// stream is a decompressed payload, seen through a window.
type stream struct {
	codec Codec
	dec   decompressor
	total int64 // bytes that may be decompressed in all
	read  int64 // bytes decompressed
	pos   int64 // bytes consumed
	r, w  int   // buf[r:w] is read but not consumed
	err   error // io.EOF at the end, or why there is no more; sticky
	large bool  // holds Codecs.large
	buf   [windowSize]byte
}

// start begins with a payload.
func (s *stream) start(payload []byte, lim limits) {
	s.total, s.read, s.pos, s.r, s.w = lim.total, 0, 0, 0, 0
	s.err = nil
	if err := s.dec.reset(payload, lim); err != nil {
		s.fail(err)
	}
}

// window returns the bytes that are there.
func (s *stream) window() []byte { return s.buf[s.r:s.w] }

// consume gives n bytes of the window back.
func (s *stream) consume(n int) {
	s.r += n
	s.pos += int64(n)
}

// full reports whether the window has no room for more bytes, so that what it begins with is longer than it.
func (s *stream) full() bool { return s.w-s.r == len(s.buf) }

// fill adds bytes to the window, which must not be full, and reports whether it could; if not, s.err says why.
func (s *stream) fill() bool {
	if s.r > 0 {
		s.w = copy(s.buf[:], s.buf[s.r:s.w])
		s.r = 0
	}
	for s.err == nil {
		n, err := s.dec.Read(s.buf[s.w:])
		s.w += n
		s.read += int64(n)
		if s.read > s.total {
			err = fmt.Errorf("%w: past %d bytes", errExpands, s.total)
		}
		if err != nil {
			s.fail(err)
		}
		if n > 0 {
			return true
		}
	}
	return false
}

// fail ends the stream; io.EOF is the good end.
func (s *stream) fail(err error) {
	switch {
	case err == io.EOF || errors.Is(err, errExpands):
		s.err = err
	case errors.Is(err, io.ErrUnexpectedEOF):
		s.err = errors.New("the compressed records are cut")
	default:
		s.err = fmt.Errorf("the records do not decompress: %w", err)
	}
}

// failed reports why the stream broke off, nil when it ended or has not ended yet.
func (s *stream) failed() error {
	if s.err == nil || s.err == io.EOF {
		return nil
	}
	return s.err
}

// next consumes one byte, and reports false when there is none; s.err tells why.
func (s *stream) next() (c byte, ok bool) {
	if s.r == s.w && !s.fill() {
		return 0, false
	}
	c = s.buf[s.r]
	s.consume(1)
	return c, true
}

// varint consumes a varint, and reports false when it is cut or has more than 64 bits.
func (s *stream) varint() (v int64, ok bool) {
	var u uint64
	for shift := 0; shift < 64; shift += 7 {
		c, ok := s.next()
		if !ok || shift == 63 && c > 1 {
			return 0, false
		}
		u |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return zigzag(u), true
		}
	}
	return 0, false
}

// skip consumes n bytes, and reports false when there are fewer.
func (s *stream) skip(n int64) bool {
	for n > 0 {
		if s.r == s.w && !s.fill() {
			return false
		}
		k := min(n, int64(s.w-s.r))
		s.consume(int(k))
		n -= k
	}
	return true
}

// cut turns an end of input where there must not be one into io.ErrUnexpectedEOF.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
