package assert

import (
	"bytes"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/integration/batch"
)

// fetching is about Fetch without a session (chapter 6 of the rules).
var fetching = []assertion{
	{number: "T080", claim: "a Fetch beyond the end is error 1 at once, one at the end waits and is empty", try: fetchAtTheEnd},
	{number: "T081", claim: "the first batch is returned whatever the limits, and no other beside it", try: firstBatch},
	{number: "T082", claim: "a waiting Fetch is answered when there is something", try: fetchWakes},
	{number: "T083", claim: "errors 1 and 75 end the wait of all partitions, error 100 does not", try: errorsAndWaits},
	{number: "T089", claim: "a leader epoch that is too low is error 74, one too high 75", try: leaderEpochs, life: stopped},
	{number: "T090", claim: "a last fetched epoch that ended earlier gets a diverging epoch and no records", try: divergingEpoch, life: stopped},
	{number: "T091", claim: "a Fetch in the middle of a batch returns the whole batch", try: middleOfBatch},
	{number: "T097", claim: "the old id of a topic that was created again is error 100", try: fetchRecreated},
}

func fetchAtTheEnd(c *check) {
	t, n := c.topic(), c.dial()
	n.append(t, records(3))
	for _, offset := range []int64{4, 1000, -1} {
		row := rows(ask[*kmsg.FetchResponse](n, waiting(fetchRequest(at(t, offset)), longWait, 1)))[0]
		c.wantCode("a Fetch out of range", row.ErrorCode, kerr.OffsetOutOfRange)
		equal(c, "high watermark with an error", row.HighWatermark, -1)
	}
	req, sent := waiting(fetchRequest(at(t, 3)), 2*quietFor, 1), time.Now()
	start(n, req)
	n.wantQuiet("a Fetch at the end", sent, 2*quietFor)
	row := rows(answer[*kmsg.FetchResponse](n, req))[0]
	c.wantCode("a Fetch at the end", row.ErrorCode, nil)
	equal(c, "bytes", len(row.RecordBatches), 0)
	equal(c, "high watermark", row.HighWatermark, 3)
	equal(c, "last stable offset", row.LastStableOffset, 3)
	equal(c, "log start", row.LogStartOffset, 0)
}

// firstBatch is rule 6.4.6.
func firstBatch(c *check) {
	t, n := c.topicOf(2, "max.message.bytes=6000000"), c.dial()
	big := batch.New(time.Now().UnixMilli(), batch.Record{Value: bytes.Repeat([]byte("kbroker "), 5_000_000/8)}).Encode()
	resp := ask[*kmsg.ProduceResponse](n, produceRequest(to{t, 0, big}, to{t, 1, records(1).Encode()}))
	for _, row := range resp.Topics[0].Partitions {
		c.wantCode("producing", row.ErrorCode, nil)
	}
	zero, one := at(t, 0), at(t, 0)
	one.partition = 1
	zero.maxBytes, one.maxBytes = 1, 1
	req := fetchRequest(zero, one)
	req.MaxBytes = 1
	both := rows(ask[*kmsg.FetchResponse](n, req))
	equal(c, "bytes of the first partition", len(both[0].RecordBatches), len(big))
	equal(c, "bytes of the second", len(both[1].RecordBatches), 0)
	c.wantCode("the second partition", both[1].ErrorCode, nil)
	equal(c, "high watermark of the second", both[1].HighWatermark, 1)
	c.batches(both[0]) // its CRC
}

func fetchWakes(c *check) {
	t, n, other := c.topic(), c.dial(), c.dial()
	req := waiting(fetchRequest(at(t, 0)), longWait, 1)
	start(n, req)
	if !n.Quiet(quietFor) {
		c.Fatal("a Fetch of an empty partition was answered")
	}
	other.append(t, records(2))
	row := rows(answer[*kmsg.FetchResponse](n, req))[0] // within half of longWait
	equal(c, "batches", len(c.batches(row)), 1)
	equal(c, "high watermark", row.HighWatermark, 2)
}

func errorsAndWaits(c *check) {
	good, bad, n := c.topic(), c.topic(), c.dial()
	beyond, future := at(bad, 17), at(bad, 0)
	future.leaderEpoch = 1000
	for _, r := range []struct {
		part from
		want *kerr.Error
	}{{beyond, kerr.OffsetOutOfRange}, {future, kerr.UnknownLeaderEpoch}} {
		resp := ask[*kmsg.FetchResponse](n, waiting(fetchRequest(at(good, 0), r.part), longWait, 1))
		c.wantCode("the partition that waits", rows(resp)[0].ErrorCode, nil)
		c.wantCode("the one beside it", rows(resp)[1].ErrorCode, r.want)
	}
	unknown := topic{name: "unknown", id: [16]byte{9}}
	req, sent := waiting(fetchRequest(at(good, 0), at(unknown, 0)), 2*quietFor, 1), time.Now()
	start(n, req)
	n.wantQuiet("a partition beside an unknown topic id", sent, 2*quietFor)
	found := map[int16]int{}
	for _, row := range rows(answer[*kmsg.FetchResponse](n, req)) {
		found[row.ErrorCode]++
	}
	if found[0] != 1 || found[kerr.UnknownTopicID.Code] != 1 {
		c.Errorf("error codes %v, want one row without and one UNKNOWN_TOPIC_ID", found)
	}
}

// leaderEpochs is rule 6.3.4. Since the check comes before that of leadership, a client with old metadata learns the
// epoch first; on a cluster of one only the errors can be seen.
func leaderEpochs(c *check) {
	t := c.topic()
	c.dial().append(t, records(2))
	c.awaitRestart()
	n := c.dialAgain(t)
	now := n.metadataOf(t.name).Partitions[0].LeaderEpoch
	for epoch, want := range map[int32]*kerr.Error{
		now - 1: kerr.FencedLeaderEpoch, now: nil, now + 1: kerr.UnknownLeaderEpoch, -1: nil,
	} {
		p := at(t, 0)
		p.leaderEpoch = epoch
		c.wantCode("Fetch", n.fetch(p).ErrorCode, want)
		req := listOffsetsRequest(c, query{t, 0, latest})
		req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
		c.wantCode("ListOffsets", ask[*kmsg.ListOffsetsResponse](n, req).Topics[0].Partitions[0].ErrorCode, want)
		c.wantCode("OffsetForLeaderEpoch", n.endOfEpoch(t, epoch, 0).ErrorCode, want)
	}
}

// divergingEpoch is rule 6.3.6: a reader that says it has offset 12 of the epoch before the restart, which ended at 10,
// has records that the log has not.
func divergingEpoch(c *check) {
	t := c.topic()
	n := c.dial()
	n.append(t, records(4))
	n.append(t, records(6))
	before := n.metadataOf(t.name).Partitions[0].LeaderEpoch
	c.awaitRestart()
	n = c.dialAgain(t)
	equal(c, "base offset after the restart", n.append(t, records(5)), 10)
	now := n.metadataOf(t.name).Partitions[0].LeaderEpoch
	if now <= before {
		c.Fatalf("leader epoch %d before and %d after a restart", before, now)
	}
	diverged := at(t, 12)
	diverged.lastEpoch = before
	row := rows(ask[*kmsg.FetchResponse](n, waiting(fetchRequest(diverged), longWait, 1<<20)))[0]
	c.wantCode("a diverged reader", row.ErrorCode, nil)
	equal(c, "bytes", len(row.RecordBatches), 0)
	equal(c, "diverging epoch", row.DivergingEpoch.Epoch, before)
	equal(c, "its end", row.DivergingEpoch.EndOffset, 10)

	for _, good := range []from{{t, 0, 12, 1 << 20, now, now}, {t, 0, 10, 1 << 20, now, before}} {
		row := n.fetch(good)
		c.wantCode("a reader in step", row.ErrorCode, nil)
		equal(c, "diverging epoch", row.DivergingEpoch.Epoch, -1)
		equal(c, "base offset read", c.batches(row)[0].BaseOffset, 10)
	}
}

func middleOfBatch(c *check) {
	t, n := c.topic(), c.dial()
	n.append(t, records(3))
	n.append(t, records(10))
	n.append(t, records(2))
	for offset, base := range map[int64]int64{0: 0, 2: 0, 3: 3, 8: 3, 12: 3, 13: 13, 14: 13} {
		list := c.batches(n.fetch(at(t, offset)))
		equal(c, "base offset of the first batch", list[0].BaseOffset, base)
		equal(c, "base offset of the last batch", list[len(list)-1].BaseOffset, 13)
	}
}

func fetchRecreated(c *check) {
	t, n := c.topic(), c.dial()
	n.append(t, records(1))
	n.deleteTopic(t)
	row := kmsg.NewCreateTopicsRequestTopic()
	row.Topic, row.NumPartitions, row.ReplicationFactor = t.name, 1, 1
	again := c.create(row)
	if again.id == t.id {
		c.Fatal("the new topic has the old one's id")
	}
	c.wantCode("Fetch by the old id", n.fetch(at(t, 0)).ErrorCode, kerr.UnknownTopicID)
	c.wantCode("Fetch by the new id", n.fetch(at(again, 0)).ErrorCode, nil)
	equal(c, "log end of the new topic", n.end(again), 0)
}
