package group

import (
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

// Listing is which groups a ListGroups request asks for (rule 8.5.1): those in one of some states and of one of some types,
// compared without regard to case; without any, all. All machines share one.
type Listing struct{ states, kinds filter }

// NewListing makes a listing of the names in a request.
func NewListing(states, kinds []string) *Listing {
	return &Listing{newFilter(states), newFilter(kinds)}
}

// ListGroups decides what this machine adds to a ListGroups response: rows in no order.
func (m *Machine) ListGroups(l *Listing, reply func([]kmsg.ListGroupsResponseGroup, error), e *coordinator.Effects) {
	var rows []kmsg.ListGroupsResponseGroup
	for _, g := range m.groups {
		row := kmsg.NewListGroupsResponseGroup()
		row.Group, row.ProtocolType, row.GroupState, row.GroupType = g.ID, g.protocolType(), g.state(), g.kind()
		if l.states.passes(row.GroupState) && l.kinds.passes(row.GroupType) {
			rows = append(rows, row)
		}
	}
	e.Answer(func(err error) { reply(rows, err) })
}

// filter has the names that are asked for, in lower case; nil asks for everything. A request may have hundreds of thousands
// of them, and there may be as many groups.
type filter map[string]bool

func newFilter(names []string) filter {
	if len(names) == 0 {
		return nil
	}
	f := make(filter, len(names))
	for _, n := range names {
		f[strings.ToLower(n)] = true
	}
	return f
}

func (f filter) passes(name string) bool { return f == nil || f[strings.ToLower(name)] }
