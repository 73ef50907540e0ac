package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator/group/assignor"
)

// Member types of ConsumerGroupDescribe.
const (
	classicType  = 0
	consumerType = 1
)

// DescribeConsumerGroup returns the row of ConsumerGroupDescribe about a group (rule 8.7.12). Topics that do not exist any
// more are left out of assignments.
func (m *Machine) DescribeConsumerGroup(id string) (*kmsg.ConsumerGroupDescribeResponseGroup, error) {
	members := m.membersOf(id)
	g, ok := members.(*consumerGroup)
	switch {
	case m.groups[id] == nil:
		return nil, refuse(kerr.GroupIDNotFound, "there is no group %s", id)
	case !ok:
		return nil, refuse(kerr.GroupIDNotFound, "group %s is not a consumer group", id)
	}
	row := kmsg.NewConsumerGroupDescribeResponseGroup()
	row.Group, row.State, row.Epoch, row.AssignmentEpoch, row.AssignorName = id, g.state(), g.epoch, g.targetEpoch, g.assignor()
	for _, m := range g.ordered {
		row.Members = append(row.Members, g.describeMember(m))
	}
	return &row, nil
}

func (g *consumerGroup) describeMember(m *consumerMember) kmsg.ConsumerGroupDescribeResponseGroupMember {
	row := kmsg.NewConsumerGroupDescribeResponseGroupMember()
	row.MemberID, row.InstanceID, row.RackID, row.MemberEpoch = m.id, m.instance, m.rack, m.epoch
	row.ClientID, row.ClientHost, row.SubscribedTopics, row.SubscribedTopicRegex = m.clientID, m.clientHost, m.topics, &m.regex
	row.MemberType = consumerType
	if m.classic != nil {
		row.MemberType = classicType
	}
	has := owned{slices.Concat(m.assigned.partitions, m.revoking.partitions), slices.Concat(m.assigned.epochs, m.revoking.epochs)}
	has.sort()
	row.Assignment, row.TargetAssignment = g.describePartitions(has.partitions), g.describePartitions(m.target)
	return row
}

func (g *consumerGroup) describePartitions(set assignor.Partitions) kmsg.Assignment {
	a := kmsg.NewAssignment()
	im := g.machine.image()
	byTopic(set, func(from, to int) {
		t := im.TopicByID(set[from].Topic)
		if t == nil {
			return
		}
		row := kmsg.NewAssignmentTopicPartition()
		row.TopicID, row.Topic = t.ID, t.Name
		for _, p := range set[from:to] {
			row.Partitions = append(row.Partitions, p.Index)
		}
		a.TopicPartitions = append(a.TopicPartitions, row)
	})
	return a
}
