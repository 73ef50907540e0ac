package group

import (
	"time"

	"github.com/kbroker/kbroker/coordinator"
)

const (
	// departureBytesPerSecond bounds what a group writes because of members that go, beyond a burst of one record: the
	// record has all who stay, and a thousand members that leave one after the other would write it a thousand times.
	departureBytesPerSecond = 4 << 20
	// longestDeparture bounds how long a member that leaves waits for that, however large the group is.
	longestDeparture = time.Second
)

// departures are the members that are gone from a group but not yet from its record. Kafka leaves them there until the
// next generation is complete, so after a crash they are back, and the rebalance in which they were let go waits for
// their whole session again. Here the record is written without them, once for all that have gone meanwhile, and whoever
// said goodbye is answered when it is committed.
type departures struct {
	timer
	owed    bool                // somebody is gone whom the record still has
	waiting []coordinator.Reply // to those who left
	next    time.Time           // the earliest time of the next such record
}

// departed notes that a member is gone. The record is due as soon as this decision, and those that came with it, are made.
func (g *classicGroup) departed(m *classicMember, now time.Time) {
	if m.recorded {
		g.owe(now)
	}
}

// owe has a record written without those who are gone.
func (g *classicGroup) owe(now time.Time) {
	d := &g.departures
	if d.owed {
		return
	}
	d.owed = true
	at := now
	if d.next.After(now) {
		at = d.next
	}
	g.machine.timers.set(&d.timer, at, g.recordDepartures)
}

// recordDepartures writes the record.
func (g *classicGroup) recordDepartures(now time.Time, e *coordinator.Effects) {
	before := len(e.Records)
	g.recordUnsettled(e)
	size := 0
	for _, r := range e.Records[before:] {
		size += len(r.Value)
	}
	wait := time.Duration(size) * time.Second / departureBytesPerSecond
	g.departures.next = now.Add(min(wait, longestDeparture))
}

// farewell answers a member that leaves: with the next record, if one is due because of it.
func (g *classicGroup) farewell(r coordinator.Reply, e *coordinator.Effects) {
	if !g.departures.owed {
		e.Answer(r)
		return
	}
	g.departures.waiting = append(g.departures.waiting, r)
}

// settleDepartures is called with a record that does not have the departed, or when there is to be none any more.
func (g *classicGroup) settleDepartures(e *coordinator.Effects) {
	d := &g.departures
	for _, r := range d.waiting {
		e.Answer(r)
	}
	d.owed, d.waiting = false, nil
	g.machine.timers.cancel(&d.timer)
}
