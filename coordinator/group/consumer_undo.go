package group

import (
	"slices"
	"time"

	"github.com/kbroker/kbroker/coordinator"
)

// A decision about a consumer group may write as much as its members make it: what one says about itself, or the targets
// of all. When that is more than a batch of the topic takes it is refused, and only it: to load the machine anew would
// cost the partition's other groups what they have parked, at the wish of a single client.

func (r memberRecord) before(g *consumerGroup) consumerRecord {
	if m := g.members[r.id]; m != nil {
		return memberRecord{r.id, m.memberInfo}
	}
	return memberRecord{r.id, nil}
}

func (r targetRecord) before(g *consumerGroup) consumerRecord {
	if m := g.members[r.id]; m != nil && m.hasTarget {
		return targetRecord{id: r.id, set: m.target}
	}
	return targetRecord{id: r.id, gone: true}
}

func (r currentRecord) before(g *consumerGroup) consumerRecord {
	if m := g.members[r.id]; m != nil {
		return currentRecord{r.id, m.memberCurrent}
	}
	return currentRecord{r.id, nil}
}

func (r regexRecord) before(g *consumerGroup) consumerRecord {
	return regexRecord{r.regex, g.resolved[r.regex]}
}

func (epochRecord) before(g *consumerGroup) consumerRecord {
	return epochRecord{epoch: g.epoch, hash: g.hash}
}

func (targetEpochRecord) before(g *consumerGroup) consumerRecord {
	return targetEpochRecord{epoch: g.targetEpoch, at: g.targetAt}
}

func (r partitionMetadataRecord) before(*consumerGroup) consumerRecord { return r }

// reversible has a decision about one group made that is taken back when its records are too large to be written.
func (m *Machine) reversible(id string, now time.Time, e *coordinator.Effects, decide func()) {
	members := m.membersOf(id)
	g, _ := members.(*consumerGroup)
	if g == nil {
		decide()
	} else {
		g.undoable = true
		decide()
		g.undoable = false
	}
	if len(e.Records) == 0 {
		return
	}
	var undo []consumerRecord
	if g != nil {
		undo, g.undo = g.undo, nil
	}
	e.Refused = func(_ error, e *coordinator.Effects) {
		if g != nil {
			g.takeBack(undo, now)
		}
		m.takeBack(id, members, now, e)
	}
}

// takeBack gives a group the membership back that it had before a decision which could not be written. What was parked
// there has been answered.
func (m *Machine) takeBack(id string, members membership, now time.Time, e *coordinator.Effects) {
	if made := m.membersOf(id); made != members {
		switch made := made.(type) {
		case *consumerGroup:
			made.stop()
		case *classicGroup:
			made.stopTimers()
		}
	}
	m.groups[id].seat(members, m)
	switch members := members.(type) {
	case nil:
		m.forget(id)
	case *classicGroup:
		if members.len() > 0 { // they begin again, as they were told
			members.enter(classicStable, now)
			for member := range members.all {
				members.startSession(member, now)
			}
			members.rebalance(now, e)
			members.owe(now)
		}
	}
}

// takeBack applies what undoes a decision, the last change first, and puts the soft state in order that it left.
func (g *consumerGroup) takeBack(undo []consumerRecord, now time.Time) {
	for _, r := range slices.Backward(undo) {
		r.apply(g)
	}
	g.checkedIndex = 0
	for id := range g.sessions {
		if g.members[id] == nil {
			g.endSession(id)
		}
	}
	for _, m := range g.members {
		if g.sessions[m.id] == nil {
			g.startSession(m, now)
		}
		if m.classic == nil {
			g.watchRevocation(m, now)
		}
	}
	for p := range g.regexes {
		if g.patterns[p] == 0 {
			g.abandon(p)
		}
	}
}
