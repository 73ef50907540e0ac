package handler

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/log"
)

const (
	// churnBeat is how often a member is heard of; its session and its rebalance timeout allow for a few lost beats.
	churnBeat = 10 * time.Second
	churnLife = 2 * time.Hour // a member's, on average
	// churnElection is how often the coordinator loses its leadership and gets it back.
	churnElection = 7 * time.Minute
)

// churnTime is how long it goes on. The race detector makes each minute ten times as long.
func churnTime() time.Duration {
	if raceEnabled {
		return 10 * time.Minute
	}
	return time.Hour
}

// TestClassicChurn: 500 members of one group join, leave, die and come back for an hour, and the coordinator loses its
// leadership now and then. Within a generation a partition has one owner, and no committed offset goes back: who has lost
// a partition can't commit it any more.
func TestClassicChurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &churn{dataNode: newDataNode(t, log.Replicated), owners: map[claim]string{}, committed: map[int32]int64{}, stop: make(chan struct{})}
		x.groups.InitialRebalanceDelay = 3 * time.Second
		x.topic(group.OffsetsTopic, 1)
		x.topic("t", churnPartitions)
		x.await()
		var all sync.WaitGroup
		for i := range churnMembers {
			m := &churner{churn: x, member: newMember(i, 1, x.stop)}
			all.Go(m.run)
		}
		for range churnTime() / churnElection {
			time.Sleep(churnElection)
			x.elect()
		}
		time.Sleep(churnTime() % churnElection)
		close(x.stop)
		all.Wait()
		x.finish()
	})
}

// churn is the group, and what its members were told.
type churn struct {
	*dataNode
	stop chan struct{} // ends all members

	mu        sync.Mutex // guards what follows
	owners    map[claim]string
	committed map[int32]int64 // the highest offset that was accepted
	newest    int32           // generation
	commits   int
	fenced    int // commits that were refused
}

// claim is the right to a partition, which one member has in a generation.
type claim struct{ generation, partition int32 }

// own notes that a member was told to own partitions.
func (x *churn) own(m *churner) {
	x.mu.Lock()
	defer x.mu.Unlock()
	who := m.id
	if m.instance != nil {
		who = *m.instance // the same one after a restart
	}
	for _, p := range m.partitions {
		c := claim{m.epoch, p}
		if before, ok := x.owners[c]; ok && before != who {
			x.t.Errorf("partition %d belongs to %s and to %s in generation %d", p, before, who, m.epoch)
		}
		x.owners[c] = who
	}
	x.newest = max(x.newest, m.epoch)
}

// finish looks at what is left.
func (x *churn) finish() {
	var every []int32
	for p := range int32(churnPartitions) {
		every = append(every, p)
	}
	reader := &churner{churn: x, member: newMember(churnMembers, 1, x.stop)}
	reader.conn = x.connect()
	reader.fetch(every)
	x.t.Logf("%d generations, %d commits accepted, %d refused", x.newest, x.commits, x.fenced)
	hours := churnTime().Hours()
	if x.newest < int32(60*hours) || x.commits < int(10_000*hours) || churnTime() >= time.Hour && x.fenced == 0 {
		x.t.Errorf("there was no churn: %d generations, %d commits, %d refused", x.newest, x.commits, x.fenced)
	}
}

// churner is one member. It does what a client library does.
type churner struct {
	*churn
	member
	partitions []int32
}

// run lives one life after the other.
func (m *churner) run() {
	for m.pause(time.Duration(m.rand.IntN(60)) * time.Second) {
		m.conn = m.connect()
		m.live()
		m.conn.Close()
		if m.rand.IntN(3) == 0 {
			m.id = "" // another process; else it comes back as who it was
		}
	}
}

// live is a member's life, from its first join to its end: it leaves, or is not heard of any more, or is fenced.
func (m *churner) live() {
	for {
		again, ok := m.enter()
		if !ok {
			return
		}
		if again {
			continue
		}
		for {
			if !m.pause(churnBeat) {
				return
			}
			if m.rand.Float64() < churnBeat.Seconds()/churnLife.Seconds() {
				m.die()
				return
			}
			m.commit()
			if m.beat() != 0 {
				break
			}
		}
	}
}

// die ends a member's life.
func (m *churner) die() {
	switch m.rand.IntN(3) {
	case 0:
		m.leave()
	case 1: // it was away for long, and takes up where it was: others have its partitions
		if m.pause(time.Duration(m.rand.IntN(180)) * time.Second) {
			m.commit()
		}
	}
}

// enter joins the group and gets an assignment. It reports whether to try again, and false when the life is over.
func (m *churner) enter() (again, ok bool) {
	joined := m.join(3 * churnBeat)
	if joined.ErrorCode != 0 {
		return true, m.failed(joined.ErrorCode, joined.MemberID)
	}
	list, code := m.sync(joined)
	if code != 0 {
		return true, m.failed(code, "")
	}
	m.partitions = list
	m.own(m)
	if len(m.partitions) > 0 {
		m.fetch(m.partitions)
	}
	return false, true
}

// failed does what an error asks for, and reports false when the life is over.
func (m *churner) failed(code int16, id string) bool {
	switch code {
	case kerr.MemberIDRequired.Code:
		m.id = id
		return true
	case kerr.UnknownMemberID.Code:
		m.id = ""
		return true
	case kerr.FencedInstanceID.Code:
		m.id = ""
		return false
	case kerr.RebalanceInProgress.Code, kerr.IllegalGeneration.Code:
		return true
	case kerr.CoordinatorLoadInProgress.Code, kerr.NotCoordinator.Code:
		return m.pause(100 * time.Millisecond)
	}
	m.t.Errorf("%s got %v", m.name, kerr.ErrorForCode(code))
	return false
}

// beat returns why the member has to join again, 0 if it has not.
func (m *churner) beat() int16 {
	code := m.heartbeat()
	if code == kerr.NotCoordinator.Code {
		return 0
	}
	if code == kerr.UnknownMemberID.Code {
		m.id = ""
	}
	return code
}

// commit moves on in every partition that the member has, or believes to have.
func (m *churner) commit() {
	rows := m.commitAll(m.partitions)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, row := range rows {
		if row.ErrorCode != 0 {
			m.fenced++
			continue
		}
		m.commits++
		m.committed[row.Partition] = max(m.committed[row.Partition], m.positions[row.Partition])
	}
}

// fetch takes up where partitions are committed, which may not be below what was accepted before.
func (m *churner) fetch(partitions []int32) {
	m.mu.Lock()
	least := map[int32]int64{}
	for _, p := range partitions {
		least[p] = m.committed[p]
	}
	m.mu.Unlock()
	m.takeUp(partitions)
	for _, p := range partitions {
		if m.positions[p] < least[p] {
			m.t.Errorf("partition %d is committed at %d, after %d was accepted", p, m.positions[p], least[p])
		}
	}
}
