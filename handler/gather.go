package handler

import (
	"sync"
	"time"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
)

// gather makes one answer of several parts, which come from any goroutine.
type gather struct {
	done func() // called after the last part, or at once when none is expected

	mu   sync.Mutex // guards what follows, and whatever the parts write to
	came []bool
	left int
}

// expect says how many parts there will be. It is called before the first of them.
func (g *gather) expect(n int) {
	g.came, g.left = make([]bool, n), n
	if n == 0 {
		g.done()
	}
}

// part adds part i under the lock. Of one that comes again only the first counts: a machine that fails may have answered
// already.
func (g *gather) part(i int, add func()) {
	g.mu.Lock()
	if g.came[i] {
		g.mu.Unlock()
		return
	}
	g.came[i] = true
	add()
	g.left--
	last := g.left == 0
	g.mu.Unlock()
	if last {
		g.done()
	}
}

const (
	// groupsPerDecision bounds the groups of one request that a machine decides about in one go, and recordsPerDecision
	// what it writes for them, in bytes: others have their turn in between.
	groupsPerDecision  = 100
	recordsPerDecision = 128 << 10
)

// eachGroup has decide called for each group, by its place in ids, on its machine, or fail if that cannot be. A request may
// name more groups than there is room for in a machine's queue: it has one place there, and the groups of one machine come
// some at a time.
func (d *Deps) eachGroup(ids []string, decide func(i int, m *group.Machine, e *coordinator.Effects), fail func(i int, err error)) {
	for _, places := range d.Groups.Split(ids) {
		d.someGroups(ids, places, decide, fail)
	}
}

// someGroups is eachGroup of groups that have the same machine.
func (d *Deps) someGroups(ids []string, places []int, decide func(i int, m *group.Machine, e *coordinator.Effects), fail func(i int, err error)) {
	d.Groups.Do(ids[places[0]], func(m *group.Machine, _ time.Time, e *coordinator.Effects) {
		n := 0
		for n < len(places) && n < groupsPerDecision && len(e.Buf) < recordsPerDecision {
			decide(places[n], m, e)
			n++
		}
		if n < len(places) {
			d.someGroups(ids, places[n:], decide, fail)
		}
	}, func(err error) {
		for _, i := range places {
			fail(i, err)
		}
	})
}
