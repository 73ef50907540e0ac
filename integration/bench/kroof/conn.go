//go:build linux

package main

import (
	"bufio"
	"io"
	"net"
)

// pendingResponses is how many answers may wait for a sync on one connection.
const pendingResponses = 1024

// coalesceBytes is when -coalesce writes even though more requests are buffered.
const coalesceBytes = 32 << 10

// section is a range of a partition's file that belongs into a response.
type section struct {
	at     int // behind this many bytes of the response's buffer
	p      *partition
	pos, n int64
}

// response is what one request is answered with.
type response struct {
	buf      []byte // nil: no answer at all
	wait     []chan struct{}
	sections []section
}

type conn struct {
	*server
	tcp *net.TCPConn
	r   *bufio.Reader
}

// serve handles the requests of one connection in order, until the client closes it. Answers are written here, or,
// when they wait for a sync, by a second goroutine, so that later requests can be appended meanwhile.
func (c *conn) serve() {
	defer c.tcp.Close()
	var out chan response
	if c.sync == "group" {
		out = make(chan response, pendingResponses)
		defer close(out)
		go c.write(out)
	}
	var held []byte // answers not yet written, with -coalesce
	var head [4]byte
	for {
		if _, err := io.ReadFull(c.r, head[:]); err != nil {
			return
		}
		r, ok := c.handleFrame(int(be.Uint32(head[:])))
		switch {
		case !ok:
			return
		case r.buf == nil:
			continue
		case out != nil:
			out <- r
			continue
		case c.coalesce && len(r.sections) == 0:
			held = append(held, r.buf...)
			if c.r.Buffered() > len(head) && len(held) < coalesceBytes {
				continue
			}
			r.buf, held = held, held[:0]
		}
		if c.send(r) != nil {
			return
		}
	}
}

// handleFrame reads a frame of n bytes into a pooled buffer and handles it.
func (c *conn) handleFrame(n int) (response, bool) {
	pooled := c.frames.Get().(*[]byte)
	if cap(*pooled) < n {
		b := make([]byte, 0, n)
		pooled = &b
	}
	defer c.frames.Put(pooled)
	frame := (*pooled)[:n]
	if _, err := io.ReadFull(c.r, frame); err != nil {
		return response{}, false
	}
	return c.handle(frame)
}

// write sends answers in order, each when what it waits for is durable. serve ends it by closing out.
func (c *conn) write(out <-chan response) {
	for r := range out {
		if c.send(r) != nil {
			c.tcp.Close()
			for range out { // serve may be blocked on a full queue
			}
			return
		}
	}
}

func (c *conn) send(r response) error {
	for _, w := range r.wait {
		<-w
	}
	at := 0
	for _, s := range r.sections {
		if err := c.sendHeader(r.buf[at:s.at]); err != nil {
			return err
		}
		at = s.at
		if err := sendfile(c.tcp, s.p.fd, s.pos, s.n); err != nil {
			return err
		}
	}
	if at == len(r.buf) {
		return nil
	}
	_, err := c.tcp.Write(r.buf[at:])
	return err
}

// sendHeader sends bytes that a file section follows.
func (c *conn) sendHeader(b []byte) error {
	if c.more {
		return sendMore(c.tcp, b)
	}
	_, err := c.tcp.Write(b)
	return err
}
