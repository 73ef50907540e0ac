package handler

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/quota"
	"github.com/kbroker/kbroker/wire"
)

// Throttling, KIP-219 (rule 1.8): who is over a quota is answered at once, with the time to stay away in the answer, and
// nothing more is read from the connection until that time is over. What is over a fetch quota is answered without
// records; everything else was done when it is found to have been too much.

// quotas returns what the client of the current request may do, nil for everything. It is for the connection's reader.
func (c *connection) quotas() *quota.Client {
	table := c.svc.deps.Quotas.Active()
	if table == nil {
		return nil
	}
	if table != c.quotaTable || c.quotaID != c.clientID {
		c.quotaTable, c.quotaID = table, c.clientID
		c.quota = table.Client(c.session.Principal.Name, c.clientID)
	}
	return c.quota
}

// Start implements wire.Session.
func (c *connection) Start(h *wire.Header, body []byte) (wire.Reply, error) {
	if string(h.ClientID) != c.clientID {
		c.clientID = string(h.ClientID)
	}
	q := c.quotas()
	c.limited = q
	if q == nil {
		return c.start(h, body)
	}
	began := time.Now()
	c.mutations = 0
	reply, err := c.start(h, body)
	if err != nil {
		return reply, err
	}
	c.busy += time.Since(began)
	c.throttle(q, h, body, reply)
	return reply, nil
}

// throttle counts a request that was started, and holds the client back if it must be.
func (c *connection) throttle(q *quota.Client, h *wire.Header, body []byte, reply wire.Reply) {
	var wait time.Duration
	if h.Key == keyProduce {
		wait = q.Record(quota.ProduceBytes, float64(requestSize(h, body))) // rule 1.8.6
	}
	if f, ok := reply.(*fetchReply); ok && f.q.replicaID >= 0 {
		c.busy = 0 // rule 1.8.8
		return
	}
	if reply != nil { // one without an answer, which could not say it, is not held back for its time
		wait = max(wait, q.Record(quota.RequestTime, 100*c.busy.Seconds()))
		c.busy = 0
	}
	switch r := reply.(type) {
	case *produceReply:
		r.throttle = wait
	case *fetchReply:
		r.throttle = max(r.throttle, wait)
	case *Pending:
		r.throttle = wait
	case ready:
		wait = max(wait, c.mutations)
		setThrottle(r.resp, wait)
	}
	if wait > 0 {
		c.mute(wait)
	}
}

// requestSize is the size of a request's frame in bytes, without that of the size itself.
func requestSize(h *wire.Header, body []byte) int {
	const fixed = 10 // key, version, correlation id, length of the client id
	return fixed + len(h.ClientID) + len(body)
}

// mute keeps the connection from starting another request.
func (c *connection) mute(d time.Duration) {
	if c.muted != nil {
		c.muted(d)
	}
}

// setThrottle writes a time to stay away into a response, if it has the field.
func setThrottle(resp kmsg.Response, d time.Duration) {
	if r, ok := resp.(kmsg.SetThrottleResponse); ok && d > 0 {
		r.SetThrottle(throttleMillis(d))
	}
}

// throttleMillis is a time as a response says it: a part of a millisecond counts as one.
func throttleMillis(d time.Duration) int32 {
	return int32((d + time.Millisecond - 1) / time.Millisecond)
}

// mutate charges the client for n partitions that are to be created or deleted. With strict, which newer versions of a
// request are, a client that is over its quota gets an error, and else is only held back (rule 1.8.9).
func (c *Context) mutate(n int, strict bool) error {
	if !c.Quota.Limited(quota.Mutations) {
		return nil
	}
	wait, ok := c.Quota.Mutate(float64(max(n, 0)), strict)
	*c.throttle = max(*c.throttle, wait)
	if !ok {
		return refuse(kerr.ThrottlingQuotaExceeded, "the quota of changes to partitions (controller_mutation_rate) is used up; try again in %v", wait.Round(time.Millisecond))
	}
	return nil
}

// holdBack answers a Fetch without records if the client is over a quota, and reports whether it did. The session stays
// as it was, but for its epoch (rules 1.8.7 and 6.5.14); one that this request would have begun is not begun.
func (r *fetchReply) holdBack() bool {
	wait := r.wait
	if wait == 0 {
		wait = r.quota.Admit(quota.FetchBytes, float64(r.bytes))
	}
	if wait == 0 {
		return false
	}
	r.unpin()
	for i := range r.results {
		r.results[i].include = false
	}
	r.throttle, r.held, r.complete = wait, true, true
	if r.full && r.session != r.own {
		r.svc.sessions.remove(r.session)
	}
	r.conn.mute(wait)
	return true
}
