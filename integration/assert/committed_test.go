package assert

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// committed is about committed offsets, and about members of the KIP-848 protocol who commit (chapters 8.4 and 8.7 of the
// rules).
var committed = []assertion{
	{number: "T129", claim: "4097 bytes of commit metadata are refused for their partition only", try: commitMetadata},
	{number: "T130", claim: "what was never committed is offset -1 without an error, for groups that do not exist, too", try: fetchCommitted},
	{number: "T131", claim: "a group in use is not deleted, nor its offsets of topics that members consume", try: deleteInUse},
	{number: "T135", claim: "a member of KIP-848 is fenced by its epoch, but for a retry with the epoch before", try: memberEpochs},
	{number: "T138", claim: "a commit with an old member epoch is refused for what the member did not have in it", try: staleCommit},
}

// commit commits offset 5 in each partition of a topic, one for each text of metadata, and returns the codes.
func (g *groupOf) commit(n *conn, t topic, member string, epoch int32, metadata ...string) (codes []int16) {
	g.c.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 9, g.id, member, epoch
	row := kmsg.NewOffsetCommitRequestTopic()
	row.Topic = t.name
	for i, text := range metadata {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.Metadata = int32(i), 5, &text
		row.Partitions = append(row.Partitions, p)
	}
	req.Topics = append(req.Topics, row)
	for _, p := range ask[*kmsg.OffsetCommitResponse](n, req).Topics[0].Partitions {
		codes = append(codes, p.ErrorCode)
	}
	return codes
}

func commitMetadata(c *check) {
	t, g, n := c.topicOf(2), c.group(), c.dial()
	codes := g.commit(n, t, "", -1, strings.Repeat("x", 4097), strings.Repeat("x", 4096))
	c.wantCode("4097 bytes", codes[0], kerr.OffsetMetadataTooLarge)
	c.wantCode("4096 bytes", codes[1], nil)
}

func fetchCommitted(c *check) {
	t, g, n := c.topicOf(2), c.group(), c.dial()
	nobody := c.group()
	c.wantCode("a commit", g.commit(n, t, "", -1, "m")[0], nil)
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version = 8
	for _, group := range []*groupOf{nobody, g} {
		row := kmsg.NewOffsetFetchRequestGroup()
		row.Group, row.Topics = group.id, []kmsg.OffsetFetchRequestGroupTopic{{Topic: t.name, Partitions: []int32{0, 1}}}
		req.Groups = append(req.Groups, row)
	}
	resp := ask[*kmsg.OffsetFetchResponse](n, req)
	for i, want := range [][]int64{{-1, -1}, {5, -1}} {
		c.wantCode("the group", resp.Groups[i].ErrorCode, nil)
		for _, p := range resp.Groups[i].Topics[0].Partitions {
			c.wantCode("the partition", p.ErrorCode, nil)
			equal(c, "offset", p.Offset, want[p.Partition])
			equal(c, "metadata", *p.Metadata, map[int64]string{-1: "", 5: "m"}[p.Offset])
		}
	}
	req.Groups[1].Topics = nil // all that the group has
	all := ask[*kmsg.OffsetFetchResponse](n, req).Groups[1].Topics
	equal(c, "topics of the group", len(all), 1)
	equal(c, "partitions of the group", len(all[0].Partitions), 1)
}

func deleteInUse(c *check) {
	t, g, n := c.topic(), c.group(), c.dial()
	g.joinNew(n, "m", t)
	del := newest(c, kmsg.NewPtrDeleteGroupsRequest())
	del.Groups = []string{g.id}
	c.wantCode("deleting a group with a member", ask[*kmsg.DeleteGroupsResponse](n, del).Groups[0].ErrorCode, kerr.NonEmptyGroup)
	del.Groups = []string{c.group().id}
	c.wantCode("deleting no group", ask[*kmsg.DeleteGroupsResponse](n, del).Groups[0].ErrorCode, kerr.GroupIDNotFound)
	offsets := newest(c, kmsg.NewPtrOffsetDeleteRequest())
	offsets.Group = g.id
	offsets.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: t.name, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}}}
	row := ask[*kmsg.OffsetDeleteResponse](n, offsets).Topics[0].Partitions[0]
	c.wantCode("deleting offsets of a topic that is consumed", row.ErrorCode, kerr.GroupSubscribedToTopic)
}

// beatNew sends a heartbeat of KIP-848. Without topics it says only that the member is alive.
func (g *groupOf) beatNew(n *conn, member string, epoch int32, topics ...topic) *kmsg.ConsumerGroupHeartbeatResponse {
	g.c.Helper()
	req := newest(g.c, kmsg.NewPtrConsumerGroupHeartbeatRequest())
	req.Group, req.MemberID, req.MemberEpoch = g.id, member, epoch
	if epoch == 0 {
		req.RebalanceTimeoutMillis, req.Topics = 30_000, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	for _, t := range topics {
		req.SubscribedTopicNames = append(req.SubscribedTopicNames, t.name)
	}
	return ask[*kmsg.ConsumerGroupHeartbeatResponse](n, req)
}

// joinNew makes a member of KIP-848 and returns its epoch.
func (g *groupOf) joinNew(n *conn, member string, topics ...topic) int32 {
	g.c.Helper()
	resp := g.beatNew(n, member, 0, topics...)
	g.c.wantCode("joining", resp.ErrorCode, nil)
	if resp.MemberEpoch < 1 || resp.Assignment == nil {
		g.c.Errorf("a new member has epoch %d and assignment %v", resp.MemberEpoch, resp.Assignment)
	}
	return resp.MemberEpoch
}

// subscribeAnew joins, and takes up another topic later. It returns the member, which has both in its last epoch, and the
// epoch before, in which it had the first.
func (g *groupOf) subscribeAnew(first, second topic) (m *consumer, before int32) {
	g.c.Helper()
	m = g.consumer("m", first)
	m.eventually("the member has the first topic", func() bool { m.beat(); return m.owned[partitionOf(first.id, 0)] })
	m.req.SubscribedTopicNames = []string{first.name, second.name}
	m.eventually("the member has the second topic", func() bool {
		was := m.req.MemberEpoch
		m.beat()
		if m.req.MemberEpoch > was {
			before = was
		}
		return m.owned[partitionOf(second.id, 0)]
	})
	return m, before
}

func memberEpochs(c *check) {
	g := c.group()
	m, before := g.subscribeAnew(c.topic(), c.topic())
	n, after := m.conn, m.req.MemberEpoch
	c.wantCode("the next epoch", g.beatNew(n, "m", after+1).ErrorCode, kerr.FencedMemberEpoch)
	c.wantCode("the epoch before, without saying what it owns", g.beatNew(n, "m", before).ErrorCode, kerr.FencedMemberEpoch)
	c.wantCode("nobody", g.beatNew(n, "nobody", 3).ErrorCode, kerr.UnknownMemberID)
	retry := newest(c, kmsg.NewPtrConsumerGroupHeartbeatRequest())
	retry.Group, retry.MemberID, retry.MemberEpoch = g.id, "m", before
	retry.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{} // it owns nothing yet
	resp := ask[*kmsg.ConsumerGroupHeartbeatResponse](n, retry)
	c.wantCode("the epoch before, with what it owns", resp.ErrorCode, nil)
	equal(c, "epoch", resp.MemberEpoch, after)
}

func staleCommit(c *check) {
	first, second, g := c.topic(), c.topic(), c.group()
	m, before := g.subscribeAnew(first, second)
	n, after := m.conn, m.req.MemberEpoch
	c.wantCode("an old epoch, for a partition that came later", g.commit(n, second, "m", before, "")[0], kerr.StaleMemberEpoch)
	c.wantCode("an old epoch, for a partition that it had then", g.commit(n, first, "m", before, "")[0], nil)
	c.wantCode("the epoch", g.commit(n, second, "m", after, "")[0], nil)
}
