package group

import (
	"fmt"
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group/assignor"
	"github.com/kbroker/kbroker/metadata"
)

// TestRetentionForEver: a commit that is to be kept for as long as a request can say (rule 8.4.5) has not expired.
func TestRetentionForEver(t *testing.T) {
	l := newLab()
	l.config.OffsetMetadataMaxBytes = 100
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation, req.RetentionTimeMillis = 4, labGroup, -1, math.MaxInt64
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.Partitions = "t", []kmsg.OffsetCommitRequestTopicPartition{{Partition: 0, Offset: 7}}
	req.Topics = append(req.Topics, topic)
	l.decide(func(e *effects) {
		l.m.OffsetCommit(l.now, req, func([]kmsg.OffsetCommitResponseTopic, error) {}, e)
	})
	x, ok := l.m.groups[labGroup].offsets.get("t", 0)
	if !ok || x.committed != 7 || x.expireTime != math.MaxInt64 {
		t.Errorf("committed: %v, %+v", ok, x)
	}
}

// TestCommitOfAnEarlierEpoch: of a commit in an epoch that is over, each partition goes through that the member has owned
// since then. There are so many that a search through all of them for each would be noticed.
func TestCommitOfAnEarlierEpoch(t *testing.T) {
	const many = 100_000
	l := newConsumerLab(t)
	l.unchecked = true
	g := l.m.host(l.m.newConsumerGroup("g"))
	current := &memberCurrent{epoch: 9, previous: 8}
	req := &kmsg.OffsetCommitRequest{Version: 9, Group: "g", MemberID: "m", Generation: 8}
	topic := kmsg.OffsetCommitRequestTopic{Topic: "a", TopicID: topicID("a")}
	for i := range int32(many) {
		switch p := (assignor.Partition{Topic: topicID("a"), Index: i}); i % 4 {
		case 0:
			current.assigned.add(p, 8)
		case 1:
			current.assigned.add(p, 9)
		case 2:
			current.revoking.add(p, 3)
		}
		topic.Partitions = append(topic.Partitions, kmsg.OffsetCommitRequestTopicPartition{Partition: i})
	}
	req.Topics = append(req.Topics, topic)
	memberRecord{"m", &memberInfo{}}.apply(g)
	currentRecord{"m", current}.apply(g)
	var rows []kmsg.OffsetCommitResponseTopic
	l.decide(func(e *coordinator.Effects) {
		l.m.OffsetCommit(l.now, req, func(r []kmsg.OffsetCommitResponseTopic, _ error) { rows = r }, e)
	})
	for _, p := range rows[0].Partitions {
		if good := p.Partition%2 == 0; good != (p.ErrorCode == 0) || !good && p.ErrorCode != kerr.StaleMemberEpoch.Code {
			t.Fatalf("partition %d: %v", p.Partition, kerr.ErrorForCode(p.ErrorCode))
		}
	}
	if len(rows[0].Partitions) != many {
		t.Errorf("%d rows", len(rows[0].Partitions))
	}
}

// TestOffsetsOfAnEarlierTopic: what was committed of a topic says nothing about another of its name, before anybody came to
// delete it too, whether it is asked for by name or with all that there is.
func TestOffsetsOfAnEarlierTopic(t *testing.T) {
	l := newConsumerLab(t)
	l.topic("a", 1)
	for name, id := range map[string]metadata.UUID{"a": {9}, "gone": {8}} {
		x := offset{committed: 7, expireTime: -1, topicID: id}
		l.decide(func(e *coordinator.Effects) { e.Append(appendOffsetKey(nil, "g", name, 0), appendOffsetValue(nil, &x)) })
	}
	fetch := func(topics []kmsg.OffsetFetchRequestGroupTopic) (told string) {
		q := &kmsg.OffsetFetchRequestGroup{Group: "g", MemberEpoch: -1, Topics: topics}
		l.decide(func(e *coordinator.Effects) {
			l.m.OffsetFetch(q, false, func(row kmsg.OffsetFetchResponseGroup, err error) {
				for _, t := range row.Topics {
					told += fmt.Sprintf("%s:%d ", t.Topic, t.Partitions[0].Offset)
				}
			}, e)
		})
		return told
	}
	named := []kmsg.OffsetFetchRequestGroupTopic{{Topic: "a", TopicID: topicID("a"), Partitions: []int32{0}}, {Topic: "gone", Partitions: []int32{0}}}
	if got := fetch(named); got != "a:-1 gone:7 " {
		t.Errorf("by name: %s", got)
	}
	if got := fetch(nil); got != "gone:7 " {
		t.Errorf("all: %s", got)
	}
}
