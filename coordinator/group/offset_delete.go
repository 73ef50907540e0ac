package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
)

// OffsetDelete decides an OffsetDelete request, which has only partitions that exist (rule 8.4.15). reply gets a row for
// each, or an error of the whole request.
func (m *Machine) OffsetDelete(req *kmsg.OffsetDeleteRequest, reply func([]kmsg.OffsetDeleteResponseTopic, error), e *coordinator.Effects) {
	g := m.groups[req.Group]
	if err := g.checkOffsetDelete(); err != nil {
		e.Answer(func(failure error) {
			if failure == nil {
				failure = err
			}
			reply(nil, failure)
		})
		return
	}
	topics := make([]kmsg.OffsetDeleteResponseTopic, 0, len(req.Topics))
	for _, t := range req.Topics {
		row := kmsg.NewOffsetDeleteResponseTopic()
		row.Topic = t.Topic
		subscribed := g.members != nil && g.members.subscribes(t.Topic)
		for _, p := range t.Partitions {
			r := kmsg.NewOffsetDeleteResponseTopicPartition()
			r.Partition = p.Partition
			if subscribed {
				r.ErrorCode = kerr.GroupSubscribedToTopic.Code
			} else if _, ok := g.offsets.get(t.Topic, p.Partition); ok {
				tombstoneOffset(e, g.ID, t.Topic, p.Partition)
			}
			row.Partitions = append(row.Partitions, r)
		}
		topics = append(topics, row)
	}
	e.Answer(func(err error) { reply(topics, err) })
}

// checkOffsetDelete says whether offsets of a group may be deleted at all; g may be nil. A group of members that are no
// consumers has no subscriptions to go by: it must be empty.
func (g *Group) checkOffsetDelete() error {
	switch {
	case g == nil:
		return kerr.GroupIDNotFound
	case g.members == nil:
		return nil
	}
	if _, empty := g.members.empty(); !empty && g.members.protocolType() != consumerProtocolType {
		return kerr.NonEmptyGroup
	}
	return nil
}

// DeleteGroup decides the deletion of one group (rule 8.4.16). reply gets nil when the deletion is committed.
func (m *Machine) DeleteGroup(id string, reply coordinator.Reply, e *coordinator.Effects) {
	g := m.groups[id]
	var refused error
	if g == nil {
		refused = kerr.GroupIDNotFound
	} else if _, empty := g.empty(); !empty {
		refused = kerr.NonEmptyGroup
	} else {
		g.tombstones(e)
	}
	e.Answer(func(err error) {
		if err == nil {
			err = refused
		}
		reply(err)
	})
}

// tombstones wants everything of the group deleted. The group itself goes last, so that what a failure leaves of it can
// be deleted again.
func (g *Group) tombstones(e *coordinator.Effects) {
	g.offsets.all(func(topic string, partition int32) { tombstoneOffset(e, g.ID, topic, partition) })
	g.tombstone(e)
}
