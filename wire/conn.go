package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// maxBatch bounds the requests that are started between two flushes, and so the replies held back by them.
const maxBatch = 256

// maxEncoded is the size in bytes at which encoded replies are written although more could be joined to them.
const maxEncoded = 64 << 10

// errClosed ends a reader without a complaint: the peer hung up or the server stops.
var errClosed = errors.New("connection closed")

// conn is one connection. Its reader goroutine owns every field but those of queue and the atomics.
type conn struct {
	srv     *Server
	nc      net.Conn
	sock    socket
	session Session
	ip      string
	// listener is the name of the one that accepted the connection.
	listener string

	// in holds the unread bytes in.b[r:w]. It is nil while an idle connection waits.
	in    *buffer
	r, w  int
	large bool // the last read filled its buffer: take a large one next time

	header  Header
	held    *frameGrant // a frame too large for in
	batch   []pending   // replies of the requests started since the last respond
	dirty   bool        // requests were started since the last Flush
	biggest int         // the largest frame this peer has sent whole: as much is allocated for it at once
	arrived time.Time   // when the last read returned
	owed    int         // bytes of a large frame until its arrival counts as progress

	queue queue

	stop     chan struct{} // closed when the connection ends
	stopOnce sync.Once

	// For the janitor: progress counts reads and writes that moved bytes; the others say what the peer is
	// waited for.
	progress atomic.Uint64
	inFrame  atomic.Bool // a frame is cut
	busy     atomic.Bool // a request is in stage one
	writing  atomic.Bool // a write is under way

	// mutedUntil is when the reader may start another request, in nanoseconds since the server began; 0: at once.
	mutedUntil atomic.Int64
}

// pending is a reply and what its header needs.
type pending struct {
	reply   Reply
	header  replyHeader
	size    int // Reply.Size
	key     int16
	arrived time.Time
}

// serve reads requests until the connection ends, then releases everything it holds. It is the reader goroutine.
func (c *conn) serve() {
	defer c.srv.forget(c)
	err := c.loop()
	if errors.Is(err, errClosed) {
		c.close()
	} else {
		// What was asked before the bad request is still answered (Session.Start).
		c.queue.drain(c.stop)
		c.close()
		c.srv.note(c, err)
	}
	c.queue.join()
	// Close flushes what a panic left staged: the memory of a reply is not its own before.
	c.session.Close()
	for _, p := range c.batch {
		if p.reply != nil { // nil: it was passed on, and a panic ended respond
			p.reply.Release()
		}
	}
	c.batch = nil
	c.releaseHeld()
	c.srv.pools.put(c.in)
	c.in = nil
	c.nc.Close()
}

// close ends the connection from any goroutine: the reader's and the writer's system calls fail from here on. It reports
// whether this call did.
func (c *conn) close() (first bool) {
	c.stopOnce.Do(func() {
		close(c.stop)
		c.nc.Close()
		first = true
	})
	return first
}

// loop takes all complete frames of a read, flushes, answers, and waits for more.
func (c *conn) loop() (err error) {
	defer func() {
		if p := recover(); p != nil {
			// A broker never dies of a request: only this connection does (rule 1.1.7).
			err = fmt.Errorf("panic in API key %d version %d: %v\n%s", c.header.Key, c.header.Version, p, debug.Stack())
		}
	}()
	for {
		if c.mutedUntil.Load() != 0 {
			if err := c.sitOut(); err != nil {
				return err
			}
		}
		frame, err := c.next()
		if frame == nil {
			// Also before an error: what was asked before a bad frame is completed and answered.
			if err = errors.Join(err, c.flushAndRespond()); err != nil {
				return err
			}
			if err := c.fill(); err != nil {
				return err
			}
			continue
		}
		err = c.start(frame)
		if err != nil || c.held != nil || len(c.batch) >= maxBatch {
			err = errors.Join(err, c.flush())
			// The bytes of a large frame are in the log, or were copied. Others get its memory before the answers are
			// written, which the peer may be slow to take.
			c.releaseHeld()
			err = errors.Join(err, c.respond())
		}
		if err != nil {
			return err
		}
	}
}

// start runs stage one of the request in frame.
func (c *conn) start(frame []byte) error {
	body, err := c.srv.flex.parse(frame, &c.header)
	if err != nil {
		return err
	}
	if !c.session.Class(c.header.Key).Hot {
		if err := c.flushAndRespond(); err != nil {
			return err
		}
		body = c.own(frame, body)
	}
	c.busy.Store(true)
	c.dirty = true
	reply, err := c.session.Start(&c.header, body)
	if reply != nil {
		c.batch = append(c.batch, pending{reply, headerOf(&c.header), reply.Size(), c.header.Key, c.arrived})
	}
	return err
}

// own copies what a request that is not hot keeps of its frame: the client id and the body. The read buffer goes back when
// nothing else lies in it, since such a request may take its time, and thousands of members may send one at once.
func (c *conn) own(frame, body []byte) []byte {
	const clientID = 10 // where it begins: behind key, version, correlation id and its length
	kept := bytes.Clone(frame[clientID:])
	if c.header.ClientID != nil {
		c.header.ClientID = kept[:len(c.header.ClientID):len(c.header.ClientID)]
	}
	if c.r == c.w && c.in != nil {
		c.srv.pools.put(c.in)
		c.in, c.r, c.w = nil, 0, 0
	}
	return kept[len(kept)-len(body):]
}

// flushAndRespond completes stage one of what was started, and answers it.
func (c *conn) flushAndRespond() error {
	if !c.dirty {
		return nil
	}
	return errors.Join(c.flush(), c.respond())
}

// flush completes stage one of what was started.
func (c *conn) flush() error {
	c.dirty = false
	return c.session.Flush()
}

// respond writes the replies that are complete and first in line, and leaves the rest to the writer.
func (c *conn) respond() error {
	q := &c.queue
	now := time.Now() // of all replies that are complete here: they were flushed together
	var run latencyRun
	defer func() { run.end(&c.srv.stats, now) }()
	for i, p := range c.batch {
		c.batch[i] = pending{}
		if q.idle() && p.reply.Done() {
			run.answered(&c.srv.stats, &p, now)
			q.encode(p)
			if q.out.size() < maxEncoded {
				continue
			}
			if err := q.write(); err != nil {
				c.batch = append(c.batch[:0], c.batch[i+1:]...)
				return errClosed
			}
			continue
		}
		// The writer would overtake what is encoded here.
		if q.idle() {
			if err := q.write(); err != nil {
				p.reply.Release()
				c.batch = append(c.batch[:0], c.batch[i+1:]...)
				return errClosed
			}
		}
		if !q.push(p, c.stop) {
			p.reply.Release()
			c.batch = append(c.batch[:0], c.batch[i+1:]...)
			return errClosed
		}
	}
	c.batch = c.batch[:0]
	if q.idle() {
		if err := q.write(); err != nil {
			return errClosed
		}
	}
	c.busy.Store(false)
	return nil
}

// frameGrant is a frame in a buffer of its own, and the memory reserved for it.
type frameGrant struct {
	grant
	buf *buffer
}

// releaseHeld gives back the frame that the connection holds, if any.
func (c *conn) releaseHeld() {
	if g := c.held; g != nil {
		c.srv.pools.put(g.buf)
		c.srv.memory.release(&g.grant)
		c.held = nil
	}
}

// next returns the next complete frame without its size, or nil when more bytes are needed. A frame too large for a
// read buffer lies in held.
func (c *conn) next() ([]byte, error) {
	have := c.w - c.r
	if have < 4 {
		return nil, nil
	}
	size := int32(binary.BigEndian.Uint32(c.in.b[c.r:]))
	if size <= 0 || size > c.srv.limits.Load().MaxFrame {
		// Nothing is allocated and nothing answered (rules 1.1.2 and 1.1.3).
		return nil, fmt.Errorf("frame of %d bytes: the limit is %d (socket.request.max.bytes)", size, c.srv.limits.Load().MaxFrame)
	}
	if have >= 6 {
		key := int16(binary.BigEndian.Uint16(c.in.b[c.r+4:]))
		if most := c.session.Class(key).MaxFrame; size > most {
			return nil, fmt.Errorf("frame of %d bytes for API key %d: the limit is %d", size, key, most)
		}
	}
	if have >= 4+int(size) {
		frame := c.in.b[c.r+4 : c.r+4+int(size)]
		c.r += 4 + int(size)
		return frame, nil
	}
	if 4+int(size) <= largeRead || have < smallRead/2 {
		return nil, nil // it fits a read buffer, or the peer has not shown yet that it means it
	}
	if err := c.flushAndRespond(); err != nil {
		return nil, err
	}
	return c.readLarge(int(size))
}

// readLarge reads a frame of n bytes into a buffer of its own. The buffer grows with the bytes received, up to the
// largest frame that this peer has sent before, so that announcing much costs nothing (rule 1.1.4).
func (c *conn) readLarge(n int) ([]byte, error) {
	g := &frameGrant{}
	c.held = g
	first := min(n, max(2*largeRead, c.biggest))
	defer c.inFrame.Store(false)
	if !c.reserve(&g.grant, first) {
		return nil, errClosed
	}
	g.buf = c.srv.pools.get(first)
	got := copy(g.buf.b, c.in.b[c.r+4:c.w])
	c.r, c.w = 0, 0
	for got < n {
		if got == len(g.buf.b) {
			more := min(n, 2*got)
			if !c.reserve(&g.grant, more-got) {
				return nil, errClosed
			}
			grown := c.srv.pools.get(more)
			copy(grown.b, g.buf.b)
			c.srv.pools.put(g.buf)
			g.buf = grown
		}
		m, err := c.sock.read(c, g.buf.b[got:min(n, len(g.buf.b))])
		if err != nil {
			return nil, errClosed
		}
		got += m
	}
	c.arrived = time.Now()
	c.biggest = max(c.biggest, n)
	return g.buf.b[:n], nil
}

// reserve takes n bytes of the memory for large frames, waiting for them. The peer is not to blame for that time.
func (c *conn) reserve(g *grant, n int) bool {
	c.inFrame.Store(false)
	ok := c.srv.memory.take(g, int64(n), c.stop)
	c.progress.Add(1)
	c.inFrame.Store(true)
	c.owes(g)
	return ok
}

// fill reads more bytes behind the unread ones, waiting for them.
func (c *conn) fill() error {
	c.inFrame.Store(c.w > c.r)
	n, err := c.sock.fill(c)
	if err != nil || n == 0 {
		return errClosed
	}
	c.w += n
	c.arrived = time.Now()
	// A filled buffer means a busy peer.
	c.large = c.w == len(c.in.b)
	return nil
}

// room makes place behind the unread bytes for the next read, taking a buffer if the connection has none.
func (c *conn) room() []byte {
	want := smallRead
	if c.large {
		want = largeRead
	}
	if have := c.w - c.r; have >= 4 {
		// The rest of a cut frame, as far as a read buffer goes.
		want = max(want, min(4+int(binary.BigEndian.Uint32(c.in.b[c.r:])), largeRead))
	}
	if c.in == nil || len(c.in.b) < want {
		c.moveTo(want)
	} else if c.r > 0 {
		c.w = copy(c.in.b, c.in.b[c.r:c.w])
		c.r = 0
	}
	return c.in.b[c.w:]
}

// park gives the read buffer back while the connection waits. The bytes of a cut frame move to one just large enough.
func (c *conn) park() {
	if c.queue.idle() {
		c.queue.shrink()
	}
	if c.w == c.r {
		c.srv.pools.put(c.in)
		c.in, c.r, c.w = nil, 0, 0
		return
	}
	if have := c.w - c.r; classOf(have) < classOf(len(c.in.b)) {
		c.moveTo(have)
	}
}

// moveTo replaces the read buffer by one of at least n bytes and moves the unread bytes into it.
func (c *conn) moveTo(n int) {
	b := c.srv.pools.get(n)
	if c.in != nil {
		c.w = copy(b.b, c.in.b[c.r:c.w])
		c.srv.pools.put(c.in)
	}
	c.in, c.r = b, 0
}
