package group

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group/assignor"
	"github.com/kbroker/kbroker/metadata"
)

// walker is a client of the new protocol in a walk. It believes what it was told, gives partitions up late, and may lose
// answers.
type walker struct {
	id       string
	instance *string
	epoch    int32
	owns     map[assignor.Partition]bool // that it consumes
	told     assignor.Partitions         // its assignment as of the last answer that it got
	full     bool                        // it lost an answer, and says everything next
	topics   []string
	regex    string
}

// consumerWalk drives a lab with many walkers and holds that no partition is ever consumed by two of them.
type consumerWalk struct {
	*consumerLab
	r       *rand.Rand
	walkers map[string]*walker
	names   int
	epochs  int32 // the highest epoch of the group so far
}

func (w *consumerWalk) request(k *walker, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = 1, "g", k.id, epoch, k.instance
	if epoch == epochJoin || k.full {
		req.RebalanceTimeoutMillis, req.SubscribedTopicNames, req.SubscribedTopicRegex = 30_000, k.topics, &k.regex
	}
	if epoch >= 0 {
		req.Topics = k.report(epoch)
	}
	return req
}

// report is what a walker says that it owns; nothing, now and then, when it need not.
func (k *walker) report(epoch int32) []kmsg.ConsumerGroupHeartbeatRequestTopic {
	rows := []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	if epoch == epochJoin {
		return rows
	}
	set := assignor.Partitions(slices.SortedFunc(maps.Keys(k.owns), assignor.Partition.Compare))
	byTopic(set, func(from, to int) {
		row := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		row.TopicID = set[from].Topic
		for _, p := range set[from:to] {
			row.Partitions = append(row.Partitions, p.Index)
		}
		rows = append(rows, row)
	})
	return rows
}

// heartbeat sends one and takes the answer over, unless it is lost.
func (w *consumerWalk) heartbeat(k *walker, lost bool) {
	epoch := k.epoch
	if w.r.IntN(16) == 0 {
		w.refuseBeat("a heartbeat of "+k.id, w.request(k, epoch))
	}
	resp := w.beat(w.request(k, epoch))
	w.checkOwners()
	switch {
	case lost:
		k.full = true
	case resp.ErrorCode != 0:
		// Fenced or unknown: it stops consuming at once, and joins again.
		k.owns, k.told, k.epoch, k.full = map[assignor.Partition]bool{}, nil, epochJoin, false
	default:
		k.full = false
		if resp.MemberEpoch < k.epoch {
			w.t.Fatalf("member %s is in epoch %d after %d", k.id, resp.MemberEpoch, k.epoch)
		}
		k.epoch = resp.MemberEpoch
		if resp.Assignment != nil {
			k.take(resp.Assignment)
		}
	}
}

// take begins with what is new at once. What was lost is given up later, by giveUp.
func (k *walker) take(a *kmsg.ConsumerGroupHeartbeatResponseAssignment) {
	k.told = nil
	for _, t := range a.Topics {
		for _, p := range t.Partitions {
			k.told = append(k.told, assignor.Partition{Topic: metadata.UUID(t.TopicID), Index: p})
		}
	}
	slices.SortFunc(k.told, assignor.Partition.Compare)
	for _, p := range k.told {
		k.owns[p] = true
	}
}

func (k *walker) giveUp() {
	for p := range k.owns {
		if !k.told.Has(p) {
			delete(k.owns, p)
		}
	}
}

// checkOwners holds that no partition is consumed by two walkers of whom the coordinator knows, and that the epochs of
// the group never go back.
func (w *consumerWalk) checkOwners() {
	w.t.Helper()
	g, ok := w.m.membersOf("g").(*consumerGroup)
	if !ok {
		return
	}
	if g.epoch < w.epochs || g.targetEpoch > g.epoch {
		w.t.Fatalf("the group is in epoch %d after %d, with targets of %d", g.epoch, w.epochs, g.targetEpoch)
	}
	w.epochs = g.epoch
	owner := map[assignor.Partition]string{}
	for id, k := range w.walkers {
		if g.members[id] == nil {
			continue // it was fenced, and will learn of it
		}
		for p := range k.owns {
			if other, taken := owner[p]; taken {
				w.t.Fatalf("%s is consumed by %s and %s\n%s", setString(assignor.Partitions{p}), other, id, consumerDump(w.m))
			}
			owner[p] = id
		}
	}
	for id, m := range g.members {
		if m.epoch > g.epoch {
			w.t.Fatalf("member %s is in epoch %d, its group in %d", id, m.epoch, g.epoch)
		}
	}
}

// step does something at random.
func (w *consumerWalk) step() {
	w.advance(time.Duration(w.r.IntN(1500)) * time.Millisecond)
	ids := slices.Sorted(maps.Keys(w.walkers))
	var k *walker
	if len(ids) > 0 {
		k = w.walkers[ids[w.r.IntN(len(ids))]]
	}
	switch n := w.r.IntN(100); {
	case k == nil || n < 6 && len(ids) < 12:
		w.join()
	case n < 9:
		w.leave(k)
	case n < 11: // it dies; its partitions are not consumed any more
		delete(w.walkers, k.id)
	case n < 14:
		w.topic(fmt.Sprintf("t%d", w.r.IntN(4)), w.r.Int32N(6)+1)
	case n < 17:
		k.topics, k.regex, k.full = w.subscription(), "", true
		if w.r.IntN(3) == 0 {
			k.regex = []string{"t[01]", "t.*", "none", "t3"}[w.r.IntN(4)]
		}
		w.heartbeat(k, false)
	case n < 19:
		w.m = w.load(w.log)
		w.m.Loaded(w.now, &coordinator.Effects{})
	case n < 40:
		k.giveUp()
	default:
		w.heartbeat(k, w.r.IntN(12) == 0)
	}
	if err := audit(w.m); err != nil {
		w.t.Fatal(err)
	}
}

func (w *consumerWalk) subscription() []string {
	list := []string{}
	for i := range 4 {
		if w.r.IntN(2) == 0 {
			list = append(list, fmt.Sprintf("t%d", i))
		}
	}
	return list
}

func (w *consumerWalk) join() {
	w.names++
	k := &walker{id: fmt.Sprintf("m%d", w.names), owns: map[assignor.Partition]bool{}, topics: w.subscription()}
	if w.r.IntN(4) == 0 {
		instance := fmt.Sprintf("i%d", w.r.IntN(4))
		k.instance = &instance
	}
	w.walkers[k.id] = k
	w.heartbeat(k, false)
}

func (w *consumerWalk) leave(k *walker) {
	epoch := int32(epochLeave)
	if k.instance != nil && w.r.IntN(2) == 0 {
		epoch = epochAway
	}
	delete(w.walkers, k.id) // it stopped consuming before it says so
	w.beat(w.request(k, epoch))
	w.checkOwners()
}

// settle lets everybody alive report until nothing changes: the group must be Stable then, and every partition of a topic
// that somebody subscribes to must be consumed.
func (w *consumerWalk) settle() {
	w.t.Helper()
	for range 40 {
		for _, id := range slices.Sorted(maps.Keys(w.walkers)) {
			w.walkers[id].giveUp()
			w.heartbeat(w.walkers[id], false)
		}
		w.advance(1500 * time.Millisecond)
	}
	g, ok := w.m.membersOf("g").(*consumerGroup)
	if !ok || len(g.members) == 0 {
		return
	}
	if state := g.state(); state != "Stable" {
		w.t.Fatalf("the group does not settle: %s\n%s", state, consumerDump(w.m))
	}
	consumed := 0
	for _, k := range w.walkers {
		consumed += len(k.owns)
	}
	want := 0
	g.consumed(func(name string) {
		if t := w.im.Topic(name); t != nil {
			want += len(t.Partitions)
		}
	})
	if consumed != want {
		w.t.Fatalf("%d partitions are consumed of %d\n%s", consumed, want, consumerDump(w.m))
	}
}

// TestConsumerWalk: whatever members do and suffer, no partition is consumed by two of them, epochs do not go back, what
// a new coordinator reads is what the old one had, and when things calm down everything is consumed.
func TestConsumerWalk(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := &consumerWalk{consumerLab: newConsumerLab(t), r: rand.New(rand.NewPCG(seed, 848)), walkers: map[string]*walker{}}
			w.topic("t0", 3)
			w.topic("t1", 5)
			for range 4 {
				for i := range 100 {
					w.unchecked = i%5 != 0 // loading the log three times at every step would take long
					w.step()
				}
				w.settle()
			}
		})
	}
}
