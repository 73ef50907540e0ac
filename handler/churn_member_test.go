package handler

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/metadata"
)

// The group of every churn.
const (
	churnMembers    = 500
	churnPartitions = 200 // of "t"
)

// member is one member of group "g", which consumes topic "t": what it knows of itself, and what it asks.
type member struct {
	name     string
	instance *string // every tenth is static
	rand     *rand.Rand
	conn     *client
	ended    <-chan struct{} // closed when all is over

	id        string
	epoch     int32           // or generation
	positions map[int32]int64 // by partition
}

// newMember returns member number i of a churn.
func newMember(i int, seed uint64, ended <-chan struct{}) member {
	m := member{name: fmt.Sprint("m", i), rand: rand.New(rand.NewPCG(seed, uint64(i))), ended: ended, positions: map[int32]int64{}}
	if i%10 == 0 {
		m.instance = new(fmt.Sprint("i", i))
	}
	return m
}

// elect gives the coordinator's partition a new leader epoch: its machine is dropped and loaded anew.
func (n *dataNode) elect() {
	leader := metadata.BrokerID(1)
	n.apply(&metadata.PartitionChangeRecord{Topic: n.deps.Metadata.Load().Topic(group.OffsetsTopic).ID, Leader: &leader})
}

// pause waits, and reports false when all is over.
func (m *member) pause(d time.Duration) bool {
	select {
	case <-m.ended:
		return false
	case <-time.After(d):
		return true
	}
}

// join asks to be a member of the classic protocol.
func (m *member) join(session time.Duration) *kmsg.JoinGroupResponse {
	told := kmsg.NewConsumerMemberMetadata()
	told.Version, told.Topics = 1, []string{"t"}
	req := kmsg.NewPtrJoinGroupRequest()
	req.SetVersion(9)
	req.Group, req.MemberID, req.InstanceID, req.ProtocolType = "g", m.id, m.instance, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(session/time.Millisecond), 60_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: told.AppendTo(nil)}}
	return m.conn.ask(req).(*kmsg.JoinGroupResponse)
}

// sync takes over who the member is since a join, and asks for its assignment. The leader says what everybody gets.
func (m *member) sync(joined *kmsg.JoinGroupResponse) (partitions []int32, code int16) {
	m.id, m.epoch = joined.MemberID, joined.Generation
	req := kmsg.NewPtrSyncGroupRequest()
	req.SetVersion(5)
	req.Group, req.MemberID, req.InstanceID, req.Generation = "g", m.id, m.instance, m.epoch
	req.ProtocolType, req.Protocol = joined.ProtocolType, joined.Protocol
	if !joined.SkipAssignment {
		req.GroupAssignment = share(joined.Members)
	}
	resp := m.conn.ask(req).(*kmsg.SyncGroupResponse)
	given := kmsg.NewConsumerMemberAssignment()
	if len(resp.MemberAssignment) > 0 {
		if err := given.ReadFrom(resp.MemberAssignment); err != nil {
			m.conn.n.t.Error(err)
		}
	}
	for _, row := range given.Topics {
		partitions = append(partitions, row.Partitions...)
	}
	return partitions, resp.ErrorCode
}

// share gives each partition to one of the members that the leader was told of.
func share(members []kmsg.JoinGroupResponseMember) (rows []kmsg.SyncGroupRequestGroupAssignment) {
	for i, x := range members {
		given, topic := kmsg.NewConsumerMemberAssignment(), kmsg.NewConsumerMemberAssignmentTopic()
		topic.Topic = "t"
		for p := i; p < churnPartitions; p += len(members) {
			topic.Partitions = append(topic.Partitions, int32(p))
		}
		given.Topics = append(given.Topics, topic)
		row := kmsg.NewSyncGroupRequestGroupAssignment()
		row.MemberID, row.MemberAssignment = x.MemberID, given.AppendTo(nil)
		rows = append(rows, row)
	}
	return rows
}

// heartbeat is that of the classic protocol. It returns the error code.
func (m *member) heartbeat() int16 {
	req := kmsg.NewPtrHeartbeatRequest()
	req.SetVersion(4)
	req.Group, req.MemberID, req.InstanceID, req.Generation = "g", m.id, m.instance, m.epoch
	return m.conn.ask(req).(*kmsg.HeartbeatResponse).ErrorCode
}

func (m *member) leave() {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.SetVersion(5)
	row := kmsg.NewLeaveGroupRequestMember()
	row.MemberID, row.InstanceID = m.id, m.instance
	req.Group, req.Members = "g", append(req.Members, row)
	m.conn.ask(req)
}

// commitAll moves on in partitions, and commits where that leads to. It returns what the broker says of each.
func (m *member) commitAll(partitions []int32) []kmsg.OffsetCommitResponseTopicPartition {
	if len(partitions) == 0 {
		return nil
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.SetVersion(9)
	req.Group, req.MemberID, req.InstanceID, req.Generation = "g", m.id, m.instance, m.epoch
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = "t"
	for _, p := range partitions {
		m.positions[p] += int64(m.rand.IntN(10))
		row := kmsg.NewOffsetCommitRequestTopicPartition()
		row.Partition, row.Offset = p, m.positions[p]
		topic.Partitions = append(topic.Partitions, row)
	}
	req.Topics = append(req.Topics, topic)
	return m.conn.ask(req).(*kmsg.OffsetCommitResponse).Topics[0].Partitions
}

// takeUp makes the committed offsets of partitions its positions, and waits for a coordinator that tells them.
func (m *member) takeUp(partitions []int32) {
	for {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.SetVersion(7)
		req.Group, req.Topics = "g", []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: partitions}}
		resp := m.conn.ask(req).(*kmsg.OffsetFetchResponse)
		if resp.ErrorCode != 0 {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		for _, row := range resp.Topics[0].Partitions {
			m.positions[row.Partition] = max(row.Offset, 0)
		}
		return
	}
}
