package group

import (
	"time"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/metadata"
)

// OffsetsTopic is the internal topic that holds groups and their offsets.
const OffsetsTopic = "__consumer_offsets"

// Coordinator finds the machine of a group among those of this node.
type Coordinator struct {
	runtime *coordinator.Runtime[*Machine]
	image   func() *metadata.Image
}

// NewCoordinator makes a coordinator of the machines that runtime runs. image returns the cluster as of now.
func NewCoordinator(runtime *coordinator.Runtime[*Machine], image func() *metadata.Image) *Coordinator {
	return &Coordinator{runtime: runtime, image: image}
}

// Apply follows a metadata image: the machines become those of the partitions that this node leads in next, and offsets of
// topics that are deleted are deleted too (rule 8.4.14). It is called as coordinator.Runtime.Apply is.
func (c *Coordinator) Apply(prev, next *metadata.Image) {
	c.runtime.Apply(next)
	for t := range prev.Topics {
		if now := next.Topic(t.Name); now == nil || now.ID != t.ID {
			c.DoEach(func(int) {}, func(_ int, m *Machine, now time.Time, _ *coordinator.Effects) { m.sweepSoon(now) }, func(int, error) {})
			return
		}
	}
}

// Close drops the machines: see coordinator.Runtime.Close.
func (c *Coordinator) Close() { c.runtime.Close() }

// Decision is what is decided on a machine.
type Decision = func(m *Machine, now time.Time, e *coordinator.Effects)

// Do has the machine of a group decide, or fail told why it can't: see coordinator.Runtime.Do.
func (c *Coordinator) Do(groupID string, decide Decision, fail coordinator.Reply) {
	t := c.image().Topic(OffsetsTopic)
	if t == nil {
		fail(kerr.NotCoordinator)
		return
	}
	c.runtime.Do(PartitionOf(groupID, len(t.Partitions)), decide, fail)
}

// DoEach has every machine of this node decide. expect is told how many they are before the first is asked; each calls
// decide or fail, with its number from 0 on.
func (c *Coordinator) DoEach(expect func(machines int), decide func(i int, m *Machine, now time.Time, e *coordinator.Effects), fail func(i int, err error)) {
	led := c.runtime.Partitions()
	expect(len(led))
	for i, p := range led {
		c.runtime.Do(p, func(m *Machine, now time.Time, e *coordinator.Effects) { decide(i, m, now, e) }, func(err error) { fail(i, err) })
	}
}

// Split sorts groups by the machine that holds them: each element has the places in groupIDs of one machine's. A request
// that names many groups so costs each machine one decision.
func (c *Coordinator) Split(groupIDs []string) [][]int {
	n := 1
	if t := c.image().Topic(OffsetsTopic); t != nil {
		n = len(t.Partitions)
	}
	at := make(map[int32]int, min(n, len(groupIDs))) // partition: place in parts
	var parts [][]int
	for i, id := range groupIDs {
		p := PartitionOf(id, n)
		place, ok := at[p]
		if !ok {
			place = len(parts)
			at[p] = place
			parts = append(parts, nil)
		}
		parts[place] = append(parts[place], i)
	}
	return parts
}

// PartitionOf is the partition of OffsetsTopic, which has n of them, that holds a group: Java's hash of its id, over UTF-16
// code units (rules 0.3.1 and 0.3.2).
func PartitionOf(groupID string, n int) int32 {
	var h int32
	for _, r := range groupID {
		if r1, r2 := utf16.EncodeRune(r); r1 != '\uFFFD' {
			h = 31*(31*h+r1) + r2
			continue
		}
		h = 31*h + r
	}
	switch {
	case h == -1<<31:
		h = 0
	case h < 0:
		h = -h
	}
	return h % int32(n)
}
