package simnet

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Host is one machine. Its methods Listen and DialContext are what a program takes instead of those of package net.
type Host struct {
	n    *Network
	name string
	addr netip.Addr

	// What follows is guarded by Network.mu.

	listeners map[uint16]*listener
	nextPort  uint16
}

// firstEphemeralPort is where ports for port 0 and for dialing start.
const firstEphemeralPort = 32768

// backlog is the number of connections that wait for Accept before dialers wait too.
const backlog = 128

// Addr returns the host's address.
func (h *Host) Addr() netip.Addr { return h.addr }

// Listen listens on a TCP address of this host, such as ":9092" or "localhost:0".
func (h *Host) Listen(network, address string) (net.Listener, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	fail := func(err error) (net.Listener, error) {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	target, port, err := h.resolve(network, address)
	if err != nil {
		return fail(err)
	}
	if target != h {
		return fail(os.NewSyscallError("bind", syscall.EADDRNOTAVAIL))
	}
	if port == 0 {
		port = h.ephemeralPort()
	}
	if h.listeners[port] != nil {
		return fail(os.NewSyscallError("bind", syscall.EADDRINUSE))
	}
	l := &listener{host: h, port: port}
	h.listeners[port] = l
	h.n.changed.broadcast()
	return l, nil
}

// DialContext connects to a TCP address given by name or number. It waits as long as either direction of the link is
// cut.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	target, port, err := h.resolve(network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	l, err := h.reach(ctx, target, port)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: tcpAddr(target.addr, port), Err: err}
	}
	near, far := h.n.connect(h, h.ephemeralPort(), target, port)
	l.queue = append(l.queue, far)
	l.changed.broadcast()
	return near, nil
}

// reach waits until a handshake with target went through and returns the listener.
func (h *Host) reach(ctx context.Context, target *Host, port uint16) (*listener, error) {
	there, back := direction{h, target}, direction{target, h}
	var answer time.Time // when the handshake is through; zero while nothing can get there
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		l, full := target.listeners[port], false
		if l != nil {
			full = len(l.queue) >= backlog
		}
		switch to, from := h.n.links[there], h.n.links[back]; {
		case to.cut || from.cut || full:
			answer = time.Time{}
		case answer.IsZero():
			answer = time.Now().Add(to.latency + from.latency)
		}
		if expired(answer) {
			if l == nil {
				return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
			}
			return l, nil
		}
		h.n.wait(&h.n.changed, answer, ctx.Done())
	}
}

// Kill ends the process on this host as the kernel does: its listeners vanish, its connections are reset.
func (h *Host) Kill() {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	for _, l := range h.listeners {
		l.close()
	}
	for c := range h.n.conns {
		if c.host == h {
			c.close(syscall.ECONNRESET)
		}
	}
}

// resolve splits an address into a host and a port.
func (h *Host) resolve(network, address string) (*Host, uint16, error) {
	if network != "tcp" && network != "tcp4" {
		return nil, 0, net.UnknownNetworkError(network)
	}
	name, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, 0, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, 0, &net.AddrError{Err: "invalid port", Addr: address}
	}
	target := h.n.names[name]
	if addr, err := netip.ParseAddr(name); err == nil {
		if target = h.n.addrs[addr]; addr.IsLoopback() || addr.IsUnspecified() {
			target = h
		}
	}
	if name == "" || name == "localhost" {
		target = h
	}
	if target == nil {
		return nil, 0, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return target, uint16(port), nil
}

// ephemeralPort hands out ports in turn; after the last it starts again at the first.
func (h *Host) ephemeralPort() uint16 {
	port := h.nextPort
	if h.nextPort++; h.nextPort == 0 {
		h.nextPort = firstEphemeralPort
	}
	return port
}

func tcpAddr(addr netip.Addr, port uint16) *net.TCPAddr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, port))
}

// listener implements net.Listener. Its fields are guarded by Network.mu.
type listener struct {
	host    *Host
	port    uint16
	queue   []*conn
	closed  bool
	changed signal
}

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	n := l.host.n
	n.mu.Lock()
	defer n.mu.Unlock()
	for !l.closed && len(l.queue) == 0 {
		n.wait(&l.changed, time.Time{}, nil)
	}
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	c := l.queue[0]
	l.queue = l.queue[1:]
	n.changed.broadcast()
	return c, nil
}

// Close ends Accept and resets the connections that wait for it.
func (l *listener) Close() error {
	l.host.n.mu.Lock()
	defer l.host.n.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	l.close()
	return nil
}

func (l *listener) close() {
	l.closed = true
	delete(l.host.listeners, l.port)
	for _, c := range l.queue {
		c.close(syscall.ECONNRESET)
	}
	l.queue = nil
	l.changed.broadcast()
	l.host.n.changed.broadcast()
}

// Addr returns the host's address with the port listened on.
func (l *listener) Addr() net.Addr { return tcpAddr(l.host.addr, l.port) }
