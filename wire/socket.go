package wire

import (
	"io"
	"net"
)

// socket is how a connection moves bytes: one that sees descriptors (Linux) or the portable one, for TLS, simulated
// networks and other systems.
type socket interface {
	// fill waits until the peer sent something and reads it into c.room(). While it waits the connection holds
	// as small a buffer as the socket can make possible.
	fill(c *conn) (int, error)
	// read reads at least one byte into dst.
	read(c *conn, dst []byte) (int, error)
	// write sends everything in out.
	write(c *conn, out *Out) error
	// try sends as much of b as the system takes without waiting, which may be nothing, and returns its length.
	try(c *conn, b []byte) (int, error)
}

// portable is the socket over any net.Conn.
type portable struct{ nc net.Conn }

func (p portable) fill(c *conn) (int, error) { return p.read(c, c.room()) }

func (p portable) read(c *conn, dst []byte) (int, error) {
	n, err := p.nc.Read(dst)
	if n > 0 {
		c.moved(n)
		return n, nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return 0, err
}

// try sends nothing: a net.Conn does not say what it would wait for.
func (p portable) try(*conn, []byte) (int, error) { return 0, nil }

func (p portable) write(c *conn, out *Out) error {
	at := 0
	for _, s := range out.sections {
		if err := p.bytes(c, out.B[at:s.at]); err != nil {
			return err
		}
		at = s.at
		if err := p.section(c, s.s); err != nil {
			return err
		}
	}
	return p.bytes(c, out.B[at:])
}

func (p portable) bytes(c *conn, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := p.nc.Write(b)
	c.sent(n)
	return err
}

// copyChunk is the size in bytes in which a section is copied where it can't be sent by the kernel.
const copyChunk = 128 << 10

// section copies a file range through a pooled buffer. A short read is an error: the frame's size is out already.
func (p portable) section(c *conn, s Section) error {
	b := c.srv.pools.get(int(min(s.N, copyChunk)))
	defer c.srv.pools.put(b)
	for s.N > 0 {
		chunk := b.b[:min(s.N, int64(len(b.b)))]
		n, err := s.File.ReadAt(chunk, s.Off)
		if n == 0 {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if err := p.bytes(c, chunk[:n]); err != nil {
			return err
		}
		s.Off += int64(n)
		s.N -= int64(n)
	}
	return nil
}

// How much of a large frame has to arrive within Limits.Stall: stallBytes, and one of stallParts of the memory that it
// holds. Others wait for that: a peer that sends a byte now and then would hold it for ever, and one that has sent a frame
// of 100 MiB before holds as much for the next one from its first bytes on. By default a frame has 10 minutes, far more
// than a client waits for its answer.
const (
	stallBytes = 16 << 10
	stallParts = 20
)

// owes sets what has to arrive next of the large frame that g is for.
func (c *conn) owes(g *grant) { c.owed = max(stallBytes, int(g.n/stallParts)) }

// moved counts received bytes, sent counts sent ones; both are progress for the janitor.
func (c *conn) moved(n int) {
	c.srv.stats.BytesIn.Add(int64(n))
	if c.held != nil {
		if c.owed -= n; c.owed > 0 {
			return
		}
		c.owes(&c.held.grant)
	}
	c.progress.Add(1)
}

func (c *conn) sent(n int) {
	c.progress.Add(1)
	c.srv.stats.BytesOut.Add(int64(n))
}
