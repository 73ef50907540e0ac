package group

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
)

// TestClassicWalk lets members do what members may do, and what they should not, in random order, with crashes in
// between, and looks at the group after every step. What it says about a failure names the seed, with which it fails again.
func TestClassicWalk(t *testing.T) {
	const seeds, steps = 60, 400
	reached := map[classicState]int{}
	for seed := range uint64(seeds) {
		w := newWalk(seed)
		for range steps {
			w.step()
			if err := w.check(); err != nil {
				t.Fatalf("seed %d: %v\n%s\n%s", seed, err, w.lab.state(), strings.Join(w.history, "\n"))
			}
			if g := w.group(); g != nil {
				reached[g.status]++
			}
		}
		w.lab.unload()
	}
	for s := classicEmpty; s <= classicStable; s++ {
		if reached[s] < seeds {
			t.Errorf("the walk saw a group that is %s %d times only", s, reached[s])
		}
	}
}

// walk is one random history.
type walk struct {
	lab     *lab
	rand    *rand.Rand
	actors  []*actor
	history []string

	generation int32             // the newest that was seen since the last crash
	owners     map[string]string // "generation/partition": who was told to own it
}

// walkPartitions is how many partitions leaders have to share out.
const walkPartitions = 6

func newWalk(seed uint64) *walk {
	w := &walk{lab: newLab(), rand: rand.New(rand.NewPCG(seed, 1)), owners: map[string]string{}}
	w.lab.config.InitialRebalanceDelay = time.Duration(w.rand.IntN(2)) * 3 * time.Second
	for i := range 8 {
		a := w.lab.actor(fmt.Sprint("m", i))
		if i >= 5 {
			instance := fmt.Sprint("i", i%2) // two of the three claim to be the same one
			a.instance = &instance
		}
		w.actors = append(w.actors, a)
	}
	return w
}

func (w *walk) group() *classicGroup {
	if g := w.lab.m.groups[labGroup]; g != nil {
		return g.members.(*classicGroup)
	}
	return nil
}

func (w *walk) step() {
	a := w.actors[w.rand.IntN(len(w.actors))]
	what := w.rand.IntN(100)
	switch {
	case what < 35:
		w.join(a)
	case what < 65:
		w.sync(a)
	case what < 80:
		w.heartbeat(a)
	case what < 84:
		w.leave(a)
	case what < 98:
		w.lab.pass(time.Duration(w.rand.IntN(4000)) * time.Millisecond)
	case what < 99:
		w.lab.config.MaxSize = int32(2 + w.rand.IntN(9))
	default:
		w.lab.unload()
		w.lab.load()
		w.generation = 0
		w.lab.out = append(w.lab.out, "crash")
	}
	w.history = append(w.history, w.lab.take())
	w.history = w.history[max(0, len(w.history)-40):]
}

func (w *walk) join(a *actor) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.InstanceID, req.Version = labGroup, a.id, a.instance, int16(w.rand.IntN(10))
	if a.instance != nil {
		req.Version = 5 + int16(w.rand.IntN(5))
		if w.rand.IntN(3) == 0 {
			req.MemberID = "" // restarted
		}
	}
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 6000+int32(w.rand.IntN(10_000)), int32(w.rand.IntN(20_000))
	req.ProtocolType = consumerProtocolType
	names := []string{"range", "rr", "sticky"}
	w.rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names[:1+w.rand.IntN(3)] {
		row := kmsg.NewJoinGroupRequestProtocol()
		row.Name, row.Metadata = name, []byte(a.name[:w.rand.IntN(3)])
		req.Protocols = append(req.Protocols, row)
	}
	w.lab.join(a, req)
}

// sync sends what a client would: the leader shares out the partitions among those it was told of. Now and then the
// generation is wrong.
func (w *walk) sync(a *actor) {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.InstanceID, req.Generation = labGroup, a.id, a.instance, a.generation-int32(w.rand.IntN(20)/19)
	first := w.rand.IntN(walkPartitions)
	shares := map[string][]byte{}
	for p := range walkPartitions {
		if len(a.members) > 0 {
			m := a.members[(first+p)%len(a.members)]
			shares[m] = append(shares[m], byte('0'+p))
		}
	}
	for _, m := range a.members {
		row := kmsg.NewSyncGroupRequestGroupAssignment()
		row.MemberID, row.MemberAssignment = m, shares[m]
		req.GroupAssignment = append(req.GroupAssignment, row)
	}
	w.lab.sync(a, req)
}

func (w *walk) heartbeat(a *actor) {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.InstanceID, req.Generation = labGroup, a.id, a.instance, a.generation
	w.lab.heartbeat(a, req)
}

func (w *walk) leave(a *actor) {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 5, labGroup
	row := kmsg.NewLeaveGroupRequestMember()
	row.MemberID, row.InstanceID = a.id, a.instance
	req.Members = append(req.Members, row)
	w.lab.leave(req)
}

// check says what is wrong with the group, if anything is.
func (w *walk) check() error {
	if err := audit(w.lab.m); err != nil {
		return err
	}
	g := w.group()
	if g == nil {
		return nil
	}
	if g.generation < w.generation {
		return fmt.Errorf("generation %d after %d", g.generation, w.generation)
	}
	w.generation = g.generation
	if err := g.verify(); err != nil {
		return err
	}
	if err := w.checkOwners(g); err != nil {
		return err
	}
	for _, id := range w.lab.left {
		if g.byID[id] != nil {
			return fmt.Errorf("%s left, and is back", id)
		}
	}
	if err := w.checkGhosts(g); err != nil {
		return err
	}
	return w.checkDurable(g)
}

// checkGhosts sees that the last record has nobody who is gone, unless another one is due.
func (w *walk) checkGhosts(g *classicGroup) error {
	d := &g.departures
	if d.owed != (d.index > 0) || !d.owed && len(d.waiting) > 0 {
		return fmt.Errorf("a record is due: %v, at %v, with %d answers", d.owed, d.at, len(d.waiting))
	}
	if d.owed {
		return nil
	}
	v := kmsg.NewGroupMetadataValue()
	if err := v.ReadFrom(w.lab.log[len(w.lab.log)-1].Value); err != nil {
		return err
	}
	for _, m := range v.Members {
		if g.byID[m.MemberID] == nil && (m.InstanceID == nil || g.static[*m.InstanceID] == nil) {
			return fmt.Errorf("%s is gone, and the record has it", m.MemberID)
		}
	}
	return nil
}

// checkOwners sees that within a generation no partition is told to two members. A static member is the same one after a
// restart.
func (w *walk) checkOwners(g *classicGroup) error {
	if g.status != classicStable {
		return nil
	}
	for m := range g.all {
		who := m.id
		if m.instanceID != nil {
			who = *m.instanceID
		}
		for _, p := range m.assignment {
			place := fmt.Sprintf("%d/%c", g.generation, p)
			if before, ok := w.owners[place]; ok && before != who {
				return fmt.Errorf("partition %c belongs to %s and to %s in generation %d", p, before, who, g.generation)
			}
			w.owners[place] = who
		}
	}
	return nil
}

// checkDurable sees that a group in which nobody is joining is what its log says, and that a replay gives the same group, but
// for one thing: what is in CompletingRebalance begins again.
func (w *walk) checkDurable(g *classicGroup) error {
	if g.status == classicPreparing || g.departures.owed {
		return nil
	}
	now, last := g.encode(), w.lab.log[len(w.lab.log)-1].Value
	if !bytes.Equal(now, last) {
		return fmt.Errorf("the group is not what its last record says:\n%s\n%s", describeRecord(coordinator.Record{Key: groupMetadataKey(labGroup), Value: now}), describeRecord(w.lab.log[len(w.lab.log)-1]))
	}
	again, err := w.lab.m.readClassic(labGroup, last)
	if err != nil {
		return err
	}
	settled := g.status != classicCompleting
	if !bytes.Equal(again.encode(), last) || settled != (again.status != classicPreparing) || settled && again.leader != g.leader {
		return fmt.Errorf("a replay gives another group")
	}
	return nil
}

// verify says which of the group's own rules it breaks, if any.
func (g *classicGroup) verify() error {
	joining, owing, supported := 0, 0, map[string]int{}
	n := 0
	for m := range g.all {
		n++
		for _, p := range m.protocols {
			supported[p.name]++
		}
		if m.join != nil {
			joining++
		}
		if m.owesSync {
			owing++
		}
		switch {
		case g.byID[m.id] != m:
			return fmt.Errorf("%s is not found by its id", m.id)
		case m.instanceID != nil && g.static[*m.instanceID] != m:
			return fmt.Errorf("%s is not found by its instance id", m.id)
		case m.join != nil && g.status != classicPreparing:
			return fmt.Errorf("%s waits in a join", m.id)
		case m.sync != nil && g.status != classicCompleting:
			return fmt.Errorf("%s waits in a sync", m.id)
		case m.fresh && m.join == nil:
			return fmt.Errorf("%s is new, and does not wait", m.id)
		case m.session.index == 0 && !m.parked():
			return fmt.Errorf("nobody watches over %s", m.id)
		}
	}
	for name, count := range supported {
		if g.supported[name] != count {
			return fmt.Errorf("%s is offered by %d members, counted are %d", name, count, g.supported[name])
		}
	}
	size, told := recount(g), g.bytes+g.pending.bytes
	switch {
	case n != g.len() || joining != g.joining || owing != g.unsynced || size != told || len(supported) != len(g.supported):
		return fmt.Errorf("counted %d members, %d joining, %d owing a sync, %d bytes; it says %d, %d, %d, %d", n, joining, owing, size, g.len(), g.joining, g.unsynced, told)
	case (g.leader != "") != (n > 0) || n > 0 && g.byID[g.leader] == nil:
		return fmt.Errorf("%q leads %d members", g.leader, n)
	case g.status == classicEmpty && n > 0, g.status >= classicCompleting && n == 0:
		return fmt.Errorf("%s with %d members", g.status, n)
	case g.status >= classicCompleting && !g.common(*g.protocol):
		return fmt.Errorf("not everybody offers %s", *g.protocol)
	case g.phase.index == 0 && (g.status == classicPreparing || owing > 0):
		return fmt.Errorf("nothing ends what it waits for")
	case g.len() != len(g.byID) || g.pending.len() != g.pending.order.Len():
		return fmt.Errorf("pending ids: %d and %d", g.pending.len(), g.pending.order.Len())
	}
	return nil
}
