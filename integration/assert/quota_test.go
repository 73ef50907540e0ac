package assert

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/integration/batch"
	"github.com/kbroker/kbroker/integration/rawconn"
)

// quotas is about clients that do more than they may (chapter 1.8 of the rules).
var quotas = []assertion{
	{number: "T021", claim: "who is over a byte rate is answered at once, and read from only when its time is over", try: overQuota},
}

// setByteRate gives a client id a quota for what it produces, in bytes per second, and waits until it is known.
func (c *check) setByteRate(client string, rate float64) {
	c.Helper()
	n := c.dial()
	defer n.Close()
	set := newest(c, kmsg.NewPtrAlterClientQuotasRequest())
	set.Entries = []kmsg.AlterClientQuotasRequestEntry{{
		Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "client-id", Name: &client}},
		Ops:    []kmsg.AlterClientQuotasRequestEntryOp{{Key: "producer_byte_rate", Value: rate}},
	}}
	c.wantCode("setting a quota", ask[*kmsg.AlterClientQuotasResponse](n, set).Entries[0].ErrorCode, nil)
	look := newest(c, kmsg.NewPtrDescribeClientQuotasRequest())
	look.Components = []kmsg.DescribeClientQuotasRequestComponent{{EntityType: "client-id", Match: &client}}
	n.eventually("the quota is known", func() bool {
		return len(ask[*kmsg.DescribeClientQuotasResponse](n, look).Entries) == 1
	})
}

// overQuota sends two requests behind each other, of which the first is too much by four or five seconds. That it is answered
// at once shows in the silence between the two answers. On a machine so busy that this silence can't be seen it tries again.
func overQuota(c *check) {
	const rate, size = 2000, 30_000
	t := c.topic()
	value := make([]byte, size)
	for attempt := range 5 {
		client := c.newName()
		c.setByteRate(client, rate)
		n := c.dial()
		produce := produceRequest(to{t, 0, batch.New(time.Now().UnixMilli(), batch.Record{Value: value}).Encode()})
		next := newest(c, kmsg.NewPtrMetadataRequest())
		var begin time.Time
		var hold time.Duration
		// Kafka knows a quota somewhat later than it says so.
		c.within(answerLimit, fmt.Sprintf("%s is over its quota", client), func() bool {
			begin = time.Now()
			for _, req := range []kmsg.Request{produce, next} {
				header := rawconn.Header{Key: req.Key(), Version: req.GetVersion(), ClientID: &client, Flexible: true}
				n.send(rawconn.Frame(header, req.AppendTo(nil)))
			}
			resp := answer[*kmsg.ProduceResponse](n, produce)
			c.wantCode("producing above the quota", resp.Topics[0].Partitions[0].ErrorCode, nil)
			hold = time.Duration(resp.ThrottleMillis) * time.Millisecond
			if hold == 0 {
				answer[*kmsg.MetadataResponse](n, next)
			}
			return hold > 0
		})
		silent := n.Quiet(quietFor)
		conclusive := time.Since(begin) < hold
		if conclusive && !silent {
			c.Errorf("a request was answered %v after one that said to wait for %v", time.Since(begin), hold)
		}
		// Whoever else is there goes on meanwhile.
		equal(c, "throttle time of another client", ask[*kmsg.ProduceResponse](c.dial(), produce).ThrottleMillis, 0)
		answer[*kmsg.MetadataResponse](n, next)
		// The broker's clock has milliseconds.
		if waited := time.Since(begin) + 2*time.Millisecond; waited < hold {
			c.Errorf("the next request was answered after %v, want %v", waited, hold)
		}
		if conclusive {
			return
		}
		c.Logf("attempt %d: the machine was too busy to see the silence", attempt)
	}
	c.Error("the machine was too busy five times")
}
