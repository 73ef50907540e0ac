package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
)

// classicSync is one SyncGroup request while it is decided.
type classicSync struct {
	now   time.Time
	req   *kmsg.SyncGroupRequest
	reply respond[*kmsg.SyncGroupResponse]
	e     *coordinator.Effects
}

// SyncGroup decides a SyncGroup request (rule 8.3.9). reply is called once: when the leader has said who gets what, if the
// request has to wait for that. The machine keeps req's byte slices.
func (m *Machine) SyncGroup(now time.Time, req *kmsg.SyncGroupRequest, reply func(*kmsg.SyncGroupResponse, error), e *coordinator.Effects) {
	s := &classicSync{now: now, req: req, reply: reply, e: e}
	switch members := m.membersOf(req.Group).(type) {
	case *classicGroup:
		members.syncGroup(s)
	case classicHost:
		members.syncClassic(s)
	default:
		s.refuse(kerr.UnknownMemberID)
	}
}

func (s *classicSync) refuse(err error) { s.e.Answer(s.reply.with(refusedSync(err))) }

// refusedSync is the answer to a SyncGroup that is refused.
func refusedSync(err error) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ErrorCode = code(err)
	return resp
}

func (g *classicGroup) syncGroup(s *classicSync) {
	m, err := g.checkSync(s.req)
	if err != nil {
		s.refuse(err)
		return
	}
	g.settle(m)
	switch {
	case g.status == classicStable:
		s.e.Answer(s.reply.with(g.synced(m)))
	case m.id == g.leader:
		if err := g.admitAssignment(s.req); err != nil {
			s.refuse(err)
			g.rebalance(s.now, s.e) // the others wait for what does not come
			return
		}
		g.await(m, s)
		g.distribute(s)
	default:
		g.await(m, s)
	}
}

// checkSync finds the member that sends a SyncGroup, or says why it is refused.
func (g *classicGroup) checkSync(req *kmsg.SyncGroupRequest) (*classicMember, error) {
	m, err := g.check(req.MemberID, req.InstanceID)
	switch {
	case err != nil:
		return nil, err
	case req.Generation != g.generation:
		return nil, kerr.IllegalGeneration
	case req.ProtocolType != nil && *req.ProtocolType != g.typ,
		req.Protocol != nil && g.protocol != nil && *req.Protocol != *g.protocol:
		return nil, kerr.InconsistentGroupProtocol
	case g.status == classicPreparing:
		return nil, kerr.RebalanceInProgress
	}
	return m, nil
}

// settle notes that a member has asked for its assignment.
func (g *classicGroup) settle(m *classicMember) {
	if !m.owesSync {
		return
	}
	m.owesSync = false
	if g.unsynced--; g.unsynced == 0 {
		g.machine.timers.cancel(&g.phase)
	}
}

// await keeps a member's SyncGroup until the leader has spoken.
func (g *classicGroup) await(m *classicMember, s *classicSync) {
	if m.sync != nil {
		s.e.Answer(m.takeSync().with(refusedSync(kerr.RebalanceInProgress)))
	}
	m.sync = s.reply
}

// distribute takes over what the leader assigns, and answers everybody who waits for it. A member that the leader left
// out has nothing. If there is too much to write all learn that, and the group begins again.
func (g *classicGroup) distribute(s *classicSync) {
	given := make(map[string][]byte, len(s.req.GroupAssignment))
	for _, a := range s.req.GroupAssignment {
		given[a.MemberID] = a.MemberAssignment
	}
	for m := range g.all {
		g.assign(m, given[m.id])
	}
	g.enter(classicStable, s.now)
	owed := g.departures.owed
	g.record(s.e)
	s.e.Refused = func(_ error, e *coordinator.Effects) {
		for m := range g.all {
			g.assign(m, nil)
		}
		if owed {
			g.owe(s.now)
		}
		g.rebalance(s.now, e)
	}
	for m := range g.all {
		if m.sync != nil {
			s.e.Answer(m.takeSync().with(g.synced(m)))
			g.startSession(m, s.now)
		}
	}
}

// synced is the answer that tells a member its assignment.
func (g *classicGroup) synced(m *classicMember) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	typ := g.typ
	resp.ProtocolType, resp.Protocol, resp.MemberAssignment = &typ, g.protocol, m.assignment
	return resp
}

// Heartbeat decides a heartbeat (rule 8.3.10). It tells only of soft state, so nothing is waited for.
func (m *Machine) Heartbeat(now time.Time, req *kmsg.HeartbeatRequest, reply func(*kmsg.HeartbeatResponse, error), e *coordinator.Effects) {
	var err error
	switch members := m.membersOf(req.Group).(type) {
	case *classicGroup:
		err = members.heartbeat(now, req)
	case classicHost:
		err = members.heartbeatClassic(now, req, e)
	default:
		err = kerr.UnknownMemberID
	}
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.ErrorCode = code(err)
	e.AnswerNow(func(err error) { reply(resp, err) })
}

func (g *classicGroup) heartbeat(now time.Time, req *kmsg.HeartbeatRequest) error {
	m, err := g.check(req.MemberID, req.InstanceID)
	if err != nil {
		return err
	}
	if req.Generation != g.generation {
		return kerr.IllegalGeneration
	}
	g.startSession(m, now)
	if g.status == classicPreparing {
		return kerr.RebalanceInProgress
	}
	return nil
}
