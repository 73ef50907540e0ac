package simnet

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// conn is one end of a connection. It implements net.Conn and CloseWrite. Its fields never change.
type conn struct {
	host    *Host
	port    uint16
	peer    *conn
	in, out *pipe
}

// connect makes both ends of a connection.
func (n *Network) connect(from *Host, fromPort uint16, to *Host, toPort uint16) (near, far *conn) {
	there := &pipe{n: n, way: direction{from, to}}
	back := &pipe{n: n, way: direction{to, from}}
	near = &conn{host: from, port: fromPort, in: back, out: there}
	far = &conn{host: to, port: toPort, in: there, out: back}
	near.peer, far.peer = far, near
	n.conns[near], n.conns[far] = struct{}{}, struct{}{}
	return near, far
}

func (c *conn) LocalAddr() net.Addr  { return tcpAddr(c.host.addr, c.port) }
func (c *conn) RemoteAddr() net.Addr { return tcpAddr(c.peer.host.addr, c.peer.port) }

// opError gives an error the form that package net gives it. io.EOF stays bare.
func (c *conn) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = os.NewSyscallError(op, err)
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	return n, c.opError("read", err)
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.out.write(b)
	return n, c.opError("write", err)
}

// CloseWrite ends the bytes to the peer, which reads EOF behind them.
func (c *conn) CloseWrite() error {
	c.host.n.mu.Lock()
	defer c.host.n.mu.Unlock()
	if c.in.readerClosed {
		return c.opError("close", net.ErrClosed)
	}
	c.out.finish(io.EOF)
	return nil
}

// Close is a reset if there are bytes that nobody read, as in TCP.
func (c *conn) Close() error {
	c.host.n.mu.Lock()
	defer c.host.n.mu.Unlock()
	if c.in.readerClosed {
		return c.opError("close", net.ErrClosed)
	}
	end := error(io.EOF)
	if c.in.arrived() {
		end = syscall.ECONNRESET
	}
	c.close(end)
	return nil
}

func (c *conn) close(end error) {
	c.in.closeReader()
	c.out.closeWriter(end)
	delete(c.host.n.conns, c)
}

func (c *conn) SetDeadline(t time.Time) error {
	return c.setDeadline(func() { c.in.readDeadline, c.out.writeDeadline = t, t })
}

func (c *conn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(func() { c.in.readDeadline = t })
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(func() { c.out.writeDeadline = t })
}

func (c *conn) setDeadline(set func()) error {
	c.host.n.mu.Lock()
	defer c.host.n.mu.Unlock()
	if c.in.readerClosed {
		return c.opError("set", net.ErrClosed)
	}
	set()
	c.in.changed.broadcast()
	c.out.changed.broadcast()
	return nil
}
