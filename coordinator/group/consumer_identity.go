package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group/assignor"
)

// findMember returns the member that a request speaks for, nil for one that joins (rules 8.7.3 and 8.7.4). A static member
// that joins while it is one may be its own successor, and must wait. But if it has not been heard of since it was told its
// epoch, or was told to join again, it does so under the same id because the answer has got lost, perhaps with the
// coordinator. Kafka locks it out all the same until its session is over, which is an error that ends its client.
func (h *heartbeat) findMember(g *consumerGroup) (*consumerMember, error) {
	id, join := h.req.MemberID, h.req.MemberEpoch == epochJoin
	m := g.members[id]
	if m == nil && join && len(g.members) >= h.machine.config().Consumer.MaxSize {
		return nil, refuse(kerr.GroupMaxSizeReached, "group %s has %d members, which is as many as group.consumer.max.size allows", g.id, len(g.members))
	}
	if h.req.InstanceID == nil {
		switch {
		case join:
			return m, nil
		case m == nil:
			return nil, refuse(kerr.UnknownMemberID, "group %s has no member %s", g.id, id)
		}
		return m, h.checkEpoch(m)
	}
	instance := *h.req.InstanceID
	holder := g.members[g.instances[instance]]
	switch {
	case join && holder != nil && holder == m && !g.sessionOf(id).settled:
		return m, nil
	case join && holder != nil && holder.epoch != epochAway && holder.classic == nil:
		return nil, refuse(kerr.UnreleasedInstanceID, "member %s still has the instance id %s that %s wants to join with", holder.id, instance, id)
	case join:
		return m, nil
	}
	m, err := g.static(id, instance)
	if err != nil {
		return nil, err
	}
	if err := h.checkEpoch(m); err != nil {
		g.sessionOf(id).settled = false // it is told to join again
		return nil, err
	}
	return m, nil
}

// static returns the member that a request names by both ids.
func (g *consumerGroup) static(id, instance string) (*consumerMember, error) {
	m := g.members[g.instances[instance]]
	switch {
	case m == nil:
		return nil, refuse(kerr.UnknownMemberID, "group %s has no member with the instance id %s", g.id, instance)
	case m.id != id:
		return nil, refuse(kerr.FencedInstanceID, "instance id %s of group %s belongs to member %s now", instance, g.id, m.id)
	}
	return m, nil
}

// checkEpoch says whether a member is where it believes to be (rule 8.7.3). One that did not get the last answer is one
// epoch behind; that it owns nothing beyond what it has now shows that this is all.
func (h *heartbeat) checkEpoch(m *consumerMember) error {
	told := h.req.MemberEpoch
	if told == m.epoch {
		return nil
	}
	if told < m.epoch && told == m.previous {
		if o := h.owned(); o.known && !slices.ContainsFunc(o.set, func(p assignor.Partition) bool { return !m.assigned.partitions.Has(p) }) {
			return nil
		}
	}
	return refuse(kerr.FencedMemberEpoch, "member %s is in epoch %d and not %d: it must give up its partitions and join again", m.id, m.epoch, told)
}

// replaces returns the static member in whose place the sender of a request joins, or nil (rule 8.7.4).
func (h *heartbeat) replaces(g *consumerGroup, m *consumerMember) *consumerMember {
	if h.req.MemberEpoch != epochJoin || h.req.InstanceID == nil {
		return nil
	}
	holder := g.members[g.instances[*h.req.InstanceID]]
	if holder == m && m != nil && m.epoch != epochAway {
		return nil
	}
	return holder
}

// replace gives the place of a static member to the sender: what it had and was to have, under another member id.
func (h *heartbeat) replace(g *consumerGroup, old *consumerMember) *consumerMember {
	return g.rename(old, h.req.MemberID, h.e)
}

// rename gives a static member another id. Its successor begins with epoch 0, but with what it had.
func (g *consumerGroup) rename(old *consumerMember, id string, e *coordinator.Effects) *consumerMember {
	info, target, hasTarget := old.memberInfo, old.target, old.hasTarget
	current := &memberCurrent{state: old.state, assigned: old.assigned.unstamped(), revoking: old.revoking.unstamped()}
	if old.id != id {
		if taken := g.members[id]; taken != nil { // a member that comes back as another one is no longer who it was
			regex := taken.regex
			g.endSession(id)
			g.bury(id, e)
			g.dropPattern(regex, e)
		}
		g.endSession(old.id)
		g.bury(old.id, e)
		g.write(e, memberRecord{id, info})
		if hasTarget {
			g.write(e, targetRecord{id: id, set: target})
		}
	}
	g.write(e, currentRecord{id, current})
	return g.members[id]
}

// bury deletes the records of a member.
func (g *consumerGroup) bury(id string, e *coordinator.Effects) {
	g.write(e, currentRecord{id, nil})
	g.write(e, targetRecord{id: id, gone: true})
	g.write(e, memberRecord{id, nil})
}

// unstamped is the same set with no epochs: its owner may commit offsets for it in any.
func (o owned) unstamped() owned {
	return owned{o.partitions, make([]int32, len(o.partitions))}
}
