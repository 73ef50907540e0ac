package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"
	"time"
)

// stager is a Service whose requests are staged until Flush, as a Produce is: releasing the reply of one before is a
// mistake, since its memory is still somebody else's. The first byte of a body is an order as with echo.
type stager struct{ early, released chan struct{} }

func (s *stager) Connect(context.Context, ConnInfo) Session { return &stagerSession{s: s} }

type stagerSession struct {
	s      *stager
	staged []*stagedReply
}

func (x *stagerSession) Start(h *Header, body []byte) (Reply, error) {
	if body[0] == 'p' {
		panic("asked for a panic")
	}
	r := &stagedReply{s: x.s}
	x.staged = append(x.staged, r)
	return r, nil
}

func (x *stagerSession) Flush() error {
	for _, r := range x.staged {
		r.flushed = true
	}
	x.staged = nil
	return nil
}
func (x *stagerSession) Class(int16) Class { return Class{MaxFrame: 1 << 20, Hot: true} }
func (x *stagerSession) Close()            { _ = x.Flush() }

type stagedReply struct {
	s       *stager
	flushed bool
}

func (r *stagedReply) Done() bool           { return true }
func (r *stagedReply) Wait(<-chan struct{}) {}
func (r *stagedReply) Append(out *Out)      { out.B = append(out.B, 'a') }
func (r *stagedReply) Size() int            { return 0 }
func (r *stagedReply) Release() {
	if !r.flushed {
		r.s.early <- struct{}{}
	}
	r.s.released <- struct{}{}
}

// TestReleaseAfterFlush: however a connection ends, what was started is flushed before its reply is released.
func TestReleaseAfterFlush(t *testing.T) {
	unknown := frame(9, "")
	binary.BigEndian.PutUint16(unknown[4:], 9999)
	for name, bad := range map[string][]byte{
		"bad size":       {0xff, 0xff, 0xff, 0xff},
		"over the API's": binary.BigEndian.AppendUint32(nil, 1<<20+1),
		"unknown key":    unknown,
		"panic":          frame(9, "p"),
	} {
		t.Run(name, func(t *testing.T) {
			e := &stager{early: make(chan struct{}, 8), released: make(chan struct{}, 8)}
			_, dial := start(t, e, Limits{MaxFrame: 1 << 20})
			c := dial()
			c.Write(bytes.Join([][]byte{frame(1, "a"), frame(2, "a"), bad}, nil))
			for range 2 {
				select {
				case <-e.released:
				case <-time.After(10 * time.Second):
					t.Fatal("a reply was not released")
				}
			}
			if len(e.early) > 0 {
				t.Errorf("%d replies were released before the flush", len(e.early))
			}
			if name == "panic" {
				return // its own connection's answers may be lost with it
			}
			for want := range int32(2) {
				if id, _ := receive(t, c); id != want+1 {
					t.Fatalf("response %d, want %d", id, want+1)
				}
			}
			expectClosed(t, c)
		})
	}
}
