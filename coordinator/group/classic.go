package group

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
)

// classicState is where a classic group stands (rule 8.3.1). Kafka's fifth state, Dead, does not exist here: a group
// that is deleted is gone from its machine at once.
type classicState uint8

const (
	// classicEmpty: no members, though perhaps offsets, and ids given out to members that have not come yet.
	classicEmpty classicState = iota
	// classicPreparing: members are joining; their requests are parked.
	classicPreparing
	// classicCompleting: all know the generation, and wait for the leader to say who gets what.
	classicCompleting
	// classicStable: all have, or can fetch, their assignments.
	classicStable
)

// String is the name that ListGroups and DescribeGroups print.
func (s classicState) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}[s]
}

// consumerProtocolType is the protocol type of consumers, as opposed to Kafka Connect's workers and others that use
// groups to agree on things of their own.
const consumerProtocolType = "consumer"

// classicGroup is a membership that speaks the classic protocol (section 8.3): the coordinator counts members through
// generations, and one of them, the leader, decides who gets what.
//
// Its durable part is what the last GroupMetadata record says: generation, protocol, leader, members, assignments. It is
// changed where the record is decided, not where it is replayed, since a failed append drops the whole machine. The rest
// is soft: who is parked, pending ids, timers, and a rebalance under way. A new coordinator therefore takes up a group
// in its last recorded generation, and members that were joining begin again (rule 8.3.13).
type classicGroup struct {
	machine *Machine
	id      string

	status     classicState
	since      time.Time // when status was entered; zero if the record that says so is too old to tell
	generation int32
	typ        string  // protocol type; empty while nobody has ever joined
	protocol   *string // selected for this generation; nil without members
	leader     string  // member id; empty without members

	roster
	pending pendingIDs

	// phase ends what status waits for: the joins in PreparingRebalance, afterwards the members that have not fetched
	// their assignment.
	phase    timer
	unsynced int // members that have not sent SyncGroup in this generation
	initial  initialDelay

	departures departures

	topics *subscription // what all members subscribe to, once somebody asked; nil after members changed
}

// classicHost is a membership of another protocol that takes members of the classic one too (rule 8.7.13).
type classicHost interface {
	membership
	joinClassic(j *classicJoin)
	syncClassic(s *classicSync)
	heartbeatClassic(now time.Time, req *kmsg.HeartbeatRequest, e *coordinator.Effects) error
	leaveClassic(now time.Time, leaving []kmsg.LeaveGroupRequestMember, e *coordinator.Effects) []kmsg.LeaveGroupResponseMember
}

// membersOf is the membership of a group, nil if there is none.
func (m *Machine) membersOf(id string) membership {
	if g := m.groups[id]; g != nil {
		return g.members
	}
	return nil
}

// newClassicGroup returns an empty group.
func (m *Machine) newClassicGroup(id string, now time.Time) *classicGroup {
	g := &classicGroup{machine: m, id: id, since: now, roster: newRoster()}
	g.charge(groupOverhead + 2*len(id))
	return g
}

// enter changes the status.
func (g *classicGroup) enter(s classicState, now time.Time) {
	g.status, g.since = s, now
}

func (g *classicGroup) kind() string         { return "classic" }
func (g *classicGroup) protocolType() string { return g.typ }
func (g *classicGroup) state() string        { return g.status.String() }

// countTo implements membership.
func (g *classicGroup) countTo(m *Memory) {
	g.account.countTo(m)
	g.pending.countTo(m)
}

// empty implements membership. An id that was given out does not count: who comes with it will be told to begin again.
func (g *classicGroup) empty() (since time.Time, ok bool) {
	return g.since, g.status == classicEmpty
}

// check finds the member that a request names, or says why it may not speak for it.
func (g *classicGroup) check(memberID string, instanceID *string) (*classicMember, error) {
	if instanceID != nil {
		switch holder := g.static[*instanceID]; {
		case holder == nil:
			return nil, kerr.UnknownMemberID
		case holder.id != memberID:
			return nil, kerr.FencedInstanceID
		}
	}
	if m := g.byID[memberID]; m != nil {
		return m, nil
	}
	return nil, kerr.UnknownMemberID
}

// checkCommit implements membership (rule 8.4.2).
func (g *classicGroup) checkCommit(now time.Time, c *commitIdentity) error {
	if c.epoch < 0 && g.status == classicEmpty {
		return nil // a simple consumer, or an administrator
	}
	var member *classicMember
	switch named := c.epoch >= 0 || c.memberID != "" || c.instanceID != nil; {
	case named:
		var err error
		if member, err = g.check(c.memberID, c.instanceID); err != nil {
			return err
		}
		if c.epoch != g.generation {
			return kerr.IllegalGeneration
		}
	case !c.transactional && g.status != classicEmpty:
		return kerr.UnknownMemberID // old TxnOffsetCommit requests cannot name a member, and are let through
	}
	if g.status == classicCompleting && !c.transactional {
		return kerr.RebalanceInProgress
	}
	if member != nil && !member.parked() {
		g.startSession(member, now)
	}
	return nil
}

// checkFetch implements membership: a classic group tells its offsets to anybody (rule 8.4.9).
func (g *classicGroup) checkFetch(*string, int32) error { return nil }

// loaded implements membership: members have their full time to be heard of (rule 8.3.13). A group that is larger than
// group.max.size now allows must come together anew, and so must one whose record says that members have gone.
func (g *classicGroup) loaded(now time.Time, e *coordinator.Effects) {
	for m := range g.all {
		g.startSession(m, now)
	}
	if g.status == classicPreparing || g.len() > int(g.machine.config().MaxSize) {
		g.prepare(now, e)
	}
}

// tombstones implements membership.
func (g *classicGroup) tombstones(e *coordinator.Effects) {
	e.Append(groupMetadataKey(g.id), nil)
}

// dissolve answers what is parked with an error code of a decision, and stops all timers: the group is over, or another
// membership takes its members over.
func (g *classicGroup) dissolve(err error, e *coordinator.Effects) {
	for m := range g.all {
		if reply, ok := g.unpark(m); ok {
			e.Answer(reply.with(refusedJoin(m.id, err)))
		}
		if m.sync != nil {
			e.Answer(m.takeSync().with(refusedSync(err)))
		}
	}
	g.settleDepartures(e)
	g.stopTimers()
}

func (g *classicGroup) stopTimers() {
	for m := range g.all {
		g.machine.timers.cancel(&m.session)
	}
	g.machine.timers.cancel(&g.phase)
	g.machine.timers.cancel(&g.departures.timer)
	g.pending.clear(&g.machine.timers)
}

// unload implements membership.
func (g *classicGroup) unload(err error) {
	for m := range g.all {
		if reply, ok := g.unpark(m); ok {
			reply(nil, err)
		}
		if m.sync != nil {
			m.takeSync()(nil, err)
		}
	}
	for _, r := range g.departures.waiting {
		r(err)
	}
	g.departures.waiting = nil
}

// code is the error code of a decision.
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
