package handler

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/internal/simnet"
	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/wire"
)

// served is a dataNode behind a wire.Server on a network in memory.
type served struct {
	*dataNode
	net    *simnet.Network
	server *wire.Server
}

// serve starts a node, which the end of the test stops.
func serve(t *testing.T, durability log.Durability) *served {
	t.Helper()
	return serveOn(t, simfs.New(), durability)
}

func serveOn(t *testing.T, fsys vfs.FS, durability log.Durability) *served {
	t.Helper()
	s := &served{dataNode: newDataNodeOn(t, fsys, "/data", durability), net: simnet.New()}
	l, err := s.net.Host("broker").Listen("tcp", ":9092")
	if err != nil {
		t.Fatal(err)
	}
	s.server = wire.NewServer(s.service, wire.Limits{}, slog.New(slog.DiscardHandler))
	s.server.Serve(l, "PLAINTEXT")
	t.Cleanup(s.stop)
	return s
}

func (s *served) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s.server.Close(ctx)
}

// peer is a client that writes and reads frames.
type peer struct {
	t testing.TB
	net.Conn
	next int32
}

func (s *served) dial(host string) *peer {
	s.t.Helper()
	p, err := s.tryDial(host)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { p.Close() })
	return p
}

// tryDial is dial for a server that may be stopped.
func (s *served) tryDial(host string) (*peer, error) {
	c, err := s.net.Host(host).DialContext(s.t.Context(), "tcp", "broker:9092")
	return &peer{t: s.t, Conn: c}, err
}

// send writes requests in one piece.
func (p *peer) send(reqs ...kmsg.Request) error {
	var b []byte
	for _, q := range reqs {
		at := len(b)
		b = append(b, 0, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(q.Key()))
		b = binary.BigEndian.AppendUint16(b, uint16(q.GetVersion()))
		b = binary.BigEndian.AppendUint32(b, uint32(p.next))
		b = append(b, 0xff, 0xff)
		if q.IsFlexible() {
			b = append(b, 0)
		}
		b = q.AppendTo(b)
		binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
		p.next++
	}
	_, err := p.Write(b)
	return err
}

// receive reads the response to a request.
func (p *peer) receive(req kmsg.Request) (kmsg.Response, error) {
	var head [4]byte
	if _, err := io.ReadFull(p, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(p, b); err != nil {
		return nil, err
	}
	b = b[4:]
	if req.IsFlexible() && req.Key() != keyApiVersions {
		b = b[1:]
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	return resp, resp.ReadFrom(b)
}

// ask is send and receive.
func (p *peer) ask(req kmsg.Request) kmsg.Response {
	p.t.Helper()
	if err := p.send(req); err != nil {
		p.t.Fatal(err)
	}
	resp, err := p.receive(req)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp
}

// poll continues a session; it waits for a record for a second.
func poll(session, epoch int32) *kmsg.FetchRequest {
	q := kmsg.NewPtrFetchRequest()
	q.SetVersion(12)
	q.MaxWaitMillis, q.MinBytes, q.MaxBytes, q.SessionID, q.SessionEpoch = 1000, 1, 1<<20, session, epoch
	return q
}
