package assert

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/integration/batch"
	"github.com/kbroker/kbroker/integration/rawconn"
)

// producing is about Produce and what becomes of batches (chapters 2 and 6.1 of the rules).
var producing = []assertion{
	{number: "T030", claim: "acks=2 is error 21, and nothing is appended", try: acksOutOfRange},
	{number: "T031", claim: "two batches, no bytes, and magic 1 are error 87 each", try: notOneBatch},
	{number: "T032", claim: "a flipped payload bit is error 2; the leader epoch is outside the CRC", try: flippedBits},
	{number: "T033", claim: "a batch of max.message.bytes is fine, one more byte is error 10", try: messageSize},
	{number: "T034", claim: "wrong counts, the control bit and a base offset are error 87", try: wrongHeaders},
	{number: "T035", claim: "records without a key on a compacted topic are error 87, each named", try: compactedWithoutKey},
	{number: "T036", claim: "a timestamp too far ahead is error 32, each record named", try: timestampAhead},
	{number: "T037", claim: "LogAppendTime sets bit 3, the time that the answer says, and a right CRC", try: logAppendTime},
	{number: "T038", claim: "compression.type=zstd makes zstd of a gzip batch and keeps the producer's fields", try: recompression},
	{number: "T039", claim: "compression.type=producer stores what was sent, but base offset and leader epoch", try: storedAsSent},
	{number: "T040", claim: "acks=0 is answered by nothing, or by a close if it fails", try: acksZero},
	{number: "T041", claim: "__consumer_offsets is error 17, except for client id __admin_client", try: internalTopic},
	{number: "T044", claim: "an answer that sends a client elsewhere names the leader on the client's listener", try: leaderHints, life: stopped},
	{number: "T045", claim: "an unknown topic id is error 100", try: produceUnknownID},
	{number: "T046", claim: "zstd by Produce v6 is error 76; Fetch v9 returns a zstd batch", try: zstdByOldVersions},
}

func acksOutOfRange(c *check) {
	t, n := c.topic(), c.dial()
	for _, acks := range []int16{2, -2} {
		req := produceRequest(to{t, 0, records(1).Encode()})
		req.Acks = acks
		row := ask[*kmsg.ProduceResponse](n, req).Topics[0].Partitions[0]
		c.wantCode(fmt.Sprintf("acks=%d", acks), row.ErrorCode, kerr.InvalidRequiredAcks)
		equal(c, "base offset", row.BaseOffset, -1)
	}
	equal(c, "log end", n.end(t), 0)
}

// notOneBatch leaves null records to kbroker: Kafka fails inside and never answers (rule 2.4.1).
func notOneBatch(c *check) {
	t, n := c.topic(), c.dial()
	one := records(1).Encode()
	bad := map[string][]byte{
		"two batches": append(slices.Clone(one), one...),
		"no bytes":    {},
		"magic 1":     batch.EncodeLegacy(1, batch.KV("k", "v")),
		"magic 0":     batch.EncodeLegacy(0, batch.KV("k", "v")),
	}
	if c.b.target == kbroker {
		bad["null"] = nil
	}
	for what, records := range bad {
		c.wantCode(what, n.produce(t, records).ErrorCode, kerr.InvalidRecord)
	}
	equal(c, "log end", n.end(t), 0)
}

func flippedBits(c *check) {
	t, n := c.topic(), c.dial()
	good := records(3).Encode()
	for _, position := range []int{batch.AtAttributes, batch.HeaderSize, len(good) - 1} {
		bad := slices.Clone(good)
		bad[position] ^= 0x80
		c.wantCode(fmt.Sprintf("byte %d flipped", position), n.produce(t, bad).ErrorCode, kerr.CorruptMessage)
	}
	equal(c, "log end after damaged batches", n.end(t), 0)
	odd := slices.Clone(good)
	odd[batch.AtLeaderEpoch+3] ^= 1
	c.wantCode("another leader epoch in the batch", n.produce(t, odd).ErrorCode, nil)
	stored := c.batches(n.fetch(at(t, 0)))
	equal(c, "batches stored", len(stored), 1)
	equal(c, "leader epoch stored", stored[0].LeaderEpoch, n.metadataOf(t.name).Partitions[0].LeaderEpoch)
}

func messageSize(c *check) {
	const limit = 1000
	t, n := c.topic(fmt.Sprint("max.message.bytes=", limit)), c.dial()
	of := func(size int) []byte {
		b := batch.New(time.Now().UnixMilli(), batch.KV("k", ""))
		b.Records[0].Value = make([]byte, size-len(b.Encode())-2) // the lengths of record and value grow by a byte each
		return b.Encode()
	}
	equal(c, "size of the batch", len(of(limit)), limit)
	c.wantCode("a batch of max.message.bytes", n.produce(t, of(limit)).ErrorCode, nil)
	c.wantCode("one byte more", n.produce(t, of(limit+1)).ErrorCode, kerr.MessageTooLarge)
	equal(c, "log end", n.end(t), 1)
}

func wrongHeaders(c *check) {
	t, n := c.topic(), c.dial()
	for what, spoil := range map[string]func(*batch.Batch){
		"a count that is one too low":         func(b *batch.Batch) { b.Count-- },
		"a last offset that is one too low":   func(b *batch.Batch) { b.LastOffsetDelta-- },
		"a last offset that is one too high":  func(b *batch.Batch) { b.LastOffsetDelta++ },
		"no records":                          func(b *batch.Batch) { b.Records, b.Count, b.LastOffsetDelta = nil, 0, -1 },
		"the control bit":                     func(b *batch.Batch) { b.Attributes |= batch.Control },
		"base offset 5":                       func(b *batch.Batch) { b.BaseOffset = 5 },
		"a producer id without a sequence":    func(b *batch.Batch) { b.ProducerID, b.ProducerEpoch = 7, 0 },
		"a last offset beyond what can be":    func(b *batch.Batch) { b.LastOffsetDelta = 1<<31 - 1 },
		"a count of records that aren't here": func(b *batch.Batch) { b.Count, b.LastOffsetDelta = 1<<31-1, 1<<31-2 },
	} {
		b := records(3)
		spoil(b)
		c.wantCode(what, n.produce(t, b.Encode()).ErrorCode, kerr.InvalidRecord)
	}
	equal(c, "log end", n.end(t), 0)
}

// wantRecordErrors asserts which records an answer blames.
func wantRecordErrors(c *check, row kmsg.ProduceResponseTopicPartition, want ...int32) {
	c.Helper()
	var blamed []int32
	for _, e := range row.ErrorRecords {
		blamed = append(blamed, e.RelativeOffset)
		if e.ErrorMessage == nil || *e.ErrorMessage == "" {
			c.Errorf("record %d is blamed without a reason", e.RelativeOffset)
		}
	}
	if !slices.Equal(blamed, want) {
		c.Errorf("records blamed: %v, want %v", blamed, want)
	}
}

func compactedWithoutKey(c *check) {
	t, n := c.topic("cleanup.policy=compact"), c.dial()
	b := records(4)
	b.Records[0].Key, b.Records[2].Key = nil, nil
	row := n.produce(t, b.Encode())
	c.wantCode("records 0 and 2 without a key", row.ErrorCode, kerr.InvalidRecord)
	wantRecordErrors(c, row, 0, 2)
	c.wantCode("records with keys", n.produce(t, records(4).Encode()).ErrorCode, nil)
	equal(c, "log end", n.end(t), 4)
}

func timestampAhead(c *check) {
	t, n := c.topic("message.timestamp.after.max.ms=3600000"), c.dial()
	b := records(3)
	b.Records[1].TimestampDelta = 2 * time.Hour.Milliseconds()
	b.MaxTimestamp += b.Records[1].TimestampDelta
	row := n.produce(t, b.Encode())
	c.wantCode("record 1 two hours ahead", row.ErrorCode, kerr.InvalidTimestamp)
	wantRecordErrors(c, row, 1)
	b.Records[1].TimestampDelta /= 4
	c.wantCode("record 1 half an hour ahead", n.produce(t, b.Encode()).ErrorCode, nil)
	equal(c, "log end", n.end(t), 3)
}

func logAppendTime(c *check) {
	t, n := c.topic("message.timestamp.type=LogAppendTime"), c.dial()
	for _, codec := range []batch.Codec{batch.None, batch.LZ4} {
		b := records(2)
		b.BaseTimestamp, b.MaxTimestamp = 1000, 1000
		b.Attributes |= int16(codec)
		before := time.Now().UnixMilli()
		row := n.produce(t, b.Encode())
		if row.ErrorCode != 0 || row.LogAppendTime < before || row.LogAppendTime > time.Now().UnixMilli() {
			c.Fatalf("%s at time %d; want none and the time of now", codeName(row.ErrorCode), row.LogAppendTime)
		}
		stored := c.batches(n.fetch(at(t, row.BaseOffset)))[0] // which checks the CRC
		equal(c, "attributes", stored.Attributes, batch.LogAppendTime|int16(codec))
		equal(c, "max timestamp", stored.MaxTimestamp, row.LogAppendTime)
		equal(c, "base timestamp", stored.BaseTimestamp, 1000)
	}
	row := n.produce(c.topic(), records(1).Encode())
	equal(c, "log append time with CreateTime", row.LogAppendTime, -1)
}

func recompression(c *check) {
	t, n := c.topic("compression.type=zstd"), c.dial()
	sent := n.newProducer().batch(0, 10)
	sent.Attributes |= int16(batch.Gzip)
	n.append(t, sent)
	stored := c.batches(n.fetch(at(t, 0)))[0]
	equal(c, "codec", stored.Codec(), batch.Zstd)
	equal(c, "producer id", stored.ProducerID, sent.ProducerID)
	equal(c, "producer epoch", stored.ProducerEpoch, sent.ProducerEpoch)
	equal(c, "sequence", stored.BaseSequence, 0)
	equal(c, "base timestamp", stored.BaseTimestamp, sent.BaseTimestamp)
	equal(c, "records", fmt.Sprint(stored.Records), fmt.Sprint(sent.Records))
	c.wantCode("the next sequence", n.produce(t, producer{sent.ProducerID, 0}.batch(10, 1).Encode()).ErrorCode, nil)
}

func storedAsSent(c *check) {
	n := c.dial()
	for codec := batch.None; codec <= batch.Zstd; codec++ {
		t := c.topic("compression.type=producer")
		n.append(t, records(5))
		b := records(20)
		b.Attributes |= int16(codec)
		sent := b.Encode()
		n.append(t, b)
		stored := n.fetch(at(t, 5)).RecordBatches
		equal(c, "bytes stored", len(stored), len(sent))
		equal(c, "base offset", binary.BigEndian.Uint64(stored), 5)
		want := slices.Clone(sent)
		copy(want[:8], stored[:8])
		copy(want[batch.AtLeaderEpoch:batch.AtMagic], stored[batch.AtLeaderEpoch:])
		if !bytes.Equal(stored, want) {
			c.Errorf("codec %d: the batch was changed elsewhere than in base offset and leader epoch", codec)
		}
	}
}

// acksZero asks for a partition that is not here, which is what a non-leader looks like on a single node.
func acksZero(c *check) {
	t := c.topic()
	n := c.dial()
	good := produceRequest(to{t, 0, records(2).Encode()})
	good.Acks = 0
	start(n, good)
	if !n.Quiet(quietFor) {
		c.Error("acks=0 was answered")
	}
	next := newest(c, kmsg.NewPtrMetadataRequest())
	start(n, next)
	answer[*kmsg.MetadataResponse](n, next)
	n.eventually("the record is there", func() bool { return n.end(t) == 2 })

	for what, part := range map[string]to{
		"a partition that is not here": {t, 7, records(1).Encode()},
		"a damaged batch":              {t, 0, append(records(1).Encode(), 0xff)[1:]},
	} {
		n := c.dial()
		bad := produceRequest(part)
		bad.Acks = 0
		start(n, bad)
		n.wantClosed("acks=0 with " + what)
	}
	equal(c, "log end", n.end(t), 2)
}

func internalTopic(c *check) {
	// The coordinator creates the topic. A client may, too, but with another number of partitions no group of Kafka's
	// finds its coordinator, and other assertions are about groups.
	c.group()
	n := c.dial()
	t := topic{name: "__consumer_offsets"}
	n.eventually("the topic serves", func() bool {
		found := n.metadataOf(t.name)
		t.id = found.TopicID
		return found.ErrorCode == 0 && n.listOffsets(query{t, 0, latest})[0].ErrorCode == 0
	})
	equal(c, "is internal", n.metadataOf(t.name).IsInternal, true)
	// The deletion of an offset, which a group coordinator can read: version 1, group, topic, partition.
	key := strings.Join([]string{"\x00\x01", "\x00\x01g", "\x00\x01t", "\x00\x00\x00\x00"}, "")
	b := batch.New(time.Now().UnixMilli(), batch.Record{Key: []byte(key)})
	c.wantCode("an ordinary client", n.produce(t, b.Encode()).ErrorCode, kerr.InvalidTopicException)
	req := produceRequest(to{t, 0, b.Encode()})
	n.send(rawconn.Frame(rawconn.Header{
		Key: req.Key(), Version: req.Version, ClientID: kmsg.StringPtr("__admin_client"), Flexible: true,
	}, req.AppendTo(nil)))
	c.wantCode("__admin_client", answer[*kmsg.ProduceResponse](n, req).Topics[0].Partitions[0].ErrorCode, nil)
}

// leaderHints is about Produce to a broker that is not the leader, which a cluster of one has none of. What can be seen
// here is that such a hint has the leader and its address on the listener that was asked (rules 6.1.10 and 6.3.5): a
// Fetch with the leader epoch of before a restart gets one.
func leaderHints(c *check) {
	t := c.topic()
	c.awaitRestart()
	for _, address := range []string{c.b.address, c.b.second} {
		n := c.dialTo(address)
		n.awaitServing(t, 1)
		leader := n.metadataOf(t.name).Partitions[0]
		if leader.LeaderEpoch == 0 {
			c.Fatal("the leader epoch is 0 after a restart")
		}
		p := at(t, 0)
		p.leaderEpoch = leader.LeaderEpoch - 1
		resp := ask[*kmsg.FetchResponse](n, fetchRequest(p))
		row := rows(resp)[0]
		c.wantCode("a Fetch with an old leader epoch", row.ErrorCode, kerr.FencedLeaderEpoch)
		equal(c, "leader", row.CurrentLeader.LeaderID, leader.Leader)
		equal(c, "leader epoch", row.CurrentLeader.LeaderEpoch, leader.LeaderEpoch)
		if len(resp.Brokers) != 1 || resp.Brokers[0].NodeID != leader.Leader {
			c.Fatalf("endpoints %+v, want the leader's", resp.Brokers)
		}
		equal(c, "its address", fmt.Sprintf("%s:%d", resp.Brokers[0].Host, resp.Brokers[0].Port), address)
	}
}

func produceUnknownID(c *check) {
	n := c.dial()
	unknown := topic{name: "whatever", id: [16]byte{1, 2, 3}}
	row := n.produce(unknown, records(1).Encode())
	c.wantCode("topic id unknown", row.ErrorCode, kerr.UnknownTopicID)
	equal(c, "base offset", row.BaseOffset, -1)
}

func zstdByOldVersions(c *check) {
	t, n := c.topic(), c.dial()
	b := records(3)
	b.Attributes |= int16(batch.Zstd)
	for v, want := range map[int16]*kerr.Error{6: kerr.UnsupportedCompressionType, 7: nil} {
		req := produceRequest(to{t, 0, b.Encode()})
		req.Version = v
		row := ask[*kmsg.ProduceResponse](n, req).Topics[0].Partitions[0]
		c.wantCode(fmt.Sprintf("zstd by Produce v%d", v), row.ErrorCode, want)
	}
	req := fetchRequest(at(t, 0))
	req.Version = 9
	row := rows(ask[*kmsg.FetchResponse](n, req))[0]
	c.wantCode("zstd by Fetch v9", row.ErrorCode, nil)
	stored := c.batches(row)
	equal(c, "batches", len(stored), 1)
	equal(c, "codec", stored[0].Codec(), batch.Zstd)
}
