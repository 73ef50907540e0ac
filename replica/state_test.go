package replica

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kbroker/kbroker/metadata"
)

// model is a replica set as an omniscient observer sees it: every replica's durable end, and the highest HighWatermark
// that was ever published in the leader's epoch.
type model struct {
	t     *testing.T
	rng   *rand.Rand
	s     state
	reg   metadata.PartitionRegistration
	ends  map[metadata.BrokerID]int64 // durable ends, the leader's too
	now   time.Time
	trace []string
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_000_000, 0), ends: map[metadata.BrokerID]int64{1: 0, 2: 0, 3: 0}}
	m.s = state{self: 1, leader: -1, leaderEpoch: -1, minISR: 1 + m.rng.IntN(3)}
	m.reg = metadata.PartitionRegistration{Replicas: []metadata.BrokerID{1, 2, 3}, ISR: []metadata.BrokerID{1, 2, 3}, Leader: 1}
	m.s.apply(&m.reg, 0, m.now)
	return m
}

func (m *model) say(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

// step does one random thing.
func (m *model) step() {
	m.now = m.now.Add(time.Duration(m.rng.IntN(5000)) * time.Millisecond)
	f := metadata.BrokerID(2 + m.rng.IntN(2))
	switch m.rng.IntN(8) {
	case 0, 1:
		m.ends[1] += int64(m.rng.IntN(5))
		m.s.localEnd = m.ends[1]
		m.say("append to %d", m.ends[1])
	case 2, 3, 4: // a follower has appended some of it durably, and fetches from there
		m.ends[f] = min(m.ends[1], m.ends[f]+int64(m.rng.IntN(6)))
		expand := m.s.fetched(f, 1, m.ends[f], m.ends[1], m.now)
		m.say("%d fetches from %d, expand=%v", f, m.ends[f], expand)
		if expand {
			m.s.proposed = append(slices.Clone(m.s.isr), f)
		}
	case 5:
		if out := m.s.lagging(30*time.Second, m.now); len(out) > 0 {
			m.s.proposed = slices.DeleteFunc(slices.Clone(m.s.isr), func(id metadata.BrokerID) bool { return slices.Contains(out, id) })
			m.say("propose ISR %v", m.s.proposed)
		}
	case 6: // the controller answers
		if m.s.proposed == nil {
			return
		}
		if m.rng.IntN(3) > 0 {
			m.reg.ISR = m.s.proposed
			m.reg.PartitionEpoch++
		}
		m.s.apply(&m.reg, m.ends[1], m.now)
		m.say("committed ISR %v", m.reg.ISR)
	case 7: // the same leader in a new epoch: what followers said is forgotten, what they have is not
		if m.rng.IntN(4) > 0 {
			return
		}
		m.reg.LeaderEpoch++
		m.s.apply(&m.reg, m.ends[1], m.now)
		m.say("epoch %d", m.reg.LeaderEpoch)
	}
}

// check holds the invariants of state against what the observer knows.
func (m *model) check() {
	before := m.s.highWatermark
	moved := m.s.advance()
	hw := m.s.highWatermark
	m.say("hw %d", hw)
	fail := func(format string, args ...any) {
		m.t.Helper()
		m.t.Fatalf("%s\ntrace: %q", fmt.Sprintf(format, args...), m.trace)
	}
	if hw < before || moved != (hw > before) {
		fail("HighWatermark went from %d to %d, moved=%v", before, hw, moved)
	}
	if moved && m.s.underMinISR() {
		fail("HighWatermark moved with an ISR of %v and min.insync.replicas %d", m.s.isr, m.s.minISR)
	}
	if moved {
		for _, id := range m.s.isr {
			if m.ends[id] < hw {
				fail("HighWatermark %d is above in-sync replica %d, which ends at %d", hw, id, m.ends[id])
			}
		}
		for _, id := range m.s.proposed {
			if m.ends[id] < hw {
				fail("HighWatermark %d is above proposed replica %d, which ends at %d", hw, id, m.ends[id])
			}
		}
	}
	if !slices.Contains(m.s.isr, m.s.leader) {
		fail("leader %d is not in the ISR %v", m.s.leader, m.s.isr)
	}
}

// TestStateWalk drives the state with random histories and holds it against an observer.
func TestStateWalk(t *testing.T) {
	moved := 0
	for seed := range uint64(2000) {
		m := newModel(t, seed)
		for range 200 {
			m.step()
			m.check()
		}
		if m.s.highWatermark > 0 {
			moved++
		}
	}
	if moved < 1900 {
		t.Fatalf("the HighWatermark moved in %d of 2000 walks only", moved)
	}
}

// TestStateScript is the life of a partition with three replicas in single steps.
func TestStateScript(t *testing.T) {
	now := time.Unix(1000, 0)
	s := state{self: 1, leader: -1, leaderEpoch: -1, minISR: 2}
	reg := metadata.PartitionRegistration{Replicas: []metadata.BrokerID{1, 2, 3}, ISR: []metadata.BrokerID{1, 2}, Leader: 1, LeaderEpoch: 4}
	if !s.apply(&reg, 10, now) || !s.leads() {
		t.Fatal("does not lead after its registration")
	}
	s.localEnd = 20
	if s.advance() {
		t.Error("HighWatermark moved before the follower fetched in this epoch")
	}
	s.fetched(2, 1, 15, 20, now)
	if !s.advance() || s.highWatermark != 15 {
		t.Errorf("HighWatermark %d after the follower fetched from 15", s.highWatermark)
	}
	if s.fetched(3, 1, 12, 20, now) {
		t.Error("a follower below the HighWatermark is proposed for the ISR (9.3)")
	}
	if !s.fetched(3, 1, 15, 20, now) {
		t.Error("a follower at the HighWatermark is not proposed for the ISR (9.3)")
	}
	if s.fetched(3, 0, 20, 20, now) {
		t.Error("a fetch with an older broker epoch counts (6.2.2)")
	}
	s.proposed = []metadata.BrokerID{1, 2, 3}
	s.fetched(2, 1, 20, 20, now)
	s.advance()
	if s.highWatermark != 15 {
		t.Errorf("HighWatermark %d ignores the proposed replica, which ends at 15 (9.1)", s.highWatermark)
	}
	later := now.Add(31 * time.Second)
	s.proposed = nil
	s.fetched(2, 1, 20, 20, later)
	if out := s.lagging(30*time.Second, later); len(out) != 0 {
		t.Errorf("%v lag, though the only follower in the ISR is caught up", out)
	}
	s.localEnd = 30
	if out := s.lagging(30*time.Second, later.Add(31*time.Second)); !slices.Equal(out, []metadata.BrokerID{2}) {
		t.Errorf("%v lag, want 2 (9.3)", out)
	}
	reg.ISR = []metadata.BrokerID{1}
	s.apply(&reg, 30, later)
	if !s.underMinISR() || s.advance() {
		t.Error("HighWatermark moves below min.insync.replicas (KIP-966)")
	}
	s.minISR = 1
	if !s.advance() || s.highWatermark != 30 {
		t.Errorf("HighWatermark %d with the leader alone in the ISR", s.highWatermark)
	}
	reg.Leader, reg.LeaderEpoch = 2, 5
	s.apply(&reg, 30, later)
	if s.leads() || s.advance() {
		t.Error("still leads")
	}
	if s.follow(100); s.highWatermark != 30 {
		t.Errorf("a follower's HighWatermark %d is above its end", s.highWatermark)
	}
	s.truncated(25)
	if s.highWatermark != 25 || s.localEnd != 25 {
		t.Errorf("after truncation to 25: HighWatermark %d, end %d", s.highWatermark, s.localEnd)
	}
}

// TestEffectiveMinISR: min.insync.replicas is capped by the replica count (rule 6.1.5).
func TestEffectiveMinISR(t *testing.T) {
	s := state{self: 1, leader: 1, replicas: []metadata.BrokerID{1}, isr: []metadata.BrokerID{1}, minISR: 2}
	if s.underMinISR() {
		t.Error("a topic with one replica and min.insync.replicas 2 is not writable")
	}
}
