package wire

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Buffer sizes of a connection's reader: small while its requests fit, large once a read has filled the small one.
const (
	smallRead = 16 << 10
	largeRead = 128 << 10
)

// The frame pool's classes are powers of two in [minClass, maxClass]; a larger frame is allocated for itself.
const (
	minClassBits = 9  // 512 B: the remainder of a cut frame on a waiting connection
	maxClassBits = 22 // 4 MiB: a few MiB batches of a tuned producer
)

// Pools hands out byte buffers by size class. It belongs to a Server; buffers that nobody uses are given to the garbage
// collector by sync.Pool, so an idle broker holds none.
type Pools struct {
	class [maxClassBits - minClassBits + 1]sync.Pool
	held  atomic.Int64 // buffers handed out
}

// buffer is a pooled byte buffer. The pointer travels with it so that putting it back allocates nothing.
type buffer struct{ b []byte }

// get returns a buffer whose b has at least n bytes, with undefined contents.
func (p *Pools) get(n int) *buffer {
	p.held.Add(1)
	c := classOf(n)
	if c > maxClassBits {
		return &buffer{make([]byte, n)}
	}
	if v := p.class[c-minClassBits].Get(); v != nil {
		return v.(*buffer)
	}
	return &buffer{make([]byte, 1<<c)}
}

// put gives a buffer back. A nil buffer and one of no class are dropped.
func (p *Pools) put(b *buffer) {
	if b == nil {
		return
	}
	p.held.Add(-1)
	c := classOf(len(b.b))
	if c > maxClassBits || len(b.b) != 1<<c {
		return
	}
	p.class[c-minClassBits].Put(b)
}

// classOf is the exponent of the smallest class that holds n bytes.
func classOf(n int) int {
	return max(minClassBits, bits.Len(uint(max(n, 1)-1)))
}
