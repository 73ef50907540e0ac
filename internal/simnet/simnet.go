// Package simnet is a TCP network in memory: hosts that listen and dial, links between them that can be slow or cut
// one way or both, connections that can be reset.
//
// It guarantees that all waiting in it is on channels and timers, so that a synctest bubble sees it as durably
// blocked, and that a connection behaves as a TCP connection does: bytes arrive once and in order, writes succeed
// until the buffers are full whether or not anybody listens any more, a close with unread bytes is a reset, and a cut
// link is silence, not an error. After it is healed what was held up arrives.
package simnet

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Network is a set of hosts that can reach each other.
type Network struct {
	// mu guards everything in this package: hosts, links, listeners, connections and their buffers. One lock keeps
	// every event atomic, and speed is not what this network is for. It is never held over a wait.
	mu      sync.Mutex
	names   map[string]*Host
	addrs   map[netip.Addr]*Host
	links   map[direction]link
	conns   map[*conn]struct{}
	maxRead int
	// changed tells waiting dialers that a link or a listener is no longer what it was.
	changed signal
}

// direction is one way between two hosts.
type direction struct{ from, to *Host }

// link is the state of one direction; the zero link works and takes no time.
type link struct {
	cut     bool
	latency time.Duration
}

// New returns a network without hosts.
func New() *Network {
	return &Network{
		names: map[string]*Host{}, addrs: map[netip.Addr]*Host{},
		links: map[direction]link{}, conns: map[*conn]struct{}{},
	}
}

// maxHosts bounds the addresses handed out, 10.0.0.1 to 10.0.0.254.
const maxHosts = 254

// Host returns the host called name, making it at the first call. Its address is 10.0.0.1 for the first host,
// 10.0.0.2 for the second, and so on; others reach it by name and by address, itself also by localhost.
func (n *Network) Host(name string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.names[name]; h != nil {
		return h
	}
	if len(n.names) == maxHosts {
		panic(fmt.Sprintf("simnet: more than %d hosts", maxHosts))
	}
	addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(len(n.names) + 1)})
	h := &Host{n: n, name: name, addr: addr, listeners: map[uint16]*listener{}, nextPort: firstEphemeralPort}
	n.names[name], n.addrs[addr] = h, h
	return h
}

// Cut silences the link from one host to another; bytes the other way still pass. They need not exist yet.
func (n *Network) Cut(from, to string) { n.setLink(from, to, func(l *link) { l.cut = true }) }

// CutBoth silences a link in both directions.
func (n *Network) CutBoth(a, b string) {
	n.Cut(a, b)
	n.Cut(b, a)
}

// Heal ends a Cut. What was written meanwhile arrives now.
func (n *Network) Heal(from, to string) { n.setLink(from, to, func(l *link) { l.cut = false }) }

// HealAll ends every cut; latencies stay.
func (n *Network) HealAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for d, l := range n.links {
		l.cut = false
		n.links[d] = l
	}
	n.wakeAll()
}

// SetLatency makes bytes written from now on take d from one host to the other.
func (n *Network) SetLatency(from, to string, d time.Duration) {
	n.setLink(from, to, func(l *link) { l.latency = d })
}

// SetMaxRead makes every Read return at most bytes bytes, as segments of a real network may arrive; 0 is no limit.
func (n *Network) SetMaxRead(bytes int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.maxRead = bytes
}

// Reset breaks every connection between hosts a and b: both ends get ECONNRESET at once, even over a cut link.
func (n *Network) Reset(a, b string) {
	from, to := n.Host(a), n.Host(b)
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if c.host == from && c.peer.host == to || c.host == to && c.peer.host == from {
			c.in.breakOff()
			c.out.breakOff()
		}
	}
}

func (n *Network) setLink(from, to string, set func(*link)) {
	d := direction{n.Host(from), n.Host(to)}
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.links[d]
	set(&l)
	n.links[d] = l
	n.wakeAll()
}

// wakeAll lets everybody who waits look again.
func (n *Network) wakeAll() {
	n.changed.broadcast()
	for c := range n.conns {
		c.in.changed.broadcast()
		c.out.changed.broadcast()
	}
}

// signal wakes all who wait for it. It is guarded by Network.mu.
type signal struct{ ch chan struct{} }

func (s *signal) broadcast() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// wait gives up the lock until s is broadcast, until the time until (zero: never), or until done is closed (nil:
// never), and takes it again. The caller looks again what is the case.
func (n *Network) wait(s *signal, until time.Time, done <-chan struct{}) {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	woken := s.ch
	n.mu.Unlock()
	defer n.mu.Lock()
	var timeout <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-woken:
	case <-timeout:
	case <-done:
	}
}

// expired reports whether a deadline has been reached; the zero deadline never is.
func expired(deadline time.Time) bool {
	return !deadline.IsZero() && !time.Now().Before(deadline)
}

// earliest returns the earlier of two times, where zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
