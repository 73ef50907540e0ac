package group

import (
	"container/list"
	"time"

	"github.com/kbroker/kbroker/coordinator"
)

// maxPendingBytes bounds the ids of one group that were given out to members that have not come back with them: some
// 16,000. Kafka has no bound; a client that asks for ids in a loop would have each remembered for its session timeout, up
// to half an hour. A member comes back within a round trip, so the oldest id gives way, and its member asks again.
const maxPendingBytes = 4 << 20

// pendingIDs are the member ids that were given out with MEMBER_ID_REQUIRED (KIP-394). A rebalance waits for each until
// its session timeout is over (rule 8.3.4). The zero value is empty.
type pendingIDs struct {
	byID    map[string]*pendingID
	order   list.List // of *pendingID, oldest first
	account           // what they take
}

type pendingID struct {
	id      string
	session timer
	place   *list.Element
}

func (p *pendingIDs) len() int { return len(p.byID) }

func (p *pendingIDs) has(id string) bool { return p.byID[id] != nil }

func (n *pendingID) size() int { return memberOverhead/2 + 2*len(n.id) }

// add remembers an id until a time, at which gone is called with it. The
// oldest ids are dropped if there are too many.
func (p *pendingIDs) add(ts *timers, id string, until time.Time, gone func(id string, now time.Time, e *coordinator.Effects)) {
	if p.byID == nil {
		p.byID = map[string]*pendingID{}
	}
	n := &pendingID{id: id}
	for p.charge(n.size()); p.bytes > maxPendingBytes && p.len() > 0; {
		p.drop(ts, p.order.Front().Value.(*pendingID).id)
	}
	n.place = p.order.PushBack(n)
	p.byID[id] = n
	ts.set(&n.session, until, func(now time.Time, e *coordinator.Effects) { gone(id, now, e) })
}

// drop forgets an id, and reports whether it was there.
func (p *pendingIDs) drop(ts *timers, id string) bool {
	n := p.byID[id]
	if n == nil {
		return false
	}
	ts.cancel(&n.session)
	p.order.Remove(n.place)
	p.charge(-n.size())
	delete(p.byID, id)
	return true
}

// clear forgets all.
func (p *pendingIDs) clear(ts *timers) {
	for _, n := range p.byID {
		ts.cancel(&n.session)
	}
	p.charge(-p.bytes)
	*p = pendingIDs{account: p.account}
}
