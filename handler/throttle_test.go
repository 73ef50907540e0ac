package handler

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/quota"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/wire"
)

// limit gives everybody a quota, on top of those given before.
func (n *dataNode) limit(key string, value float64) {
	n.t.Helper()
	n.apply(&metadata.ClientQuotaRecord{Entity: metadata.QuotaEntity{User: metadata.QuotaName{Kind: metadata.QuotaDefault}}, Key: key, Value: &value})
	n.deps.Quotas.Apply(n.deps.Metadata.Load())
}

// since is how long something took, to the millisecond that answers have.
func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }

// T021 and rule 1.8.1: the answer of a Produce over its quota comes at once, says for how long to stay away, and what is
// sent all the same is looked at after that time. The records are appended (rule 1.8.6).
func TestT021ProduceQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, log.Replicated)
		id := s.topic("t", 1)
		c := s.dial("client")
		b := batch(t, 100, record.BuilderOptions{})
		s.limit("producer_byte_rate", float64(len(b))/20) // half a batch within ten seconds
		began := time.Now()
		first := c.ask(produceTo(9, "t", id, 0, 1, bytes.Clone(b))).(*kmsg.ProduceResponse)
		throttle := time.Duration(first.ThrottleMillis) * time.Millisecond
		if p := first.Topics[0].Partitions[0]; p.ErrorCode != 0 || p.BaseOffset != 0 || throttle < 10*time.Second || since(began) != 0 {
			t.Fatalf("answer after %v, throttled for %v: %+v", since(began), throttle, p)
		}
		end := listOffsetsRequest("t")
		if err := c.send(produceTo(9, "t", id, 0, 0, bytes.Clone(b)), end); err != nil {
			t.Fatal(err)
		}
		second, err := c.receive(end)
		if err != nil {
			t.Fatal(err)
		}
		// acks=0 has no answer that could say it; what follows waits all the same.
		if got := second.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].Offset; got != 200 {
			t.Errorf("%d records are there", got)
		}
		if d := since(began); d < throttle+10*time.Second {
			t.Errorf("acks=0 was not throttled: the request behind it was answered after %v", d)
		}
	})
}

func listOffsetsRequest(topic string) kmsg.Request {
	req := kmsg.NewPtrListOffsetsRequest()
	req.SetVersion(7)
	row, p := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
	req.ReplicaID, row.Topic, p.Timestamp = -1, topic, -1
	row.Partitions = append(row.Partitions, p)
	req.Topics = append(req.Topics, row)
	return req
}

// Rules 1.8.7 and 6.5.14: a Fetch over its quota is answered without records; its session lives on, one epoch later, and
// has everything to say when the time is over.
func TestFetchQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, log.Replicated)
		id := s.topic("t", 2)
		c := s.dial("client")
		b := batch(t, 100, record.BuilderOptions{})
		put := func(partition int32) { c.ask(produceTo(9, "t", id, partition, 1, bytes.Clone(b))) }
		put(0)
		s.limit("consumer_byte_rate", float64(len(b))/10) // one batch within ten seconds
		open := fetchFrom(12, "t", id, 2, 0)
		open.SessionEpoch = 0
		full := c.ask(open).(*kmsg.FetchResponse)
		if full.ThrottleMillis != 0 || full.SessionID == 0 || len(full.Topics[0].Partitions[0].RecordBatches) != len(b) {
			t.Fatalf("within the quota: %+v", full)
		}
		put(1)
		held := c.ask(poll(full.SessionID, 1)).(*kmsg.FetchResponse)
		if held.ErrorCode != 0 || held.ThrottleMillis == 0 || held.SessionID != full.SessionID || len(held.Topics) != 0 {
			t.Fatalf("over the quota: %+v", held)
		}
		began := time.Now()
		c.ask(listOffsetsRequest("t"))
		if d := since(began); d < time.Duration(held.ThrottleMillis)*time.Millisecond {
			t.Errorf("muted for %v, and not for %d ms", d, held.ThrottleMillis)
		}
		time.Sleep(11 * time.Second)
		next := c.ask(poll(full.SessionID, 2)).(*kmsg.FetchResponse)
		if next.ErrorCode != 0 || next.ThrottleMillis != 0 || len(next.Topics) != 1 {
			t.Fatalf("when the time is over: %+v", next)
		}
		bytesOf := 0
		for _, p := range next.Topics[0].Partitions {
			bytesOf += len(p.RecordBatches)
		}
		if bytesOf == 0 {
			t.Error("the session forgot what it did not send")
		}
		// A session that would begin now does not: Java clients begin one again when an answer is empty.
		again := c.ask(open).(*kmsg.FetchResponse)
		if again.ErrorCode != 0 || again.ThrottleMillis == 0 || again.SessionID != 0 || len(again.Topics) != 0 {
			t.Fatalf("a new session over the quota: %+v", again)
		}
		if n := s.service.sessions.len(); n != 1 {
			t.Errorf("%d sessions", n)
		}
		// Rule 1.8.8: followers are not clients.
		follower := fetchFrom(12, "t", id, 2, 0)
		follower.ReplicaID = 2
		if resp := c.ask(follower).(*kmsg.FetchResponse); resp.ThrottleMillis != 0 {
			t.Errorf("a follower is throttled: %+v", resp)
		}
	})
}

// Rule 1.8.5: whoever takes too much of the broker's time is held back with whatever they ask, for a second at a time, and
// every answer that has the field says so.
func TestRequestQuota(t *testing.T) {
	n := newDataNode(t, 0)
	n.topic("t", 1)
	cl := newCluster(t)
	n.deps.Controller, n.deps.Admin, n.deps.Config, n.deps.Loggers = cl.deps.Controller, cl.deps.Admin, cl.deps.Config, cl.deps.Loggers
	n.deps.Authorizer = &spy{} // so that little happens
	n.service = NewService(n.deps)
	n.limit("request_percentage", 1)
	for _, a := range Table(n.deps) {
		n.deps.Quotas.Active().Client("ANONYMOUS", "").Record(quota.RequestTime, 1e9) // for ever over the quota
		c := n.connect()
		var muted time.Duration
		c.Session.(*connection).muted = func(d time.Duration) { muted = d }
		req := oneTopicRequest(a.Key)
		req.SetVersion(min(a.Max, 12))
		resp := c.ask(req)
		if muted != time.Second {
			t.Errorf("%s: muted for %v", kmsg.NameForKey(a.Key), muted)
		}
		if r, ok := resp.(kmsg.ThrottleResponse); ok {
			if millis, _ := r.Throttle(); millis != 1000 {
				t.Errorf("%s: throttled for %d ms", kmsg.NameForKey(a.Key), millis)
			}
		}
	}
}

// Rule 1.8.9: what creates and deletes partitions is charged for it; newer versions are refused what is over the quota,
// older ones are held back. What is refused for another reason, or only validated, is free.
func TestMutationQuota(t *testing.T) {
	cl := newCluster(t)
	m := quota.New(quota.Options{Samples: 11, Window: time.Second, MutationSamples: 10, MutationWindow: time.Hour})
	rate := 10.0 / 36000 // ten permits, that come back in ten hours
	im, err := new(metadata.Image).Apply(1, &metadata.ClientQuotaRecord{Entity: metadata.QuotaEntity{ClientID: metadata.QuotaName{Kind: metadata.QuotaDefault}},
		Key: "controller_mutation_rate", Value: &rate})
	if err != nil {
		t.Fatal(err)
	}
	m.Apply(im)
	var throttle time.Duration
	do := func(version int16, req kmsg.Request) kmsg.Response {
		t.Helper()
		for _, row := range cl.rows {
			if row.Key == req.Key() {
				throttle = 0
				req.SetVersion(version)
				return row.Handle(&Context{Session: &Session{Principal: acl.Anonymous, ListenerName: "PLAINTEXT"}, Ctx: t.Context(), Key: row.Key, Version: version,
					Quota: m.Active().Client("ANONYMOUS", "c"), throttle: &throttle}, req)
			}
		}
		t.Fatal("no such row")
		return nil
	}
	create := func(version int16, validate bool, topics ...kmsg.CreateTopicsRequestTopic) []int16 {
		t.Helper()
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Topics, req.TimeoutMillis, req.ValidateOnly = topics, 10_000, validate
		return codesOf(do(version, req))
	}
	check := func(what string, got []int16, held bool, want ...int16) {
		t.Helper()
		if len(got) != len(want) || held != (throttle > 0) {
			t.Errorf("%s: %v, held back for %v; want %v, held back: %t", what, got, throttle, want, held)
			return
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
	}
	refused := kerr.ThrottlingQuotaExceeded.Code
	check("validated", create(7, true, topic("v", 100, 1)), false, 0)
	check("impossible", create(7, false, topic("a b", 9, 1)), false, kerr.InvalidTopicException.Code)
	check("within the quota", create(7, false, topic("a", 9, 1)), false, 0)
	check("one too many, and then another", create(7, false, topic("b", 2, 1), topic("c", 1, 1)), true, 0, refused)
	check("old version", create(5, false, topic("d", 1, 1)), true, 0)
	grow := kmsg.NewPtrCreatePartitionsRequest()
	grow.Topics, grow.TimeoutMillis = []kmsg.CreatePartitionsRequestTopic{{Topic: "d", Count: 2}}, 10_000
	check("partitions", codesOf(do(3, grow)), true, refused)
	check("partitions, old version", codesOf(do(2, grow)), true, 0)
	gone := kmsg.NewPtrDeleteTopicsRequest()
	gone.TopicNames, gone.TimeoutMillis = []string{"d"}, 10_000
	check("deletion", codesOf(do(5, gone)), true, refused)
	check("deletion, old version", codesOf(do(4, gone)), true, 0)
	if cl.deps.Metadata.Load().Topic("c") != nil || cl.deps.Metadata.Load().Topic("d") != nil || cl.deps.Metadata.Load().Topic("b") == nil {
		t.Error("what was refused was done, or the other way round")
	}
}

// codesOf returns the error codes of the rows of an answer.
func codesOf(resp kmsg.Response) (codes []int16) {
	switch r := resp.(type) {
	case *kmsg.CreateTopicsResponse:
		for _, row := range r.Topics {
			codes = append(codes, row.ErrorCode)
		}
	case *kmsg.DeleteTopicsResponse:
		for _, row := range r.Topics {
			codes = append(codes, row.ErrorCode)
		}
	case *kmsg.CreatePartitionsResponse:
		for _, row := range r.Topics {
			codes = append(codes, row.ErrorCode)
		}
	}
	return codes
}

// BenchmarkQuotas is what quotas cost a poll of a session in which nothing is new: nothing without quotas, a comparison
// when others have them, a few locks and clocks for who has some.
func BenchmarkQuotas(b *testing.B) {
	for _, who := range []string{"nobody", "others", "oneself"} {
		b.Run(who, func(b *testing.B) {
			n := newDataNode(b, log.Replicated)
			id := n.topic("t", 1)
			switch who {
			case "others":
				n.apply(&metadata.ClientQuotaRecord{Entity: metadata.QuotaEntity{ClientID: metadata.QuotaName{Kind: metadata.QuotaNamed, Name: "other"}},
					Key: "consumer_byte_rate", Value: new(1.0)})
				n.deps.Quotas.Apply(n.deps.Metadata.Load())
			case "oneself":
				for _, key := range []string{"consumer_byte_rate", "request_percentage"} {
					n.limit(key, 1e12)
				}
			}
			c := n.connect()
			open := fetchFrom(12, "t", id, 1, 0)
			open.SessionEpoch = 0
			next := poll(c.ask(open).(*kmsg.FetchResponse).SessionID, 0)
			next.MaxWaitMillis = 0
			h := &wire.Header{Key: keyFetch, Version: 12, Flexible: true}
			var out wire.Out
			var body []byte
			b.ReportAllocs()
			for b.Loop() {
				next.SessionEpoch++
				body = next.AppendTo(body[:0])
				r := startReused(b, c, h, body)
				r.Append(&out)
				r.Release()
				out.Reset()
			}
		})
	}
}
