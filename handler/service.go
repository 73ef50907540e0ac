package handler

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/quota"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/replica"
	"github.com/kbroker/kbroker/wire"
	"github.com/kbroker/kbroker/wire/shape"
)

// Frame limits by API. Only Produce carries data; every other request is small, and decoding one costs up to some
// 80 times its size in structures (appendix D.8).
const (
	maxOtherFrame = 4 << 20
	// laneFrame is the size in bytes from which on requests are decoded one at a time.
	laneFrame = 64 << 10
)

// Keys of the APIs with a hot path of their own.
const (
	keyProduce     = 0
	keyFetch       = 1
	keyApiVersions = 18
)

// Service serves the table of APIs on every connection.
type Service struct {
	deps  *Deps
	table []*API      // by key; nil where nothing is served
	codes []*codePlan // by key: where the error codes of its answers lie; nil where there are none
	// lane lets one large request be decoded at a time, so that decoding has a bounded cost in memory.
	lane     chan struct{}
	produce  producePool
	fetch    fetchPool
	sessions *fetchSessions
	// parkedRows is the partitions of the larger requests without a session that wait (maxParkedRows).
	parkedRows atomic.Int64
	metrics    Metrics
}

// NewService makes a service of the table that d allows.
func NewService(d *Deps) *Service {
	s := &Service{deps: d, lane: make(chan struct{}, 1), sessions: newFetchSessions(d)}
	s.table, s.codes = make([]*API, kmsg.MaxKey+1), make([]*codePlan, kmsg.MaxKey+1)
	for _, a := range Table(d) {
		s.table[a.Key] = &a
		if a.Key != keyProduce && a.Key != keyFetch { // they count for themselves
			s.codes[a.Key] = planCodes(reflect.TypeOf(kmsg.ResponseForKey(a.Key)))
		}
	}
	return s
}

// Metrics returns the service's counters.
func (s *Service) Metrics() *Metrics { return &s.metrics }

// connection is one client's state: the wire.Session of the Service.
type connection struct {
	svc     *Service
	session Session
	ctx     context.Context

	// requests counts those of one API that came in a row, until Flush: connections would fight for the counters' cache
	// line with every one of them.
	requests requestRun
	clientID string // the last one sent, so that it is not copied again for every request

	// Produce requests in stage one, and the partitions they staged to, until Flush.
	started []*produceReply
	staged  []*replica.Partition
	copies  []*produceRow // rows whose batch was rebuilt, and so has memory of its own
	copied  int           // bytes of that memory
	scratch record.Scratch
	ask     acl.Request // reused, so that a question to the authorizer allocates nothing

	muted func(time.Duration) // wire.ConnInfo.Mute
	// quota is what the client may do as of quotaTable, for the client id quotaID; limited is that of the request that is
	// being started. Nil is everything.
	quota, limited *quota.Client
	quotaTable     *quota.Table
	quotaID        string
	busy           time.Duration // time spent on requests that was not counted yet
	mutations      time.Duration // for how long the request that is being started held the client back for its mutations
}

// allowed asks the authorizer one question on the connection's reader. It is not for stage two.
func (c *connection) allowed(op acl.Operation, res acl.ResourceType, name string) bool {
	c.ask = acl.Request{Principal: c.session.Principal, Host: c.session.RemoteHost, Operation: op, Resource: res, Name: name}
	return c.svc.deps.Authorizer.Allowed(&c.ask)
}

// Connect implements wire.Service.
func (s *Service) Connect(ctx context.Context, info wire.ConnInfo) wire.Session {
	return &connection{svc: s, ctx: ctx, session: Session{
		Principal: acl.Anonymous, RemoteHost: wire.Host(info.Remote), Remote: info.Remote, Local: info.Local,
		ListenerName: info.Listener,
	}, muted: info.Mute}
}

// Class implements wire.Session.
func (c *connection) Class(key int16) wire.Class {
	switch key {
	case keyProduce:
		return wire.Class{MaxFrame: 1<<31 - 1, Hot: true}
	case keyFetch:
		return wire.Class{MaxFrame: maxOtherFrame, Hot: true}
	}
	return wire.Class{MaxFrame: maxOtherFrame}
}

// start runs stage one of a request.
func (c *connection) start(h *wire.Header, body []byte) (wire.Reply, error) {
	api := c.svc.lookup(h.Key)
	if api == nil {
		return nil, fmt.Errorf("API key %d is not served", h.Key) // rule 1.2.5
	}
	c.countRequest(h.Key, h.Version)
	if h.Version < api.Min || h.Version > api.Max {
		if h.Key == keyApiVersions {
			c.svc.metrics.answered(h.Key, kerr.UnsupportedVersion.Code, 1)
			return ready{tooNewAPIVersions()}, nil
		}
		return nil, fmt.Errorf("version %d of API key %d is not served", h.Version, h.Key) // rule 1.2.4
	}
	switch h.Key {
	case keyProduce:
		return c.startProduce(h, body)
	}
	if err := c.Flush(); err != nil { // what this connection produced before must be visible
		return nil, err
	}
	if h.Key == keyFetch {
		return c.startFetch(h, body)
	}
	return c.startOther(api, h, body)
}

// startOther decodes a request by kmsg and runs its handler.
func (c *connection) startOther(api *API, h *wire.Header, body []byte) (wire.Reply, error) {
	req := kmsg.RequestForKey(h.Key)
	req.SetVersion(h.Version)
	if err := c.svc.decode(req, body); err != nil {
		return nil, fmt.Errorf("API key %d version %d: %w", h.Key, h.Version, err)
	}
	context := &Context{Session: &c.session, Ctx: c.ctx, Key: h.Key, Version: h.Version, ClientID: c.clientID, Quota: c.limited, throttle: &c.mutations}
	if api.Start != nil {
		size := deferredSize
		if api.Large {
			size = readySize
		}
		p := newPending(h.Version, size+len(body))
		p.count = c.svc.countCodes
		api.Start(context, req, p)
		return p, nil
	}
	resp := api.Handle(context, req)
	if resp == nil {
		return nil, fmt.Errorf("API key %d version %d: refused", h.Key, h.Version)
	}
	resp.SetVersion(h.Version)
	c.svc.countCodes(resp)
	return ready{resp}, nil
}

// decode reads a request, large ones one at a time.
func (s *Service) decode(req kmsg.Request, body []byte) error {
	if len(body) > laneFrame {
		s.lane <- struct{}{}
		defer func() { <-s.lane }()
	}
	if err := shape.Check(req.Key(), req.GetVersion(), body); err != nil {
		return err
	}
	return req.ReadFrom(body)
}

// lookup returns the row of an API, nil when it is not served.
func (s *Service) lookup(key int16) *API {
	if key < 0 || int(key) >= len(s.table) {
		return nil
	}
	return s.table[key]
}

// Close implements wire.Session. What is still staged is written: it was accepted in arrival order.
func (c *connection) Close() {
	_ = c.Flush()
}

// ready is the reply of a request that was answered in stage one.
type ready struct{ resp kmsg.Response }

// readySize is what the answer of a request that is not hot counts for among those that wait, in bytes. A few describe
// thousands of partitions, and nobody pipelines them for speed: 8 may wait.
const readySize = 512 << 10

func (r ready) Done() bool           { return true }
func (r ready) Wait(<-chan struct{}) {}
func (r ready) Append(out *wire.Out) { out.B = r.resp.AppendTo(out.B) }
func (r ready) Size() int            { return readySize }
func (r ready) Release()             {}

// code is the only way from an error to a Kafka error code. What is not a Kafka error is logged by the caller.
func code(err error) int16 {
	if err == nil {
		return 0
	}
	var k *kerr.Error
	if errors.As(err, &k) {
		return k.Code
	}
	return kerr.UnknownServerError.Code
}
