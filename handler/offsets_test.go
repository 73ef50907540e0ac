package handler

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/metadata"
)

// newGroupNode is a node with topic t, of three partitions, and a loaded group coordinator.
func newGroupNode(t testing.TB, durability log.Durability) (*dataNode, metadata.UUID) {
	t.Helper()
	n := newDataNode(t, durability)
	id := n.groupTopics()
	n.await()
	return n, id
}

// groupTopics makes the topic of the group coordinator, and topic t.
func (n *dataNode) groupTopics() metadata.UUID {
	n.topic(group.OffsetsTopic, 3)
	return n.topic("t", 3)
}

// await waits until the group coordinator has loaded its partitions.
func (n *dataNode) await() {
	n.t.Helper()
	c := n.connect()
	for range 10_000 {
		if c.ask(kmsg.NewPtrListGroupsRequest()).(*kmsg.ListGroupsResponse).ErrorCode == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	n.t.Fatal("the group coordinator is not there after 10 s")
}

// commitOf is an OffsetCommit of a simple consumer for partition 0 of topic t and some more.
func commitOf(version int16, id metadata.UUID, groupID string, offset int64, partitions ...int32) *kmsg.OffsetCommitRequest {
	q := kmsg.NewPtrOffsetCommitRequest()
	q.SetVersion(version)
	q.Group, q.Generation = groupID, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.TopicID = "t", id
	for _, i := range partitions {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.Metadata = i, offset, new("m")
		t.Partitions = append(t.Partitions, p)
	}
	q.Topics = append(q.Topics, t)
	return q
}

// fetchOf is an OffsetFetch of one group: of topic t's partitions, or of everything without any.
func fetchOf(version int16, id metadata.UUID, groupID string, partitions ...int32) *kmsg.OffsetFetchRequest {
	q := kmsg.NewPtrOffsetFetchRequest()
	q.SetVersion(version)
	q.Group = groupID
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = groupID
	if len(partitions) > 0 {
		q.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: partitions}}
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", TopicID: id, Partitions: partitions}}
	}
	q.Groups = append(q.Groups, g)
	return q
}

// T129: what is committed in any version is fetched in any version.
func TestT129OffsetsByVersion(t *testing.T) {
	n, id := newGroupNode(t, log.Fsync)
	c := n.connect()
	offset := int64(0)
	for commit := int16(2); commit <= 10; commit++ {
		offset++
		resp := c.ask(commitOf(commit, id, "g", offset, 0, 2)).(*kmsg.OffsetCommitResponse)
		for _, p := range resp.Topics[0].Partitions {
			checkCode(t, "commit", p.ErrorCode, nil)
		}
		for version := int16(1); version <= 10; version++ {
			resp := c.ask(fetchOf(version, id, "g", 0, 1, 2)).(*kmsg.OffsetFetchResponse)
			if version < 8 {
				for i, p := range resp.Topics[0].Partitions {
					checkFetched(t, version, i, p.Offset, p.Metadata, p.ErrorCode, offset)
				}
				continue
			}
			for i, p := range resp.Groups[0].Topics[0].Partitions {
				checkFetched(t, version, i, p.Offset, p.Metadata, p.ErrorCode, offset)
			}
		}
	}
}

func checkFetched(t *testing.T, version int16, partition int, offset int64, metadata *string, code int16, want int64) {
	t.Helper()
	text := "m"
	if partition == 1 {
		want, text = -1, ""
	}
	if offset != want || code != 0 || metadata == nil || *metadata != text {
		t.Errorf("v%d, partition %d: offset %d, error %d", version, partition, offset, code)
	}
}

// Rules 8.4.1 and 8.4.2: what is refused, by row.
func TestOffsetCommitRefused(t *testing.T) {
	n, id := newGroupNode(t, log.Replicated)
	c := n.connect()
	rows := func(q *kmsg.OffsetCommitRequest) map[int32]int16 {
		t.Helper()
		codes := map[int32]int16{}
		for _, topic := range c.ask(q).(*kmsg.OffsetCommitResponse).Topics {
			for _, p := range topic.Partitions {
				codes[p.Partition] = p.ErrorCode
			}
		}
		return codes
	}
	got := rows(commitOf(9, id, "g", 1, 0, 7, -1, 2))
	checkCode(t, "known", got[0], nil)
	checkCode(t, "unknown partition", got[7], kerr.UnknownTopicOrPartition)
	checkCode(t, "negative partition", got[-1], kerr.UnknownTopicOrPartition)
	checkCode(t, "known after unknown", got[2], nil)
	checkCode(t, "unknown id", rows(commitOf(10, metadata.UUID{9}, "g", 1, 0))[0], kerr.UnknownTopicID)
	q := commitOf(9, id, "g", 1, 0)
	q.Topics[0].Topic = "nope"
	checkCode(t, "unknown topic", rows(q)[0], kerr.UnknownTopicOrPartition)
	q = commitOf(8, id, "new", 1, 0)
	q.Generation = 0
	checkCode(t, "generation of no group", rows(q)[0], kerr.IllegalGeneration)
	q = commitOf(9, id, "new", 1, 0)
	q.Generation = 0
	checkCode(t, "generation of no group", rows(q)[0], kerr.GroupIDNotFound)
	q = commitOf(9, id, "g", 1, 0)
	q.Generation = 0
	checkCode(t, "generation of a simple group", rows(q)[0], kerr.UnknownMemberID)
	q = commitOf(9, id, "g", 1, 0, 1)
	long := string(make([]byte, 4097))
	q.Topics[0].Partitions[1].Metadata = &long
	got = rows(q)
	checkCode(t, "short metadata", got[0], nil)
	checkCode(t, "long metadata", got[1], kerr.OffsetMetadataTooLarge)
}
