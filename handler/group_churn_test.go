package handler

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/metadata"
)

const (
	churnMembers    = 500
	churnPartitions = 200
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
			m := &churner{churn: x, name: fmt.Sprint("m", i), rand: rand.New(rand.NewPCG(1, uint64(i)))}
			if i%10 == 0 {
				m.instance = new(fmt.Sprint("i", i))
			}
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

// elect gives the coordinator's partition a new leader epoch: its machine is dropped and loaded anew.
func (x *churn) elect() {
	leader := metadata.BrokerID(1)
	x.apply(&metadata.PartitionChangeRecord{Topic: x.deps.Metadata.Load().Topic(group.OffsetsTopic).ID, Leader: &leader})
}

// own notes that a member was told to own partitions.
func (x *churn) own(m *churner) {
	x.mu.Lock()
	defer x.mu.Unlock()
	who := m.id
	if m.instance != nil {
		who = *m.instance // the same one after a restart
	}
	for _, p := range m.partitions {
		c := claim{m.generation, p}
		if before, ok := x.owners[c]; ok && before != who {
			x.t.Errorf("partition %d belongs to %s and to %s in generation %d", p, before, who, m.generation)
		}
		x.owners[c] = who
	}
	x.newest = max(x.newest, m.generation)
}

// finish looks at what is left.
func (x *churn) finish() {
	var every []int32
	for p := range int32(churnPartitions) {
		every = append(every, p)
	}
	reader := &churner{churn: x, conn: x.connect()}
	if at := reader.fetch(every); at == nil {
		x.t.Error("no offsets at the end")
	}
	x.t.Logf("%d generations, %d commits accepted, %d refused", x.newest, x.commits, x.fenced)
	hours := churnTime().Hours()
	if x.newest < int32(60*hours) || x.commits < int(10_000*hours) || churnTime() >= time.Hour && x.fenced == 0 {
		x.t.Errorf("there was no churn: %d generations, %d commits, %d refused", x.newest, x.commits, x.fenced)
	}
}

// churner is one member. It does what a client library does.
type churner struct {
	*churn
	name     string
	instance *string
	rand     *rand.Rand
	conn     *client

	id         string
	generation int32
	partitions []int32
	positions  map[int32]int64
}

// pause waits, and reports false when all is over.
func (m *churner) pause(d time.Duration) bool {
	select {
	case <-m.stop:
		return false
	case <-time.After(d):
		return true
	}
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
		again, ok := m.join()
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
		req := kmsg.NewPtrLeaveGroupRequest()
		req.SetVersion(5)
		req.Group = "g"
		row := kmsg.NewLeaveGroupRequestMember()
		row.MemberID, row.InstanceID = m.id, m.instance
		req.Members = append(req.Members, row)
		m.conn.ask(req)
	case 1: // it was away for long, and takes up where it was: others have its partitions
		if m.pause(time.Duration(m.rand.IntN(180)) * time.Second) {
			m.commit()
		}
	}
}

// join joins the group and gets an assignment. It reports whether to try again, and false when the life is over.
func (m *churner) join() (again, ok bool) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.SetVersion(9)
	req.Group, req.MemberID, req.InstanceID, req.ProtocolType = "g", m.id, m.instance, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(3*churnBeat/time.Millisecond), int32(6*churnBeat/time.Millisecond)
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte(m.name)}}
	resp := m.conn.ask(req).(*kmsg.JoinGroupResponse)
	if resp.ErrorCode != 0 {
		return true, m.failed(resp.ErrorCode, resp.MemberID)
	}
	m.id, m.generation = resp.MemberID, resp.Generation
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.SetVersion(5)
	sync.Group, sync.MemberID, sync.InstanceID, sync.Generation = "g", m.id, m.instance, m.generation
	sync.ProtocolType, sync.Protocol = resp.ProtocolType, resp.Protocol
	if !resp.SkipAssignment {
		sync.GroupAssignment = share(resp.Members)
	}
	synced := m.conn.ask(sync).(*kmsg.SyncGroupResponse)
	if synced.ErrorCode != 0 {
		return true, m.failed(synced.ErrorCode, "")
	}
	m.partitions = nil
	for b := synced.MemberAssignment; len(b) > 0; b = b[4:] {
		m.partitions = append(m.partitions, int32(binary.BigEndian.Uint32(b)))
	}
	m.own(m)
	if len(m.partitions) > 0 {
		m.positions = m.fetch(m.partitions)
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

// share gives each partition to one of the members that the leader was told of.
func share(members []kmsg.JoinGroupResponseMember) (rows []kmsg.SyncGroupRequestGroupAssignment) {
	for i, x := range members {
		row := kmsg.NewSyncGroupRequestGroupAssignment()
		row.MemberID = x.MemberID
		for p := i; p < churnPartitions; p += len(members) {
			row.MemberAssignment = binary.BigEndian.AppendUint32(row.MemberAssignment, uint32(p))
		}
		rows = append(rows, row)
	}
	return rows
}

func (m *churner) beat() int16 {
	req := kmsg.NewPtrHeartbeatRequest()
	req.SetVersion(4)
	req.Group, req.MemberID, req.InstanceID, req.Generation = "g", m.id, m.instance, m.generation
	code := m.conn.ask(req).(*kmsg.HeartbeatResponse).ErrorCode
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
	if len(m.partitions) == 0 {
		return
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.SetVersion(8)
	req.Group, req.MemberID, req.InstanceID, req.Generation = "g", m.id, m.instance, m.generation
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = "t"
	for _, p := range m.partitions {
		m.positions[p] += int64(m.rand.IntN(10))
		row := kmsg.NewOffsetCommitRequestTopicPartition()
		row.Partition, row.Offset = p, m.positions[p]
		topic.Partitions = append(topic.Partitions, row)
	}
	req.Topics = append(req.Topics, topic)
	resp := m.conn.ask(req).(*kmsg.OffsetCommitResponse)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, row := range resp.Topics[0].Partitions {
		if row.ErrorCode != 0 {
			m.fenced++
			continue
		}
		m.commits++
		m.committed[row.Partition] = max(m.committed[row.Partition], m.positions[row.Partition])
	}
}

// fetch returns the committed offsets of partitions, none of which may be below one that was accepted before.
func (m *churner) fetch(partitions []int32) map[int32]int64 {
	m.mu.Lock()
	least := map[int32]int64{}
	for _, p := range partitions {
		least[p] = m.committed[p]
	}
	m.mu.Unlock()
	for {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.SetVersion(7)
		req.Group, req.Topics = "g", []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: partitions}}
		resp := m.conn.ask(req).(*kmsg.OffsetFetchResponse)
		if resp.ErrorCode != 0 {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		at := map[int32]int64{}
		for _, row := range resp.Topics[0].Partitions {
			at[row.Partition] = max(row.Offset, 0)
			if at[row.Partition] < least[row.Partition] {
				m.t.Errorf("partition %d is committed at %d, after %d was accepted", row.Partition, row.Offset, least[row.Partition])
			}
		}
		return at
	}
}
