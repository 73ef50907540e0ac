package record

import (
	"runtime"
	"sync"
)

// Codecs lends compressors and decompressors. One value serves a broker; it is safe for concurrent use. Each is made
// when first needed and kept in a pool, which the garbage collector empties when they rest, so an idle Codecs takes next
// to no memory.
type Codecs struct {
	// slots bounds the decompressors that are at work at once, and by that the memory that hostile payloads can take
	// together. More than one per processor would not make anything faster: they only compute, and never wait.
	slots chan struct{}

	streams     [Zstd + 1]sync.Pool // of *stream, by codec
	compressors [Zstd + 1]levels
}

// NewCodecs returns a Codecs that decompresses for as many goroutines at once as there are processors.
func NewCodecs() *Codecs {
	return &Codecs{slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
}

// open starts to decompress payload, once a slot is free. The caller gives the stream back with close, and opens no
// other before: it would wait for its own slot.
func (c *Codecs) open(codec Codec, payload []byte, lim limits) *stream {
	c.slots <- struct{}{}
	return c.take(codec, payload, lim)
}

// close gives a stream from open back.
func (c *Codecs) close(s *stream) {
	c.put(s)
	<-c.slots
}

// take is open without a slot, for streams that are read while code of others runs.
func (c *Codecs) take(codec Codec, payload []byte, lim limits) *stream {
	s, _ := c.streams[codec].Get().(*stream)
	if s == nil {
		s = &stream{codec: codec, dec: newDecompressor(codec)}
	}
	s.start(payload, lim)
	return s
}

// put gives a stream from take back.
func (c *Codecs) put(s *stream) {
	s.dec.release()
	c.streams[s.codec].Put(s)
}

func newDecompressor(codec Codec) decompressor {
	switch codec {
	case Gzip:
		return new(gzipReader)
	case Snappy:
		return new(snappyReader)
	case LZ4:
		return new(lz4Reader)
	default:
		return new(zstdReader)
	}
}
