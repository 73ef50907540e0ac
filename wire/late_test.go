package wire

import (
	"context"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// promises is a Service whose answers come late: they are the request's body. The first byte of a body is an order: 'l'
// is answered by a Late reply when complete gets to it, 'w' by one that has to be waited for, everything else at once. A
// Late reply to a body that begins "lb" panics.
type promises struct {
	due               chan *promise // Late replies that were started
	started, released atomic.Int64
}

func (s *promises) Connect(context.Context, ConnInfo) Session { return &promiseSession{s} }

type promiseSession struct{ s *promises }

func (x *promiseSession) Start(_ *Header, body []byte) (Reply, error) {
	x.s.started.Add(1)
	e := echoReply{body: append([]byte(nil), body...)}
	switch body[0] {
	case 'l':
		p := &promise{echoReply: e, s: x.s}
		x.s.due <- p
		return p, nil
	case 'w':
		e.after = time.Now().Add(time.Millisecond)
	}
	return &counted{e, x.s}, nil
}
func (x *promiseSession) Flush() error      { return nil }
func (x *promiseSession) Class(int16) Class { return Class{MaxFrame: 1 << 20, Hot: true} }
func (x *promiseSession) Close()            {}

// counted is a reply whose release is counted.
type counted struct {
	echoReply
	s *promises
}

func (c *counted) Release() { c.s.released.Add(1) }

// Wait panics for a body that begins "wp".
func (c *counted) Wait(stop <-chan struct{}) {
	if strings.HasPrefix(string(c.body), "wp") {
		panic("asked for a panic while it waits")
	}
	c.echoReply.Wait(stop)
}

// promise is a Late reply.
type promise struct {
	echoReply
	s    *promises
	mu   sync.Mutex // guards what follows
	done bool
	fn   func()
}

func (p *promise) Done() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

func (p *promise) Notify(fn func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fn = fn
	return !p.done
}

func (p *promise) complete() {
	p.mu.Lock()
	p.done = true
	fn := p.fn
	p.fn = nil
	p.mu.Unlock()
	if fn != nil {
		fn()
	}
}

func (p *promise) Wait(stop <-chan struct{}) {
	for !p.Done() {
		select {
		case <-stop:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func (p *promise) Append(out *Out) {
	if strings.HasPrefix(string(p.body), "lb") {
		panic("asked for a panic in a late reply")
	}
	p.echoReply.Append(out)
}

func (p *promise) Release() { p.s.released.Add(1) }

// allReleased wants every reply released.
func (s *promises) allReleased(t *testing.T) {
	t.Helper()
	for range 1000 {
		if s.released.Load() == s.started.Load() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d of %d replies were released", s.released.Load(), s.started.Load())
}

// TestLateReplies has many connections pipeline requests whose answers become complete in any order, some of them so large
// that the socket does not take them at once: each connection gets its answers in the order of its requests.
func TestLateReplies(t *testing.T) {
	s := &promises{due: make(chan *promise, 10_000)}
	_, dial := start(t, s, Limits{MaxFrame: 1 << 20})
	const conns, each = 20, 60
	var completers sync.WaitGroup
	answered := make(chan struct{})
	for range 4 {
		completers.Go(func() {
			for {
				select {
				case p := <-s.due:
					if rand.IntN(4) == 0 {
						time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
					}
					p.complete()
				case <-answered:
					return
				}
			}
		})
	}
	var clients sync.WaitGroup
	for i := range conns {
		c, rng := dial(), rand.New(rand.NewPCG(3, uint64(i)))
		bodies := make([]string, each)
		for j := range bodies {
			bodies[j] = []string{"a", "w", "l", "l", "l", "l" + strings.Repeat("x", rng.IntN(200_000))}[rng.IntN(6)]
		}
		go func() {
			for j, b := range bodies {
				if _, err := c.Write(frame(int32(j), b)); err != nil {
					return
				}
			}
		}()
		clients.Go(func() {
			for j, b := range bodies {
				if id, got := receive(t, c); id != int32(j) || got != b {
					t.Errorf("connection %d: answer %d of %d bytes, want %d of %d", i, id, len(got), j, len(b))
					return
				}
			}
		})
	}
	clients.Wait()
	close(answered)
	completers.Wait()
	s.allReleased(t)
}

// TestLateReplyOfAClosedConnection: when the client hangs up, its late replies are released, and completing them later
// does no harm.
func TestLateReplyOfAClosedConnection(t *testing.T) {
	s := &promises{due: make(chan *promise, 10)}
	server, dial := start(t, s, Limits{})
	c := dial()
	c.Write(append(frame(1, "l"), frame(2, "l")...))
	first, second := <-s.due, <-s.due
	c.Close()
	s.allReleased(t)
	first.complete()
	second.complete()
	server.writers.mu.Lock()
	defer server.writers.mu.Unlock()
	if n := len(server.writers.ready); n > 0 {
		t.Errorf("%d queues of closed connections are to be written", n)
	}
}

// TestLateReplyPanics: a late reply that panics ends its connection only, and the writer goes on.
func TestLateReplyPanics(t *testing.T) {
	s := &promises{due: make(chan *promise, 10)}
	_, dial := start(t, s, Limits{})
	bad, good := dial(), dial()
	bad.Write(frame(1, "lb"))
	(<-s.due).complete()
	expectClosed(t, bad)
	for i := range int32(3) {
		good.Write(frame(i, "l"))
		(<-s.due).complete()
		if id, _ := receive(t, good); id != i {
			t.Fatalf("answer %d, want %d", id, i)
		}
	}
}

// TestLateReplyToASlowPeer: a peer that takes nothing keeps none of the server's writers from other connections.
func TestLateReplyToASlowPeer(t *testing.T) {
	s := &promises{due: make(chan *promise, 1000)}
	_, dial := start(t, s, Limits{})
	large := "l" + strings.Repeat("x", 900_000)
	var slow []net.Conn
	for range 4 {
		c := dial()
		slow = append(slow, c)
		go func() {
			for j := range int32(10) {
				if _, err := c.Write(frame(j, large)); err != nil {
					return
				}
			}
		}()
	}
	for range 4 * 8 { // more than a socket's buffers hold, on average
		(<-s.due).complete()
	}
	quick := dial()
	quick.Write(frame(1, "lq"))
	for p := range s.due {
		p.complete()
		if string(p.body) == "lq" {
			break
		}
	}
	if id, _ := receive(t, quick); id != 1 {
		t.Fatalf("answer %d, want 1", id)
	}
	for _, c := range slow {
		c.Close()
	}
}
