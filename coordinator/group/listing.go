package group

import (
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
)

// kind is the group's type as ListGroups prints it. A group of offsets alone counts as classic.
func (g *Group) kind() string {
	if g.members == nil {
		return "classic"
	}
	return g.members.kind()
}

// state is the group's state as ListGroups prints it.
func (g *Group) state() string {
	if g.members == nil {
		return classicEmpty.String()
	}
	return g.members.state()
}

func (g *Group) protocolType() string {
	if g.members == nil {
		return ""
	}
	return g.members.protocolType()
}

// empty reports whether the group has no members, and since when. A group of offsets alone never had any: zero.
func (g *Group) empty() (since time.Time, ok bool) {
	if g.members == nil {
		return time.Time{}, true
	}
	return g.members.empty()
}

// ListGroups decides what this machine adds to a ListGroups response (rule 8.5.1): rows in no order. Filters are compared
// without regard to case; without one everything passes.
func (m *Machine) ListGroups(states, kinds []string, reply func([]kmsg.ListGroupsResponseGroup, error), e *coordinator.Effects) {
	var rows []kmsg.ListGroupsResponseGroup
	for _, g := range m.groups {
		row := kmsg.NewListGroupsResponseGroup()
		row.Group, row.ProtocolType, row.GroupState, row.GroupType = g.ID, g.protocolType(), g.state(), g.kind()
		if passes(states, row.GroupState) && passes(kinds, row.GroupType) {
			rows = append(rows, row)
		}
	}
	e.Answer(func(err error) { reply(rows, err) })
}

// passes reports whether a value is among those that are asked for.
func passes(filter []string, value string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, value) })
}
