package handler

import (
	"cmp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/quota"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/replica"
	"github.com/kbroker/kbroker/wire"
)

// fetchReply is stage two of a Fetch request. It is pooled. While it holds a session no other request uses that.
type fetchReply struct {
	svc     *Service
	conn    *connection
	q       fetchRequest
	flex    bool
	limit   int32 // bytes of the whole answer
	own     *fetchSession
	places  map[rowKey]*fetchRow // kept for own.places; empty
	session *fetchSession
	later   *fetchSession // is to be continued or ended, when a request before this one is done with it
	rest    []byte        // of the request's body, with later: from the topics on
	full    bool          // every row is answered, changed or not
	err     error         // of the whole request: nothing else is answered then

	results  []rowResult
	bytes    int64
	enough   bool // it can be answered now
	complete bool // it was decided what to answer

	timer    *time.Timer
	deadline time.Time
	waiting  bool  // it was not answered in stage one
	parked   int64 // rows that were counted in Service.parkedRows
	ready    []*replica.Watch
	quota    *quota.Client // nil: no quota
	wait     time.Duration // for how long the client would have to be held back for the time that its requests took
	throttle time.Duration // for how long it is held back
	held     bool          // it is answered without records for that
	ask      acl.Request   // reused, so that a question to the authorizer allocates nothing
}

// rowResult is a row and what its partition answered.
type rowResult struct {
	row     *fetchRow
	include bool
	missing bool // there was no partition to ask
	lost    bool // it went while the request waited for it
	replica.FetchResult
}

// keptResults bounds what a pooled reply keeps.
const keptResults = 64

// fetchRowSize is about what a row and its result take in bytes.
const fetchRowSize = 400

func (r *fetchReply) reset(c *connection, h *wire.Header, q *fetchRequest) {
	r.svc, r.conn, r.q, r.flex = c.svc, c, *q, h.Flexible
	r.session, r.later, r.full, r.err = nil, nil, false, nil
	r.results, r.bytes, r.enough, r.complete, r.waiting = r.results[:0], 0, false, false, false
	r.quota, r.wait, r.throttle, r.held = nil, 0, 0, false
}

// fail answers the whole request with an error; no session is held.
func (r *fetchReply) fail(err error) { r.err, r.complete = err, true }

// begin joins the request to its session and looks at its rows.
func (r *fetchReply) begin(cur *cursor, s *fetchSession) {
	if err := r.join(cur, s); err != nil {
		r.fail(err)
		return
	}
	r.authorize()
	r.evaluate()
	if !r.complete && r.session == r.own {
		r.park()
	}
}

// maxParkedRows bounds the partitions of all the requests without a session that wait, beyond small ones. Those of one
// request may take 40 MB, for as long as its client likes.
const maxParkedRows = 500_000

// park counts a request without a session that is to wait. Where there are too many already it is answered at once, as if
// its time were over: the client asks again.
func (r *fetchReply) park() {
	n := len(r.own.order)
	if n <= keptResults { // no more than its connection takes anyway
		return
	}
	r.parked = int64(n)
	if r.svc.parkedRows.Add(r.parked) > maxParkedRows {
		r.q.maxWait = 0
		r.evaluate()
	}
}

// authorize asks anew what the client may read: a permission that was given or taken back counts from its next request
// on, also for partitions of a session that have nothing new to say. While everything is allowed it asks nothing.
func (r *fetchReply) authorize() {
	if _, all := r.svc.deps.Authorizer.(acl.AllowAll); all {
		return
	}
	s := r.session
	for _, row := range s.rows {
		// A row whose topic is not known yet is asked about when it is.
		if denied := row.topic.name != "" && !r.mayRead(row.topic.name); denied != row.denied {
			row.denied = denied
			s.activate(row)
		}
	}
}

// evaluate looks at every row that may have something to say, and decides whether that is enough to answer.
func (r *fetchReply) evaluate() {
	r.unpin()
	s := r.session
	rows := s.order
	if s.rows != nil {
		r.takeReady()
		rows = s.active
		slices.SortFunc(rows, func(a, b *fetchRow) int { return cmp.Compare(a.seq, b.seq) })
	}
	r.results = slices.Grow(r.results[:0], len(rows))[:len(rows)]
	left, minOne, atOnce := r.limit, true, false
	good := len(s.rows) - len(s.active) // quiet rows
	for i, row := range rows {
		x := &r.results[i]
		x.row = row
		had := row.p != nil && row.p.Gone()
		x.missing = !r.look(x, left, minOne)
		x.lost = x.missing && had && r.waiting
		if x.missing {
			// An error of the metadata begins no answer as long as another row is good (rule 6.4.3), but what goes away while
			// it is waited for ends the wait (rule 6.4.4).
			atOnce = atOnce || x.lost
			continue
		}
		good++
		atOnce = atOnce || x.Err != nil || x.Diverged
		if n := x.Records.N; n > 0 {
			r.bytes += n
			left = int32(max(0, int64(left)-n))
			minOne = false
		}
	}
	r.enough = atOnce || good <= 0 || r.q.maxWait <= 0 || r.bytes >= int64(min(r.q.minBytes, r.limit))
	if r.enough && (r.quota == nil || !r.holdBack()) {
		r.finish()
	}
}

// look asks one partition. It reports false when there is none to ask.
func (r *fetchReply) look(x *rowResult, left int32, minOne bool) bool {
	row := x.row
	if row.denied || row.p == nil || row.p.Gone() {
		if err := r.resolve(row); err != nil {
			x.FetchResult = replica.FetchResult{Err: err, HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1}
			return false
		}
	}
	q := replica.FetchRequest{
		Offset: row.offset, MaxBytes: min(row.maxBytes, left), MinOneBatch: minOne,
		CurrentLeaderEpoch: row.leaderEpoch, LastFetchedEpoch: row.lastEpoch, Isolation: r.q.isolation,
	}
	if r.q.replicaID >= 0 {
		q.Follower, q.FollowerEpoch, q.Isolation = &r.q.replicaID, r.q.replicaEpoch, replica.ReadLog
	}
	row.p.Fetch(&q, &x.FetchResult)
	return true
}

// takeReady activates the session's rows whose partition changed.
func (r *fetchReply) takeReady() bool {
	r.ready = r.session.waiter.TakeReady(r.ready[:0])
	for i, w := range r.ready {
		r.session.activate(w.Owner.(*fetchRow))
		r.ready[i] = nil
	}
	return len(r.ready) > 0
}

// finish decides which rows are answered, and keeps in the session's active list those that will have something to say
// again (rule 6.5.8).
func (r *fetchReply) finish() {
	r.complete = true
	s := r.session
	slices.SortStableFunc(r.results, missingLast)
	s.active = s.active[:0]
	for i := range r.results {
		x := &r.results[i]
		row := x.row
		x.fetched()
		failed := x.Err != nil
		x.include = r.full || x.Records.N > 0 || failed || x.Diverged || x.HighWatermark != row.sentHW || x.LogStartOffset != row.sentStart
		if s.rows == nil {
			continue
		}
		row.active = failed || x.Diverged || row.offset < x.End
		if row.active {
			s.active = append(s.active, row)
		}
		if !x.include {
			continue
		}
		row.sentHW, row.sentStart = x.HighWatermark, x.LogStartOffset
		if failed {
			row.sentHW = -1
		}
		if !r.full && x.Records.N > 0 {
			s.seq++
			row.seq = s.seq // for fairness (rule 6.5.9)
		}
	}
}

// missingLast puts rows without a partition behind the others, as Kafka answers them: first those of unknown ids.
func missingLast(a, b rowResult) int { return a.rank() - b.rank() }

func (x *rowResult) rank() int {
	switch {
	case !x.missing || x.lost: // one that was there when the request came keeps its place
		return 0
	case x.Err == kerr.UnknownTopicID:
		return 1
	}
	return 2
}

// Done implements wire.Reply.
func (r *fetchReply) Done() bool {
	if !r.complete && r.deadline.IsZero() {
		r.deadline = time.Now().Add(r.q.maxWait)
	}
	return r.complete
}

// Wait implements wire.Reply: it looks again at what changed until there is enough, or the time is over.
func (r *fetchReply) Wait(stop <-chan struct{}) {
	if r.later != nil && !r.beginLater(stop) {
		r.fail(kerr.FetchSessionIDNotFound) // for nobody: the connection is gone
	}
	if r.complete {
		return
	}
	r.waiting = true
	r.timer.Reset(time.Until(r.deadline))
	defer r.timer.Stop()
	if r.session.rows == nil {
		r.watchOwn()
		r.evaluate() // what changed before the watches stood
	}
	for !r.complete {
		select {
		case <-r.session.waiter.C:
			if r.session.rows != nil && !r.takeReady() {
				continue
			}
			r.evaluate()
		case <-r.timer.C:
			// Everything is read once more, and whatever is there is the answer.
			r.q.maxWait = 0
			r.evaluate()
		case <-stop:
			// The session's active rows stay as they are: nothing was answered.
			r.complete = true
			return
		}
	}
}

// beginLater is begin when the session is free. It reports false when stop was closed first.
func (r *fetchReply) beginLater(stop <-chan struct{}) bool {
	select {
	case <-r.later.token:
	case <-stop:
		return false
	}
	cur := cursor{b: r.rest, flex: r.flex}
	r.begin(&cur, r.later)
	r.later, r.rest = nil, nil
	return true
}

// watchOwn watches the rows of a request without a session for as long as it waits.
func (r *fetchReply) watchOwn() {
	for _, row := range r.own.order {
		r.watchAlso(row)
	}
}

// watchAlso is watchOwn for one row, also for one whose partition is found while the request waits.
func (r *fetchReply) watchAlso(row *fetchRow) {
	if r.waiting && r.session.rows == nil && row.p != nil {
		row.watch.Owner = row
		row.p.WatchOnce(&row.watch, r.own.waiter)
	}
}

// unpin releases the records of the last look.
func (r *fetchReply) unpin() {
	for i := range r.results {
		x := &r.results[i]
		if x.Records.N > 0 {
			x.Records.Release()
		}
		x.Records = log.Slice{}
	}
	r.bytes = 0
}

// Size implements wire.Reply.
func (r *fetchReply) Size() int {
	return (len(r.results)+len(r.own.order))*fetchRowSize + len(r.rest)
}

// Release implements wire.Reply.
func (r *fetchReply) Release() {
	r.unpin()
	if s := r.session; s != nil && s != r.own {
		r.svc.sessions.release(s)
	}
	for _, row := range r.own.order {
		if row.p != nil {
			row.p.Unwatch(&row.watch)
		}
		row.p, row.found, row.active = nil, false, false
	}
	r.own.order = r.own.order[:0]
	if p := r.own.places; p != nil {
		clear(p)
		r.places, r.own.places = p, nil
	}
	r.own.waiter.TakeReady(nil)
	r.own.waiter.Drain()
	if cap(r.results) > keptResults {
		r.results, r.places, r.own.order = nil, nil, nil
	}
	if cap(r.ready) > keptResults {
		r.ready = nil
	}
	for i := range r.results {
		r.results[i].row = nil
	}
	svc := r.svc
	if r.parked > 0 {
		svc.parkedRows.Add(-r.parked)
		r.parked = 0
	}
	r.session, r.later, r.rest, r.conn, r.deadline = nil, nil, nil, nil, time.Time{}
	svc.fetch.p.Put(r)
}
