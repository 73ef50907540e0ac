package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
)

// leave decides the heartbeat with which a member leaves, for good or for a while (rule 8.7.4).
func (h *heartbeat) leave() (*kmsg.ConsumerGroupHeartbeatResponse, error) {
	g, ok := h.machine.membersOf(h.req.Group).(*consumerGroup)
	if !ok {
		return nil, refuse(kerr.GroupIDNotFound, "there is no consumer group %s", h.req.Group)
	}
	m := g.members[h.req.MemberID]
	if h.req.InstanceID != nil {
		var err error
		if m, err = g.static(h.req.MemberID, *h.req.InstanceID); err != nil {
			return nil, err
		}
	} else if m == nil {
		return nil, refuse(kerr.UnknownMemberID, "group %s has no member %s", g.id, h.req.MemberID)
	}
	if h.req.MemberEpoch == epochAway {
		// What it was giving up it has given up: it consumes nothing while it is away.
		g.write(h.e, currentRecord{m.id, &memberCurrent{
			epoch: epochAway, previous: m.previous, state: m.state, assigned: m.assigned.unstamped(),
		}})
		g.watchRevocation(m, h.now)
	} else {
		g.remove([]*consumerMember{m}, h.now, h.e)
	}
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.MemberID, resp.MemberEpoch = &m.id, h.req.MemberEpoch
	return resp, nil
}

// fence removes a member that was silent or dawdled for too long (rule 8.7.8).
func (g *consumerGroup) fence(id string, now time.Time, e *coordinator.Effects) {
	if m := g.members[id]; m != nil {
		g.remove([]*consumerMember{m}, now, e)
	}
}

// remove takes members out of the group, which enters a new epoch. If only members of the classic protocol stay the group
// goes on as theirs (rule 8.7.13).
func (g *consumerGroup) remove(gone []*consumerMember, now time.Time, e *coordinator.Effects) {
	if g.downgradable(gone, e) {
		for _, m := range gone {
			g.endSession(m.id)
		}
		g.downgrade(gone, nil, now, e)
		return
	}
	for _, m := range gone {
		regex := m.regex
		g.endSession(m.id)
		g.bury(m.id, e)
		g.dropPattern(regex, e)
	}
	if len(g.members) == 0 {
		g.since = now
	}
	g.advance(now, g.machine.image(), true, e)
}
