package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
)

// respond answers one request: with a response, or with the error that kept the machine from deciding.
type respond[R any] func(R, error)

// with turns a decided response into an effect.
func (f respond[R]) with(resp R) coordinator.Reply {
	return func(err error) { f(resp, err) }
}

// protocol is one that a member offers, with what it tells the leader under it.
type protocol struct {
	name     string
	metadata []byte // never changed in place: answers share it
}

// classicMember is a member of a classic group (rule 8.3.2).
type classicMember struct {
	id               string
	instanceID       *string // of a static member (KIP-345)
	clientID         string
	clientHost       string
	rebalanceTimeout time.Duration
	sessionTimeout   time.Duration
	protocols        []protocol // by preference, names once each
	assignment       []byte     // never changed in place

	// fresh members have not had an answer to their first join, and cannot send heartbeats yet.
	fresh bool
	join  respond[*kmsg.JoinGroupResponse] // parked until the rebalance completes; nil without. The roster sets it.
	sync  respond[*kmsg.SyncGroupResponse] // parked until the leader has spoken; nil without
	// recorded members are in the group's record, under this id or an earlier one.
	recorded bool
	// owesSync is true until the member has sent SyncGroup in this generation.
	owesSync bool

	session    timer
	expire     func(now time.Time, e *coordinator.Effects) // what session does, made once
	prev, next *classicMember
}

// takeSync unparks the SyncGroup request, to be answered.
func (m *classicMember) takeSync() respond[*kmsg.SyncGroupResponse] {
	reply := m.sync
	m.sync = nil
	return reply
}

// parked reports whether a request of the member waits here, which shows that it lives (rule 8.3.12).
func (m *classicMember) parked() bool { return m.join != nil || m.sync != nil }

// metadata is what the member told under a protocol.
func (m *classicMember) metadata(name string) []byte {
	for _, p := range m.protocols {
		if p.name == name {
			return p.metadata
		}
	}
	return nil
}

// offers reports whether these are the member's protocols, byte for byte and in this order.
func (m *classicMember) offers(list []kmsg.JoinGroupRequestProtocol) bool {
	return slices.EqualFunc(m.protocols, list, func(p protocol, q kmsg.JoinGroupRequestProtocol) bool {
		return p.name == q.Name && bytes.Equal(p.metadata, q.Metadata)
	})
}

// size is about what the member costs in memory, in bytes.
func (m *classicMember) size() int {
	n := memberOverhead + 2*len(m.id) + len(m.clientID) + len(m.clientHost) + len(m.assignment)
	if m.instanceID != nil {
		n += len(*m.instanceID)
	}
	for _, p := range m.protocols {
		n += protocolOverhead + len(p.name) + len(p.metadata)
	}
	return n
}

// roster is the members of a group, in the order in which they joined. What a join asks of all members is counted, so
// that it costs the same in a group of any size.
type roster struct {
	byID      map[string]*classicMember
	static    map[string]*classicMember // by instance id
	first     *classicMember
	last      *classicMember
	supported map[string]int // protocol name: how many members offer it
	joining   int            // members with a parked join
	account                  // what the group and its members take
}

func newRoster() roster {
	return roster{byID: map[string]*classicMember{}, static: map[string]*classicMember{}, supported: map[string]int{}}
}

// all iterates in join order. The member that is being looked at may be removed meanwhile.
func (r *roster) all(yield func(*classicMember) bool) {
	for m := r.first; m != nil; {
		next := m.next
		if !yield(m) {
			return
		}
		m = next
	}
}

func (r *roster) len() int { return len(r.byID) }

// insert adds a member at the end.
func (r *roster) insert(m *classicMember) {
	if m.prev = r.last; m.prev != nil {
		m.prev.next = m
	} else {
		r.first = m
	}
	r.last = m
	r.byID[m.id] = m
	if m.instanceID != nil {
		r.static[*m.instanceID] = m
	}
	r.count(m, 1)
}

// drop removes a member. Its parked requests must have been taken.
func (r *roster) drop(m *classicMember) {
	r.count(m, -1)
	delete(r.byID, m.id)
	if m.instanceID != nil {
		delete(r.static, *m.instanceID)
	}
	if m.prev != nil {
		m.prev.next = m.next
	} else {
		r.first = m.next
	}
	if m.next != nil {
		m.next.prev = m.prev
	} else {
		r.last = m.prev
	}
	m.prev, m.next = nil, nil
}

// rename gives a member another id, in its place.
func (r *roster) rename(m *classicMember, id string) {
	delete(r.byID, m.id)
	r.charge(-m.size())
	m.id = id
	r.charge(m.size())
	r.byID[id] = m
}

// count takes a member's protocols and size into the sums, or out of them.
func (r *roster) count(m *classicMember, sign int) {
	r.charge(sign * m.size())
	for _, p := range m.protocols {
		if r.supported[p.name] += sign; r.supported[p.name] == 0 {
			delete(r.supported, p.name)
		}
	}
}

// assign gives a member its assignment.
func (r *roster) assign(m *classicMember, assignment []byte) {
	r.charge(len(assignment) - len(m.assignment))
	m.assignment = assignment
}

// offer replaces a member's protocols.
func (r *roster) offer(m *classicMember, list []protocol) {
	r.count(m, -1)
	m.protocols = list
	r.count(m, 1)
}

// park keeps a member's join until the rebalance completes.
func (r *roster) park(m *classicMember, reply respond[*kmsg.JoinGroupResponse]) {
	r.joining++
	m.join = reply
}

// unpark takes a member's parked join, if it has one.
func (r *roster) unpark(m *classicMember) (reply respond[*kmsg.JoinGroupResponse], ok bool) {
	if m.join == nil {
		return nil, false
	}
	r.joining--
	reply, m.join = m.join, nil
	return reply, true
}

// common reports whether all members offer a protocol.
func (r *roster) common(name string) bool { return r.supported[name] == len(r.byID) }

// vote selects the protocol (rule 8.3.7): of those that all offer, the one that most members prefer. In a tie the one
// wins that stands first in the leader's list; Kafka takes any. There is one, as every join was checked for it.
func (r *roster) vote(leader *classicMember) string {
	votes := map[string]int{}
	for m := range r.all {
		for _, p := range m.protocols {
			if r.common(p.name) {
				votes[p.name]++
				break
			}
		}
	}
	winner := ""
	for _, p := range leader.protocols {
		if votes[p.name] > votes[winner] {
			winner = p.name
		}
	}
	return winner
}

// longestRebalance is the longest rebalance timeout of all members (rule 8.3.6).
func (r *roster) longestRebalance() (d time.Duration) {
	for m := range r.all {
		d = max(d, m.rebalanceTimeout)
	}
	return d
}
