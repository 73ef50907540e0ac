//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// swarm is the connections of many members, all served by the one goroutine that calls poll. A goroutine per member, as
// a program with few of them would have, costs more CPU than a broker needs to answer: on cores that both share, the
// client would be what is measured.
type swarm struct {
	addr     unix.SockaddrInet4
	epoll    int
	peers    map[int32]*peer // by socket
	events   []unix.EpollEvent
	form     *kmsg.RequestFormatter
	out, in  []byte
	inFlight int // requests that are not answered yet
	sent     int // requests ever
}

// peer is one connection. It has one request in flight, at most.
type peer struct {
	fd      int
	asked   kmsg.Request // what is in flight
	partial []byte       // the beginning of its answer
}

// newSwarm makes one that connects to the broker of the options.
func newSwarm(o *options) *swarm {
	at, err := net.ResolveTCPAddr("tcp4", o.addr)
	must(err)
	s := &swarm{peers: map[int32]*peer{}, events: make([]unix.EpollEvent, 256), in: make([]byte, 256<<10),
		form: kmsg.NewRequestFormatter(kmsg.FormatterClientID("kgroup"))}
	s.addr.Port = at.Port
	copy(s.addr.Addr[:], at.IP.To4())
	s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	must(err)
	return s
}

// dial connects a peer.
func (s *swarm) dial() *peer {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	must(unix.Connect(fd, &s.addr))
	must(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	must(unix.SetNonblock(fd, true))
	must(unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
	p := &peer{fd: fd}
	s.peers[int32(fd)] = p
	return p
}

// hangUp closes a peer's connection.
func (s *swarm) hangUp(p *peer) {
	delete(s.peers, int32(p.fd))
	must(unix.Close(p.fd))
}

// close closes what is open.
func (s *swarm) close() {
	for _, p := range s.peers {
		s.hangUp(p)
	}
	must(unix.Close(s.epoll))
}

// send writes a request. What the socket does not take at once is waited for: only an assignment of the whole group is
// so large.
func (s *swarm) send(p *peer, q kmsg.Request) {
	if p.asked != nil {
		fail(fmt.Errorf("%s while %s is in flight", kmsg.NameForKey(q.Key()), kmsg.NameForKey(p.asked.Key())))
	}
	s.out = s.form.AppendRequest(s.out[:0], q, int32(s.sent))
	for rest := s.out; len(rest) > 0; {
		n, err := unix.Write(p.fd, rest)
		switch err {
		case nil:
			rest = rest[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLOUT}}, int(callPatience.Milliseconds()))
			if err != unix.EINTR {
				must(err)
			}
		default:
			fail(err)
		}
	}
	p.asked = q
	s.inFlight++
	s.sent++
}

// poll waits for answers, for so long at most, and gives those that came to their receiver.
func (s *swarm) poll(wait time.Duration, receive func(p *peer, r kmsg.Response)) {
	n, err := unix.EpollWait(s.epoll, s.events, int(wait.Milliseconds()))
	if err == unix.EINTR {
		return
	}
	must(err)
	for i := range n {
		p := s.peers[s.events[i].Fd]
		if p == nil {
			continue
		}
		if r := s.read(p); r != nil {
			receive(p, r)
		}
	}
}

// read takes what has come on a connection, and returns the answer when it is complete.
func (s *swarm) read(p *peer) kmsg.Response {
	n, err := unix.Read(p.fd, s.in)
	if err == unix.EAGAIN || err == unix.EINTR {
		return nil
	}
	must(err)
	if n == 0 {
		fail(fmt.Errorf("the broker hung up"))
	}
	b := s.in[:n]
	if len(p.partial) > 0 {
		p.partial = append(p.partial, b...)
		b = p.partial
	}
	if len(b) < 4 || len(b) < 4+int(binary.BigEndian.Uint32(b)) {
		if len(p.partial) == 0 {
			p.partial = append(p.partial, b...)
		}
		return nil
	}
	q := p.asked
	body := b[8:] // behind length and correlation id
	if q.IsFlexible() {
		body = body[1:] // the header's tags: brokers send none
	}
	r := q.ResponseKind()
	r.SetVersion(q.GetVersion())
	if err := r.ReadFrom(body); err != nil {
		fail(fmt.Errorf("answer to %s: %w", kmsg.NameForKey(q.Key()), err))
	}
	p.asked, p.partial = nil, p.partial[:0]
	s.inFlight--
	return r
}
