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
	// large lets one decompressor at a time work with much memory (see needsMuch).
	large chan struct{}

	streams     [Zstd + 1]sync.Pool // of *stream, by codec
	compressors [Zstd + 1]levels
}

// NewCodecs returns a Codecs that decompresses for as many goroutines at once as there are processors.
func NewCodecs() *Codecs {
	return &Codecs{slots: make(chan struct{}, runtime.GOMAXPROCS(0)), large: make(chan struct{}, 1)}
}

// open starts to decompress payload, once a slot is free. The caller gives the stream back with close, and opens no
// other before: it would wait for its own slot.
func (c *Codecs) open(codec Codec, payload []byte, lim limits) *stream {
	large := codec == Zstd && needsMuch(payload)
	if large {
		c.large <- struct{}{} // before the slot, which others can use meanwhile
	}
	c.slots <- struct{}{}
	s := c.take(codec, payload, lim)
	s.large = large
	return s
}

// close gives a stream from open back.
func (c *Codecs) close(s *stream) {
	large := s.large
	c.put(s)
	<-c.slots
	if large {
		<-c.large
	}
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
