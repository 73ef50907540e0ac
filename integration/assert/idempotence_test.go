package assert

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// idempotence is about producer ids and sequences (chapter 4 of the rules).
var idempotence = []assertion{
	{number: "T050", claim: "a batch sent twice is stored once, with the same base offset in both answers", try: sentTwice},
	{number: "T051", claim: "the last five batches are recognised, the sixth last is error 45", try: fiveDuplicates},
	{number: "T052", claim: "a gap is error 45, an older epoch 47, a newer epoch begins at 0", try: gapsAndEpochs},
	{number: "T053", claim: "the first batch of a producer may have any sequence", try: anyFirstSequence},
	{number: "T054", claim: "sequences wrap from 2^31-1 to 0", try: sequenceWraps},
	{number: "T055", claim: "the last batch is recognised over a clean restart", try: duplicateAfterRestart, life: stopped},
	{number: "T056", claim: "InitProducerId gives new ids, and refuses an empty transactional id and half a producer", try: producerIDs},
	{number: "T057", claim: "producer ids do not come again after kill -9", try: producerIDsAfterKill, life: killed},
}

func sentTwice(c *check) {
	t, n := c.topic(), c.dial()
	n.append(t, records(3))
	b := n.newProducer().batch(0, 4)
	for range 2 {
		row := n.produce(t, b.Encode())
		c.wantCode("a batch sent twice", row.ErrorCode, nil)
		equal(c, "base offset", row.BaseOffset, 3)
	}
	equal(c, "log end", n.end(t), 7)
}

func fiveDuplicates(c *check) {
	t, n := c.topic(), c.dial()
	p := n.newProducer()
	for i := range int32(6) {
		equal(c, "base offset", n.append(t, p.batch(2*i, 2)), int64(2*i))
	}
	for i := range int32(6) {
		row := n.produce(t, p.batch(2*i, 2).Encode())
		if i == 0 {
			c.wantCode("the sixth last batch again", row.ErrorCode, kerr.OutOfOrderSequenceNumber)
			continue
		}
		c.wantCode(fmt.Sprintf("batch %d again", i), row.ErrorCode, nil)
		equal(c, "base offset", row.BaseOffset, int64(2*i))
	}
	equal(c, "log end", n.end(t), 12)
}

func gapsAndEpochs(c *check) {
	t, n := c.topic(), c.dial()
	p := n.newProducer()
	p.epoch = 3
	n.append(t, p.batch(0, 2))
	older, newer := producer{p.id, 2}, producer{p.id, 4}
	for _, step := range []struct {
		what     string
		producer producer
		sequence int32
		want     *kerr.Error
	}{
		{"a gap", p, 3, kerr.OutOfOrderSequenceNumber},
		{"an overlap", p, 1, kerr.OutOfOrderSequenceNumber},
		{"an older epoch", older, 2, kerr.InvalidProducerEpoch},
		{"a newer epoch with sequence 5", newer, 5, kerr.OutOfOrderSequenceNumber},
		{"what follows, after all that was refused", p, 2, nil},
		{"a newer epoch with sequence 0", newer, 0, nil},
		{"the epoch that is older now", p, 4, kerr.InvalidProducerEpoch},
	} {
		c.wantCode(step.what, n.produce(t, step.producer.batch(step.sequence, 2).Encode()).ErrorCode, step.want)
	}
	equal(c, "log end", n.end(t), 6)
}

func anyFirstSequence(c *check) {
	t, n := c.topic(), c.dial()
	p := n.newProducer()
	n.append(t, p.batch(7, 1))
	c.wantCode("what follows", n.produce(t, p.batch(8, 1).Encode()).ErrorCode, nil)
	c.wantCode("a gap then", n.produce(t, p.batch(10, 1).Encode()).ErrorCode, kerr.OutOfOrderSequenceNumber)
}

func sequenceWraps(c *check) {
	t, n := c.topic(), c.dial()
	p := n.newProducer()
	over := p.batch(2147483640, 10) // its records have 2147483640 to 2147483647, 0 and 1
	n.append(t, over)
	c.wantCode("sequence 1 after it", n.produce(t, p.batch(1, 1).Encode()).ErrorCode, kerr.OutOfOrderSequenceNumber)
	equal(c, "base offset of sequence 2", n.append(t, p.batch(2, 3)), 10)
	equal(c, "base offset of the batch over the edge, again", n.append(t, over), 0)
	equal(c, "log end", n.end(t), 13)
}

func duplicateAfterRestart(c *check) {
	t, n := c.topic(), c.dial()
	p := n.newProducer()
	n.append(t, p.batch(0, 3))
	last := p.batch(3, 2)
	n.append(t, last)
	c.awaitRestart()
	n = c.dialAgain(t)
	equal(c, "base offset of the last batch, again", n.append(t, last), 3)
	c.wantCode("a gap", n.produce(t, p.batch(6, 1).Encode()).ErrorCode, kerr.OutOfOrderSequenceNumber)
	equal(c, "base offset of what follows", n.append(t, p.batch(5, 1)), 5)
	equal(c, "log end", n.end(t), 6)
}

func producerIDs(c *check) {
	n := c.dial()
	a, b := n.newProducer(), n.newProducer()
	if a.id == b.id || a.id < 0 || b.id < 0 || a.epoch != 0 || b.epoch != 0 {
		c.Errorf("producers %+v and %+v, want two ids and epoch 0", a, b)
	}
	for what, spoil := range map[string]func(*kmsg.InitProducerIDRequest){
		"an empty transactional id":      func(r *kmsg.InitProducerIDRequest) { r.TransactionalID = kmsg.StringPtr("") },
		"a producer id without an epoch": func(r *kmsg.InitProducerIDRequest) { r.ProducerID = 5 },
		"an epoch without a producer id": func(r *kmsg.InitProducerIDRequest) { r.ProducerEpoch = 5 },
	} {
		req := newest(c, kmsg.NewPtrInitProducerIDRequest())
		req.TransactionTimeoutMillis = 1000
		spoil(req)
		resp := ask[*kmsg.InitProducerIDResponse](n, req)
		c.wantCode(what, resp.ErrorCode, kerr.InvalidRequest)
		equal(c, "producer id with an error", resp.ProducerID, -1)
		equal(c, "epoch with an error", resp.ProducerEpoch, -1)
	}
}

func producerIDsAfterKill(c *check) {
	const count = 20
	seen := map[int64]bool{}
	take := func() {
		n := c.dial()
		for range count {
			seen[n.newProducer().id] = true
		}
	}
	take()
	c.awaitRestart()
	take()
	equal(c, "different ids", len(seen), 2*count)
}
