package handler

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/internal/security/acl"
)

const (
	// producerIDWait is how long a request waits for a block of producer ids before the client is told to come again.
	producerIDWait = 5 * time.Second
	// prefetchAt is how many ids are left when the next block is asked for: a tenth of one (rule 4.5.6).
	prefetchAt = 100
)

// initProducerIDAPI serves InitProducerId (key 22, versions 0 to 5; rule 4.5).
//
// A transactional id gets COORDINATOR_NOT_AVAILABLE, after what is wrong with the request itself: that is what a broker
// says whose transaction coordinator is not there, and clients look for the coordinator again.
func initProducerIDAPI(d *Deps) API {
	ids := &producerIDs{controller: d.Controller}
	return api(0, 5, []Check{{acl.TransactionalID, acl.Write}, {acl.Cluster, acl.IdempotentWrite}, {acl.Topic, acl.Write}},
		func(c *Context, req *kmsg.InitProducerIDRequest) *kmsg.InitProducerIDResponse {
			return d.initProducerID(c, req, ids)
		})
}

func (d *Deps) initProducerID(c *Context, req *kmsg.InitProducerIDRequest, ids *producerIDs) *kmsg.InitProducerIDResponse {
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = -1, -1 // rule 4.5.8
	if err := d.checkInitProducerID(c, req); err != nil {
		resp.ErrorCode = err.Code
		return resp
	}
	ctx, cancel := context.WithTimeout(c.Ctx, producerIDWait)
	defer cancel()
	id, err := ids.take(ctx, c.Ctx)
	if err != nil {
		d.Logger.Warn("no producer id could be had", "client", c.ClientID, "err", err)
		resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		return resp
	}
	resp.ProducerID, resp.ProducerEpoch = id, 0
	return resp
}

// checkInitProducerID says why a request gets no producer id, or nil.
func (d *Deps) checkInitProducerID(c *Context, req *kmsg.InitProducerIDRequest) *kerr.Error {
	switch txn := req.TransactionalID; {
	case txn != nil && !d.allowed(c, acl.Write, acl.TransactionalID, *txn):
		return kerr.TransactionalIDAuthorizationFailed
	case txn == nil && !d.mayWriteSomewhere(c):
		return kerr.ClusterAuthorizationFailed
	case (req.ProducerID == -1) != (req.ProducerEpoch == -1): // rule 4.5.3
		return kerr.InvalidRequest
	case txn == nil:
		return nil
	case *txn == "": // rule 4.5.2
		return kerr.InvalidRequest
	case req.TransactionTimeoutMillis <= 0: // rule 4.5.4
		return kerr.InvalidTransactionTimeout
	}
	return kerr.CoordinatorNotAvailable
}

// mayWriteSomewhere reports whether the caller may be an idempotent producer (rule 4.5.5).
func (d *Deps) mayWriteSomewhere(c *Context) bool {
	if d.allowed(c, acl.IdempotentWrite, acl.Cluster, acl.ClusterName) {
		return true
	}
	for t := range d.Metadata.Load().Topics {
		if d.allowed(c, acl.Write, acl.Topic, t.Name) {
			return true
		}
	}
	return false
}

// producerIDs hands out the producer ids of this broker. They come from the controller in blocks, and what is left of a
// block when the broker stops is never used (rule 4.5.6).
type producerIDs struct {
	controller *controller.Client

	mu       sync.Mutex // guards what follows
	blocks   []idBlock  // the one in use, and perhaps the next
	fetching *idFetch   // nil when none is under way
}

// idBlock is the producer ids from next to end-1.
type idBlock struct{ next, end int64 }

// idFetch is a request for a block.
type idFetch struct {
	done chan struct{} // closed when it has ended
	err  error         // set before
}

// take returns a fresh id. It waits while ctx lasts; life is that of the broker, which a fetch for all may use.
func (p *producerIDs) take(ctx, life context.Context) (int64, error) {
	for {
		id, ok, fetch := p.next(life)
		if ok {
			return id, nil
		}
		select {
		case <-fetch.done:
			if fetch.err != nil {
				return 0, fetch.err
			}
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for a block of producer ids: %w", ctx.Err())
		}
	}
}

// next returns an id if there is one, and starts a fetch if there soon will be none.
func (p *producerIDs) next(life context.Context) (id int64, ok bool, fetch *idFetch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var left int64
	for _, b := range p.blocks {
		left += b.end - b.next
	}
	if left <= prefetchAt && p.fetching == nil {
		p.fetching = &idFetch{done: make(chan struct{})}
		go p.fetch(life, p.fetching) // ends when the controller has answered, or after producerIDWait
	}
	if left == 0 {
		return 0, false, p.fetching
	}
	b := &p.blocks[0]
	id = b.next
	if b.next++; b.next == b.end {
		p.blocks = p.blocks[1:]
	}
	return id, true, nil
}

// fetch gets a block from the controller.
func (p *producerIDs) fetch(life context.Context, f *idFetch) {
	ctx, cancel := context.WithTimeout(life, producerIDWait)
	defer cancel()
	first, n, err := p.controller.AllocateProducerIDs(ctx)
	p.mu.Lock()
	if f.err = err; err == nil {
		p.blocks = append(p.blocks, idBlock{first, first + int64(n)})
	}
	p.fetching = nil
	p.mu.Unlock()
	close(f.done)
}
