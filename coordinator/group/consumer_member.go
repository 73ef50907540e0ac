package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group/assignor"
	"github.com/kbroker/kbroker/metadata"
)

// memberState is where a member stands on its way to its target (rule 8.7.7).
type memberState int8

const (
	// memberStable: it has what it is to have in its epoch.
	memberStable memberState = 0
	// memberRevoking: it has been told to give partitions up, and has not said yet that it did.
	memberRevoking memberState = 1
	// memberWaiting: it is to have partitions that others have not given up yet.
	memberWaiting memberState = 2
)

// Member epochs that say something else than where a member stands (rule 8.7.2).
const (
	epochJoin  = 0  // a request to join, or to begin again
	epochLeave = -1 // a request to leave for good
	epochAway  = -2 // a static member leaves and will be back, or has done so
)

// consumerMember is a member of a consumer group.
type consumerMember struct {
	id string
	// memberInfo is nil only while the log is being read.
	*memberInfo
	*memberCurrent // never nil
	target         assignor.Partitions
	hasTarget      bool // a record says so, though it may be of nothing
}

// memberInfo is what a member told about itself. It is never changed in place.
type memberInfo struct {
	instance         *string // of a static member
	rack             *string
	clientID         string
	clientHost       string
	topics           []string // in order, once each
	regex            string   // empty: none
	rebalanceTimeout int32    // milliseconds that it has to give partitions up
	assignor         *string  // that it would like
	classic          *classicPart
}

// classicPart is what a member told that speaks the classic protocol (rule 8.7.13).
type classicPart struct {
	sessionTimeout int32 // milliseconds
	protocols      []protocol
}

// memberCurrent is what a member has. It is never changed in place.
type memberCurrent struct {
	epoch    int32 // epochAway for a static member that is not there
	previous int32 // the epoch before
	state    memberState
	assigned owned
	revoking owned // it was told to give them up, and has not confirmed it
}

// bare reports whether this is what a member has of whom no record says what it has.
func (c *memberCurrent) bare() bool {
	return *new(memberState) == c.state && c.epoch == 0 && c.previous == 0 && len(c.assigned.partitions) == 0 && len(c.revoking.partitions) == 0
}

func (c *memberCurrent) equal(d *memberCurrent) bool {
	return c.epoch == d.epoch && c.previous == d.previous && c.state == d.state && c.assigned.equal(d.assigned) && c.revoking.equal(d.revoking)
}

func (i *memberInfo) equal(j *memberInfo) bool {
	return equalPtr(i.instance, j.instance) && equalPtr(i.rack, j.rack) && i.clientID == j.clientID && i.clientHost == j.clientHost &&
		slices.Equal(i.topics, j.topics) && i.regex == j.regex && i.rebalanceTimeout == j.rebalanceTimeout &&
		equalPtr(i.assignor, j.assignor) && i.classic.equal(j.classic)
}

func (c *classicPart) equal(d *classicPart) bool {
	if c == nil || d == nil {
		return c == d
	}
	return c.sessionTimeout == d.sessionTimeout && slices.EqualFunc(c.protocols, d.protocols, func(p, q protocol) bool {
		return p.name == q.name && bytes.Equal(p.metadata, q.metadata)
	})
}

func equalPtr(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// sortedNames returns names in order, once each. It may change the slice.
func sortedNames(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

func compareIDs(a, b metadata.UUID) int { return bytes.Compare(a[:], b[:]) }

// consumerSession is the soft state of a member: its timers.
type consumerSession struct {
	session timer // it is silent for too long
	settled bool  // it has sent a heartbeat in its epoch, so it has got the answer to its join
	// deadline is how long it may take to give partitions up or, with the classic protocol, to join again or to sync.
	deadline      timer
	deadlineEpoch int32                                       // of the member when deadline was set
	fence         func(now time.Time, e *coordinator.Effects) // what both do, made once
}

// sessionOf returns a member's timers.
func (g *consumerGroup) sessionOf(id string) *consumerSession {
	s := g.sessions[id]
	if s == nil {
		s = &consumerSession{fence: func(now time.Time, e *coordinator.Effects) { g.fence(id, now, e) }}
		g.sessions[id] = s
	}
	return s
}

// startSession gives a member its full time to be heard of again (rule 8.7.8).
func (g *consumerGroup) startSession(m *consumerMember, now time.Time) {
	d := g.timing().SessionTimeout
	if m.classic != nil {
		d = millis(m.classic.sessionTimeout)
	}
	s := g.sessionOf(m.id)
	g.machine.timers.set(&s.session, now.Add(d), s.fence)
}

// watchRevocation sees to it that a member which must give up partitions does so within its own rebalance timeout, and is
// removed otherwise (rule 8.7.8). The time runs from when it was first told to.
func (g *consumerGroup) watchRevocation(m *consumerMember, now time.Time) {
	s := g.sessionOf(m.id)
	if m.state == memberRevoking && m.epoch != epochAway {
		g.hurry(s, m, now)
	} else {
		g.machine.timers.cancel(&s.deadline)
	}
}

// hurry starts the time in which a member must do what it was told to, unless it runs already.
func (g *consumerGroup) hurry(s *consumerSession, m *consumerMember, now time.Time) {
	if s.deadline.index > 0 && s.deadlineEpoch == m.epoch {
		return
	}
	s.deadlineEpoch = m.epoch
	g.machine.timers.set(&s.deadline, now.Add(max(millis(m.rebalanceTimeout), 0)), s.fence)
}

// endSession stops a member's timers.
func (g *consumerGroup) endSession(id string) {
	if s := g.sessions[id]; s != nil {
		g.machine.timers.cancel(&s.session)
		g.machine.timers.cancel(&s.deadline)
		delete(g.sessions, id)
	}
}
