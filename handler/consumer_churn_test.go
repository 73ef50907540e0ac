package handler

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
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

// hourly are the sizes of the churn of groups of KIP-848.
const (
	hourlyMembers    = 500
	hourlyPartitions = 200
	hourlyBeat       = 10 * time.Second
	hourlyCalm       = 2 * time.Minute // at the end, in which nobody comes or goes
)

var wholeHour = flag.Bool("hour", false, "churn for an hour of bubble time, not for eight minutes")

// TestConsumerChurn: 500 members of KIP-848 join, leave, die and come back for an hour, and the coordinator loses its
// leadership now and then. No partition is ever consumed by two of them, no committed offset goes back, and when calm
// returns every partition is consumed.
func TestConsumerChurn(t *testing.T) {
	runHour(t, func(float64) float64 { return 0 })
}

// TestMigrationChurn is the same for a group whose members speak the classic protocol at first, are replaced one by one
// by members of the new one, and the way back.
func TestMigrationChurn(t *testing.T) {
	runHour(t, func(at float64) float64 {
		switch {
		case at < 0.2, at > 0.6:
			return 1
		case at < 0.4:
			return 0.5
		}
		return 0
	})
}

// runHour runs the churn. classic is the share of lives that begin with the classic protocol, by how much of the time is over.
func runHour(t *testing.T, classic func(at float64) float64) {
	// Members hand over to each other one at a time; more threads would only wake each other.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		x := &hour{dataNode: newDataNode(t, log.Replicated), classic: classic, begin: time.Now(), length: 8 * time.Minute, owners: map[int32]string{},
			committed: map[int32]int64{}, stop: make(chan struct{})}
		if *wholeHour {
			x.length = time.Hour
		}
		x.groups.InitialRebalanceDelay = time.Second
		x.groups.Consumer = group.ConsumerConfig{
			Assignors: []string{"uniform"}, MaxSize: 10_000, Upgrade: true, Downgrade: true, RegexRefresh: 10 * time.Minute,
			Timing: func(string) group.ConsumerTiming {
				return group.ConsumerTiming{SessionTimeout: 45 * time.Second, HeartbeatInterval: hourlyBeat, AssignmentInterval: time.Second}
			},
		}
		x.apply(&metadata.FeatureLevelRecord{Name: "group.version", Level: 1})
		x.deps.Config = testConfig(t)
		x.topic(group.OffsetsTopic, 1)
		x.topicID = x.topic("t", hourlyPartitions)
		x.await()
		var all sync.WaitGroup
		for i := range hourlyMembers {
			m := &hourly{hour: x, name: fmt.Sprint("m", i), rand: rand.New(rand.NewPCG(848, uint64(i)))}
			if i%10 == 0 {
				m.instance = new(fmt.Sprint("i", i))
			}
			all.Go(m.run)
		}
		for range 7 {
			time.Sleep(x.length / 8)
			x.elect()
		}
		time.Sleep(x.length/8 + time.Minute)
		x.finish()
		close(x.stop)
		all.Wait()
	})
}

// hour is the group, and what its members consume.
type hour struct {
	*dataNode
	classic func(float64) float64
	begin   time.Time
	length  time.Duration
	topicID metadata.UUID
	stop    chan struct{}

	mu        sync.Mutex       // guards what follows
	owners    map[int32]string // partition: the member that consumes it
	committed map[int32]int64  // the highest offset that was accepted
	commits   int
	moved     int // partitions that began to be consumed
	lives     [2]int
}

// elect gives the coordinator's partition a new leader epoch: its machine is dropped and loaded anew.
func (x *hour) elect() {
	leader := metadata.BrokerID(1)
	x.apply(&metadata.PartitionChangeRecord{Topic: x.deps.Metadata.Load().Topic(group.OffsetsTopic).ID, Leader: &leader})
}

// share is that of the classic protocol now.
func (x *hour) share() float64 { return x.classic(float64(time.Since(x.begin)) / float64(x.length)) }

func (x *hour) calm() bool { return time.Since(x.begin) > x.length-hourlyCalm }

// finish looks at what there is after the calm.
func (x *hour) finish() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.owners) != hourlyPartitions {
		x.t.Errorf("%d partitions of %d are consumed at the end", len(x.owners), hourlyPartitions)
	}
	x.t.Logf("%d lives of the new protocol, %d of the classic one, %d times a partition moved, %d commits", x.lives[0], x.lives[1], x.moved, x.commits)
	if x.moved < 500 || x.commits < 1000 {
		x.t.Errorf("there was no churn: %d moves, %d commits", x.moved, x.commits)
	}
}

// hourly is one member.
type hourly struct {
	*hour
	name     string
	instance *string
	rand     *rand.Rand
	conn     *client
	lived    int

	id        string
	epoch     int32 // or generation
	owns      map[int32]bool
	positions map[int32]int64
}

func (m *hourly) pause(d time.Duration) bool {
	select {
	case <-m.stop:
		return false
	case <-time.After(d):
		return true
	}
}

// run lives one life after the other, each with one of the protocols.
func (m *hourly) run() {
	m.owns, m.positions = map[int32]bool{}, map[int32]int64{}
	for m.pause(time.Duration(m.rand.IntN(60)) * time.Second) {
		m.lived++
		m.conn, m.epoch = m.connect(), 0
		kind := 0
		if m.rand.Float64() < m.share() {
			kind = 1
		}
		m.mu.Lock()
		m.lives[kind]++
		m.mu.Unlock()
		if kind == 1 {
			m.id = ""
			m.liveClassic()
		} else {
			m.id = fmt.Sprintf("%s-%d", m.name, m.lived)
			m.live()
		}
		m.keep(nil)
		m.conn.Close()
	}
}

// keep stops consuming everything that is not in the list, and begins with what is new in it.
func (m *hourly) keep(list []int32) {
	m.mu.Lock()
	for p := range m.owns {
		if !slices.Contains(list, p) {
			delete(m.owns, p)
			delete(m.owners, p)
		}
	}
	var fresh []int32
	for _, p := range list {
		if m.owns[p] {
			continue
		}
		if other, taken := m.owners[p]; taken {
			m.t.Errorf("%v: partition %d is consumed by %s and is given to %s", time.Since(m.begin), p, other, m.id)
		}
		m.owns[p], m.owners[p] = true, m.id
		m.moved++
		fresh = append(fresh, p)
	}
	m.mu.Unlock()
	if len(fresh) > 0 {
		m.fetch(fresh)
	}
}

// ending says whether the life ends now.
func (m *hourly) ending() bool {
	return !m.calm() && m.rand.Float64() < hourlyBeat.Seconds()/m.lifetime().Seconds()
}

// lifetime is shorter while the protocols are exchanged, so that the members of the old one go.
func (m *hourly) lifetime() time.Duration {
	if s := m.share(); s > 0 && s < 1 {
		return m.length / 6
	}
	return m.length
}

// live is a life with the new protocol.
func (m *hourly) live() {
	var list []int32 // as last told
	for {
		if m.epoch > 0 && m.ending() {
			m.die()
			return
		}
		resp := m.beat(m.epoch)
		switch code := resp.ErrorCode; code {
		case 0:
		case kerr.FencedMemberEpoch.Code, kerr.UnknownMemberID.Code:
			m.keep(nil)
			m.epoch, list = 0, nil
			continue
		case kerr.CoordinatorLoadInProgress.Code, kerr.NotCoordinator.Code:
			if !m.pause(200 * time.Millisecond) {
				return
			}
			continue
		case kerr.UnreleasedInstanceID.Code, kerr.FencedInstanceID.Code, kerr.GroupIDNotFound.Code:
			return // another life
		default:
			m.t.Errorf("%s got %v", m.id, kerr.ErrorForCode(code))
			return
		}
		m.epoch = resp.MemberEpoch
		if resp.Assignment != nil {
			list = nil
			for _, row := range resp.Assignment.Topics {
				list = append(list, row.Partitions...)
			}
			lost := false
			for p := range m.owns {
				lost = lost || !slices.Contains(list, p)
			}
			m.keep(list)
			if lost {
				continue // to say so at once
			}
		}
		if !m.pause(hourlyBeat) {
			return
		}
		if m.rand.IntN(4) == 0 {
			m.commit()
		}
	}
}

// beat sends a heartbeat, with everything that the member owns.
func (m *hourly) beat(epoch int32) *kmsg.ConsumerGroupHeartbeatResponse {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.SetVersion(1)
	req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = "g", m.id, epoch, m.instance
	if epoch == 0 {
		req.RebalanceTimeoutMillis, req.SubscribedTopicNames = 60_000, []string{"t"}
	}
	if epoch >= 0 {
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	if epoch > 0 && len(m.owns) > 0 {
		row := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		row.TopicID = m.topicID
		for p := range m.owns {
			row.Partitions = append(row.Partitions, p)
		}
		req.Topics = append(req.Topics, row)
	}
	return m.conn.ask(req).(*kmsg.ConsumerGroupHeartbeatResponse)
}

// die ends a life: the member leaves, for good or for a while, or is not heard of any more.
func (m *hourly) die() {
	m.keep(nil)
	switch n := m.rand.IntN(3); {
	case n == 0 && m.instance != nil:
		m.beat(-2)
	case n < 2:
		m.beat(-1)
	}
}

// liveClassic is a life with the classic protocol, of a client that gives up everything before it joins.
func (m *hourly) liveClassic() {
	for {
		m.keep(nil)
		list, ok, end := m.join()
		if end {
			return
		}
		if !ok {
			continue
		}
		m.keep(list)
		for {
			if !m.pause(hourlyBeat) {
				return
			}
			if m.ending() {
				m.keep(nil)
				if m.rand.IntN(2) == 0 {
					m.leave()
				}
				return
			}
			if m.rand.IntN(4) == 0 {
				m.commit()
			}
			req := kmsg.NewPtrHeartbeatRequest()
			req.SetVersion(4)
			req.Group, req.MemberID, req.InstanceID, req.Generation = "g", m.id, m.instance, m.epoch
			code := m.conn.ask(req).(*kmsg.HeartbeatResponse).ErrorCode
			if code == kerr.UnknownMemberID.Code {
				m.id = ""
			}
			if code == kerr.FencedInstanceID.Code {
				return
			}
			if code != 0 && code != kerr.NotCoordinator.Code {
				break
			}
		}
	}
}

func (m *hourly) leave() {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.SetVersion(5)
	row := kmsg.NewLeaveGroupRequestMember()
	row.MemberID, row.InstanceID = m.id, m.instance
	req.Group, req.Members = "g", append(req.Members, row)
	m.conn.ask(req)
}

// join joins and fetches what the member has now; end says that the life is over.
func (m *hourly) join() (list []int32, ok, end bool) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.SetVersion(9)
	req.Group, req.MemberID, req.InstanceID, req.ProtocolType = "g", m.id, m.instance, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 45_000, 60_000
	told := kmsg.NewConsumerMemberMetadata()
	told.Version, told.Topics = 1, []string{"t"}
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: told.AppendTo(nil)}}
	resp := m.conn.ask(req).(*kmsg.JoinGroupResponse)
	if resp.ErrorCode != 0 {
		return nil, false, m.refused(resp.ErrorCode, resp.MemberID)
	}
	m.id, m.epoch = resp.MemberID, resp.Generation
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.SetVersion(5)
	sync.Group, sync.MemberID, sync.InstanceID, sync.Generation = "g", m.id, m.instance, m.epoch
	sync.ProtocolType, sync.Protocol = resp.ProtocolType, resp.Protocol
	if !resp.SkipAssignment {
		sync.GroupAssignment = shareEmbedded(resp.Members)
	}
	synced := m.conn.ask(sync).(*kmsg.SyncGroupResponse)
	if synced.ErrorCode != 0 {
		return nil, false, m.refused(synced.ErrorCode, "")
	}
	given := kmsg.NewConsumerMemberAssignment()
	if len(synced.MemberAssignment) > 0 {
		if err := given.ReadFrom(synced.MemberAssignment); err != nil {
			m.t.Error(err)
		}
	}
	for _, row := range given.Topics {
		list = append(list, row.Partitions...)
	}
	return list, true, false
}

// refused does what an error asks for, and reports whether the life is over.
func (m *hourly) refused(code int16, id string) (end bool) {
	switch code {
	case kerr.MemberIDRequired.Code:
		m.id = id
	case kerr.UnknownMemberID.Code:
		m.id = ""
	case kerr.FencedInstanceID.Code:
		return true
	case kerr.RebalanceInProgress.Code, kerr.IllegalGeneration.Code:
	case kerr.CoordinatorLoadInProgress.Code, kerr.NotCoordinator.Code:
		return !m.pause(200 * time.Millisecond)
	default:
		m.t.Errorf("%s got %v", m.name, kerr.ErrorForCode(code))
		return true
	}
	select {
	case <-m.stop:
		return true
	default:
		return false
	}
}

// shareEmbedded gives each partition to one of the members that the leader was told of.
func shareEmbedded(members []kmsg.JoinGroupResponseMember) (rows []kmsg.SyncGroupRequestGroupAssignment) {
	for i, x := range members {
		given, topic := kmsg.NewConsumerMemberAssignment(), kmsg.NewConsumerMemberAssignmentTopic()
		topic.Topic = "t"
		for p := i; p < hourlyPartitions; p += len(members) {
			topic.Partitions = append(topic.Partitions, int32(p))
		}
		given.Topics = append(given.Topics, topic)
		row := kmsg.NewSyncGroupRequestGroupAssignment()
		row.MemberID, row.MemberAssignment = x.MemberID, given.AppendTo(nil)
		rows = append(rows, row)
	}
	return rows
}

// commit moves on in every partition that the member consumes.
func (m *hourly) commit() {
	if len(m.owns) == 0 {
		return
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.SetVersion(9)
	req.Group, req.MemberID, req.InstanceID, req.Generation = "g", m.id, m.instance, m.epoch
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = "t"
	for p := range m.owns {
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
		if row.ErrorCode == 0 {
			m.commits++
			m.committed[row.Partition] = max(m.committed[row.Partition], m.positions[row.Partition])
		}
	}
}

// fetch takes up where the last owner was, which may not be below what it was told is committed.
func (m *hourly) fetch(partitions []int32) {
	for {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.SetVersion(7)
		req.Group, req.Topics = "g", []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: partitions}}
		resp := m.conn.ask(req).(*kmsg.OffsetFetchResponse)
		if resp.ErrorCode != 0 {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, row := range resp.Topics[0].Partitions {
			m.positions[row.Partition] = max(row.Offset, 0)
			if m.positions[row.Partition] < m.committed[row.Partition] {
				m.t.Errorf("partition %d is committed at %d, after %d was accepted", row.Partition, row.Offset, m.committed[row.Partition])
			}
		}
		return
	}
}
