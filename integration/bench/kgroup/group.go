//go:build linux

package main

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// none is the epoch of who has none.
const none = -1

// standing is what a member knows of the group.
type standing struct {
	epoch      int32 // generation or member epoch
	partitions int   // owned, in the protocol of KIP-848
}

// member is one member of the group: what it sends, and what it makes of the answers.
type member interface {
	join() kmsg.Request
	heartbeat() kmsg.Request
	leave() kmsg.Request
	// answered takes the answer to what was sent last, and returns what follows at once, nil for nothing.
	answered(r kmsg.Response) (next kmsg.Request)
	standing() standing
	// parked reports whether a join of it is answered only when the others have joined, too.
	parked() bool
}

// seat is a member with its connection.
type seat struct {
	member
	*peer
}

// group is the members of one group. One goroutine plays them all.
type group struct {
	*swarm
	name       string
	newMember  func(o *options, group string) member
	o          *options
	seats      []*seat // who is in the group, or is to be
	by         map[*peer]*seat
	partitions int // that the members own together once they agree
}

func newGroup(o *options, newMember func(o *options, group string) member) *group {
	g := &group{swarm: newSwarm(o), o: o, newMember: newMember, by: map[*peer]*seat{}, name: fmt.Sprintf("%s-%d", o.mode, time.Now().UnixNano())}
	if o.mode == "consumer" {
		g.partitions = o.members
	}
	return g
}

// add connects one more member. It joins when it is told to.
func (g *group) add() *seat {
	s := &seat{member: g.newMember(g.o, g.name), peer: g.dial()}
	g.seats = append(g.seats, s)
	g.by[s.peer] = s
	return s
}

// work lets the members go on until so many milliseconds passed without an answer.
func (g *group) work(wait time.Duration) {
	g.poll(wait, func(p *peer, r kmsg.Response) {
		if next := g.by[p].answered(r); next != nil {
			g.send(p, next)
		}
	})
}

// patience bounds a phase.
const patience = 3 * time.Minute

// workUntil lets the members go on until something holds.
func (g *group) workUntil(what string, holds func() bool) {
	for start := time.Now(); !holds(); g.work(tick) {
		if time.Since(start) > patience {
			fail(fmt.Errorf("%s within %v", what, patience))
		}
	}
}

// beat has those members heartbeat who have nothing in flight and are wanted.
func (g *group) beat(wanted func(standing) bool) {
	for _, s := range g.seats {
		if s.asked == nil && s.standing().epoch != none && wanted(s.standing()) {
			g.send(s.peer, s.heartbeat())
		}
	}
}

// leave has the last member leave, and the others learn of it.
func (g *group) leave() {
	gone := g.seats[len(g.seats)-1]
	g.seats = g.seats[:len(g.seats)-1]
	g.send(gone.peer, gone.member.leave())
	g.workUntil("no answer to one who leaves", func() bool { return gone.asked == nil })
	delete(g.by, gone.peer)
	g.hangUp(gone.peer)
	g.beat(func(standing) bool { return true })
}

// join has one more member join, and the others learn of it. When the join waits for the others, the first of them asks
// until the broker has begun to rebalance: else some, but who knows how many, would ask too early.
func (g *group) join() {
	comes, scout := g.seats[len(g.seats)-1], g.seats[0]
	g.send(comes.peer, comes.member.join())
	g.workUntil("a new member has neither an epoch nor an id", func() bool { return comes.parked() || comes.standing().epoch != none })
	if comes.parked() {
		g.workUntil("no rebalance begins", func() bool {
			if scout.asked == nil {
				g.send(scout.peer, scout.heartbeat())
			}
			return scout.standing().epoch == none
		})
	}
	g.beat(func(standing) bool { return true })
}

// tick is the time after which members heartbeat while others wait for them.
const tick = 10 * time.Millisecond

// settle lets the members go on until they agree: nothing is in flight, all are in one epoch later than the given one,
// and own what they should. Until then those who are behind heartbeat, as soon as nobody waits for an answer: no timer
// is measured. A join of the classic protocol is answered only when those have joined who were members before, so those
// heartbeat with every tick, too; and while the group forms, whoever has an assignment may be behind.
func (g *group) settle(after int32, forms bool) {
	var newest int32
	classic := g.partitions == 0
	behind := func(s standing) bool {
		return s.epoch < newest || s.epoch <= after || classic && forms || !classic && s.partitions == 0
	}
	next := time.Now().Add(tick)
	for start := time.Now(); ; g.work(max(time.Millisecond, time.Until(next))) {
		if time.Since(start) > patience {
			fail(fmt.Errorf("the members did not agree within %v", patience))
		}
		if g.inFlight == 0 && g.agree(after) {
			return
		}
		if g.inFlight > 0 && (!classic || time.Now().Before(next)) {
			continue
		}
		next = time.Now().Add(tick)
		for _, s := range g.seats {
			newest = max(newest, s.standing().epoch)
		}
		if g.beat(behind); g.inFlight == 0 {
			g.beat(func(standing) bool { return true })
		}
	}
}

// agree reports whether all members are in one epoch later than the given one, and own all partitions.
func (g *group) agree(after int32) bool {
	epoch, owned := g.seats[0].standing().epoch, 0
	for _, s := range g.seats {
		if s.standing().epoch != epoch {
			return false
		}
		owned += s.standing().partitions
	}
	return epoch > after && owned == g.partitions
}
