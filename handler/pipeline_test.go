package handler

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/replica"
)

// TestPipelinedSession: requests of one session that come in one piece are answered one after another, the renewing and
// the final one included, and a session that is ended while others wait for it is not found by those (rule 6.5.2).
func TestPipelinedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, log.Replicated)
		id := s.topic("t", 3)
		c := s.dial("client")
		open := fetchFrom(12, "t", id, 3, 0)
		open.SessionEpoch = 0
		session := c.ask(open).(*kmsg.FetchResponse).SessionID
		end := fetchFrom(12, "t", id, 1, 0)
		end.SessionID = session
		reqs := []*kmsg.FetchRequest{poll(session, 1), poll(session, 2), poll(session, 2), end, poll(session, 3)}
		if err := c.send(reqs[0], reqs[1], reqs[2], reqs[3], reqs[4]); err != nil {
			t.Fatal(err)
		}
		for i, want := range []int16{0, 0, kerr.InvalidFetchSessionEpoch.Code, 0, kerr.FetchSessionIDNotFound.Code} {
			resp, err := c.receive(reqs[i])
			if err != nil {
				t.Fatal(err)
			}
			if f := resp.(*kmsg.FetchResponse); f.ErrorCode != want {
				t.Errorf("answer %d: error %d, want %d", i, f.ErrorCode, want)
			}
		}
		if n := s.service.sessions.len(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
}

// TestSessionUsedElsewhere: a request for a session that another connection's request holds waits for it, and is gone as
// soon as its client is.
func TestSessionUsedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, log.Replicated)
		id := s.topic("t", 1)
		a, b := s.dial("a"), s.dial("b")
		open := fetchFrom(12, "t", id, 1, 0)
		open.SessionEpoch = 0
		session := a.ask(open).(*kmsg.FetchResponse).SessionID
		long := poll(session, 1)
		long.MaxWaitMillis = 60_000
		if err := a.send(long); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := b.send(poll(session, 2)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.Close()
		synctest.Wait()
		if n := s.server.Connections(); n != 1 {
			t.Errorf("%d connections after one of two hung up", n)
		}
		c := s.dial("c")
		if err := c.send(poll(session, 2)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		a.Close() // its request ends with it
		if resp, err := c.receive(long); err != nil || resp.(*kmsg.FetchResponse).ErrorCode != 0 {
			t.Errorf("%+v, %v", resp, err)
		}
	})
}

// TestEvictedWhileUsed: a session that loses its slot while a request holds it is closed by whoever is the last to use it;
// its rows watch nothing then.
func TestEvictedWhileUsed(t *testing.T) {
	n := newDataNode(t, log.Replicated)
	id := n.topic("t", 1)
	c := n.connect()
	open := fetchFrom(12, "t", id, 1, 0)
	open.SessionEpoch = 0
	session := c.ask(open).(*kmsg.FetchResponse).SessionID
	s := n.service.sessions.get(session)
	q := poll(session, 1)
	held, err := c.start(q)
	if err != nil {
		t.Fatal(err)
	}
	waits, err := c.start(poll(session, 2))
	if err != nil || waits.Done() {
		t.Fatalf("a second request of the session: done, or %v", err)
	}
	n.service.sessions.remove(s)
	s.evict() // in vain: it is used
	held.Release()
	waits.Wait(nil)
	waits.Release()
	if s.rows != nil {
		t.Error("the session is not closed")
	}
	if !s.tryAcquire() {
		t.Error("nobody gave the token back")
	}
	if n.service.sessions.rows != 0 {
		t.Errorf("%d rows are counted without a session", n.service.sessions.rows)
	}
}

// TestSessionRows: partitions of sessions are bounded, whatever the slots say; a client without a session goes on.
func TestSessionRows(t *testing.T) {
	n := newDataNode(t, log.Replicated)
	id := n.topic("t", 2)
	c := n.connect()
	n.service.sessions.rows = maxSessionRows - 1
	open := fetchFrom(12, "t", id, 2, 0)
	open.SessionEpoch = 0
	if f := c.ask(open).(*kmsg.FetchResponse); f.SessionID != 0 || f.ErrorCode != 0 || len(f.Topics) != 1 {
		t.Errorf("no room for 2 partitions, but %+v", f)
	}
	open.Topics[0].Partitions = open.Topics[0].Partitions[:1]
	session := c.ask(open).(*kmsg.FetchResponse).SessionID
	if session == 0 {
		t.Fatal("no session although there is room for its partition")
	}
	grow := poll(session, 1)
	grow.Topics = fetchFrom(12, "t", id, 2, 0).Topics
	grow.MaxWaitMillis = 0
	if f := c.ask(grow).(*kmsg.FetchResponse); f.ErrorCode != 0 {
		t.Errorf("the request that outgrows the room: %d", f.ErrorCode)
	}
	if f := c.ask(poll(session, 2)).(*kmsg.FetchResponse); f.ErrorCode != kerr.FetchSessionIDNotFound.Code {
		t.Errorf("after that: %d", f.ErrorCode)
	}
	if n.service.sessions.rows != maxSessionRows-1 {
		t.Errorf("%d rows are counted, want %d", n.service.sessions.rows, maxSessionRows-1)
	}
}

// TestForgetMany: forgetting takes time in proportion to what is forgotten.
func TestForgetMany(t *testing.T) {
	n := newDataNode(t, log.Replicated)
	c := n.connect()
	const rows = 100_000
	open := fetchFrom(12, "unknown", [16]byte{}, rows, 0)
	open.SessionEpoch = 0
	session := c.ask(open).(*kmsg.FetchResponse).SessionID
	forget := poll(session, 1)
	x := kmsg.FetchRequestForgottenTopic{Topic: "unknown"}
	for i := range int32(rows) {
		x.Partitions = append(x.Partitions, rows-1-i)
	}
	forget.ForgottenTopics = append(forget.ForgottenTopics, x)
	if f := c.ask(forget).(*kmsg.FetchResponse); f.SessionID != 0 || f.ErrorCode != 0 {
		t.Errorf("%+v", f)
	}
}

// TestManyEmptyRows: partitions that are named without data are taken up to a bound, whatever the size of the frame.
func TestManyEmptyRows(t *testing.T) {
	n := newDataNode(t, log.Replicated)
	c := n.connect()
	q := produceTo(9, "t", [16]byte{}, 0, 1, nil)
	row := q.Topics[0].Partitions[0]
	for range maxBareRows / 2 {
		q.Topics[0].Partitions = append(q.Topics[0].Partitions, row)
	}
	if got := c.ask(q).(*kmsg.ProduceResponse); len(got.Topics[0].Partitions) != maxBareRows/2+1 {
		t.Errorf("%d rows are answered", len(got.Topics[0].Partitions))
	}
	for range 2 * maxBareRows {
		q.Topics[0].Partitions = append(q.Topics[0].Partitions, row)
	}
	if _, err := c.start(q); err == nil {
		t.Error("partitions without data are taken without a bound")
	}
	f := fetchFrom(12, "t", [16]byte{}, maxFetchRows+1, 0)
	if _, err := c.start(f); err == nil {
		t.Error("partitions to fetch are taken without a bound")
	}
}

// TestRebuiltBatches: small batches that become large ones are written as they come, so that few of them wait for Flush.
func TestRebuiltBatches(t *testing.T) {
	n := newDataNode(t, log.Replicated)
	n.config.Compression = record.Compression{Recompress: true, Codec: record.None}
	id := n.topic("t", 1)
	c := n.connect()
	b := record.NewBuilder(n.deps.Codecs, record.BuilderOptions{Codec: record.Gzip})
	b.Append(record.Record{Value: []byte(strings.Repeat("x", 1<<20-1000))})
	small, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	q := produceTo(9, "t", id, 0, 1, small)
	for range 19 {
		q.Topics[0].Partitions = append(q.Topics[0].Partitions, q.Topics[0].Partitions[0])
	}
	r, err := c.start(q)
	if err != nil {
		t.Fatal(err)
	}
	held := 0
	for i := range r.(*produceReply).rows {
		held += cap(r.(*produceReply).rows[i].append.Batch)
	}
	if held > maxCopied+2<<20 {
		t.Errorf("%d bytes of rebuilt batches are held", held)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	resp := c.finish(q, r).(*kmsg.ProduceResponse)
	for i, row := range resp.Topics[0].Partitions {
		if row.ErrorCode != 0 || row.BaseOffset != int64(i) {
			t.Errorf("row %d: %+v", i, row)
		}
	}
}

// TestProduceTimeout: the time of a Produce that waits for another replica runs from when it was received, however long
// others before it waited (rule 6.1.8).
func TestProduceTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newDataNode(t, log.Fsync)
		id := n.topic("t", 1)
		c := n.connect()
		r, err := c.start(produceTo(9, "t", id, 0, -1, batch(t, 1, record.BuilderOptions{})))
		if err != nil {
			t.Fatal(err)
		}
		p := r.(*produceReply)
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		p.Wait(nil) // so that only what is added here is waited for
		row := &p.rows[0]
		two := metadata.PartitionRegistration{
			Replicas: []metadata.BrokerID{1, 2}, ISR: []metadata.BrokerID{1, 2}, Leader: 1, LeaderEpoch: 1, PartitionEpoch: 1,
		}
		if err := row.p.Apply(&two, time.Now()); err != nil {
			t.Fatal(err)
		}
		row.ack = replica.Ack{Offset: 1000}
		row.p.Await(&row.ack, p.waiter, -1)
		begun := time.Now()
		time.Sleep(4 * time.Second)
		p.Wait(nil)
		if waited := time.Since(begun); waited != 5*time.Second || row.ack.Err != error(kerr.RequestTimedOut) {
			t.Errorf("%v after %v, want REQUEST_TIMED_OUT after 5s", row.ack.Err, waited)
		}
		p.Release()
	})
}

// TestManyTimesOnePartition: a fetch that names one partition again and again watches it once, is woken, and has one row
// for it, as it was named last.
func TestManyTimesOnePartition(t *testing.T) {
	n := newDataNode(t, log.Replicated)
	id := n.topic("t", 2)
	c, producer := n.connect(), n.connect()
	q := fetchFrom(12, "t", id, 2, 0)
	for range 500 {
		q.Topics[0].Partitions = append(q.Topics[0].Partitions, q.Topics[0].Partitions[:2]...)
	}
	q.Topics[0].Partitions[1].FetchOffset = 7 // which does not count
	q.MaxWaitMillis = 60_000
	r, err := c.start(q)
	if err != nil || r.Done() {
		t.Fatalf("answered at once, err=%v", err)
	}
	done := make(chan kmsg.Response)
	go func() { done <- c.finish(q, r) }()
	p := n.replicas.LookupName("t", 1)
	for p.Watchers() == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(10 * time.Millisecond)
	if got := p.Watchers(); got != 1 {
		t.Errorf("%d watches", got)
	}
	producer.ask(produceTo(9, "t", id, 1, 1, batch(t, 1, record.BuilderOptions{})))
	if rows := (<-done).(*kmsg.FetchResponse).Topics[0].Partitions; len(rows) != 2 || len(rows[1].RecordBatches) == 0 {
		t.Errorf("%d rows", len(rows))
	}
	if got := p.Watchers(); got != 0 {
		t.Errorf("%d watches are left", got)
	}
}
