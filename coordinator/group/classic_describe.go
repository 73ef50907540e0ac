package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeClassic fills in the row of a classic group, which names it (rule 8.5.2). It reports false for a group that does
// not exist, or speaks another protocol.
func (m *Machine) DescribeClassic(row *kmsg.DescribeGroupsResponseGroup) (found bool) {
	g := m.groups[row.Group]
	if g == nil {
		return false
	}
	switch members := g.members.(type) {
	case *classicGroup:
		members.describe(row)
	case nil: // it has committed offsets only
		row.State = classicEmpty.String()
	default:
		return false
	}
	return true
}

// describe fills the answer in. What members say is told only while the group is Stable, what they have always.
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
		r.MemberAssignment = m.assignment
		if stable {
			r.ProtocolMetadata = m.metadata(row.Protocol)
		}
		row.Members = append(row.Members, r)
	}
}
