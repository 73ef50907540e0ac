package handler

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/quota"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/replica"
	"github.com/kbroker/kbroker/wire"
)

// Fetch, key 1, versions 4 to 18.
//
//	4  isolation level    9  current leader epoch   12  flexible, last fetched epoch   15  replica state
//	5  log start offset  10  zstd                   13  topic ids                      16  leader hints
//	7  sessions          11  rack                   14  tiered storage                 17, 18  follower tags
//
// Stage one decodes the request into the session's rows and looks at once whether it can be answered; if not the reply
// waits in stage two, and looks again only at the rows that changed.

// fetchTopic is a topic of a fetch session or request; rows share it.
type fetchTopic struct {
	name string // empty while an id is not known
	id   metadata.UUID
}

// fetchRow is one partition of a fetch session, or of a request without one.
type fetchRow struct {
	topic     *fetchTopic
	partition int32
	p         *replica.Partition // nil while it is not found
	found     bool               // it was found once (rule 6.5.15)
	denied    bool               // READ is not allowed
	watch     replica.Watch

	offset      int64
	maxBytes    int32
	leaderEpoch int32
	lastEpoch   int32

	sentHW, sentStart int64  // what the client was told last (rule 6.5.8)
	seq               uint64 // place in the session's order
	active            bool   // on the list of rows to look at
}

// fetchRequest is the part of a request that is not about one partition.
type fetchRequest struct {
	version      int16
	byID         bool
	replicaID    int32
	replicaEpoch int64
	maxWait      time.Duration
	minBytes     int32
	maxBytes     int32
	isolation    replica.Isolation
	sessionID    int32
	sessionEpoch int32
	rows         int
	longName     bool // a topic has a name that is too long for one
}

// rowUpdate is one partition as a request names it.
type rowUpdate struct {
	partition   int32
	offset      int64
	maxBytes    int32
	leaderEpoch int32
	lastEpoch   int32
}

// fetchPool holds replies for reuse.
type fetchPool struct{ p sync.Pool }

func (p *fetchPool) get() *fetchReply {
	if v := p.p.Get(); v != nil {
		return v.(*fetchReply)
	}
	r := &fetchReply{own: &fetchSession{waiter: replica.NewWaiter()}}
	r.timer = time.NewTimer(time.Hour)
	r.timer.Stop()
	return r
}

var errMalformedFetch = errors.New("malformed Fetch request")

// startFetch runs stage one of a Fetch request.
func (c *connection) startFetch(h *wire.Header, body []byte) (wire.Reply, error) {
	cur := cursor{b: body, flex: h.Flexible}
	q := fetchRequest{version: h.Version, byID: h.Version >= 13, replicaID: -1, replicaEpoch: -1}
	q.header(&cur)
	if !q.wellFormed(cur) {
		return nil, errMalformedFetch
	}
	q.maxWait = min(q.maxWait, maxFetchWait)
	r := c.svc.fetch.get()
	r.reset(c, h, &q)
	if q.isolation < replica.ReadUncommitted || q.isolation > replica.ReadCommitted {
		if h.Version < 7 {
			return nil, errMalformedFetch // there is no field for an error of the whole request
		}
		r.fail(kerr.InvalidRequest)
		return r, nil
	}
	r.limit = min(max(q.maxBytes, 0), c.svc.deps.Limits().FetchMaxBytes, maxFetchBytes)
	if c.limited != nil && q.replicaID < 0 { // rule 1.8.8
		r.quota, r.wait = c.limited, c.limited.Over(quota.RequestTime)
		r.limit = int32(min(float64(r.limit), r.quota.Most(quota.FetchBytes)))
	}
	s := r.named()
	if s != nil && !s.tryAcquire() {
		// A request before this one, of this connection perhaps, is not answered yet. Waiting here would keep that from
		// being answered.
		r.later, r.rest = s, bytes.Clone(cur.b)
		return r, nil
	}
	began := false
	defer func() {
		if !began { // a panic: the connection never gets the reply that it would release
			r.Release()
		}
	}()
	r.begin(&cur, s)
	began = true
	return r, nil
}

const (
	// maxFetchWait bounds how long a fetch waits, whatever max_wait_ms says: as long as a connection may be idle by
	// default. Kafka closes it then.
	maxFetchWait = 10 * time.Minute
	// maxFetchBytes bounds the records of an answer whatever fetch.max.bytes says: the size of a frame is an int32.
	maxFetchBytes = 1 << 30
	// maxFetchRows bounds the partitions of one request, far more than a broker leads: a row takes some 30 times the
	// bytes that name it.
	maxFetchRows = 100_000
)

// header reads the fields before the topics.
func (q *fetchRequest) header(cur *cursor) {
	if q.version <= 14 {
		q.replicaID = cur.int32()
	}
	q.maxWait = time.Duration(cur.int32()) * time.Millisecond
	q.minBytes = cur.int32()
	q.maxBytes = cur.int32()
	q.isolation = replica.Isolation(cur.int8())
	q.sessionEpoch = -1
	if q.version >= 7 {
		q.sessionID, q.sessionEpoch = cur.int32(), cur.int32()
	}
}

// topic reads a topic's name or id; the name aliases the body.
func (q *fetchRequest) topic(cur *cursor) (name []byte, id metadata.UUID) {
	if q.byID {
		copy(id[:], cur.take(16))
		return nil, id
	}
	return cur.required(), id
}

// row reads one partition.
func (q *fetchRequest) row(cur *cursor) (u rowUpdate) {
	u.partition, u.leaderEpoch, u.lastEpoch = cur.int32(), -1, -1
	if q.version >= 9 {
		u.leaderEpoch = cur.int32()
	}
	u.offset = cur.int64()
	if q.version >= 12 {
		u.lastEpoch = cur.int32()
	}
	if q.version >= 5 {
		cur.int64() // log_start_offset of a follower
	}
	u.maxBytes = cur.int32()
	cur.tags(nil)
	return u
}

// wellFormed walks the structure behind the header, so that a malformed request changes no session. On the way it reads
// what stands at the end, and what has to be known of the topics before they are taken over.
func (q *fetchRequest) wellFormed(cur cursor) bool {
	rows := 0
	for n := cur.array(1); n > 0 && !cur.bad; n-- {
		name, _ := q.topic(&cur)
		q.longName = q.longName || len(name) > metadata.MaxTopicName
		parts := cur.array(16)
		for rows += parts; parts > 0 && !cur.bad; parts-- {
			q.row(&cur)
		}
		cur.tags(nil)
	}
	if rows > maxFetchRows {
		return false
	}
	q.rows = rows
	q.skipForgotten(&cur, nil)
	if q.version >= 11 {
		cur.required()
	}
	cur.tags(q.replicaState)
	return !cur.bad
}

// skipForgotten reads forgotten_topics_data, calling forget for each partition if it is given.
func (q *fetchRequest) skipForgotten(cur *cursor, forget func(name []byte, id metadata.UUID, partition int32)) {
	if q.version < 7 {
		return
	}
	for n := cur.array(1); n > 0 && !cur.bad; n-- {
		name, id := q.topic(cur)
		for parts := cur.array(4); parts > 0 && !cur.bad; parts-- {
			p := cur.int32()
			if forget != nil {
				forget(name, id, p)
			}
		}
		cur.tags(nil)
	}
}

// replicaState reads who asks, which since version 15 stands in a tagged field.
func (q *fetchRequest) replicaState(tag uint32, v *cursor) {
	if q.version >= 15 && tag == 1 {
		q.replicaID, q.replicaEpoch = v.int32(), v.int64()
		v.tags(nil)
	}
}

// mayRead reports whether the request may read a topic; a follower needs CLUSTER_ACTION instead (rule 6.2.1).
func (r *fetchReply) mayRead(topic string) bool {
	who := &r.conn.session
	r.ask = acl.Request{Principal: who.Principal, Host: who.RemoteHost, Operation: acl.Read, Resource: acl.Topic, Name: topic}
	if r.q.replicaID >= 0 {
		r.ask.Operation, r.ask.Resource, r.ask.Name = acl.ClusterAction, acl.Cluster, acl.ClusterName
	}
	return r.svc.deps.Authorizer.Allowed(&r.ask)
}

// resolve finds the partition of a row, again if what was found is no longer served. It returns the row's error when
// there is none (rules 6.3.1 and 6.5.15).
func (r *fetchReply) resolve(row *fetchRow) error {
	d := r.svc.deps
	t := row.topic
	if r.q.byID && t.name == "" {
		if mt := d.Metadata.Load().TopicByID(t.id); mt != nil {
			t.name = mt.Name
		}
	}
	switch {
	case t.name == "" && r.q.byID:
		return kerr.UnknownTopicID
	case t.name == "":
		return kerr.UnknownTopicOrPartition
	}
	if row.denied = !r.mayRead(t.name); row.denied {
		return kerr.TopicAuthorizationFailed
	}
	var p *replica.Partition
	if r.q.byID {
		p = d.Replicas.LookupID(t.id, row.partition)
	} else {
		p = d.Replicas.LookupName(t.name, row.partition)
	}
	gone := row.p
	if p != row.p {
		r.session.rebind(row, p)
		r.watchAlso(row)
	}
	switch {
	case p != nil:
		row.found = true
		return nil
	case gone != nil:
		// It went a moment ago, which the image that the next line would look at need not show yet.
		if err := gone.CheckLeader(-1); err != nil {
			return err
		}
	}
	return r.missing(row)
}

// missing is the error of a row without a partition here.
func (r *fetchReply) missing(row *fetchRow) error {
	im := r.svc.deps.Metadata.Load()
	t := im.Topic(row.topic.name)
	switch {
	case r.q.byID && im.TopicByID(row.topic.id) == nil:
		switch {
		case !row.found:
			return kerr.UnknownTopicID
		case t != nil:
			return kerr.InconsistentTopicID
		}
		return kerr.UnknownTopicOrPartition
	case t == nil || row.partition < 0 || int(row.partition) >= len(t.Partitions):
		return kerr.UnknownTopicOrPartition
	}
	return kerr.NotLeaderForPartition
}
