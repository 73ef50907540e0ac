//go:build !race

package handler

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/wire"
)

// TestSteadyStateAllocations: Produce and Fetch allocate nothing per request, and a poll of 1,000 unchanged partitions
// nothing per partition and encodes none of them (must-show 10 of the durable log).
func TestSteadyStateAllocations(t *testing.T) {
	n := newDataNodeOn(t, vfs.OS(), t.TempDir(), log.Replicated) // the disk in memory copies what is written to it
	checkSteadyState(t, n)
}

// TestSteadyStateAllocationsWithQuotas: nor does a client that has quotas and does not reach them.
func TestSteadyStateAllocationsWithQuotas(t *testing.T) {
	n := newDataNodeOn(t, vfs.OS(), t.TempDir(), log.Replicated)
	for _, key := range []string{"producer_byte_rate", "consumer_byte_rate", "request_percentage"} {
		n.limit(key, 1e12)
	}
	checkSteadyState(t, n)
}

func checkSteadyState(t *testing.T, n *dataNode) {
	t.Helper()
	id := n.topic("t", 1000)
	c := n.connect()
	produce := produceTo(9, "t", id, 0, 1, batch(t, 10, record.BuilderOptions{}))
	body := produce.AppendTo(nil)
	fresh := bytes.Clone(body)
	h := &wire.Header{Key: keyProduce, Version: 9, Flexible: true}
	var out wire.Out
	one := func() {
		copy(body, fresh) // the log patches offsets into it
		r := startReused(t, c, h, body)
		if p := r.(*produceReply); !p.Done() || p.rows[0].err != nil {
			t.Fatalf("not done, or %v", p.rows[0].err)
		}
		r.Append(&out)
		r.Release()
		out.B = out.B[:0]
	}
	if a := testing.AllocsPerRun(2000, one); a >= 1 {
		t.Errorf("Produce: %v allocations per request", a)
	}
	fetch := fetchFrom(12, "t", id, 1, 0)
	fh := &wire.Header{Key: keyFetch, Version: 12, Flexible: true}
	fbody := fetch.AppendTo(nil)
	if a := testing.AllocsPerRun(1000, func() {
		r := startReused(t, c, fh, fbody)
		r.Append(&out)
		r.Release()
		out.Reset()
	}); a >= 1 {
		t.Errorf("Fetch without a session: %v allocations per request", a)
	}
	full := fetchFrom(12, "t", id, 1000, 0)
	full.SessionEpoch = 0
	full.Topics[0].Partitions = full.Topics[0].Partitions[1:] // partition 0 has data
	session := c.ask(full).(*kmsg.FetchResponse).SessionID
	poll := kmsg.NewPtrFetchRequest()
	poll.SetVersion(12)
	poll.MinBytes, poll.MaxBytes, poll.SessionID = 1, 1<<20, session
	epoch := int32(0)
	pbody := poll.AppendTo(nil)
	if a := testing.AllocsPerRun(1000, func() {
		epoch++
		poll.SessionEpoch = epoch
		pbody = poll.AppendTo(pbody[:0])
		r := startReused(t, c, fh, pbody)
		r.Append(&out)
		r.Release()
		if len(out.B) > 20 {
			t.Fatalf("%d bytes for a poll without changes", len(out.B))
		}
		out.Reset()
	}); a >= 1 {
		t.Errorf("poll of 999 unchanged partitions: %v allocations", a)
	}
	if looked := len(n.service.sessions.get(session).active); looked != 0 {
		t.Errorf("%d unchanged partitions are looked at", looked)
	}
}
