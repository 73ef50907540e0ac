package group

import (
	"maps"
	"slices"
)

// Census is what metrics show of the groups of one machine.
type Census struct {
	ByState map[TypeState]int // groups; simple ones, which have no protocol, are classic and empty
	Offsets int               // committed offsets of all groups
	Groups  []GroupCensus     // as many as were asked for, by id
	Omitted int               // groups that are not among them, in part or at all
}

// TypeState is a group's type and state, as ListGroups prints them (rule 8.5.1).
type TypeState struct{ Type, State string }

// GroupCensus is one group.
type GroupCensus struct {
	ID      string
	Members int
	Offsets []PartitionOffset // by topic and partition
}

// PartitionOffset is a committed offset.
type PartitionOffset struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Census counts the machine's groups, and lists those that have room with their offsets among limit lines: one for each
// group and one for each of its offsets. What a census takes in memory is bounded by that, whatever the machine holds.
func (m *Machine) Census(limit int) Census {
	c := Census{ByState: map[TypeState]int{}}
	for _, id := range slices.Sorted(maps.Keys(m.groups)) {
		g := m.groups[id]
		c.ByState[g.typeState()]++
		n := 1
		for _, partitions := range g.offsets.topics {
			n += len(partitions)
		}
		c.Offsets += n - 1
		if n > limit {
			c.Omitted++
			continue
		}
		limit -= n
		c.Groups = append(c.Groups, g.census())
	}
	return c
}

func (g *Group) typeState() TypeState {
	if g.members == nil {
		return TypeState{"classic", "Empty"}
	}
	return TypeState{g.members.kind(), g.members.state()}
}

func (g *Group) census() GroupCensus {
	c := GroupCensus{ID: g.ID}
	if g.members != nil {
		c.Members = g.members.len()
	}
	for _, topic := range slices.Sorted(maps.Keys(g.offsets.topics)) {
		partitions := g.offsets.topics[topic]
		for _, p := range slices.Sorted(maps.Keys(partitions)) {
			c.Offsets = append(c.Offsets, PartitionOffset{topic, p, partitions[p].committed})
		}
	}
	return c
}
