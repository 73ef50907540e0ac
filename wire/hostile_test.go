package wire

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// within wants ok to become true soon.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not yet: " + what)
		}
	}
}

// TestPanicInStageTwo: the writer's panic ends one connection, and everything that waited there is released (rule 1.1.7).
func TestPanicInStageTwo(t *testing.T) {
	s, dial := start(t, &echo{}, Limits{})
	other, c := dial(), dial()
	c.Write(bytes.Join([][]byte{frame(1, "a"), frame(2, "b"), frame(3, "w"), frame(4, "a")}, nil))
	if id, _ := receive(t, c); id != 1 {
		t.Fatalf("response %d, want 1", id)
	}
	expectClosed(t, c)
	within(t, "the connection is forgotten", func() bool { return s.Connections() == 1 && s.Stats().Malformed.Load() == 1 })
	other.Write(frame(5, "x"))
	receive(t, other)
	within(t, "all buffers are back", func() bool { return s.pools.held.Load() == 0 })
}

// TestPanicInReadyReply: so does that of the reader, which writes what is complete at once.
func TestPanicInReadyReply(t *testing.T) {
	s, dial := start(t, &echo{}, Limits{})
	other, c := dial(), dial()
	c.Write(bytes.Join([][]byte{frame(1, "a"), frame(2, "r"), frame(3, "w"), frame(4, "a")}, nil))
	expectClosed(t, c)
	within(t, "the connection is forgotten", func() bool { return s.Connections() == 1 && s.Stats().Malformed.Load() == 1 })
	other.Write(frame(5, "x"))
	receive(t, other)
	within(t, "all buffers are back", func() bool { return s.pools.held.Load() == 0 })
}

// TestPanicReleases: also the reply that panics gives back what it holds, whoever encodes it, and while it waits.
func TestPanicReleases(t *testing.T) {
	for name, frames := range map[string][][]byte{
		"reader": {frame(1, "b")},
		"writer": {frame(1, "w"), frame(2, "b")},
		"wait":   {frame(1, "wp")},
	} {
		t.Run(name, func(t *testing.T) {
			s := &promises{}
			_, dial := start(t, s, Limits{})
			c := dial()
			c.Write(bytes.Join(frames, nil))
			io.Copy(io.Discard, c)
			s.allReleased(t)
		})
	}
}

// TestSlowStart: how long a peer may be in taking a reply counts from when the reply is sent, however long it was waited
// for.
func TestSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &echo{hold: make(chan struct{})}
		s, dial := startSim(t, e, Limits{Stall: 30 * time.Second, Idle: time.Hour})
		c := dial("client")
		body := "h" + strings.Repeat("x", 8<<20)
		go c.Write(frame(1, body))
		time.Sleep(60 * time.Second)
		close(e.hold)
		time.Sleep(20 * time.Second)
		if id, got := receive(t, c); id != 1 || got != body {
			t.Errorf("response %d of %d bytes", id, len(got))
		}
		if n := s.Stats().Stalled.Load(); n != 0 {
			t.Errorf("%d connections are said to stand still", n)
		}
		c.Close()
	})
}

// TestTrickledFrame: a peer that sends a large frame byte by byte is cut off, since others wait for the memory it holds.
func TestTrickledFrame(t *testing.T) {
	s, dial := start(t, &echo{}, Limits{Stall: 100 * time.Millisecond, Idle: time.Minute})
	c := dial()
	f := frame(1, strings.Repeat("t", 1<<20))
	c.Write(f[:smallRead])
	for i := smallRead; ; i++ {
		if _, err := c.Write(f[i : i+1]); err != nil {
			break
		}
		if i == len(f)-1 {
			t.Fatal("the whole frame was taken byte by byte")
		}
		time.Sleep(2 * time.Millisecond)
	}
	within(t, "it is counted as standing still", func() bool { return s.Stats().Stalled.Load() == 1 })
	within(t, "its memory is free", func() bool {
		s.memory.mu.Lock()
		defer s.memory.mu.Unlock()
		return s.memory.used == 0
	})
}

// TestTrickledMemory: the more memory a frame holds the faster it has to come, also when all of it was given at once to a
// peer that has sent as much before.
func TestTrickledMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := startSim(t, &echo{}, Limits{Stall: 30 * time.Second, Idle: time.Hour})
		c := dial("client")
		f := frame(1, "n"+strings.Repeat("t", 8<<20))
		c.Write(f)
		c.Write(f[:smallRead])
		began := time.Now()
		for i := smallRead; i < len(f); i += stallBytes + 1 {
			time.Sleep(20 * time.Second)
			if _, err := c.Write(f[i:min(i+stallBytes+1, len(f))]); err != nil {
				break
			}
		}
		if d := time.Since(began); d > 20*time.Minute || s.Stats().Stalled.Load() != 1 {
			t.Errorf("it held 8 MiB for %v", d)
		}
	})
}

// TestStarvedFrame: a peer that waits for memory because others hold it is not the one that stands still.
func TestStarvedFrame(t *testing.T) {
	s, dial := start(t, &echo{}, Limits{Memory: 1 << 20, Stall: time.Second, Idle: time.Minute})
	var a, b grant
	s.memory.take(&a, 1<<20, nil)
	s.memory.take(&b, 1, nil) // the one that may go beyond the limit
	c := dial()
	go c.Write(frame(1, strings.Repeat("m", 1<<20)))
	time.Sleep(2 * time.Second) // the stall limit, twice
	s.memory.release(&a)
	s.memory.release(&b)
	if id, _ := receive(t, c); id != 1 {
		t.Errorf("response %d", id)
	}
}

// TestQueueBySize: replies that hold much memory hold the reader back, however few they are; small ones do not.
func TestQueueBySize(t *testing.T) {
	for name, c := range map[string]struct{ body, waiting int }{"small": {100, 100}, "large": {1 << 20, 5}} {
		t.Run(name, func(t *testing.T) {
			e := &echo{hold: make(chan struct{})}
			_, dial := start(t, e, Limits{})
			nc := dial()
			go func() {
				nc.Write(frame(0, "h"))
				for i := range int32(100) {
					nc.Write(frame(i+1, strings.Repeat("x", c.body)))
				}
			}()
			// The first is with the writer, and one beyond those that wait is held by the reader.
			want := int64(min(c.waiting+1, 101))
			within(t, "requests are started", func() bool { return e.starts.Load() >= want })
			time.Sleep(20 * time.Millisecond)
			if n := e.starts.Load(); n > want {
				t.Errorf("%d requests were started while one waits, want %d", n, want)
			}
			close(e.hold)
			for i := range int32(101) {
				if id, _ := receive(t, nc); id != i {
					t.Fatalf("response %d, want %d", id, i)
				}
			}
		})
	}
}

// TestSetLimits: limits on connections change while the server runs, and 0 for single addresses refuses all of theirs.
func TestSetLimits(t *testing.T) {
	s, dial := start(t, &echo{}, Limits{MaxConnections: 1})
	ask := func(c net.Conn) {
		t.Helper()
		c.Write(frame(1, "x"))
		receive(t, c)
	}
	ask(dial())
	waiting := dial()
	waiting.Write(frame(1, "x"))
	s.SetLimits(Limits{MaxConnections: 3})
	receive(t, waiting)
	s.SetLimits(Limits{PerIP: map[string]int{"127.0.0.1": 0}})
	expectClosed(t, dial())
	s.SetLimits(Limits{MaxPerIP: -1})
	expectClosed(t, dial())
	s.SetLimits(Limits{MaxPerIP: -1, PerIP: map[string]int{"127.0.0.1": 9}})
	ask(dial())
}

// TestChurn: clients of every kind come and hang up at any point; the answers that are read are in order, and at the end
// every buffer and all memory is back.
func TestChurn(t *testing.T) {
	s, dial := start(t, &echo{}, Limits{Memory: 1 << 20})
	var wg sync.WaitGroup
	for n := range uint64(8) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(7, n))
			for range 20 {
				churn(t, rng, dial())
			}
		})
	}
	wg.Wait()
	within(t, "everything is given back", func() bool {
		s.memory.mu.Lock()
		used := s.memory.used
		s.memory.mu.Unlock()
		return s.Connections() == 0 && s.pools.held.Load() == 0 && used == 0
	})
}

// churn sends some requests, cut anywhere, and reads some answers.
func churn(t *testing.T, rng *rand.Rand, c net.Conn) {
	defer c.Close()
	var out []byte
	var want, ends []int32
	for i := range rng.Int32N(30) {
		body := []string{"a", "w", "n", strings.Repeat("x", rng.IntN(2*largeRead)), "b", "e", "p"}[rng.IntN(4+rng.IntN(4))]
		out = append(out, frame(i, body)...)
		if body == "" || body[0] == 'b' || body[0] == 'e' || body[0] == 'p' {
			break
		}
		if body != "n" {
			want, ends = append(want, i), append(ends, int32(len(out)))
		}
	}
	out = out[:len(out)-rng.IntN(1+len(out)/4)]
	go c.Write(out)
	for i, id := range want[:rng.IntN(len(want)+1)] {
		if int(ends[i]) > len(out) {
			return // it was cut
		}
		var head [8]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return // the order that closed it
		}
		if got := int32(binary.BigEndian.Uint32(head[4:])); got != id {
			t.Errorf("response %d, want %d", got, id)
			return
		}
		if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[:])-4)); err != nil {
			return
		}
	}
}
