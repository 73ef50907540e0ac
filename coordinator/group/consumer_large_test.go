package group

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group/assignor"
)

// TestLargeTarget: the targets of a group of many thousands are more than a batch of __consumer_offsets takes. They are
// written in several, and when the node fails between two of them the group makes its targets anew.
func TestLargeTarget(t *testing.T) {
	const members, most = 17_000, 1<<20 + 12
	l := newConsumerLab(t)
	l.unchecked = true
	l.topic("a", members)
	for i := range members {
		l.beat(beatOf(fmt.Sprintf("member-%05d-0123456789-0123456789", i), epochJoin, "a")) // their targets are made once
	}
	l.advance(2 * time.Second)
	before := len(l.log)
	beat := beatOf("member-00000-0123456789-0123456789", epochJoin, "a")
	var pieces [][]coordinator.Record
	l.decide(func(e *coordinator.Effects) {
		q := &ConsumerHeartbeat{Request: beat, From: Client{ID: "lab", Host: "/192.0.2.1"}, MayDescribe: func(string) bool { return true }}
		l.m.ConsumerGroupHeartbeat(l.now, q, func(*kmsg.ConsumerGroupHeartbeatResponse, error) {}, e)
		pieces = e.Pieces()
	})
	total := 0
	for _, p := range pieces {
		size := 0
		for _, r := range p {
			size += len(r.Key) + len(r.Value)
		}
		if total += size; size > 1<<10 {
			t.Errorf("%d bytes that cannot be parted", size)
		}
	}
	if total < most {
		t.Fatalf("the targets take only %d bytes: the test shows nothing", total)
	}
	wantWhole(t, l.m, members)
	for _, part := range []int{1, len(pieces) / 3, len(pieces) - 1} {
		n := before
		for _, p := range pieces[:part] {
			n += len(p)
		}
		crashed := &consumerLab{t: t, now: l.now, im: l.im, timing: l.timing, config: l.config, unchecked: true, log: slices.Clone(l.log[:n])}
		crashed.m = crashed.load(crashed.log)
		crashed.m.Loaded(crashed.now, &coordinator.Effects{})
		crashed.advance(2 * time.Second)
		again := beatOf("member-00001-0123456789-0123456789", epochJoin, "a")
		if resp := crashed.beat(again); resp.ErrorCode != 0 {
			t.Fatalf("after %d of %d pieces: %s", part, len(pieces), *resp.ErrorMessage)
		}
		wantWhole(t, crashed.m, members)
	}
}

// wantWhole fails unless the targets of group g give each of n partitions to one member.
func wantWhole(t *testing.T, m *Machine, n int) {
	t.Helper()
	g := m.membersOf("g").(*consumerGroup)
	given := map[assignor.Partition]string{}
	for id, m := range g.members {
		for _, p := range m.target {
			if other, ok := given[p]; ok {
				t.Fatalf("%d is given to %s and to %s", p.Index, id, other)
			}
			given[p] = id
		}
	}
	if len(given) != n || g.targetEpoch != g.epoch {
		t.Errorf("%d of %d partitions are given, in epoch %d of %d", len(given), n, g.targetEpoch, g.epoch)
	}
}

// TestSmallBatches: a topic whose batches may be small costs a regular expression its meaning, and a group that would
// become a classic one its change, but nobody the partition: what timers decide fits.
func TestSmallBatches(t *testing.T) {
	const most = 4 << 10
	l := newConsumerLab(t)
	for i := range 200 {
		l.topic(fmt.Sprintf("a-%03d-topic-with-a-name-of-some-length", i), 1)
	}
	req := beatOf("m", epochJoin, "none")
	req.SubscribedTopicNames, req.SubscribedTopicRegex = nil, new("a-.*")
	l.beat(req)
	g := l.m.membersOf("g").(*consumerGroup)
	for tick := 0; g.resolved["a-.*"] == nil && tick < 100; tick++ {
		l.now = l.now.Add(20 * time.Millisecond)
		l.decide(func(e *coordinator.Effects) {
			e.Most = most
			l.m.Tick(l.now, e)
			for _, p := range e.Pieces() {
				size := 0
				for _, r := range p {
					size += len(r.Key) + len(r.Value)
				}
				if !e.Fits(len(p), size) {
					t.Fatalf("a tick wants %d bytes in one batch of %d", size, most)
				}
			}
		})
	}
	if g.resolved["a-.*"] != nil {
		t.Error("the expression stands for more than a batch takes: the test shows nothing")
	}
}

// TestLargeDowngrade: the last member of the new protocol leaves a group of thousands that speak the classic one. What a
// timer then decides fits into a batch, with all that the group was deleted.
func TestLargeDowngrade(t *testing.T) {
	for _, members := range []int{100, 3000, 6000} {
		l := newConsumerLab(t)
		l.unchecked = true
		l.topic("a", 1)
		l.beat(beatOf("m", epochJoin, "a"))
		for i := range members {
			l.decide(func(e *coordinator.Effects) {
				l.m.JoinGroup(l.now, joinOf(fmt.Sprintf("member-%04d-0123456789-0123456789", i), "a"), Client{}, func(*kmsg.JoinGroupResponse, error) {}, e)
			})
		}
		l.decide(func(e *coordinator.Effects) {
			e.Most = 1<<20 + 12
			l.m.membersOf("g").(*consumerGroup).fence("m", l.now, e)
			for _, p := range e.Pieces() {
				size := 0
				for _, r := range p {
					size += len(r.Key) + len(r.Value)
				}
				if !e.Fits(len(p), size) {
					t.Errorf("%d members: %d records of %d bytes in one batch", members, len(p), size)
				}
			}
		})
		if kind := l.m.membersOf("g").kind(); members == 100 && kind != "classic" {
			t.Errorf("a group of %d stays a %s group", members, kind)
		}
	}
}
