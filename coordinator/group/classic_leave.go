package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
)

// LeaveGroup decides a LeaveGroup request (rule 8.3.11). Versions before 3 name one member, in a field of their own, and
// learn its fate from the error of the whole answer.
func (m *Machine) LeaveGroup(now time.Time, req *kmsg.LeaveGroupRequest, reply func(*kmsg.LeaveGroupResponse, error), e *coordinator.Effects) {
	leaving := req.Members
	if req.Version < 3 {
		row := kmsg.NewLeaveGroupRequestMember()
		row.MemberID = req.MemberID
		leaving = []kmsg.LeaveGroupRequestMember{row}
	}
	resp := kmsg.NewPtrLeaveGroupResponse()
	answer := e.Answer
	switch members := m.membersOf(req.Group).(type) {
	case *classicGroup:
		resp.Members = members.leave(now, leaving, e)
		answer = func(r coordinator.Reply) { members.farewell(r, e) }
	case classicHost:
		m.reversible(req.Group, now, e, func() { resp.Members = members.leaveClassic(now, leaving, e) })
	default:
		for _, who := range leaving {
			resp.Members = append(resp.Members, left(who, kerr.UnknownMemberID))
		}
	}
	if req.Version < 3 {
		resp.ErrorCode = resp.Members[0].ErrorCode
	}
	answer(func(err error) { reply(resp, err) })
}

// left is the row that answers one who wants to leave.
func left(who kmsg.LeaveGroupRequestMember, err error) kmsg.LeaveGroupResponseMember {
	row := kmsg.NewLeaveGroupResponseMember()
	row.MemberID, row.InstanceID, row.ErrorCode = who.MemberID, who.InstanceID, code(err)
	return row
}

func (g *classicGroup) leave(now time.Time, leaving []kmsg.LeaveGroupRequestMember, e *coordinator.Effects) []kmsg.LeaveGroupResponseMember {
	rows := make([]kmsg.LeaveGroupResponseMember, 0, len(leaving))
	fewer := false
	for _, who := range leaving {
		err := g.leaveOne(who, now, e)
		fewer = fewer || err == nil
		rows = append(rows, left(who, err))
	}
	if fewer {
		g.shrunk(now, e)
	}
	return rows
}

// leaveOne removes a member. An administrator may name a static member by its instance id alone.
func (g *classicGroup) leaveOne(who kmsg.LeaveGroupRequestMember, now time.Time, e *coordinator.Effects) error {
	if who.MemberID == "" {
		if who.InstanceID == nil || g.static[*who.InstanceID] == nil {
			return kerr.UnknownMemberID
		}
		g.remove(g.static[*who.InstanceID], now, e)
		return nil
	}
	if g.pending.drop(&g.machine.timers, who.MemberID) {
		return nil
	}
	m, err := g.check(who.MemberID, who.InstanceID)
	if err == nil {
		g.remove(m, now, e)
	}
	return err
}
