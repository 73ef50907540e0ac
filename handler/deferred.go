package handler

import (
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/wire"
)

// Pending is the answer to a request that is decided elsewhere: stage one starts it, and whoever decides gives it its
// response, from any goroutine. Stage two waits. It implements wire.Late.
//
// When the client hangs up the Pending is let go of, and a response that comes later goes nowhere: what was asked for is
// done all the same (rule 1.5.6).
type Pending struct {
	version int16
	size    int
	count   func(kmsg.Response) // told what is answered; nil for nobody
	// throttle is for how long the client is held back; of stage one.
	throttle time.Duration

	mu    sync.Mutex // guards what follows
	resp  kmsg.Response
	ready chan struct{} // made by Wait, closed when resp is set
	// deadline, when it is not zero, is when late answers in place of what has not come.
	deadline time.Time
	late     func() kmsg.Response
	timer    *time.Timer // calls late, when somebody was to be notified
	notify   func()
}

// deferredSize is what a reply that is yet to come counts for among those that wait, in bytes: 256 may wait on one
// connection.
const deferredSize = 16 << 10

func newPending(version int16, size int) *Pending {
	return &Pending{version: version, size: size}
}

// Answer gives the response. Only the first one counts. The caller does not change it afterwards. It does not block.
func (p *Pending) Answer(resp kmsg.Response) {
	p.mu.Lock()
	if p.resp != nil {
		p.mu.Unlock()
		return
	}
	resp.SetVersion(p.version)
	p.resp = resp
	if p.ready != nil {
		close(p.ready)
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	notify := p.notify
	p.notify = nil
	p.mu.Unlock()
	if notify != nil {
		notify()
	}
}

// Expect has late answered when there is no response at the deadline. It is called in stage one.
func (p *Pending) Expect(deadline time.Time, late func() kmsg.Response) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline, p.late = deadline, late
}

// Done implements wire.Reply.
func (p *Pending) Done() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.resp != nil
}

// Notify implements wire.Late.
func (p *Pending) Notify(fn func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resp != nil {
		return false
	}
	p.notify = fn
	if !p.deadline.IsZero() {
		p.timer = time.AfterFunc(time.Until(p.deadline), func() { p.Answer(p.late()) })
	}
	return true
}

// Wait implements wire.Reply.
func (p *Pending) Wait(stop <-chan struct{}) {
	var late <-chan time.Time
	p.mu.Lock()
	deadline, answer := p.deadline, p.late
	if p.resp == nil && p.ready == nil {
		p.ready = make(chan struct{})
	}
	ready, done := p.ready, p.resp != nil
	p.mu.Unlock()
	if done {
		return
	}
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		late = t.C
	}
	select {
	case <-ready:
	case <-late:
		p.Answer(answer())
	case <-stop:
	}
}

// Append implements wire.Reply.
func (p *Pending) Append(out *wire.Out) {
	if p.count != nil {
		p.count(p.resp)
	}
	setThrottle(p.resp, p.throttle)
	out.B = p.resp.AppendTo(out.B)
}

// Size implements wire.Reply.
func (p *Pending) Size() int { return p.size }

// Release implements wire.Reply.
func (p *Pending) Release() {}

// deferred makes a row from a typed handler whose answer comes later. start runs on the connection's reader, in arrival
// order, and does not wait: it sees to it that p.Answer is called, once at least, whatever happens.
func deferred[Q kmsg.Request](min, max int16, checks []Check, start func(c *Context, q Q, p *Pending)) API {
	var zero Q
	return API{
		Key: zero.Key(), Min: min, Max: max, Checks: checks,
		Start: func(c *Context, r kmsg.Request, p *Pending) {
			q, ok := r.(Q)
			if !ok {
				panic(fmt.Sprintf("handler: API %d was given a %T", zero.Key(), r))
			}
			start(c, q, p)
		},
	}
}

// large marks an API whose answers tell what is stored, which may be much.
func large(a API) API {
	a.Large = true
	return a
}
