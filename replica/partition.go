package replica

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/metadata"
)

// Partition is this node's replica of one partition: the shell around state, its log and those who wait.
//
// Lock order: Manager, then Partition, then Log. mu is over memory only: it is never held over a file operation.
type Partition struct {
	Topic string
	Index int32
	ID    metadata.UUID // of the topic

	log      *log.Log
	settings atomic.Pointer[Settings]
	role     atomic.Pointer[role] // what an append needs, without mu
	traffic  Traffic

	// highWatermark is state.highWatermark, readable without mu.
	highWatermark atomic.Int64

	mu    sync.Mutex // guards what follows
	state state
	// hwPosition is the HighWatermark with its place in the log, as far as that is known.
	hwPosition log.Position
	leaderHW   int64    // of a follower: the highest HighWatermark that its leader told
	durable    ackQueue // acks=1: the leader's own durable end
	commit     ackQueue // acks=all: the HighWatermark
	watches    *Watch   // everybody who reads here
	gone       error    // why the partition is no longer served; nil while it is
}

// Settings are the topic configs that replication looks at. They are immutable and swapped whole.
type Settings struct {
	MinISR int // min.insync.replicas
}

// role is what stage one of an append checks. It is immutable.
type role struct {
	leads    bool
	epoch    metadata.LeaderEpoch
	minFails bool // the committed ISR is below its minimum
	alone    bool // there is no other replica
	gone     bool
	err      error // why nothing is appended or read here
}

// newPartition wraps an open log. It neither leads nor follows until Apply.
func newPartition(self metadata.BrokerID, topic string, index int32, id metadata.UUID, l *log.Log, s *Settings) *Partition {
	p := &Partition{Topic: topic, Index: index, ID: id, log: l}
	p.settings.Store(s)
	p.state = state{self: self, leader: -1, leaderEpoch: -1, minISR: s.MinISR}
	p.role.Store(&role{epoch: -1, err: kerr.NotLeaderForPartition})
	l.SetListener(p.Advance)
	return p
}

// Log returns the replica's log.
func (p *Partition) Log() *log.Log { return p.log }

// Settings returns the current settings.
func (p *Partition) Settings() *Settings { return p.settings.Load() }

// String is topic-partition, as in file names and messages.
func (p *Partition) String() string { return fmt.Sprintf("%s-%d", p.Topic, p.Index) }

// HighWatermark is the offset below which everything is committed (rule 9.1).
func (p *Partition) HighWatermark() int64 { return p.highWatermark.Load() }

// LastStableOffset is the end of what read_committed readers see: the first offset of the oldest open transaction, or
// the HighWatermark (rule 5.8).
func (p *Partition) LastStableOffset() int64 {
	hw := p.HighWatermark()
	if u, ok := p.log.FirstUnstable(); ok {
		return min(hw, u.Offset)
	}
	return hw
}

// LeaderEpoch is the epoch of the current leader as this node has applied it.
func (p *Partition) LeaderEpoch() int32 { return int32(p.role.Load().epoch) }

// CheckLeader checks the leader epoch that a request believes in, then leadership: in this order, so that a client with
// stale metadata learns (rule 6.3.4). A negative epoch is not checked; callers for which only -1 means none check first.
func (p *Partition) CheckLeader(currentLeaderEpoch int32) error {
	r := p.role.Load()
	if r.gone {
		return r.err
	}
	switch e := metadata.LeaderEpoch(currentLeaderEpoch); {
	case currentLeaderEpoch >= 0 && e < r.epoch:
		return kerr.FencedLeaderEpoch
	case currentLeaderEpoch >= 0 && e > r.epoch:
		return kerr.UnknownLeaderEpoch
	}
	return r.err
}

// Gone reports whether the partition is no longer served, such as after its topic's deletion: who holds it should look it
// up again.
func (p *Partition) Gone() bool {
	r := p.role.Load()
	return r.gone
}

// Admit checks whether an append with acks would be taken now, before work is put into it: NOT_LEADER_OR_FOLLOWER, or
// NOT_ENOUGH_REPLICAS for acks=-1 (rule 6.1.5). Stage checks again.
func (p *Partition) Admit(acks int16) error {
	r := p.role.Load()
	if r.err != nil {
		return r.err
	}
	if acks == -1 && r.minFails {
		return kerr.NotEnoughReplicas
	}
	return nil
}

// Stage runs stage one of an append at the leader: admission, then log.Stage. The caller flushes.
// Errors: NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS (acks=-1 only, rule 6.1.5), and those of log.Stage.
func (p *Partition) Stage(a *log.Append, acks int16) error {
	r := p.role.Load()
	if r.err != nil {
		return r.err
	}
	if acks == -1 && r.minFails {
		return kerr.NotEnoughReplicas
	}
	// The role may change from here on: the log refuses an older epoch under its own lock.
	a.LeaderEpoch = int32(r.epoch)
	return p.log.Stage(a)
}

// StageUnder is Stage for an owner who knows the partition's state as of a leader epoch, such as a coordinator: in any
// other it is refused with NOT_LEADER_OR_FOLLOWER.
func (p *Partition) StageUnder(a *log.Append, acks int16, epoch int32) error {
	if err := p.Admit(acks); err != nil {
		return err
	}
	if p.LeaderEpoch() != epoch {
		return kerr.NotLeaderForPartition
	}
	// As in Stage, the log refuses the epoch if a newer one came meanwhile.
	a.LeaderEpoch = epoch
	return p.log.Stage(a)
}

// Flush writes everything staged and advances what follows from it.
func (p *Partition) Flush() error {
	err := p.log.Flush()
	p.Advance()
	return err
}

// Advance re-reads the log's ends, moves the HighWatermark, and tells those who wait. It is called after every append,
// and by the Committer after a sync: after everything that may move it.
func (p *Partition) Advance() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advanceLocked()
}

func (p *Partition) advanceLocked() {
	at := p.log.End()
	if p.log.Config().AckDurable() {
		at = p.log.DurableEnd()
	}
	end := at.Offset
	p.state.localEnd = end
	if err := p.log.Err(); err != nil {
		p.failLocked(err)
		return
	}
	p.durable.release(end, nil)
	if !p.state.advance() && !p.state.follow(p.leaderHW) {
		return
	}
	p.hwPosition = log.At(p.state.highWatermark)
	if end == p.state.highWatermark {
		p.hwPosition = at // always on one node
	}
	p.committedLocked()
}

// committedLocked publishes a HighWatermark that moved.
func (p *Partition) committedLocked() {
	hw := p.state.highWatermark
	p.highWatermark.Store(hw)
	p.log.HighWatermarkMoved(hw)
	var err error
	if p.state.underMinISR() {
		err = kerr.NotEnoughReplicasAfterAppend // rule 6.1.7
	}
	p.commit.release(hw, err)
	p.wakeLocked()
}

// wakeLocked tells every reader that something changed.
func (p *Partition) wakeLocked() {
	for x := p.watches; x != nil; x = x.next {
		x.markReady()
	}
}

// Await asks for a to be told when its Offset is committed (acks=-1) or durable here (acks=1). When it is already, a is
// complete on return and the waiter does not count it.
func (p *Partition) Await(a *Ack, w *Waiter, acks int16) {
	a.Err = nil
	if acks == -1 && p.highWatermark.Load() >= a.Offset && !p.role.Load().minFails {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.gone != nil:
		a.Err = p.gone
	case !p.state.leads():
		a.Err = kerr.NotLeaderForPartition
	case acks != -1:
		if p.state.localEnd < a.Offset {
			a.waiter = w
			w.pending.Add(1)
			p.durable.add(a)
		}
	case p.state.highWatermark >= a.Offset:
		if p.state.underMinISR() {
			a.Err = kerr.NotEnoughReplicasAfterAppend
		}
	default:
		a.waiter = w
		w.pending.Add(1)
		p.commit.add(a)
	}
}

// WaitsForOthers reports whether an acknowledgement depends on other nodes, and not on this node's disk alone.
func (p *Partition) WaitsForOthers(acks int16) bool { return acks == -1 && !p.role.Load().alone }

// Cancel gives up on an acknowledgement that has not arrived, with err as its result. It reports false when it has
// arrived meanwhile.
func (p *Partition) Cancel(a *Ack, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.queue == nil {
		return false
	}
	a.queue.remove(a)
	a.Err = err
	a.waiter.pending.Add(-1)
	return true
}

// Watch registers x: from now on any change of what can be read here puts x on w's ready list.
func (p *Partition) Watch(x *Watch, w *Waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watchLocked(x, w)
}

// WatchOnce is Watch for an owner who only wants to be woken: it does nothing when the newest watch is w's already. A
// request may name one partition many times, and every append tells every watch.
func (p *Partition) WatchOnce(x *Watch, w *Waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watches == nil || p.watches.waiter != w {
		p.watchLocked(x, w)
	}
}

func (p *Partition) watchLocked(x *Watch, w *Waiter) {
	x.waiter, x.partition = w, p
	x.prev, x.next = nil, p.watches
	if x.next != nil {
		x.next.prev = x
	}
	p.watches = x
}

// Watchers returns how many watches are registered.
func (p *Partition) Watchers() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for x := p.watches; x != nil; x = x.next {
		n++
	}
	return n
}

// Unwatch takes x off again, also from the ready list.
func (p *Partition) Unwatch(x *Watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x.partition != p {
		return
	}
	if x.prev == nil {
		p.watches = x.next
	} else {
		x.prev.next = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	}
	x.waiter.forget(x)
	x.prev, x.next, x.partition = nil, nil, nil
}

// Apply takes over what the controller decided for this partition.
func (p *Partition) Apply(r *metadata.PartitionRegistration, now time.Time) error {
	// The log's epoch is raised before the role changes: appends admitted under the old one are refused there.
	take, what := p.log.BecomeFollower, "follow"
	if r.Leader == p.state.self {
		take, what = p.log.BecomeLeader, "become leader of"
	}
	if err := take(int32(r.LeaderEpoch)); err != nil {
		return fmt.Errorf("%s %s in epoch %d: %w", what, p, r.LeaderEpoch, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	newEpoch := p.state.apply(r, p.log.End().Offset, now)
	if newEpoch {
		p.leaderHW = 0
	}
	if newEpoch && !p.state.leads() {
		p.durable.release(maxOffset, kerr.NotLeaderForPartition)
		p.commit.release(maxOffset, kerr.NotLeaderForPartition)
	}
	p.publishRoleLocked()
	p.advanceLocked()
	if newEpoch {
		p.wakeLocked()
	}
	return nil
}

// maxOffset is above every offset.
const maxOffset = 1<<63 - 1

// publishRoleLocked makes the role that appends check match state.
func (p *Partition) publishRoleLocked() {
	r := &role{leads: p.state.leads(), epoch: p.state.leaderEpoch, minFails: p.state.underMinISR(), alone: len(p.state.replicas) < 2, gone: p.gone != nil, err: p.gone}
	if r.err == nil && !r.leads {
		r.err = kerr.NotLeaderForPartition
	}
	p.role.Store(r)
}

// Configure swaps the settings.
func (p *Partition) Configure(s *Settings) {
	p.settings.Store(s)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.minISR = s.MinISR
	p.publishRoleLocked()
	p.advanceLocked()
}

// fail ends service: everybody who waits or comes gets err, such as UNKNOWN_TOPIC_OR_PARTITION after a deletion or
// KAFKA_STORAGE_ERROR after a failed sync.
func (p *Partition) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failLocked(err)
}

func (p *Partition) failLocked(err error) {
	if p.gone != nil {
		return
	}
	p.gone = err
	p.publishRoleLocked()
	p.durable.release(maxOffset, err)
	p.commit.release(maxOffset, err)
	p.wakeLocked()
}
