package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// echo is a Service for tests. A request of key 18 version 0 is answered with its body; the first byte of a body may be
// an order: 'w' waits 20 ms in stage two, 'b' is waited for there and then panics, 'r' panics when it is answered at once,
// 'n' is not answered, 'e' is an error, 'p' panics, 'h' waits for hold.
type echo struct {
	flushes, starts, closes atomic.Int64
	max                     int32
	hold                    chan struct{} // 'h' waits for it
}

func (e *echo) Connect(context.Context, ConnInfo) Session { return &echoSession{e: e} }

type echoSession struct{ e *echo }

func (s *echoSession) Start(h *Header, body []byte) (Reply, error) {
	s.e.starts.Add(1)
	r := &echoReply{body: append([]byte(nil), body...)}
	if len(body) == 0 {
		return r, nil
	}
	switch body[0] {
	case 'w':
		r.after = time.Now().Add(20 * time.Millisecond)
	case 'b':
		over := make(chan struct{})
		close(over)
		r.hold = over
	case 'h':
		r.hold = s.e.hold
	case 'n':
		return nil, nil
	case 'e':
		return nil, errors.New("asked for an error")
	case 'p':
		panic("asked for a panic")
	}
	return r, nil
}
func (s *echoSession) Flush() error { s.e.flushes.Add(1); return nil }
func (s *echoSession) Class(key int16) Class {
	m := s.e.max
	if m == 0 {
		m = 1 << 30
	}
	return Class{MaxFrame: m, Hot: true}
}
func (s *echoSession) Close() { s.e.closes.Add(1) }

type echoReply struct {
	body  []byte
	after time.Time
	hold  <-chan struct{}
}

func (r *echoReply) Done() bool { return r.hold == nil && !time.Now().Before(r.after) }
func (r *echoReply) Wait(stop <-chan struct{}) {
	if r.hold != nil {
		select {
		case <-r.hold:
		case <-stop:
		}
		return
	}
	select {
	case <-time.After(time.Until(r.after)):
	case <-stop:
	}
}
func (r *echoReply) Append(out *Out) {
	if len(r.body) > 0 && (r.body[0] == 'b' || r.body[0] == 'r') {
		panic("asked for a panic in stage two")
	}
	out.B = append(out.B, r.body...)
}
func (r *echoReply) Size() int { return len(r.body) }
func (r *echoReply) Release()  {}

// start serves e on a loopback listener and returns a dialler.
func start(t *testing.T, e Service, limits Limits) (*Server, func() net.Conn) {
	t.Helper()
	s := NewServer(e, limits, slog.New(slog.DiscardHandler))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(l, "PLAINTEXT")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.Close(ctx)
	})
	return s, func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(time.Minute)) // a busy machine takes its time with a hundred MiB
		return c
	}
}

// frame is an ApiVersions v0 request with a correlation id and a body.
func frame(id int32, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(10+len(body)))
	b = binary.BigEndian.AppendUint16(b, apiVersions)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(id))
	b = append(b, 0xff, 0xff)
	return append(b, body...)
}

// receive reads one response.
func receive(t *testing.T, c net.Conn) (id int32, body string) {
	t.Helper()
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		t.Fatalf("response header: %v", err)
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatalf("response body: %v", err)
	}
	return int32(binary.BigEndian.Uint32(head[4:])), string(b)
}

// expectClosed wants the connection closed without another byte.
func expectClosed(t *testing.T, c net.Conn) {
	t.Helper()
	b, err := io.ReadAll(c)
	if len(b) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("want a closed connection, got %d bytes and %v", len(b), err)
	}
}

// TestOrder pipelines requests that are answered at once, late, and not at all: answers come in order (T010, 1.5.1).
func TestOrder(t *testing.T) {
	e := &echo{}
	_, dial := start(t, e, Limits{})
	c := dial()
	rng := rand.New(rand.NewPCG(1, 2))
	var out []byte
	var want []int32
	for i := range int32(300) {
		body := []string{"a", "w", "n", strings.Repeat("x", 100+rng.IntN(40_000))}[min(3, rng.IntN(20))]
		out = append(out, frame(i, body)...)
		if body != "n" {
			want = append(want, i)
		}
	}
	go func() {
		for len(out) > 0 { // cut at any place
			n := min(len(out), 1+rng.IntN(70_000))
			if _, err := c.Write(out[:n]); err != nil {
				return
			}
			out = out[n:]
		}
	}()
	for _, id := range want {
		if got, _ := receive(t, c); got != id {
			t.Fatalf("response %d, want %d", got, id)
		}
	}
	if e.flushes.Load() >= e.starts.Load() {
		t.Errorf("%d flushes for %d pipelined requests: nothing was joined", e.flushes.Load(), e.starts.Load())
	}
}

// TestLargeFrames sends frames around every buffer size, whole and in pieces.
func TestLargeFrames(t *testing.T) {
	_, dial := start(t, &echo{}, Limits{})
	c := dial()
	for i, n := range []int{0, 1, smallRead - 15, smallRead - 14, smallRead, largeRead - 14, largeRead - 13, largeRead, 300_000, 1 << 20, 5 << 20, 9 << 20} {
		body := strings.Repeat("z", n)
		f := frame(int32(i), body)
		go func() {
			half := len(f) / 2
			c.Write(f[:half])
			time.Sleep(time.Millisecond)
			c.Write(f[half:])
		}()
		if id, got := receive(t, c); id != int32(i) || got != body {
			t.Fatalf("frame with %d bytes: response %d with %d bytes", n, id, len(got))
		}
	}
}

// TestRefused covers what closes a connection without an answer (T001 to T003, T011).
func TestRefused(t *testing.T) {
	s, dial := start(t, &echo{max: 1 << 20}, Limits{MaxFrame: 2 << 20})
	size := func(n int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	unknown := frame(1, "")
	binary.BigEndian.PutUint16(unknown[4:], 9999)
	cases := map[string][]byte{
		"negative size":      size(-1),
		"empty frame":        size(0),
		"over the limit":     size(2<<20 + 1),
		"over the API's":     append(size(1<<20+1), 0, 18),
		"unknown key":        unknown,
		"header cut":         append(size(7), make([]byte, 7)...),
		"client id too long": append(size(10), 0, 18, 0, 0, 0, 0, 0, 1, 0, 9),
		"an error":           frame(1, "e"),
		"a panic":            frame(1, "p"),
	}
	for name, b := range cases {
		t.Run(name, func(t *testing.T) {
			c := dial()
			c.Write(b)
			expectClosed(t, c)
		})
	}
	for end := time.Now().Add(5 * time.Second); s.Stats().Malformed.Load() < int64(len(cases)); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections counted as malformed, want %d", s.Stats().Malformed.Load(), len(cases))
		}
	}
	c := dial()
	c.Write(frame(-1<<31, "x"))
	if id, _ := receive(t, c); id != -1<<31 {
		t.Errorf("correlation id %d", id)
	}
}

// TestAnswersBeforeError: what was asked before a bad request is answered.
func TestAnswersBeforeError(t *testing.T) {
	_, dial := start(t, &echo{}, Limits{})
	c := dial()
	c.Write(bytes.Join([][]byte{frame(1, "a"), frame(2, "w"), frame(3, "e"), frame(4, "a")}, nil))
	for want := range int32(2) {
		if id, _ := receive(t, c); id != want+1 {
			t.Fatalf("response %d, want %d", id, want+1)
		}
	}
	expectClosed(t, c)
}

// TestPerIP accepts and closes one connection too many of an address (rule 1.6.3).
func TestPerIP(t *testing.T) {
	s, dial := start(t, &echo{}, Limits{MaxPerIP: 2})
	a, b := dial(), dial()
	for i, c := range []net.Conn{a, b} {
		c.Write(frame(int32(i), "x"))
		receive(t, c)
	}
	expectClosed(t, dial())
	a.Close()
	for s.Connections() > 1 {
		time.Sleep(time.Millisecond)
	}
	c := dial()
	c.Write(frame(7, "x"))
	receive(t, c)
}

// TestMaxConnections holds a connection back until another closes.
func TestMaxConnections(t *testing.T) {
	_, dial := start(t, &echo{}, Limits{MaxConnections: 1})
	a := dial()
	a.Write(frame(1, "x"))
	receive(t, a)
	b := dial()
	b.Write(frame(2, "x"))
	b.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := b.Read(make([]byte, 1)); err == nil {
		t.Fatal("the second connection was served beside the first")
	}
	b.SetReadDeadline(time.Now().Add(20 * time.Second))
	a.Close()
	receive(t, b)
}

// TestStandingStill closes idle connections and cut frames, and keeps one whose request waits (T013, rule 1.6.2).
func TestStandingStill(t *testing.T) {
	s, dial := start(t, &echo{}, Limits{Idle: 60 * time.Millisecond, Stall: 30 * time.Millisecond})
	idle, cut := dial(), dial()
	cut.Write(frame(1, "abc")[:9])
	expectClosed(t, cut)
	expectClosed(t, idle)
	for end := time.Now().Add(5 * time.Second); s.Stats().Stalled.Load() < 2; time.Sleep(time.Millisecond) { // counted after closing
		if time.Now().After(end) {
			break
		}
	}
	if n := s.Stats().Stalled.Load(); n != 2 {
		t.Errorf("%d connections stood still, want 2", n)
	}
}

// TestMemoryBudget: frames beyond the budget wait for each other, and all of them arrive.
func TestMemoryBudget(t *testing.T) {
	s, dial := start(t, &echo{}, Limits{Memory: 1 << 20})
	var wg sync.WaitGroup
	for range 8 {
		c := dial()
		wg.Go(func() {
			body := strings.Repeat("m", 2<<20)
			for i := range int32(3) {
				go c.Write(frame(i, body))
				if id, got := receive(t, c); id != i || len(got) != len(body) {
					t.Errorf("response %d with %d bytes", id, len(got))
				}
			}
		})
	}
	wg.Wait()
	reserved := func() int64 {
		s.memory.mu.Lock()
		defer s.memory.mu.Unlock()
		return s.memory.used
	}
	for end := time.Now().Add(5 * time.Second); reserved() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes are still reserved", reserved())
		}
	}
}

// TestIdleHoldsNothing: a connection that waits has no buffers and no writer.
func TestIdleHoldsNothing(t *testing.T) {
	s, dial := start(t, &echo{}, Limits{})
	c := dial()
	c.Write(bytes.Join([][]byte{frame(1, strings.Repeat("y", 50_000)), frame(2, "w")}, nil))
	receive(t, c)
	receive(t, c)
	deadline := time.Now().Add(5 * time.Second)
	for {
		s.mu.Lock()
		idle := true
		for x := range s.conns {
			idle = idle && x.queue.idle()
		}
		s.mu.Unlock()
		held := s.pools.held.Load()
		if idle && held == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("an idle connection has no writer: %v, and holds %d buffers", idle, held)
		}
		time.Sleep(time.Millisecond)
	}
}
