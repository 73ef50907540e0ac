package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// compressor makes one payload of the bytes written to it, complete after Close.
type compressor interface {
	io.WriteCloser
	// Reset starts another payload, which goes to w.
	Reset(w io.Writer)
}

// errFull stops a compressor whose output became larger than it may.
var errFull = errors.New("the compressed records take more than they may")

// sink gathers compressed bytes up to a limit.
type sink struct {
	buf []byte
	max int // of len(buf)
}

func (s *sink) Write(p []byte) (int, error) {
	if len(p) > s.max-len(s.buf) {
		return 0, errFull
	}
	s.buf = append(s.buf, p...)
	return len(p), nil
}

// efforts is the number of different settings a codec's compressor can have.
const efforts = 11

// effort maps Kafka's level of a codec to an index of its compressors. Levels that our libraries don't tell apart share
// one; levels out of Kafka's range are taken as the nearest within.
func (c Compression) effort() int {
	switch {
	case c.Codec == Gzip && c.Level < 1: // DefaultLevel and -1, which is gzip's own name for it
		return 0
	case c.Codec == Gzip:
		return min(c.Level, gzip.BestCompression)
	case c.Codec == LZ4 && (c.Level < 1 || c.Level == kafkaLZ4Level):
		return 0
	case c.Codec == LZ4:
		return min(c.Level, len(lz4Levels))
	case c.Codec == Zstd && c.Level == DefaultLevel:
		return int(zstd.SpeedDefault)
	case c.Codec == Zstd:
		return int(zstd.EncoderLevelFromZstd(c.Level))
	}
	return 0
}

// kafkaLZ4Level is Kafka's default level, which it compresses with LZ4's fast mode; all others use the slow one.
const kafkaLZ4Level = 9

var lz4Levels = [...]lz4.CompressionLevel{lz4.Level1, lz4.Level2, lz4.Level3, lz4.Level4, lz4.Level5, lz4.Level6,
	lz4.Level7, lz4.Level8, lz4.Level9}

// zstdWindow is the window in bytes that our zstd frames have. A larger one would hardly find more in batches of about
// 1 MiB, and every reader has to allocate it.
const zstdWindow = 1 << 20

func newCompressor(codec Codec, effort int) (compressor, error) {
	switch codec {
	case Gzip:
		if effort == 0 {
			effort = gzip.DefaultCompression
		}
		return gzip.NewWriterLevel(nil, effort)
	case Snappy:
		return &blockWriter{size: xerialBlock, format: &snappyBlocks{}}, nil
	case LZ4:
		return &blockWriter{size: lz4BlockSize, format: newLZ4Blocks(effort)}, nil
	case Zstd:
		return zstd.NewWriter(nil,
			zstd.WithEncoderLevel(zstd.EncoderLevel(effort)),
			zstd.WithEncoderConcurrency(1), // no goroutines
			zstd.WithWindowSize(zstdWindow),
			zstd.WithLowerEncoderMem(true),
			zstd.WithEncoderCRC(false)) // the batch has a checksum
	default:
		return nil, fmt.Errorf("no compressor for %v", codec)
	}
}

// compress appends src, compressed, to dst and returns it, at most max bytes long.
func (c *Codecs) compress(dst, src []byte, to Compression, max int) ([]byte, error) {
	return c.compressWith(dst, to, max, func(w io.Writer) error {
		_, err := w.Write(src)
		return err
	})
}

// recompress appends the records of b to dst, compressed another way, and returns it, at most max bytes long.
func (c *Codecs) recompress(dst []byte, b Batch, to Compression, max int) ([]byte, error) {
	if b.Codec() == None {
		return c.compress(dst, b.Payload(), to, max)
	}
	s := c.open(b.Codec(), b.Payload(), produceLimits(int32(max)))
	defer c.close(s)
	return c.compressWith(dst, to, max, func(w io.Writer) error {
		for {
			if _, err := w.Write(s.window()); err != nil {
				return err
			}
			s.consume(len(s.window()))
			if !s.fill() {
				return s.failed()
			}
		}
	})
}

// compressWith lends write a compressor whose output is appended to dst.
func (c *Codecs) compressWith(dst []byte, to Compression, max int, write func(io.Writer) error) ([]byte, error) {
	out := sink{buf: dst, max: max}
	if to.Codec == None {
		err := write(&out)
		return out.buf, err
	}
	pool := &c.compressors[to.Codec][to.effort()]
	w, _ := pool.Get().(compressor)
	if w == nil {
		var err error
		if w, err = newCompressor(to.Codec, to.effort()); err != nil {
			return dst, err
		}
	}
	w.Reset(&out)
	err := write(w)
	if closed := w.Close(); err == nil {
		err = closed
	}
	w.Reset(nil)
	pool.Put(w)
	return out.buf, err
}

// levels holds a codec's compressors by effort.
type levels [efforts]sync.Pool

// blockFormat is a codec that compresses blocks on their own, and its framing.
type blockFormat interface {
	// begin appends what comes before the first block, end what comes after the last.
	begin(dst []byte) []byte
	end(dst []byte) []byte
	// block appends src as a block.
	block(dst, src []byte) ([]byte, error)
}

// blockWriter is the compressor of a blockFormat: it cuts what is written into blocks of size bytes.
type blockWriter struct {
	format blockFormat
	size   int
	w      io.Writer
	in     []byte // what has not filled a block yet
	out    []byte // the framed block on its way to w
	begun  bool
}

func (b *blockWriter) Reset(w io.Writer) { b.w, b.in, b.begun = w, b.in[:0], false }

func (b *blockWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if len(b.in) == 0 && len(p) >= b.size {
			if err := b.flush(p[:b.size]); err != nil {
				return 0, err
			}
			p = p[b.size:]
			continue
		}
		k := min(b.size-len(b.in), len(p))
		b.in = append(b.in, p[:k]...)
		p = p[k:]
		if len(b.in) == b.size {
			if err := b.flush(b.in); err != nil {
				return 0, err
			}
			b.in = b.in[:0]
		}
	}
	return n, nil
}

// flush writes one block, after the frame's beginning when it is the first.
func (b *blockWriter) flush(block []byte) error {
	out := b.out[:0]
	if !b.begun {
		out = b.format.begin(out)
		b.begun = true
	}
	var err error
	if len(block) > 0 {
		out, err = b.format.block(out, block)
	}
	b.out = out
	if err != nil {
		return err
	}
	_, err = b.w.Write(out)
	return err
}

func (b *blockWriter) Close() error {
	if err := b.flush(b.in); err != nil {
		return err
	}
	_, err := b.w.Write(b.format.end(b.out[:0]))
	return err
}

// snappyBlocks writes the Xerial framing, as Java's client and Kafka's broker do.
type snappyBlocks struct{}

func (*snappyBlocks) begin(dst []byte) []byte { return append(dst, xerialHeader...) }
func (*snappyBlocks) end(dst []byte) []byte   { return dst }

func (*snappyBlocks) block(dst, src []byte) ([]byte, error) {
	at := len(dst)
	dst = append(dst, make([]byte, 4+s2.MaxEncodedLen(len(src)))...)
	n := len(s2.EncodeSnappy(dst[at+4:], src))
	binary.BigEndian.PutUint32(dst[at:], uint32(n))
	return dst[:at+4+n], nil
}

// lz4BlockSize is the block size of our LZ4 frames in bytes, which is that of Java's client. Readers keep a block.
const lz4BlockSize = 64 << 10

// lz4Blocks writes LZ4 frames as Kafka does: independent blocks and no checksums but the header's.
type lz4Blocks struct {
	fast lz4.Compressor
	high *lz4.CompressorHC // nil for the fast mode
}

func newLZ4Blocks(effort int) *lz4Blocks {
	if effort == 0 {
		return new(lz4Blocks)
	}
	return &lz4Blocks{high: &lz4.CompressorHC{Level: lz4Levels[effort-1]}}
}

func (*lz4Blocks) begin(dst []byte) []byte {
	const descriptor64KiB = 0x40
	dst = binary.LittleEndian.AppendUint32(dst, lz4Magic)
	dst = append(dst, lz4Version|lz4Independent, descriptor64KiB)
	return append(dst, byte(sum32(dst[len(dst)-2:])>>8))
}

func (*lz4Blocks) end(dst []byte) []byte { return append(dst, 0, 0, 0, 0) }

func (l *lz4Blocks) block(dst, src []byte) ([]byte, error) {
	at := len(dst)
	dst = append(dst, make([]byte, 4+lz4.CompressBlockBound(len(src)))...)
	n, err := l.compress(src, dst[at+4:])
	if err != nil {
		return dst[:at], err
	}
	word := uint32(n)
	if n == 0 || n >= len(src) { // not compressible
		n = copy(dst[at+4:], src)
		word = uint32(n) | lz4Uncompressed
	}
	binary.LittleEndian.PutUint32(dst[at:], word)
	return dst[:at+4+n], nil
}

func (l *lz4Blocks) compress(src, dst []byte) (int, error) {
	if l.high != nil {
		return l.high.CompressBlock(src, dst)
	}
	return l.fast.CompressBlock(src, dst)
}
