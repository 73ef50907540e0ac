package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// answering is a Service that answers ListGroups with the correlation id as throttle time, late now and then.
type answering struct{}

func (answering) Connect(context.Context, ConnInfo) Session { return &answeringSession{} }

type answeringSession struct{}

func (s *answeringSession) Start(h *Header, _ []byte) (Reply, error) {
	if h.Key != int16(kmsg.ListGroups) {
		return nil, errors.New("not served")
	}
	resp := kmsg.NewPtrListGroupsResponse()
	resp.SetVersion(h.Version)
	resp.ThrottleMillis = h.CorrelationID
	r := &echoReply{body: resp.AppendTo(nil)}
	if h.CorrelationID%7 == 0 {
		r.after = time.Now().Add(time.Millisecond)
	}
	return r, nil
}
func (s *answeringSession) Flush() error      { return nil }
func (s *answeringSession) Class(int16) Class { return Class{MaxFrame: 1 << 20} }
func (s *answeringSession) Close()            {}

// TestClient sends requests from several goroutines; each gets its own response, in old and flexible versions.
func TestClient(t *testing.T) {
	_, dial := start(t, answering{}, Limits{})
	c := NewClient(dial(), "test", 1<<20)
	var mu sync.Mutex
	seen := map[int32]bool{}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				req := kmsg.NewPtrListGroupsRequest()
				req.SetVersion([]int16{1, 4}[i%2])
				resp, err := c.Do(t.Context(), req)
				if err != nil {
					t.Error(err)
					return
				}
				id := resp.(*kmsg.ListGroupsResponse).ThrottleMillis
				mu.Lock()
				if seen[id] {
					t.Errorf("response %d came twice", id)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	// A request that the peer closes the connection for, and everything after it, fails.
	if _, err := c.Do(t.Context(), kmsg.NewPtrHeartbeatRequest()); err == nil {
		t.Error("a request that is not served has a response")
	}
	c.Close()
	if _, err := c.Do(t.Context(), kmsg.NewPtrListGroupsRequest()); err == nil {
		t.Error("a closed client answers")
	}
}

// TestClientGivesUp: a request that was given up does not disturb those behind it, and a peer that sends nonsense ends
// the client.
func TestClientGivesUp(t *testing.T) {
	near, far := net.Pipe()
	c := NewClient(near, "test", 100)
	defer c.Close()
	go func() {
		buf := make([]byte, 1000)
		for {
			if _, err := far.Read(buf); err != nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	req := kmsg.NewPtrListGroupsRequest()
	if _, err := c.Do(ctx, req); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("gave up with %v", err)
	}
	go far.Write([]byte{0x7f, 0, 0, 0})
	if _, err := c.Do(t.Context(), req); err == nil {
		t.Error("a response of 2 GiB is taken")
	}
}

// frameFrom reads one request from the far end of a client's connection.
func frameFrom(t *testing.T, far net.Conn) {
	t.Helper()
	var size [4]byte
	if _, err := io.ReadFull(far, size[:]); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, far, int64(binary.BigEndian.Uint32(size[:]))); err != nil {
		t.Fatal(err)
	}
}

// TestClientReadsWhileItWrites: responses are taken while a request is being written to a peer that reads on only when
// it is rid of them.
func TestClientReadsWhileItWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := NewClient(near, "test", 100)
		defer c.Close()
		var wg sync.WaitGroup
		ask := func() {
			wg.Go(func() {
				if _, err := c.Do(t.Context(), kmsg.NewPtrListGroupsRequest()); err != nil {
					t.Error(err)
				}
			})
		}
		for range 2 {
			ask()
			synctest.Wait()
			frameFrom(t, far)
		}
		ask()
		synctest.Wait() // it writes
		for id := range byte(3) {
			if id == 2 {
				frameFrom(t, far)
			}
			if _, err := far.Write([]byte{0, 0, 0, 10, 0, 0, 0, id + 1, 0, 0, 0, 0, 0, 0}); err != nil {
				t.Fatal(err)
			}
		}
		wg.Wait()
	})
}

// TestClientGivesUpWriting: no request waits longer than it wants to for a peer that does not read, nor for the request
// that is before it. The connection, on which half a request may be, ends.
func TestClientGivesUpWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := NewClient(near, "test", 100)
		defer c.Close()
		defer far.Close()
		var wg sync.WaitGroup
		for patience := range 2 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(2-patience)*time.Second)
				defer cancel()
				if _, err := c.Do(ctx, kmsg.NewPtrListGroupsRequest()); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("gave up with %v", err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if _, err := c.Do(t.Context(), kmsg.NewPtrListGroupsRequest()); err == nil {
			t.Error("the connection goes on after half a request")
		}
	})
}
