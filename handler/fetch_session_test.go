package handler

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/wire"
)

// Rules 6.4.4 and 6.5.15: a topic that is deleted ends the fetches that wait for it, also those of other topics, at once.
func TestParkedFetchOfADeletedTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, sessionEpoch := range []int32{-1, 0} {
			n := newDataNode(t, log.Replicated)
			stays, goes := n.topic("stays", 1), n.topic("goes", 1)
			c := n.connect()
			q := fetchFrom(12, "goes", goes, 1, 0)
			q.Topics = append(q.Topics, fetchFrom(12, "stays", stays, 1, 0).Topics...)
			q.SessionEpoch, q.MaxWaitMillis = sessionEpoch, 60_000
			began := time.Now()
			r, err := c.start(q)
			if err != nil || r.Done() {
				t.Fatalf("a fetch at the end is answered at once, err=%v", err)
			}
			done := make(chan *kmsg.FetchResponse)
			go func() { done <- c.finish(q, r).(*kmsg.FetchResponse) }()
			synctest.Wait()
			n.apply(&metadata.RemoveTopicRecord{ID: goes})
			f := <-done
			if d := time.Since(began); d != 0 {
				t.Errorf("session epoch %d: it waited for %v", sessionEpoch, d)
			}
			if len(f.Topics) != 2 || f.Topics[0].Topic != "goes" || f.Topics[0].Partitions[0].ErrorCode != kerr.UnknownTopicOrPartition.Code {
				t.Errorf("session epoch %d: %+v", sessionEpoch, f.Topics)
			}
		}
	})
}

// A topic that comes into being while a fetch without a session waits is waited for like the others.
func TestParkedFetchOfALaterTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newDataNode(t, log.Replicated)
		id := n.topic("t", 1)
		c, producer := n.connect(), n.connect()
		q := fetchFrom(12, "later", metadata.UUID{}, 1, 0)
		q.Topics = append(q.Topics, fetchFrom(12, "t", id, 1, 0).Topics...)
		q.MaxWaitMillis, q.MinBytes = 60_000, 5000
		began := time.Now()
		r, err := c.start(q)
		if err != nil || r.Done() {
			t.Fatalf("a fetch at the end is answered at once, err=%v", err)
		}
		done := make(chan *kmsg.FetchResponse)
		go func() { done <- c.finish(q, r).(*kmsg.FetchResponse) }()
		synctest.Wait()
		n.topic("later", 1)
		producer.ask(produceTo(9, "t", id, 0, 1, batch(t, 1, record.BuilderOptions{}))) // too little, but it wakes
		synctest.Wait()
		producer.ask(produceTo(9, "later", id, 0, 1, batch(t, 1000, record.BuilderOptions{})))
		f := <-done
		if d := time.Since(began); d != 0 {
			t.Errorf("it waited for %v", d)
		}
		if len(f.Topics) != 2 || len(f.Topics[0].Partitions[0].RecordBatches) < 5000 {
			t.Errorf("%d topics", len(f.Topics))
		}
	})
}

// Fetches without a session do not wait while too many partitions are waited for already: each takes some ten times the
// bytes that ask for it, for as long as the client likes.
func TestParkedRowsAreBounded(t *testing.T) {
	n := newDataNode(t, log.Replicated)
	id := n.topic("t", 1)
	c := n.connect()
	q := fetchFrom(12, "t", id, 1000, 0)
	q.MaxWaitMillis = 600_000
	const others = maxParkedRows - 1500
	n.service.parkedRows.Store(others)
	var waiting []wire.Reply
	r, err := c.start(q)
	if err != nil || r.Done() {
		t.Fatalf("there is room for 1000 partitions, but they do not wait: %v", err)
	}
	waiting = append(waiting, r)
	few := fetchFrom(12, "t", id, 1, 0)
	few.MaxWaitMillis = 600_000
	if r, err := c.start(few); err != nil || r.Done() {
		t.Errorf("a small request does not wait: %v", err)
	} else {
		waiting = append(waiting, r)
	}
	if r, err = c.start(q); err != nil || !r.Done() {
		t.Fatalf("too much waits: %v", err)
	}
	if f := c.finish(q, r).(*kmsg.FetchResponse); f.ErrorCode != 0 || len(f.Topics[0].Partitions) != 1000 {
		t.Errorf("the answer: error %d", f.ErrorCode)
	}
	for _, r := range waiting {
		r.Release()
	}
	if got := n.service.parkedRows.Load(); got != others {
		t.Errorf("%d partitions are counted, want %d", got, others)
	}
	if r, err = c.start(q); err != nil || r.Done() {
		t.Errorf("there is room again, but it does not wait: %v", err)
	}
	r.Release()
}

// panicky is an Authorizer that panics when it is asked about a topic called bad.
type panicky struct{ acl.AllowAll }

func (p panicky) Allowed(q *acl.Request) bool {
	if q.Name == "bad" {
		panic("asked for a panic")
	}
	return p.AllowAll.Allowed(q)
}

// A request that panics ends its connection; what it used is free for others, also its session.
func TestPanickingFetch(t *testing.T) {
	n := newDataNode(t, log.Replicated)
	id := n.topic("t", 1)
	n.deps.Authorizer = panicky{}
	c := n.connect()
	open := fetchFrom(12, "t", id, 1, 0)
	open.SessionEpoch = 0
	session := c.ask(open).(*kmsg.FetchResponse).SessionID
	bad := poll(session, 1)
	bad.Topics = fetchFrom(12, "bad", id, 1, 0).Topics
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		_, _ = c.start(bad)
	}()
	open.SessionID = session // the client begins anew
	r, err := n.connect().start(open)
	if err != nil || !r.Done() {
		t.Fatalf("the session is still used: %v", err)
	}
	r.Release()
}

// A name that no topic can have is answered for, and not kept: a few of them would fill the memory.
func TestSessionOfLongNames(t *testing.T) {
	n := newDataNode(t, log.Replicated)
	id := n.topic("t", 1)
	c := n.connect()
	long := fetchFrom(12, strings.Repeat("x", 30_000), id, 1, 0)
	long.SessionEpoch = 0
	f := c.ask(long).(*kmsg.FetchResponse)
	if f.SessionID != 0 || f.ErrorCode != 0 || f.Topics[0].Partitions[0].ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("session %d, error %d", f.SessionID, f.ErrorCode)
	}
	open := fetchFrom(12, "t", id, 1, 0)
	open.SessionEpoch = 0
	session := c.ask(open).(*kmsg.FetchResponse).SessionID
	grow := poll(session, 1)
	grow.Topics, grow.MaxWaitMillis = long.Topics, 0
	if f := c.ask(grow).(*kmsg.FetchResponse); f.ErrorCode != 0 || len(f.Topics) != 1 {
		t.Errorf("a session that such a name comes to: error %d, %d topics", f.ErrorCode, len(f.Topics))
	}
	if n.service.sessions.len() != 0 {
		t.Error("the name is kept")
	}
	if _, err := c.start(fetchFrom(12, strings.Repeat("x", 1<<15), id, 1, 0)); err == nil {
		t.Error("a string that is longer than any can be is taken")
	}
}

// Sessions that nobody uses any more make way also when it is their partitions that are too many, and not they.
func TestSessionRowsComeBack(t *testing.T) {
	n := newDataNode(t, log.Replicated)
	id := n.topic("t", 2)
	c := n.connect()
	open := func() int32 {
		q := fetchFrom(12, "t", id, 2, 0)
		q.SessionEpoch = 0
		return c.ask(q).(*kmsg.FetchResponse).SessionID
	}
	s := n.service.sessions.get(open())
	s.size += maxSessionRows
	n.service.sessions.rows += maxSessionRows
	if open() != 0 {
		t.Fatal("a session in use makes way")
	}
	s.used = s.used.Add(-time.Hour)
	if open() == 0 {
		t.Error("no session, although the others are not used any more")
	}
	if got := n.service.sessions.rows; got != 2 {
		t.Errorf("%d rows are counted", got)
	}
	if s.rows != nil {
		t.Error("the session that made way is not closed")
	}
}
