package handler

import (
	"bytes"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
)

// TestProduceFetchVersions produces and fetches with every version, in both durabilities: the bytes come back as they
// went in but for base offset and leader epoch (T039).
func TestProduceFetchVersions(t *testing.T) {
	for _, durability := range []log.Durability{log.Replicated, log.Fsync} {
		t.Run(durability.String(), func(t *testing.T) {
			n := newDataNode(t, durability)
			id := n.topic("t", 1)
			c := n.connect()
			offset := int64(0)
			for v := int16(3); v <= 13; v++ {
				b := batch(t, 3, record.BuilderOptions{})
				resp := c.ask(produceTo(v, "t", id, 0, -1, bytes.Clone(b))).(*kmsg.ProduceResponse)
				row := resp.Topics[0].Partitions[0]
				if row.ErrorCode != 0 || row.BaseOffset != offset || row.LogAppendTime != -1 {
					t.Fatalf("produce v%d: %+v, want base offset %d", v, row, offset)
				}
				for fv := int16(4); fv <= 18; fv++ {
					f := c.ask(fetchFrom(fv, "t", id, 1, offset)).(*kmsg.FetchResponse)
					p := f.Topics[0].Partitions[0]
					if p.ErrorCode != 0 || p.HighWatermark != offset+3 || p.LastStableOffset != offset+3 {
						t.Fatalf("fetch v%d: %+v", fv, p)
					}
					if got := p.RecordBatches; baseOffset(got) != offset || !bytes.Equal(got[16:], b[16:]) || !bytes.Equal(got[8:12], b[8:12]) {
						t.Fatalf("fetch v%d returns other bytes", fv)
					}
				}
				offset += 3
			}
		})
	}
}

// TestProduceTimeoutAlone: the timeout of a request is for other replicas to catch up, and there are none (rule 6.1.8).
func TestProduceTimeoutAlone(t *testing.T) {
	n := newDataNode(t, log.Fsync)
	id := n.topic("t", 1)
	c := n.connect()
	for i, timeout := range []int32{0, -1, 1} {
		q := produceTo(13, "t", id, 0, -1, batch(t, 1, record.BuilderOptions{}))
		q.TimeoutMillis = timeout
		row := c.ask(q).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if row.ErrorCode != 0 || row.BaseOffset != int64(i) {
			t.Errorf("timeout of %d ms: %+v, want base offset %d", timeout, row, i)
		}
	}
}

// TestSession follows a fetch session through its life (T084 to T088, rule 6.5).
func TestSession(t *testing.T) {
	n := newDataNode(t, log.Replicated)
	id := n.topic("t", 3)
	c := n.connect()
	poll := func(session, epoch int32, offsets map[int32]int64) *kmsg.FetchResponse {
		q := fetchFrom(12, "t", id, 0, 0)
		q.Topics = nil
		if len(offsets) > 0 {
			x := kmsg.NewFetchRequestTopic()
			x.Topic = "t"
			for i, o := range offsets {
				p := kmsg.NewFetchRequestTopicPartition()
				p.Partition, p.FetchOffset, p.PartitionMaxBytes = i, o, 1<<20
				x.Partitions = append(x.Partitions, p)
			}
			q.Topics = append(q.Topics, x)
		}
		q.SessionID, q.SessionEpoch = session, epoch
		return c.ask(q).(*kmsg.FetchResponse)
	}
	first := poll(0, 0, map[int32]int64{0: 0, 1: 0, 2: 0})
	if first.SessionID == 0 || len(first.Topics) != 1 || len(first.Topics[0].Partitions) != 3 {
		t.Fatalf("the first answer is not whole: %+v", first)
	}
	s := first.SessionID
	if r := poll(s, 1, nil); len(r.Topics) != 0 || r.SessionID != s || r.ErrorCode != 0 {
		t.Errorf("nothing changed and %+v was answered", r.Topics)
	}
	c.ask(produceTo(9, "t", id, 1, 1, batch(t, 2, record.BuilderOptions{})))
	r := poll(s, 2, nil)
	if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 || r.Topics[0].Partitions[0].Partition != 1 {
		t.Fatalf("after an append to partition 1: %+v", r.Topics)
	}
	// The client has read it.
	if r := poll(s, 3, map[int32]int64{1: 2}); len(r.Topics) != 0 {
		t.Errorf("nothing is new, but %+v", r.Topics)
	}
	if r := poll(s, 3, nil); r.ErrorCode != kerr.InvalidFetchSessionEpoch.Code || r.SessionID != 0 {
		t.Errorf("wrong epoch: %d, session %d (T085)", r.ErrorCode, r.SessionID)
	}
	if r := poll(s+1, 1, nil); r.ErrorCode != kerr.FetchSessionIDNotFound.Code {
		t.Errorf("unknown session: %d (T085)", r.ErrorCode)
	}
	q := fetchFrom(13, "t", id, 0, 0)
	q.Topics, q.SessionID, q.SessionEpoch = nil, s, 4
	if r := c.ask(q).(*kmsg.FetchResponse); r.ErrorCode != kerr.FetchSessionTopicIDError.Code {
		t.Errorf("a session by names used by ids: %d (T085)", r.ErrorCode)
	}
	// T087: an error is in every answer until it goes away.
	n.apply(&metadata.RemoveTopicRecord{ID: id})
	for epoch := int32(4); epoch < 6; epoch++ {
		r := poll(s, epoch, nil)
		if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 3 || r.Topics[0].Partitions[0].ErrorCode != kerr.UnknownTopicOrPartition.Code {
			t.Fatalf("after deletion: %+v", r.Topics)
		}
	}
	n.topic("t", 3)
	if r := poll(s, 6, nil); len(r.Topics) != 1 || r.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Errorf("after re-creation: %+v", r.Topics)
	}
	// T086: forgetting all partitions ends the session.
	q = fetchFrom(12, "t", id, 0, 0)
	q.Topics, q.SessionID, q.SessionEpoch = nil, s, 7
	q.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: "t", Partitions: []int32{0, 1, 2}}}
	if r := c.ask(q).(*kmsg.FetchResponse); r.SessionID != 0 || n.service.sessions.len() != 0 {
		t.Errorf("session %d is left after everything was forgotten", r.SessionID)
	}
}

// TestSessionSlots: the fifth session of a young four is refused, and an old one makes way (rule 6.5.11).
func TestSessionSlots(t *testing.T) {
	n := newDataNode(t, log.Replicated)
	id := n.topic("t", 1)
	c := n.connect()
	open := func() int32 {
		q := fetchFrom(12, "t", id, 1, 0)
		q.SessionEpoch = 0
		return c.ask(q).(*kmsg.FetchResponse).SessionID
	}
	for range 4 {
		if open() == 0 {
			t.Fatal("no session although there are slots")
		}
	}
	if open() != 0 {
		t.Fatal("a session beyond the slots")
	}
	for _, s := range n.service.sessions.byID {
		s.used = s.used.Add(-time.Hour)
		break
	}
	if open() == 0 {
		t.Fatal("an unused session does not make way")
	}
}

// TestParkedFetch: a fetch that waits is answered by the append, and by the end of its time (T080, T082).
func TestParkedFetch(t *testing.T) {
	n := newDataNode(t, log.Fsync)
	id := n.topic("t", 2)
	c, producer := n.connect(), n.connect()
	q := fetchFrom(13, "t", id, 2, 0)
	q.MaxWaitMillis = 60_000
	r, err := c.start(q)
	if err != nil || r.Done() {
		t.Fatalf("a fetch at the end is answered at once, err=%v", err)
	}
	done := make(chan *kmsg.FetchResponse)
	go func() { done <- c.finish(q, r).(*kmsg.FetchResponse) }()
	producer.ask(produceTo(9, "t", id, 1, -1, batch(t, 1, record.BuilderOptions{})))
	f := <-done
	if len(f.Topics[0].Partitions[1].RecordBatches) == 0 {
		t.Fatalf("woken without records: %+v", f.Topics)
	}
	q = fetchFrom(13, "t", id, 1, 0)
	q.MaxWaitMillis = 1
	if f := c.ask(q).(*kmsg.FetchResponse); f.Topics[0].Partitions[0].ErrorCode != 0 || f.Topics[0].Partitions[0].HighWatermark != 0 {
		t.Errorf("at the end of its time: %+v", f.Topics)
	}
	// The client hangs up.
	q.MaxWaitMillis = 60_000
	if r, err = c.start(q); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	close(stop)
	r.Wait(stop)
	r.Release()
}

// Rule 6.3: what a client may read is asked with every request of a session, also about partitions that have nothing new.
func TestFetchSessionIsAuthorizedAnew(t *testing.T) {
	n := newDataNode(t, log.Replicated)
	a, b := n.topic("a", 1), n.topic("b", 1)
	g := grants{}
	n.deps.Authorizer = g
	for _, topic := range []string{"a", "b"} {
		g.grant(acl.Anonymous, acl.Read, acl.Topic, topic)
		g.grant(acl.Anonymous, acl.Write, acl.Topic, topic)
	}
	c := n.connect()
	for version, byID := range map[int16]bool{12: false, 16: true} {
		open := fetchFrom(version, "a", a, 1, 0)
		open.SessionEpoch = 0
		open.Topics = append(open.Topics, fetchFrom(version, "b", b, 1, 0).Topics...)
		session := c.ask(open).(*kmsg.FetchResponse).SessionID
		epoch := int32(0)
		next := func() map[string]int16 {
			t.Helper()
			epoch++
			req := poll(session, epoch)
			req.SetVersion(version)
			req.MaxWaitMillis = 0
			resp := c.ask(req).(*kmsg.FetchResponse)
			if resp.ErrorCode != 0 {
				t.Fatalf("version %d: error %d", version, resp.ErrorCode)
			}
			codes := map[string]int16{}
			for _, topic := range resp.Topics {
				name := topic.Topic
				if byID {
					name = map[[16]byte]string{a: "a", b: "b"}[topic.TopicID]
				}
				codes[name] = topic.Partitions[0].ErrorCode
			}
			return codes
		}
		revoked := acl.Request{Principal: acl.Anonymous, Operation: acl.Read, Resource: acl.Topic, Name: "a"}
		if got := next(); len(got) != 0 {
			t.Errorf("version %d: nothing is new: %v", version, got)
		}
		delete(g, revoked)
		for range 2 { // an error is told every time
			if got := next(); len(got) != 1 || got["a"] != kerr.TopicAuthorizationFailed.Code {
				t.Errorf("version %d: taken back: %v", version, got)
			}
		}
		g[revoked] = true
		if got := next(); len(got) != 1 || got["a"] != 0 {
			t.Errorf("version %d: given again: %v", version, got)
		}
		if got := next(); len(got) != 0 {
			t.Errorf("version %d: nothing is new again: %v", version, got)
		}
	}
}
