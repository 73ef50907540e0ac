package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
)

// joinStatic takes a static member without an id: one that is new, or that has been restarted and takes the place of what
// it was before (rule 8.3.8).
func (g *classicGroup) joinStatic(j *classicJoin) {
	id := g.machine.newMemberID(*j.req.InstanceID)
	m := g.static[*j.req.InstanceID]
	if m == nil {
		g.add(j, id)
		return
	}
	leaderBefore, before := g.leader, *m
	g.replace(m, id, j.e)
	g.startSession(m, j.now)
	g.update(m, j)
	if g.status != classicStable || g.vote(g.byID[g.leader]) != *g.protocol {
		// In CompletingRebalance the leader may be about to assign partitions to the old id.
		g.rebalance(j.now, j.e)
		return
	}
	g.record(j.e)
	j.e.Refused = func(error, *coordinator.Effects) { g.restore(m, &before, leaderBefore) }
	reply, _ := g.unpark(m)
	j.e.Answer(reply.with(g.replaced(m, leaderBefore, j.req.Version)))
	g.startSession(m, j.now)
}

// replace gives a static member a new id. Whoever still holds the old one is fenced.
func (g *classicGroup) replace(m *classicMember, id string, e *coordinator.Effects) {
	if join, ok := g.unpark(m); ok {
		e.Answer(join.with(refusedJoin(m.id, kerr.FencedInstanceID)))
	}
	if m.sync != nil {
		e.Answer(m.takeSync().with(refusedSync(kerr.FencedInstanceID)))
	}
	if g.leader == m.id {
		g.leader = id
	}
	g.rename(m, id)
	m.fresh = false
}

// restore takes back a replacement that was too large to write.
func (g *classicGroup) restore(m, before *classicMember, leader string) {
	g.rename(m, before.id)
	g.offer(m, before.protocols)
	g.topics = nil
	g.leader = leader
	m.rebalanceTimeout, m.sessionTimeout = before.rebalanceTimeout, before.sessionTimeout
}

// replaced answers a static member whose return changes nothing for the others. From version 9 on a leader is told to
// keep the assignment (KIP-814). An older one would assign anew, so it is not told that it leads: the answer names the
// leader from before, which may be its own old id.
func (g *classicGroup) replaced(m *classicMember, leaderBefore string, version int16) *kmsg.JoinGroupResponse {
	resp := g.joined(m)
	if version >= 9 {
		resp.SkipAssignment = m.id == g.leader
		return resp
	}
	resp.LeaderID, resp.Members = leaderBefore, []kmsg.JoinGroupResponseMember{}
	return resp
}
