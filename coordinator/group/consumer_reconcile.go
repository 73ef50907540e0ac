package group

import (
	"slices"

	"github.com/kbroker/kbroker/coordinator/group/assignor"
	"github.com/kbroker/kbroker/metadata"
)

// next is what a member has from now on, given what it says that it owns (rule 8.7.7). changed says that its subscription
// is another than before: it loses at once what it does not want any more, whatever the target.
func (g *consumerGroup) next(m *consumerMember, im *metadata.Image, says *reported, changed bool) *memberCurrent {
	switch m.state {
	case memberStable:
		if m.epoch == g.targetEpoch && !changed {
			return m.memberCurrent
		}
	case memberRevoking:
		if says.any(m.revoking.partitions) {
			if changed {
				return m.without(g.topicsOf(im, m.memberInfo))
			}
			return m.memberCurrent
		}
	}
	s := g.split(m, g.topicsOf(im, m.memberInfo))
	if says.any(s.revoke.partitions) {
		// The epoch stays: the member has not reached the next one before it has given these up.
		return &memberCurrent{epoch: m.epoch, previous: m.epoch, state: memberRevoking, assigned: s.keep, revoking: s.revoke}
	}
	if m.state == memberStable && m.epoch == g.targetEpoch && !s.blocked && len(s.add) == 0 && s.keep.equal(m.assigned) {
		return m.memberCurrent
	}
	c := &memberCurrent{epoch: g.targetEpoch, previous: m.epoch, state: memberStable, assigned: s.keep}
	if len(s.add) > 0 {
		for _, p := range s.add {
			c.assigned.add(p, g.targetEpoch)
		}
		c.assigned.sort()
	}
	if s.blocked {
		c.state = memberWaiting
	}
	return c
}

// without is what a member has that is still giving up partitions and does not want others any more either.
func (m *consumerMember) without(topics []metadata.UUID) *memberCurrent {
	c := &memberCurrent{epoch: m.epoch, previous: m.previous, state: m.state, revoking: m.revoking.copy()}
	for i, p := range m.assigned.partitions {
		if wants(topics, p) {
			c.assigned.add(p, m.assigned.epochs[i])
		} else {
			c.revoking.add(p, m.assigned.epochs[i])
		}
	}
	c.revoking.sort()
	return c
}

func (o owned) copy() owned { return owned{slices.Clone(o.partitions), slices.Clone(o.epochs)} }

// wants reports whether a partition belongs to one of the topics, which are in order.
func wants(topics []metadata.UUID, p assignor.Partition) bool {
	_, ok := slices.BinarySearchFunc(topics, p.Topic, compareIDs)
	return ok
}

// step divides what a member has and is to have.
type step struct {
	keep    owned               // has, and is to have
	revoke  owned               // has, and is not to have
	add     assignor.Partitions // is to have, and can have
	blocked bool                // is to have more, which others have not given up yet
}

func (g *consumerGroup) split(m *consumerMember, topics []metadata.UUID) step {
	var s step
	for i, p := range m.assigned.partitions {
		if m.target.Has(p) && wants(topics, p) {
			s.keep.add(p, m.assigned.epochs[i])
		} else {
			s.revoke.add(p, m.assigned.epochs[i])
		}
	}
	for _, p := range m.target {
		if !wants(topics, p) || m.assigned.partitions.Has(p) {
			continue
		}
		if owner, taken := g.owners[p]; taken && owner != m.id {
			s.blocked = true
			continue
		}
		s.add = append(s.add, p)
	}
	return s
}
