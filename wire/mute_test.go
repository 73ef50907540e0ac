package wire

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kbroker/kbroker/internal/simnet"
)

// muter mutes its connection for as many milliseconds as a body "mute N" says, and answers at once, or after a second if
// the body ends in "late".
type muter struct{}

func (muter) Connect(_ context.Context, c ConnInfo) Session {
	return &muterSession{echoSession{e: &echo{}}, c.Mute}
}

type muterSession struct {
	echoSession
	mute func(time.Duration)
}

func (s *muterSession) Start(h *Header, body []byte) (Reply, error) {
	r := &echoReply{body: append([]byte(nil), body...)}
	f := strings.Fields(string(body))
	if len(f) > 1 {
		ms, _ := strconv.Atoi(f[1])
		s.mute(time.Duration(ms) * time.Millisecond)
	}
	if len(f) > 2 {
		r.after = time.Now().Add(time.Second)
	}
	return r, nil
}

// startSim serves e on a network in memory.
func startSim(t *testing.T, e Service, limits Limits) (*Server, func(host string) net.Conn) {
	t.Helper()
	n := simnet.New()
	l, err := n.Host("broker").Listen("tcp", ":9092")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(e, limits, slog.New(slog.DiscardHandler))
	s.Serve(l, "PLAINTEXT")
	t.Cleanup(func() { s.Close(context.Background()) })
	return s, func(host string) net.Conn {
		c, err := n.Host(host).DialContext(t.Context(), "tcp", "broker:9092")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

// took receives one response and returns how long it took.
func took(t *testing.T, c net.Conn, want int32) time.Duration {
	t.Helper()
	began := time.Now()
	if id, _ := receive(t, c); id != want {
		t.Fatalf("response %d, want %d", id, want)
	}
	return time.Since(began)
}

// Rules 1.8.1 and 1.8.2: the answer comes at once, and nothing behind it is looked at until the time is over. Others go
// on meanwhile.
func TestMute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := startSim(t, muter{}, Limits{})
		c, other := dial("a"), dial("b")
		c.Write(append(append(frame(1, "mute 3000"), frame(2, "x")...), frame(3, "y")...))
		if d := took(t, c, 1); d != 0 {
			t.Errorf("the answer took %v", d)
		}
		synctest.Wait()
		if n := s.Stats().Muted.Load(); n != 1 {
			t.Errorf("%d connections are muted", n)
		}
		other.Write(frame(9, "z"))
		if d := took(t, other, 9); d != 0 {
			t.Errorf("another connection waited %v", d)
		}
		if d := took(t, c, 2); d != 3*time.Second {
			t.Errorf("the next request waited %v", d)
		}
		if d := took(t, c, 3); d != 0 {
			t.Errorf("the one after it waited %v", d)
		}
		// Of two times the later end counts, and an answer that comes late is none of its business.
		c.Write(frame(4, "mute 1000"))
		took(t, c, 4)
		time.Sleep(2 * time.Second)
		c.Write(append(frame(5, "mute 2000 late"), frame(6, "x")...))
		if d := took(t, c, 5); d != time.Second {
			t.Errorf("a late answer took %v", d)
		}
		if d := took(t, c, 6); d != time.Second {
			t.Errorf("behind it the next request waited %v", d)
		}
		if n := s.Stats().Muted.Load(); n != 0 {
			t.Errorf("%d connections are muted in the end", n)
		}
	})
}

// A muted connection keeps nobody from stopping the server, and one that is muted longer than it may be idle is closed.
func TestMutedAndClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := startSim(t, muter{}, Limits{Idle: time.Minute})
		idle := dial("a")
		idle.Write(frame(1, "mute 3600000"))
		took(t, idle, 1)
		began := time.Now()
		expectClosed(t, idle)
		if d := time.Since(began); d < time.Minute || d > 2*time.Minute {
			t.Errorf("closed after %v", d)
		}
		c := dial("a")
		c.Write(append(frame(1, "mute 3600000"), frame(2, "")[:7]...)) // a cut frame does not count as a peer that stopped
		took(t, c, 1)
		time.Sleep(45 * time.Second)
		synctest.Wait()
		if s.Stats().Stalled.Load() != 1 { // only the idle one
			t.Errorf("%d connections were closed for standing still", s.Stats().Stalled.Load())
		}
		began = time.Now()
		s.Close(context.Background())
		if d := time.Since(began); d > time.Second {
			t.Errorf("stopping took %v", d)
		}
	})
}

// Who connects too often is kept waiting and then closed, in bounded number.
func TestAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := startSim(t, muter{}, Limits{})
		s.SetAdmission(func(ip string) time.Duration {
			if ip == "10.0.0.2" { // the second host
				return 5 * time.Second
			}
			return 0
		})
		turned, served := dial("bad"), dial("good")
		served.Write(frame(1, "x"))
		took(t, served, 1)
		began := time.Now()
		expectClosed(t, turned)
		if d := time.Since(began); d != 5*time.Second || s.Connections() != 1 || s.Stats().Refused.Load() != 1 {
			t.Errorf("closed after %v; %d connections, %d refused", d, s.Connections(), s.Stats().Refused.Load())
		}
		for range maxAway {
			dial("bad")
		}
		synctest.Wait()
		began = time.Now()
		expectClosed(t, dial("bad"))
		if d := time.Since(began); d != 0 {
			t.Errorf("one too many was closed after %v", d)
		}
		s.Close(context.Background())
		if len(s.away) != 0 {
			t.Errorf("%d connections are left", len(s.away))
		}
	})
}
