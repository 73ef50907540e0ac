package assert

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/integration/batch"
)

// cleaning is about records that go: deleted, compacted or expired (chapters 3.4, 3.6, 3.7 and 3.10 of the rules).
var cleaning = []assertion{
	{number: "T092", claim: "what compaction removed is skipped, and an empty batch does not stop a reader", try: compactedFetch},
	{number: "T096", claim: "DeleteRecords moves the log start, to the high watermark at most", try: deleteRecords},
	{number: "T156", claim: "a tombstone stays for delete.retention.ms after it was first seen, and then goes", try: tombstones},
	{number: "T157", claim: "segments roll by the records' times; expired ones go, and leave an empty one if need be", try: expiry, life: unmarked, looks: true},
}

func deleteRecords(c *check) {
	t, n := c.topic(), c.dial()
	n.append(t, records(12))
	for _, r := range []struct {
		offset, low int64
		want        *kerr.Error
	}{{10, 10, nil}, {4, 10, nil}, {13, -1, kerr.OffsetOutOfRange}, {-2, -1, kerr.OffsetOutOfRange}} {
		row := n.deleteBefore(t, r.offset)
		c.wantCode(fmt.Sprintf("deleting below %d", r.offset), row.ErrorCode, r.want)
		equal(c, fmt.Sprintf("deleting below %d: low watermark", r.offset), row.LowWatermark, r.low)
	}
	c.wantCode("a Fetch below the start", n.fetch(at(t, 9)).ErrorCode, kerr.OffsetOutOfRange)
	c.wantCode("a Fetch at the start", n.fetch(at(t, 10)).ErrorCode, nil)
	equal(c, "earliest offset", n.listOffsets(query{t, 0, earliest})[0].Offset, 10)
	equal(c, "low watermark after deleting all", n.deleteBefore(t, -1).LowWatermark, 12)
	equal(c, "earliest offset", n.listOffsets(query{t, 0, earliest})[0].Offset, 12)
	equal(c, "base offset of the next batch", n.append(t, records(1)), 12)
}

func (n *conn) deleteBefore(t topic, offset int64) kmsg.DeleteRecordsResponseTopicPartition {
	n.c.Helper()
	req := newest(n.c, kmsg.NewPtrDeleteRecordsRequest())
	req.TimeoutMillis = 10_000
	part := kmsg.NewDeleteRecordsRequestTopicPartition()
	part.Offset = offset
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: t.name, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{part}}}
	return ask[*kmsg.DeleteRecordsResponse](n, req).Topics[0].Partitions[0]
}

// compacted creates a topic that the cleaner looks at as soon as a segment is full.
func (c *check) compacted(configs ...string) topic {
	c.Helper()
	return c.topic(append(configs, "cleanup.policy=compact", "min.cleanable.dirty.ratio=0.01", smallSegments)...)
}

// overflow appends more than a segment's worth of large records, always with the same keys, each in a batch of its own. It
// returns the offset of the first one.
func (n *conn) overflow(t topic) int64 {
	n.c.Helper()
	first, value := int64(-1), bytes.Repeat([]byte("x"), 100_000)
	for i := range 12 {
		offset := n.append(t, batch.New(time.Now().UnixMilli(), batch.Record{Key: fmt.Append(nil, "large", i), Value: value}))
		if first < 0 {
			first = offset
		}
	}
	return first
}

// readAll reads a partition as a consumer does, and returns its batches.
func (n *conn) readAll(t topic, partition int32) (all []*batch.Batch) {
	n.c.Helper()
	from := at(t, 0)
	from.partition = partition
	for end := n.listOffsets(query{t, partition, latest})[0].Offset; from.offset < end; {
		list := n.c.batches(n.fetch(from))
		if len(list) == 0 {
			n.c.Fatalf("nothing was read at %d, and the log ends at %d", from.offset, end)
		}
		last := list[len(list)-1]
		next := last.BaseOffset + int64(last.LastOffsetDelta) + 1
		if next <= from.offset {
			n.c.Fatalf("what was read at %d ends at %d", from.offset, next)
		}
		from.offset, all = next, append(all, list...)
	}
	return all
}

// first is the first batch that is read at an offset.
func (n *conn) first(t topic, offset int64) *batch.Batch {
	n.c.Helper()
	row := n.fetch(at(t, offset))
	n.c.wantCode(fmt.Sprintf("a Fetch at %d", offset), row.ErrorCode, nil)
	list := n.c.batches(row)
	if len(list) == 0 {
		n.c.Fatalf("nothing was read at %d", offset)
	}
	return list[0]
}

// compactedFetch makes a log whose first batch goes, whose second one is kept empty for its producer's sake (rule 3.10.8)
// and whose third one stays.
func compactedFetch(c *check) {
	t, n := c.compacted(), c.dial()
	n.append(t, records(3))
	p := n.newProducer()
	n.append(t, p.batch(0, 3))
	n.append(t, records(3))
	n.overflow(t)
	n.eventually("the cleaner has removed the first batch", func() bool { return n.first(t, 0).BaseOffset == 3 })
	for offset, want := range map[int64]string{0: "0 at 3", 2: "0 at 3", 3: "0 at 3", 5: "0 at 3", 6: "3 at 6", 8: "3 at 6"} {
		first := n.first(t, offset)
		equal(c, fmt.Sprintf("records of the first batch read at %d", offset), fmt.Sprintf("%d at %d", len(first.Records), first.BaseOffset), want)
	}
	// A reader that asks for little gets the empty batch alone.
	little := at(t, 0)
	little.maxBytes = 1
	alone := c.batches(n.fetch(little))
	if len(alone) != 1 || alone[0].BaseOffset+int64(alone[0].LastOffsetDelta) != 5 {
		c.Errorf("who asks for little gets %d batches, want the one that ends at 5", len(alone))
	}
	seen := map[string]int{}
	for _, b := range n.readAll(t, 0) {
		for _, r := range b.Records {
			seen[string(r.Key)]++
		}
	}
	equal(c, "keys read", len(seen), 3+12)
	for key, times := range seen {
		equal(c, "times that key "+key+" was read", times, 1)
	}
	equal(c, "base offset of the producer's batch, sent again", n.append(t, p.batch(0, 3)), 3)
}

// deleteHorizon is the bit of attributes that makes the base timestamp the time until which tombstones stay.
const deleteHorizon = 1 << 6

// tombstones has a topic whose tombstones stay for an hour and one whose tombstones stay for a second, so that no time has
// to be measured.
func tombstones(c *check) {
	n := c.dial()
	long, first := n.cleanedOnce(time.Hour)
	n.cleanAgain(long)
	again := n.first(long.topic, 0)
	equal(c, "records with the tombstone that stays", len(again.Records), 3)
	equal(c, "the time until which it stays", again.BaseTimestamp, first.BaseTimestamp)

	short, first := n.cleanedOnce(time.Second)
	time.Sleep(time.Until(time.UnixMilli(first.BaseTimestamp + 1)))
	n.cleanAgain(short)
	again = n.first(short.topic, 0)
	equal(c, "records without the tombstone", len(again.Records), 2)
	equal(c, "offset of the last one", again.BaseOffset+int64(again.Records[len(again.Records)-1].OffsetDelta), 2)
}

// cleanedLog is a topic with a batch of three records, the second a tombstone, and large ones behind it.
type cleanedLog struct {
	topic topic
	large int64 // offset of the first large one
}

// cleanedOnce makes one that the cleaner has been over once, and returns its first batch: with the tombstone, the time until
// which that stays, and its records with the times that they had (rules 3.10.5 and 2.2.3).
func (n *conn) cleanedOnce(retention time.Duration) (cleanedLog, *batch.Batch) {
	c := n.c
	c.Helper()
	t := c.compacted(fmt.Sprintf("delete.retention.ms=%d", retention.Milliseconds()))
	sent := batch.New(time.Now().Add(-time.Minute).UnixMilli(), batch.KV("a", "1"),
		batch.Record{TimestampDelta: 20, Key: []byte("gone")}, batch.Record{TimestampDelta: 10, Key: []byte("b"), Value: []byte("2")})
	begin := time.Now().Truncate(time.Millisecond)
	n.append(t, sent)
	large := n.overflow(t)
	var b *batch.Batch
	n.eventually("the cleaner has seen the tombstone", func() bool {
		b = n.first(t, 0)
		return b.Attributes&deleteHorizon != 0
	})
	if until := time.UnixMilli(b.BaseTimestamp); until.Before(begin.Add(retention)) || until.After(time.Now().Add(retention)) {
		c.Errorf("the tombstone stays until %v; it was written at %v and is to stay for %v", until, begin, retention)
	}
	equal(c, "records", len(b.Records), len(sent.Records))
	for i, r := range b.Records {
		equal(c, "a record's key", string(r.Key), string(sent.Records[i].Key))
		equal(c, "a record's time", b.BaseTimestamp+r.TimestampDelta, sent.BaseTimestamp+sent.Records[i].TimestampDelta)
	}
	equal(c, "the newest time", b.MaxTimestamp, sent.MaxTimestamp)
	return cleanedLog{t, large}, b
}

// cleanAgain waits until the cleaner has been over the log once more.
func (n *conn) cleanAgain(l cleanedLog) {
	n.c.Helper()
	n.overflow(l.topic)
	n.eventually("the cleaner has come again", func() bool { return n.first(l.topic, l.large).BaseOffset > l.large })
}

// logFiles are the base offsets of a partition's segments, as its directory has them.
func (c *check) logFiles(t topic) string {
	c.Helper()
	logs, err := filepath.Glob(filepath.Join(c.b.partitionDir(t), "*.log"))
	if err != nil {
		c.Fatal(err)
	}
	var bases []string
	for _, path := range logs {
		base, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), ".log"))
		if err != nil {
			c.Fatal(err)
		}
		bases = append(bases, strconv.Itoa(base))
	}
	return strings.Join(bases, " ")
}

func expiry(c *check) {
	c.awaitRestart()
	now := time.Now().UnixMilli()
	minutes := func(n int64) int64 { return now + n*time.Minute.Milliseconds() }
	write := func(t topic, times ...int64) {
		n := c.dial()
		defer n.Close()
		for _, at := range times {
			n.append(t, batch.New(at, batch.KV("k", "v"), batch.KV("l", "w"), batch.KV("m", "x")))
		}
	}
	const minute = "segment.ms=60000"
	keeps, some, all := c.topic(minute, "retention.ms=-1"), c.topic(minute, "retention.ms=3600000"), c.topic(minute, "retention.ms=3600000")

	write(keeps, minutes(-120), minutes(-119), minutes(-118)) // a minute is not more than segment.ms
	equal(c, "segments of batches a minute apart", c.logFiles(keeps), "0 6")
	write(some, minutes(-120), minutes(-118), minutes(-10), minutes(-8))
	write(all, minutes(-120), minutes(-118))
	n := c.dial()
	defer n.Close()
	n.eventually("what is older than an hour has expired", func() bool {
		return n.listOffsets(query{some, 0, earliest})[0].Offset == 6 && n.listOffsets(query{all, 0, earliest})[0].Offset == 6
	})
	n.eventually("the segments left are those from 6 and from 9 on", func() bool { return c.logFiles(some) == "6 9" })
	n.eventually("one segment is left when all have expired", func() bool { return c.logFiles(all) == "6" })
	equal(c, "segments without retention", c.logFiles(keeps), "0 6")
	for _, t := range []topic{some, all} {
		c.wantCode("a Fetch of what has expired", n.fetch(at(t, 0)).ErrorCode, kerr.OffsetOutOfRange)
	}
	equal(c, "log end when all has expired", n.end(all), 6)
	equal(c, "base offset of the next batch", n.append(all, records(1)), 6)
}
