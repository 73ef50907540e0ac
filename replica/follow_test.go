package replica

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
)

// newReplica opens broker self's replica of t-0 on a disk in memory.
func newReplica(t *testing.T, self metadata.BrokerID) *Partition {
	t.Helper()
	logs, err := log.Open(log.Options{FS: simfs.New(), Dirs: []string{"/data"}, Logger: slog.New(slog.DiscardHandler), ClusterID: "c", NodeID: self})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { logs.Close(1) })
	c := log.DefaultConfig()
	c.SegmentBytes = 2000 // a few batches
	c.Durability = log.Replicated
	l, err := logs.Create(log.TopicPartition{Topic: "t"}, [16]byte{1}, &c)
	if err != nil {
		t.Fatal(err)
	}
	return newPartition(self, "t", 0, metadata.UUID{1}, l, &Settings{MinISR: 1})
}

// appendTo appends a batch of n records at the leader; an append that is not acknowledged is no error.
func appendTo(t *testing.T, p *Partition, n int, tag string) {
	t.Helper()
	b := record.NewBuilder(nil, record.BuilderOptions{})
	for i := range n {
		b.Append(record.Record{Value: fmt.Appendf(nil, "%s %d", tag, i), Timestamp: time.Now().UnixMilli()})
	}
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	a := log.Append{Batch: batch, Info: batch.Info()}
	if err := errors.Join(p.Stage(&a, 1), p.Flush(), a.Err); err != nil {
		t.Fatal(err)
	}
}

// fetchOnce lets follower f fetch from leader l, at most max bytes.
func fetchOnce(t *testing.T, l, f *Partition, max int32) {
	t.Helper()
	offset, last := f.FollowerPosition()
	id := f.state.self
	q := FetchRequest{Offset: offset, MaxBytes: max, MinOneBatch: true, CurrentLeaderEpoch: l.LeaderEpoch(), LastFetchedEpoch: last, Isolation: ReadLog, Follower: &id}
	var r FetchResult
	l.Fetch(&q, &r)
	if r.Err != nil {
		t.Fatalf("follower %d fetches from %d (last epoch %d): %v", id, offset, last, r.Err)
	}
	answer := LeaderFetch{LeaderEpoch: l.LeaderEpoch(), HighWatermark: r.HighWatermark, LogStartOffset: r.LogStartOffset, Diverged: r.Diverged, Epoch: r.DivergedEpoch, End: r.DivergedEnd}
	if r.Records.N > 0 {
		answer.Records = make([]byte, r.Records.N)
		if _, err := r.Records.File.ReadAt(answer.Records, r.Records.Off); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		r.Records.Release()
	}
	if _, err := f.AppendAsFollower(&answer); err != nil {
		t.Fatalf("follower %d: %v", id, err)
	}
}

// contents reads a whole log up to an offset.
func contents(t *testing.T, p *Partition, upper int64) []byte {
	t.Helper()
	var all []byte
	for at := p.log.StartOffset(); at < upper; {
		s, err := p.log.Read(at, 1<<20, true, log.At(upper))
		if err != nil {
			t.Fatal(err)
		}
		if s.N == 0 {
			t.Fatalf("nothing to read at %d below %d, the log ends at %+v", at, upper, p.log.End())
		}
		b := make([]byte, s.N)
		if _, err := s.File.ReadAt(b, s.Off); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		s.Release()
		all = append(all, b...)
		for rest := b; len(rest) > 0; {
			batch, next, err := record.Next(rest)
			if err != nil {
				t.Fatal(err)
			}
			at, rest = batch.LastOffset()+1, next
		}
	}
	return all
}

// TestFollowLeader copies a leader's log through AppendAsFollower, changes leaders at any point, and lets the old one
// diverge and truncate: what was committed stays, on both, byte for byte.
func TestFollowLeader(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { followWalk(t, rand.New(rand.NewPCG(seed, 9))) })
	}
}

func followWalk(t *testing.T, rng *rand.Rand) {
	ps := [2]*Partition{newReplica(t, 1), newReplica(t, 2)}
	reg := metadata.PartitionRegistration{Replicas: []metadata.BrokerID{1, 2}, ISR: []metadata.BrokerID{1, 2}, Leader: 1}
	lead := 0
	elect := func() {
		reg.Leader = ps[lead].state.self
		for _, p := range ps {
			if err := p.Apply(&reg, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
	}
	elect()
	var committed []byte
	for step := range 120 {
		switch rng.IntN(10) {
		case 0, 1, 2, 3:
			appendTo(t, ps[lead], 1+rng.IntN(4), fmt.Sprint("step ", step))
		case 9:
			// Both are in the ISR, so either may lead. What the other had beyond it is lost, and was never committed.
			lead = rng.IntN(2)
			reg.LeaderEpoch++
			elect()
		default:
			fetchOnce(t, ps[lead], ps[1-lead], int32(200+rng.IntN(3000)))
		}
		if hw := ps[lead].HighWatermark(); hw > 0 {
			got := contents(t, ps[lead], hw)
			if !bytes.HasPrefix(got, committed[:min(len(committed), len(got))]) {
				t.Fatalf("step %d: committed records changed", step)
			}
			if len(got) > len(committed) {
				committed = got
			}
		}
	}
	for range 300 { // settle
		fetchOnce(t, ps[lead], ps[1-lead], 1<<20)
		if ps[0].log.End().Offset == ps[1].log.End().Offset && ps[0].HighWatermark() == ps[lead].log.End().Offset && ps[1].HighWatermark() == ps[0].HighWatermark() {
			break
		}
	}
	end := ps[lead].log.End().Offset
	a, b := contents(t, ps[0], end), contents(t, ps[1], end)
	if !bytes.Equal(a, b) || !bytes.HasPrefix(a, committed) {
		t.Fatalf("the replicas differ, or committed records are gone: ends %d and %d, high watermarks %d and %d",
			ps[0].log.End().Offset, ps[1].log.End().Offset, ps[0].HighWatermark(), ps[1].HighWatermark())
	}
}

// TestFollowerFencing: a leader takes nothing from another, and nobody takes an answer of an older epoch.
func TestFollowerFencing(t *testing.T) {
	p := newReplica(t, 1)
	reg := metadata.PartitionRegistration{Replicas: []metadata.BrokerID{1, 2}, ISR: []metadata.BrokerID{1, 2}, Leader: 1, LeaderEpoch: 3}
	if err := p.Apply(&reg, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.AppendAsFollower(&LeaderFetch{LeaderEpoch: 3}); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Errorf("a leader follows: %v", err)
	}
	reg.Leader, reg.LeaderEpoch = 2, 4
	if err := p.Apply(&reg, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.AppendAsFollower(&LeaderFetch{LeaderEpoch: 3}); !errors.Is(err, kerr.FencedLeaderEpoch) {
		t.Errorf("an old answer is taken: %v", err)
	}
	if err := p.Stage(&log.Append{}, -1); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Errorf("a follower appends: %v", err)
	}
}

// TestAcks: acks=all waits for the follower, acks=1 does not, a change of leader ends both waits.
func TestAcks(t *testing.T) {
	p, f := newReplica(t, 1), newReplica(t, 2)
	reg := metadata.PartitionRegistration{Replicas: []metadata.BrokerID{1, 2}, ISR: []metadata.BrokerID{1, 2}, Leader: 1}
	for _, x := range []*Partition{p, f} {
		if err := x.Apply(&reg, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	appendTo(t, p, 2, "x")
	w := NewWaiter()
	all, one := Ack{Offset: 2}, Ack{Offset: 2}
	p.Await(&all, w, -1)
	p.Await(&one, w, 1)
	if w.Pending() != 1 {
		t.Fatalf("%d acknowledgements are waited for, want that of acks=all", w.Pending())
	}
	fetchOnce(t, p, f, 1<<20)
	fetchOnce(t, p, f, 1<<20) // this fetch acknowledges what the one before brought
	if <-w.C; w.Pending() != 0 || all.Err != nil {
		t.Fatalf("%d pending, %v", w.Pending(), all.Err)
	}
	appendTo(t, p, 1, "y")
	all = Ack{Offset: 3}
	p.Await(&all, w, -1)
	if !p.Cancel(&all, kerr.RequestTimedOut) || w.Pending() != 0 || all.Err != error(kerr.RequestTimedOut) {
		t.Fatalf("cancelled: %d pending, %v", w.Pending(), all.Err)
	}
	p.Await(&all, w, -1)
	reg.Leader, reg.LeaderEpoch = 2, 1
	if err := p.Apply(&reg, time.Now()); err != nil {
		t.Fatal(err)
	}
	if <-w.C; !errors.Is(all.Err, kerr.NotLeaderForPartition) {
		t.Fatalf("after the leader changed: %v", all.Err)
	}
}
