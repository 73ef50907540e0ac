package assert

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/integration/batch"
)

// offsets is about ListOffsets and OffsetForLeaderEpoch (chapters 6.7 and 6.8 of the rules).
var offsets = []assertion{
	{number: "T093", claim: "ListOffsets finds the end, the start, the newest record and any time", try: listOffsets},
	{number: "T094", claim: "timestamp -3 in ListOffsets v6 is error 35", try: maxTimestampTooEarly},
	{number: "T095", claim: "OffsetForLeaderEpoch says where each epoch ended", try: epochEnds, life: stopped},
}

func listOffsets(c *check) {
	t, n := c.topic(), c.dial()
	// Times 1000, 1010 and 1030 at offsets 0 to 2, and 1020, 1050 and 1040 at offsets 3 to 5.
	for _, times := range [][]int64{{0, 10, 30}, {20, 50, 40}} {
		var list []batch.Record
		for _, ms := range times {
			list = append(list, batch.Record{TimestampDelta: ms, Value: []byte("v")})
		}
		n.append(t, batch.New(1000, list...))
	}
	epoch := n.metadataOf(t.name).Partitions[0].LeaderEpoch
	for _, q := range []struct {
		what                 string
		asked, time, offset  int64
		leaderEpoch, epochIn int32
	}{
		{"latest", latest, -1, 6, epoch, epoch},
		{"earliest", earliest, -1, 0, epoch, -1},
		{"the newest record", maxTimestamp, 1050, 4, epoch, -1},
		{"before the first", 1, 1000, 0, epoch, -1},
		{"a record's time", 1010, 1010, 1, epoch, -1},
		{"between two records", 1011, 1030, 2, epoch, -1},
		{"a time that only a later one has passed", 1040, 1050, 4, epoch, -1},
		{"after the last", 1051, -1, -1, -1, -1},
	} {
		req := listOffsetsRequest(c, query{t, 0, q.asked})
		req.Topics[0].Partitions[0].CurrentLeaderEpoch = q.epochIn
		row := ask[*kmsg.ListOffsetsResponse](n, req).Topics[0].Partitions[0]
		c.wantCode(q.what, row.ErrorCode, nil)
		equal(c, q.what+": time", row.Timestamp, q.time)
		equal(c, q.what+": offset", row.Offset, q.offset)
		equal(c, q.what+": leader epoch", row.LeaderEpoch, q.leaderEpoch)
	}
	for _, row := range n.listOffsets(query{t, 0, latest}, query{t, 0, earliest}) {
		c.wantCode("a partition asked for twice", row.ErrorCode, kerr.InvalidRequest)
	}
	empty := c.topic()
	for _, asked := range []int64{maxTimestamp, 1000} {
		row := n.listOffsets(query{empty, 0, asked})[0]
		c.wantCode("an empty log", row.ErrorCode, nil)
		equal(c, "an empty log: offset", row.Offset, -1)
	}
}

func maxTimestampTooEarly(c *check) {
	t, n := c.topic(), c.dial()
	for v, want := range map[int16]*kerr.Error{6: kerr.UnsupportedVersion, 7: nil} {
		req := listOffsetsRequest(c, query{t, 0, maxTimestamp})
		req.Version = v
		c.wantCode(fmt.Sprintf("-3 in v%d", v), ask[*kmsg.ListOffsetsResponse](n, req).Topics[0].Partitions[0].ErrorCode, want)
	}
}

// endOfEpoch asks OffsetForLeaderEpoch about partition 0.
func (n *conn) endOfEpoch(t topic, current, epoch int32) kmsg.OffsetForLeaderEpochResponseTopicPartition {
	n.c.Helper()
	req := newest(n.c, kmsg.NewPtrOffsetForLeaderEpochRequest())
	req.ReplicaID = -1
	row, part := kmsg.NewOffsetForLeaderEpochRequestTopic(), kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	part.CurrentLeaderEpoch, part.LeaderEpoch = current, epoch
	row.Topic, row.Partitions = t.name, append(row.Partitions, part)
	req.Topics = append(req.Topics, row)
	return ask[*kmsg.OffsetForLeaderEpochResponse](n, req).Topics[0].Partitions[0]
}

// epochEnds is rule 6.8.2. A log that was empty at the restart has no trace of the epoch before.
func epochEnds(c *check) {
	old, young := c.topic(), c.topic()
	n := c.dial()
	n.append(old, records(4))
	before := n.metadataOf(old.name).Partitions[0].LeaderEpoch
	c.awaitRestart()
	n = c.dialAgain(old, young)
	now := n.metadataOf(old.name).Partitions[0].LeaderEpoch
	n.append(old, records(3))
	n.append(young, records(2))
	for _, q := range []struct {
		what         string
		topic        topic
		asked, epoch int32
		end          int64
	}{
		{"the current epoch", old, now, now, 7},
		{"the epoch before", old, before, before, 4},
		{"an epoch to come", old, now + 1, -1, -1},
		{"an epoch before the first", young, before, before, 0},
	} {
		row := n.endOfEpoch(q.topic, -1, q.asked)
		c.wantCode(q.what, row.ErrorCode, nil)
		equal(c, q.what+": epoch", row.LeaderEpoch, q.epoch)
		equal(c, q.what+": end", row.EndOffset, q.end)
	}
	if now > before+1 { // an epoch in which nothing was written
		row := n.endOfEpoch(old, -1, before+1)
		equal(c, "an empty epoch: epoch", row.LeaderEpoch, before)
		equal(c, "an empty epoch: end", row.EndOffset, 4)
	}
}
