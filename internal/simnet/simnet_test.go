package simnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dialed returns both ends of a connection from host a to host b.
func dialed(t testing.TB, n *Network) (near, far net.Conn) {
	t.Helper()
	l, err := n.Host("b").Listen("tcp", ":0")
	must(t, err)
	near, err = n.Host("a").DialContext(t.Context(), "tcp", l.Addr().String())
	must(t, err)
	far, err = l.Accept()
	must(t, err)
	must(t, l.Close())
	return near, far
}

// bubble runs fn in a synctest bubble with a fresh connection from host a to host b.
func bubble(t *testing.T, fn func(t *testing.T, n *Network, near, far net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := New()
		near, far := dialed(t, n)
		fn(t, n, near, far)
	})
}

func write(t testing.TB, c net.Conn, text string) {
	t.Helper()
	_, err := c.Write([]byte(text))
	must(t, err)
}

// expect reads exactly text.
func expect(t testing.TB, c net.Conn, text string) {
	t.Helper()
	buf := make([]byte, len(text))
	if n, err := io.ReadFull(c, buf); err != nil || string(buf) != text {
		t.Fatalf("read %q, %v; want %q", buf[:n], err, text)
	}
}

// expectError reads and wants no bytes but an error.
func expectError(t testing.TB, c net.Conn, want error) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, want) {
		t.Fatalf("read %d bytes, %v; want %v", n, err, want)
	}
}

// TestConformance runs the tests that package net's own connections must pass.
func TestConformance(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		c1, c2 = dialed(t, New())
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	})
}

func TestAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		a, b := n.Host("a"), n.Host("b")
		l, err := b.Listen("tcp", "0.0.0.0:9092")
		must(t, err)
		for _, dial := range []struct {
			from    *Host
			address string
			want    error
		}{
			{a, "b:9092", nil},
			{a, "10.0.0.2:9092", nil},
			{b, "localhost:9092", nil},
			{b, "127.0.0.1:9092", nil},
			{a, "localhost:9092", syscall.ECONNREFUSED},
			{a, "b:9093", syscall.ECONNREFUSED},
		} {
			c, err := dial.from.DialContext(t.Context(), "tcp", dial.address)
			if !errors.Is(err, dial.want) {
				t.Errorf("%s dials %s: %v, want %v", dial.from.name, dial.address, err, dial.want)
			}
			if err != nil {
				continue
			}
			far, err := l.Accept()
			must(t, err)
			if c.RemoteAddr().String() != "10.0.0.2:9092" || far.RemoteAddr().String() != c.LocalAddr().String() {
				t.Errorf("%v to %v, accepted from %v", c.LocalAddr(), c.RemoteAddr(), far.RemoteAddr())
			}
		}
		var dnsErr *net.DNSError
		if _, err := a.DialContext(t.Context(), "tcp", "c:1"); !errors.As(err, &dnsErr) || !dnsErr.IsNotFound {
			t.Errorf("an unknown name: %v", err)
		}
		if _, err := b.Listen("tcp", ":9092"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a port listened on: %v", err)
		}
		if _, err := a.Listen("tcp", "b:1"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("another host's address: %v", err)
		}
		must(t, l.Close())
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v", err)
		}
		if _, err := a.DialContext(t.Context(), "tcp", "b:9092"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial after Close: %v", err)
		}
	})
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		n.SetLatency("a", "b", 30*time.Millisecond)
		n.SetLatency("b", "a", 5*time.Millisecond)
		start := time.Now()
		near, far := dialed(t, n)
		after := func(want time.Duration) {
			t.Helper()
			if got := time.Since(start); got != want {
				t.Errorf("after %v, want %v", got, want)
			}
			start = time.Now()
		}
		after(35 * time.Millisecond)
		write(t, near, "there")
		n.SetLatency("a", "b", 0)
		write(t, near, "!") // does not overtake
		expect(t, far, "there!")
		after(30 * time.Millisecond)
		write(t, far, "back")
		must(t, far.Close())
		expect(t, near, "back")
		expectError(t, near, io.EOF)
		after(5 * time.Millisecond)
	})
}

func TestCut(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, near, far net.Conn) {
		n.Cut("a", "b")
		write(t, near, "held up")
		write(t, far, "passes")
		expect(t, near, "passes")
		must(t, far.SetReadDeadline(time.Now().Add(time.Minute)))
		expectError(t, far, os.ErrDeadlineExceeded)
		must(t, far.SetReadDeadline(time.Time{}))
		time.AfterFunc(time.Hour, func() { n.Heal("a", "b") })
		start := time.Now()
		expect(t, far, "held up")
		if time.Since(start) != time.Hour {
			t.Errorf("arrived after %v, want an hour", time.Since(start))
		}
		n.CutBoth("a", "b")
		must(t, near.Close()) // nobody hears of it
		must(t, far.SetReadDeadline(time.Now().Add(time.Minute)))
		expectError(t, far, os.ErrDeadlineExceeded)
		must(t, far.SetReadDeadline(time.Time{}))
		n.HealAll()
		expectError(t, far, io.EOF)
	})
}

func TestDialOverCutLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		_, err := n.Host("b").Listen("tcp", ":1")
		must(t, err)
		n.Cut("b", "a") // the answer is lost
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Host("a").DialContext(ctx, "tcp", "b:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial: %v, want the context's error", err)
		}
		time.AfterFunc(time.Minute, n.HealAll)
		c, err := n.Host("a").DialContext(t.Context(), "tcp", "b:1")
		must(t, err)
		must(t, c.Close())
	})
}

func TestHalfClose(t *testing.T) {
	bubble(t, func(t *testing.T, _ *Network, near, far net.Conn) {
		write(t, near, "request")
		must(t, near.(interface{ CloseWrite() error }).CloseWrite())
		if _, err := near.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write after CloseWrite: %v, want EPIPE", err)
		}
		expect(t, far, "request")
		expectError(t, far, io.EOF)
		write(t, far, "answer")
		expect(t, near, "answer")
	})
}

// TestCloseWithUnreadBytesResets is what a server must know that answers and closes before it has read the request.
func TestCloseWithUnreadBytesResets(t *testing.T) {
	bubble(t, func(t *testing.T, _ *Network, near, far net.Conn) {
		write(t, near, "unread")
		write(t, far, "answer")
		must(t, far.Close())
		expect(t, near, "answer")
		expectError(t, near, syscall.ECONNRESET)
	})
}

func TestReset(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, near, far net.Conn) {
		n.CutBoth("a", "b")
		n.Reset("b", "a")
		expectError(t, near, syscall.ECONNRESET)
		if _, err := far.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write: %v, want ECONNRESET", err)
		}
		must(t, near.Close())
		must(t, far.Close())
	})
}

func TestKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		l, err := n.Host("b").Listen("tcp", ":1")
		must(t, err)
		accepted, err := n.Host("a").DialContext(t.Context(), "tcp", "b:1")
		must(t, err)
		_, err = l.Accept()
		must(t, err)
		queued, err := n.Host("a").DialContext(t.Context(), "tcp", "b:1")
		must(t, err)
		n.Host("b").Kill()
		expectError(t, accepted, syscall.ECONNRESET)
		expectError(t, queued, syscall.ECONNRESET)
		_, err = n.Host("b").Listen("tcp", ":1") // the next process
		must(t, err)
	})
}

// TestWriteToClosedPeer shows that a first write to a peer that is gone succeeds: only an answer proves anything.
func TestWriteToClosedPeer(t *testing.T) {
	bubble(t, func(t *testing.T, _ *Network, near, far net.Conn) {
		must(t, far.Close())
		write(t, near, "into the void")
		if _, err := near.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("second write: %v, want EPIPE", err)
		}
	})
}

func TestWriteBlocksWhenBuffersAreFull(t *testing.T) {
	bubble(t, func(t *testing.T, _ *Network, near, far net.Conn) {
		big := []byte(strings.Repeat("x", pipeBytes+1))
		must(t, near.SetWriteDeadline(time.Now().Add(time.Second)))
		if n, err := near.Write(big); n != pipeBytes || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote %d, %v; want %d and a time-out", n, err, pipeBytes)
		}
		var timeout net.Error
		if _, err := near.Write(big); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%v is no time-out of package net", err)
		}
		must(t, near.SetWriteDeadline(time.Time{}))
		time.AfterFunc(time.Minute, func() { far.Read(make([]byte, 10)) })
		if n, err := near.Write(big[:10]); n != 10 || err != nil {
			t.Errorf("wrote %d, %v once there was room", n, err)
		}
		time.AfterFunc(time.Minute, func() { near.Close() })
		if _, err := near.Write(big); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a write that Close interrupts: %v", err)
		}
	})
}

func TestMaxRead(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, near, far net.Conn) {
		n.SetMaxRead(3)
		write(t, near, "abcdefgh")
		var got []string
		for range 3 {
			buf := make([]byte, 100)
			k, err := far.Read(buf)
			must(t, err)
			got = append(got, string(buf[:k]))
		}
		if want := []string{"abc", "def", "gh"}; !slices.Equal(got, want) {
			t.Errorf("reads gave %q, want %q", got, want)
		}
	})
}

// TestBacklog dials more often than a listener accepts.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		l, err := n.Host("b").Listen("tcp", ":1")
		must(t, err)
		for range backlog {
			_, err := n.Host("a").DialContext(t.Context(), "tcp", "b:1")
			must(t, err)
		}
		time.AfterFunc(time.Minute, func() { l.Accept() })
		start := time.Now()
		_, err = n.Host("a").DialContext(t.Context(), "tcp", "b:1")
		must(t, err)
		if time.Since(start) != time.Minute {
			t.Errorf("connected after %v, want when there was room", time.Since(start))
		}
	})
}

// TestManyConnections moves data over many connections at once, for the race detector and for the order of bytes.
func TestManyConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		n.SetLatency("a", "b", time.Millisecond)
		l, err := n.Host("b").Listen("tcp", ":1")
		must(t, err)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					io.Copy(c, c)
					c.Close()
				}()
			}
		}()
		done := make(chan error)
		for i := range 20 {
			go func() { done <- echoed(t.Context(), n.Host("a"), fmt.Sprint(i, "-")) }()
		}
		for range 20 {
			must(t, <-done)
		}
		must(t, l.Close())
	})
}

// echoed sends a long text to the echo server and wants the same back.
func echoed(ctx context.Context, h *Host, word string) error {
	c, err := h.DialContext(ctx, "tcp", "b:1")
	if err != nil {
		return err
	}
	defer c.Close()
	text := strings.Repeat(word, 100_000)
	go func() {
		io.WriteString(c, text)
		c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err == nil && string(got) != text {
		err = fmt.Errorf("%q: %d bytes came back, want the same %d", word, len(got), len(text))
	}
	return err
}
