package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeClassic describes a classic group (rule 8.5.2). A group that does not exist, or speaks another protocol, is not
// found: the handler says so in the way of the request's version.
func (m *Machine) DescribeClassic(id string) (row kmsg.DescribeGroupsResponseGroup, found bool) {
	row = kmsg.NewDescribeGroupsResponseGroup()
	row.Group = id
	g := m.groups[id]
	if g == nil {
		return row, false
	}
	switch members := g.members.(type) {
	case *classicGroup:
		members.describe(&row)
	case nil: // it has committed offsets only
		row.State = classicEmpty.String()
	default:
		return row, false
	}
	return row, true
}

// describe fills the answer in. What members say and have is told while the group is Stable only.
func (g *classicGroup) describe(row *kmsg.DescribeGroupsResponseGroup) {
	row.State, row.ProtocolType = g.status.String(), g.typ
	stable := g.status == classicStable
	if stable {
		row.Protocol = *g.protocol
	}
	row.Members = make([]kmsg.DescribeGroupsResponseGroupMember, 0, g.len())
	for m := range g.all {
		r := kmsg.NewDescribeGroupsResponseGroupMember()
		r.MemberID, r.InstanceID, r.ClientID, r.ClientHost = m.id, m.instanceID, m.clientID, m.clientHost
		if stable {
			r.ProtocolMetadata, r.MemberAssignment = m.metadata(row.Protocol), m.assignment
		}
		row.Members = append(row.Members, r)
	}
}
