package group

import (
	"cmp"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/metadata"
)

// OffsetFetch decides what a group of an OffsetFetch request is told (rules 8.4.9 and 8.4.10). Topics of q are named; nil
// asks for all that the group has. reply gets the group's row when what it says is committed.
func (m *Machine) OffsetFetch(q *kmsg.OffsetFetchRequestGroup, requireStable bool, reply func(kmsg.OffsetFetchResponseGroup, error), e *coordinator.Effects) {
	row := kmsg.NewOffsetFetchResponseGroup()
	row.Group = q.Group
	g := m.groups[q.Group]
	if g != nil && g.members != nil {
		if err := g.members.checkFetch(q.MemberID, q.MemberEpoch); err != nil {
			row.ErrorCode = code(err)
			e.Answer(func(err error) { reply(row, err) })
			return
		}
	}
	f := fetch{image: m.image(), offsets: &offsets{}, requireStable: requireStable}
	if g != nil {
		f.offsets = &g.offsets
	}
	if q.Topics == nil {
		row.Topics = f.all()
	} else if row.Topics = f.named(q.Topics); f.told > maxTold {
		row.Topics, row.ErrorCode = nil, kerr.InvalidRequest.Code
	}
	e.Answer(func(err error) { reply(row, err) })
}

// maxTold bounds the metadata that one answer repeats, in bytes. A request may name a partition a million times, in four
// bytes each, and with every one gets what was committed with its offset, which may be ten thousand bytes. Kafka has no
// bound.
const maxTold = 64 << 20

// fetch reads the offsets of one group.
type fetch struct {
	image         *metadata.Image
	offsets       *offsets
	requireStable bool
	told          int // bytes of metadata
}

// all returns every partition that the group has committed, by topic and number, but for those of an earlier topic of the
// same name: they are about to be deleted, and who asks takes them for those of the topic that there is.
func (f *fetch) all() []kmsg.OffsetFetchResponseGroupTopic {
	var topics []kmsg.OffsetFetchResponseGroupTopic
	for _, name := range slices.Sorted(maps.Keys(f.offsets.topics)) {
		t := kmsg.NewOffsetFetchResponseGroupTopic()
		t.Topic = name
		known := f.image.Topic(name)
		for partition, x := range f.offsets.topics[name] {
			if known != nil && !x.of(known) {
				continue
			}
			t.Partitions = append(t.Partitions, f.row(name, partition, x, true))
		}
		slices.SortFunc(t.Partitions, func(a, b kmsg.OffsetFetchResponseGroupTopicPartition) int {
			return cmp.Compare(a.Partition, b.Partition)
		})
		if len(t.Partitions) > 0 {
			topics = append(topics, t)
		}
	}
	return topics
}

// named returns the partitions that are asked for.
func (f *fetch) named(asked []kmsg.OffsetFetchRequestGroupTopic) []kmsg.OffsetFetchResponseGroupTopic {
	topics := make([]kmsg.OffsetFetchResponseGroupTopic, len(asked))
	for i := range asked {
		a := &asked[i]
		topics[i] = kmsg.OffsetFetchResponseGroupTopic{Topic: a.Topic, TopicID: a.TopicID}
		rows := make([]kmsg.OffsetFetchResponseGroupTopicPartition, len(a.Partitions))
		for j, partition := range a.Partitions {
			x, ok := f.offsets.get(a.Topic, partition)
			if id := metadata.UUID(a.TopicID); !id.IsZero() && !x.topicID.IsZero() && x.topicID != id {
				ok = false // of an earlier topic of the same name
			}
			rows[j] = f.row(a.Topic, partition, x, ok)
		}
		topics[i].Partitions = rows
	}
	return topics
}

// row is one partition's, committed or not.
func (f *fetch) row(topic string, partition int32, x offset, committed bool) kmsg.OffsetFetchResponseGroupTopicPartition {
	row := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	row.Partition, row.Offset, row.LeaderEpoch, row.Metadata = partition, -1, -1, new(string)
	switch {
	case f.requireStable && f.offsets.hasPending(topic, partition):
		row.ErrorCode = kerr.UnstableOffsetCommit.Code
	case committed:
		row.Offset, row.LeaderEpoch, row.Metadata = x.committed, x.leaderEpoch, &x.metadata
		f.told += len(x.metadata)
	}
	return row
}
