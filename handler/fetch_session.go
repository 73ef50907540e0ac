package handler

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/replica"
)

// rowKey names a partition in a session.
type rowKey struct {
	name      string // empty in sessions by id
	id        metadata.UUID
	partition int32
}

// fetchSession is the partitions that a client fetches, kept between its requests (KIP-227, rule 6.5). A request without
// a session uses one of its own for as long as it lasts.
//
// It is used by one request at a time, the holder of token; only the cache reads used and size without it.
type fetchSession struct {
	id        int32 // 0: not in the cache
	epoch     int32 // expected next
	byID      bool
	follower  bool
	principal acl.Principal

	token  chan struct{} // capacity 1: holds a token while no request uses the session
	waiter *replica.Waiter

	rows   map[rowKey]*fetchRow // nil for a session of one request
	order  []*fetchRow          // only for a session of one request: the request's order
	places map[rowKey]*fetchRow // only for a session of one request, and nil for a request of one row: where a partition is
	active []*fetchRow          // rows that may have something to say
	seq    uint64
	topic  *fetchTopic // the last topic added: consecutive rows share it

	created time.Time
	used    time.Time // guarded by fetchSessions.mu
	size    int       // number of rows as of the last request; guarded by fetchSessions.mu
}

// add appends a row.
func (s *fetchSession) add(name []byte, id metadata.UUID, u *rowUpdate) *fetchRow {
	row := s.blank()
	if t := row.topic; t == nil || !s.sameTopic(t, name, id) {
		if t = s.topic; t == nil || !s.sameTopic(t, name, id) {
			t = &fetchTopic{id: id}
			if !s.byID {
				t.name = string(name)
			}
		}
		row.topic = t
	}
	s.topic = row.topic
	s.seq++
	row.partition, row.sentHW, row.sentStart, row.seq = u.partition, -1, -1, s.seq
	row.set(u)
	switch {
	case s.rows != nil:
		s.rows[s.key(row)] = row
		s.activate(row)
	case s.places != nil:
		s.places[s.key(row)] = row
	}
	return row
}

// blank returns a row to fill in. A session of one request reuses the rows of the request before, with their topics:
// clients without sessions ask for the same partitions again and again.
func (s *fetchSession) blank() *fetchRow {
	if s.rows != nil {
		return &fetchRow{}
	}
	n := len(s.order)
	if n < cap(s.order) {
		if s.order = s.order[:n+1]; s.order[n] != nil {
			return s.order[n]
		}
		s.order = s.order[:n]
	}
	s.order = append(s.order, &fetchRow{})
	return s.order[n]
}

func (s *fetchSession) sameTopic(t *fetchTopic, name []byte, id metadata.UUID) bool {
	if s.byID {
		return t.id == id
	}
	return t.id == id && t.name == string(name)
}

func (s *fetchSession) key(row *fetchRow) rowKey {
	if s.byID {
		return rowKey{id: row.topic.id, partition: row.partition}
	}
	return rowKey{name: row.topic.name, partition: row.partition}
}

// set takes over what a request says about a row.
func (row *fetchRow) set(u *rowUpdate) {
	row.offset, row.maxBytes, row.leaderEpoch, row.lastEpoch = u.offset, u.maxBytes, u.leaderEpoch, u.lastEpoch
}

// find returns the row of a partition, nil if the session has none.
func (s *fetchSession) find(name []byte, id metadata.UUID, partition int32) *fetchRow {
	rows := s.rows
	if rows == nil {
		rows = s.places
	}
	if s.byID {
		return rows[rowKey{id: id, partition: partition}]
	}
	return rows[rowKey{name: string(name), partition: partition}]
}

// remove forgets a row. Its caller takes what is not active off the list when all are removed.
func (s *fetchSession) remove(row *fetchRow) {
	delete(s.rows, s.key(row))
	s.rebind(row, nil)
	row.active = false
}

// rebind moves a row's watch to another partition, or takes it off.
func (s *fetchSession) rebind(row *fetchRow, p *replica.Partition) {
	if row.p != nil {
		row.p.Unwatch(&row.watch)
	}
	row.p = p
	if p != nil && s.rows != nil {
		// A session's rows are watched between polls too; those of one request only while it waits.
		row.watch.Owner = row
		p.Watch(&row.watch, s.waiter)
	}
}

// activate puts a row on the list of those to look at.
func (s *fetchSession) activate(row *fetchRow) {
	if !row.active {
		row.active = true
		s.active = append(s.active, row)
	}
}

// close takes every watch off. The caller holds the token.
func (s *fetchSession) close() {
	for _, row := range s.rows {
		s.rebind(row, nil)
	}
	s.rows, s.active = nil, nil
}

// tryAcquire takes the token unless another request has it.
func (s *fetchSession) tryAcquire() bool {
	select {
	case <-s.token:
		return true
	default:
		return false
	}
}

// end closes a session that has no slot and gives the token back: whoever waits for it learns that the session is gone.
func (s *fetchSession) end() {
	s.close()
	s.token <- struct{}{}
}

// finalEpoch is the epoch of a full request that wants no session, and ends the one it names (rule 6.5.2).
const finalEpoch = -1

// nextEpoch follows k, skipping 0 and -1, which have meanings of their own (rule 6.5.5).
func nextEpoch(k int32) int32 {
	if k == 1<<31-1 {
		return 1
	}
	return k + 1
}

// named returns the session that the request continues or ends, nil when there is none or it is somebody else's.
func (r *fetchReply) named() *fetchSession {
	s := r.svc.sessions.get(r.q.sessionID)
	if s == nil || s.principal != r.conn.session.Principal {
		return nil
	}
	return s
}

// join continues or makes the session that the request means and takes over the request's partitions (rules 6.5.2 and
// 6.5.3). cur stands before the topics; s is the session that it names, whose token is held, or nil. On success the reply
// holds its session.
func (r *fetchReply) join(cur *cursor, s *fetchSession) error {
	q := &r.q
	cache := r.svc.sessions
	if s != nil && s.rows == nil { // it ended while this request waited for it
		s.end()
		s = nil
	}
	switch {
	case q.sessionEpoch != 0 && q.sessionEpoch != finalEpoch:
		return r.resume(cur, s)
	case s != nil:
		// Both a final and a renewing request end the old session.
		cache.remove(s)
		s.end()
	}
	r.session = r.own
	r.full = true
	if q.sessionEpoch == 0 && !q.longName { // such a name would be kept, and may be large
		n := countPartitions(*cur, q)
		if s := cache.create(q.byID, q.replicaID >= 0, r.conn.session.Principal, n); s != nil {
			r.session = s
		}
	}
	r.session.byID = q.byID
	r.takeRows(cur)
	return nil
}

// countPartitions returns the number of partitions a request names.
func countPartitions(cur cursor, q *fetchRequest) (count int) {
	for n := cur.array(1); n > 0; n-- {
		q.topic(&cur)
		for parts := cur.array(16); parts > 0; parts-- {
			q.row(&cur)
			count++
		}
		cur.tags(nil)
	}
	return count
}

// resume continues session s, nil for one that there is not.
func (r *fetchReply) resume(cur *cursor, s *fetchSession) error {
	q := &r.q
	switch {
	case s == nil:
		return kerr.FetchSessionIDNotFound
	case s.epoch != q.sessionEpoch:
		r.svc.sessions.release(s)
		return kerr.InvalidFetchSessionEpoch
	case s.byID != q.byID:
		r.svc.sessions.release(s)
		return kerr.FetchSessionTopicIDError
	}
	s.epoch = nextEpoch(s.epoch)
	r.session = s
	request := *cur
	r.takeRows(cur)
	q.skipForgotten(cur, func(name []byte, id metadata.UUID, partition int32) {
		if row := s.find(name, id, partition); row != nil {
			s.remove(row)
		}
	})
	s.active = slices.DeleteFunc(s.active, func(row *fetchRow) bool { return !row.active })
	if len(s.rows) == 0 {
		// Rule 6.5.6: an emptied session is gone, and the answer is one without a session: of the partitions that the request
		// names, though it forgets them as well.
		r.svc.sessions.remove(s)
		s.end()
		r.session, r.full = r.own, true
		r.own.byID = q.byID
		r.takeRows(&request)
		return nil
	}
	r.svc.sessions.resized(s)
	if q.longName { // as in join: the session ends with this request
		r.svc.sessions.remove(s)
	}
	return nil
}

// takeRows reads the request's partitions into the session: known ones in place, others behind them (rule 6.5.6). Of a
// partition that the request names more than once the last row counts, at the place of the first, as Kafka has it.
func (r *fetchReply) takeRows(cur *cursor) {
	s, q := r.session, &r.q
	if s == r.own && q.rows > 1 {
		s.places, r.places = r.places, nil
		if s.places == nil {
			s.places = make(map[rowKey]*fetchRow, min(q.rows, keptResults))
		}
	}
	for n := cur.array(1); n > 0; n-- {
		name, id := q.topic(cur)
		for parts := cur.array(16); parts > 0; parts-- {
			u := q.row(cur)
			row := s.find(name, id, u.partition)
			if row == nil {
				s.add(name, id, &u)
				continue
			}
			row.set(&u)
			if s.rows != nil {
				s.activate(row)
			}
		}
		cur.tags(nil)
	}
}
