package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/coordinator"
)

// leastWait is how long a rebalance in which nobody has joined is left alone at least. Members may ask for a rebalance
// timeout of zero, and the group would do nothing else than look again.
const leastWait = time.Second

// initialDelay is the time that an empty group gives its first members to come together (rule 8.3.6): one step, and
// another one whenever somebody has come meanwhile, as long as there is time left. It spares a group that is being started
// a rebalance per member.
type initialDelay struct {
	on    bool // the rebalance under way is one from Empty
	grown bool // somebody has come since the step began
	left  time.Duration
}

// rebalance starts a rebalance, or completes the one under way if it waits for nobody any more.
func (g *classicGroup) rebalance(now time.Time, e *coordinator.Effects) {
	switch g.status {
	case classicPreparing:
		g.maybeComplete(now, e)
		return
	case classicEmpty:
		g.prepareFirst(now, e)
		return
	case classicCompleting:
		for m := range g.all {
			g.assign(m, nil)
			if m.sync != nil {
				e.Answer(m.takeSync().with(refusedSync(kerr.RebalanceInProgress)))
				g.startSession(m, now)
			}
		}
	}
	g.prepare(now, e)
}

// prepare has the members of a group that was settled come together.
func (g *classicGroup) prepare(now time.Time, e *coordinator.Effects) {
	g.initial = initialDelay{}
	g.enter(classicPreparing, now)
	if g.everybodyJoined() {
		g.complete(now, e)
		return
	}
	g.machine.timers.set(&g.phase, now.Add(g.longestRebalance()), g.complete)
}

// prepareFirst starts the first rebalance of an empty group.
func (g *classicGroup) prepareFirst(now time.Time, e *coordinator.Effects) {
	step := g.machine.config().InitialRebalanceDelay
	g.initial = initialDelay{on: true, left: max(g.longestRebalance()-step, 0)}
	g.enter(classicPreparing, now)
	if step <= 0 {
		g.complete(now, e)
		return
	}
	g.machine.timers.set(&g.phase, now.Add(step), g.stepOver)
}

// stepOver is called when a step of the initial delay is over.
func (g *classicGroup) stepOver(now time.Time, e *coordinator.Effects) {
	if !g.initial.grown || g.initial.left == 0 {
		g.complete(now, e)
		return
	}
	step := min(g.machine.config().InitialRebalanceDelay, g.initial.left)
	g.initial.left -= step
	g.initial.grown = false
	g.machine.timers.set(&g.phase, now.Add(step), g.stepOver)
}

// everybodyJoined reports whether all members wait for the rebalance, and nobody is expected beside.
func (g *classicGroup) everybodyJoined() bool {
	return g.joining == g.len() && g.pending.len() == 0
}

// maybeComplete completes a rebalance if it waits for nobody any more. The initial delay is sat out.
func (g *classicGroup) maybeComplete(now time.Time, e *coordinator.Effects) {
	if g.status == classicPreparing && !g.initial.on && g.everybodyJoined() {
		g.complete(now, e)
	}
}

// shrunk sees to what follows when a member or a pending id has gone.
func (g *classicGroup) shrunk(now time.Time, e *coordinator.Effects) {
	switch g.status {
	case classicPreparing:
		g.maybeComplete(now, e)
	case classicCompleting, classicStable:
		g.rebalance(now, e)
	}
}

// complete ends the joining: everybody has come, or the time is up. Dynamic members that have not come are out; static
// ones stay until their session ends.
func (g *classicGroup) complete(now time.Time, e *coordinator.Effects) {
	g.machine.timers.cancel(&g.phase)
	if g.joining < g.len() {
		for m := range g.all {
			if m.join == nil && m.instanceID == nil {
				g.remove(m, now, e)
			}
		}
	}
	if g.len() > 0 && !g.electLeader() {
		// Only static members are left, and none has come: nobody could assign anything.
		g.machine.timers.set(&g.phase, now.Add(max(g.longestRebalance(), leastWait)), g.complete)
		return
	}
	g.generation++
	g.initial = initialDelay{}
	g.unsynced = 0
	if g.len() == 0 {
		g.protocol = nil
		g.enter(classicEmpty, now)
		g.record(e)
		return
	}
	selected := g.vote(g.byID[g.leader])
	g.protocol = &selected
	g.topics = nil
	g.enter(classicCompleting, now)
	for m := range g.all {
		m.fresh = false
	}
	g.recordUnsettled(e)
	for m := range g.all {
		if reply, ok := g.unpark(m); ok {
			e.Answer(reply.with(g.joined(m)))
		}
		m.owesSync = true
		g.unsynced++
		g.startSession(m, now)
	}
	g.machine.timers.set(&g.phase, now.Add(g.longestRebalance()), g.syncsOver)
}

// electLeader sees that the leader is one who has joined, and reports whether there is such a one.
func (g *classicGroup) electLeader() bool {
	if m := g.byID[g.leader]; m != nil && m.join != nil {
		return true
	}
	for m := range g.all {
		if m.join != nil {
			g.leader = m.id
			return true
		}
	}
	return false
}

// syncsOver removes the members that joined but have not asked for their assignment in time (rule 8.3.6).
func (g *classicGroup) syncsOver(now time.Time, e *coordinator.Effects) {
	if g.unsynced == 0 {
		return
	}
	for m := range g.all {
		if m.owesSync {
			g.remove(m, now, e)
		}
	}
	g.rebalance(now, e)
}

// startSession gives a member its full time to be heard of again.
func (g *classicGroup) startSession(m *classicMember, now time.Time) {
	d := m.sessionTimeout
	if m.fresh {
		d = newMemberTimeout
	}
	g.machine.timers.set(&m.session, now.Add(d), m.expire)
}

// sessionOver is called when a member has not been heard of for too long. One that waits here is alive, unless it is new:
// its client may have given up long ago (rule 8.3.12). The answer to what it waits for starts a new session.
func (g *classicGroup) sessionOver(m *classicMember, now time.Time, e *coordinator.Effects) {
	if m.parked() && !m.fresh {
		return
	}
	g.remove(m, now, e)
	g.shrunk(now, e)
}

// remove takes a member out of the group. What it has parked is answered: it is no member any more.
func (g *classicGroup) remove(m *classicMember, now time.Time, e *coordinator.Effects) {
	g.machine.timers.cancel(&m.session)
	if reply, ok := g.unpark(m); ok {
		e.Answer(reply.with(refusedJoin("", kerr.UnknownMemberID)))
	}
	if m.sync != nil {
		e.Answer(m.takeSync().with(refusedSync(kerr.UnknownMemberID)))
	}
	if m.owesSync {
		m.owesSync = false
		g.unsynced--
	}
	g.drop(m)
	g.departed(m, now)
	g.topics = nil
	if g.leader == m.id {
		g.leader = ""
		if g.first != nil {
			g.leader = g.first.id
		}
	}
}
