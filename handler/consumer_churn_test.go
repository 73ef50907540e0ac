package handler

import (
	"flag"
	"fmt"
	"maps"
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

const (
	hourlyBeat = 10 * time.Second
	hourlyCalm = 2 * time.Minute // at the end, in which nobody comes or goes
)

var wholeHour = flag.Bool("hour", false, "churn for an hour of bubble time, not for eight minutes")

// TestConsumerChurn: 500 members of KIP-848 join, leave, die and come back for eight minutes, or for an hour with
// -hour, and the coordinator loses its leadership now and then. No partition is ever consumed by two of them, no committed offset goes back, and when calm
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
		x.topicID = x.topic("t", churnPartitions)
		x.await()
		var all sync.WaitGroup
		for i := range churnMembers {
			m := &hourly{hour: x, member: newMember(i, 848, x.stop), owns: map[int32]bool{}}
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

// share is that of the classic protocol now.
func (x *hour) share() float64 { return x.classic(float64(time.Since(x.begin)) / float64(x.length)) }

func (x *hour) calm() bool { return time.Since(x.begin) > x.length-hourlyCalm }

// finish looks at what there is after the calm.
func (x *hour) finish() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.owners) != churnPartitions {
		x.t.Errorf("%d partitions of %d are consumed at the end", len(x.owners), churnPartitions)
	}
	x.t.Logf("%d lives of the new protocol, %d of the classic one, %d times a partition moved, %d commits", x.lives[0], x.lives[1], x.moved, x.commits)
	if x.moved < 500 || x.commits < 1000 {
		x.t.Errorf("there was no churn: %d moves, %d commits", x.moved, x.commits)
	}
}

// hourly is one member.
type hourly struct {
	*hour
	member
	lived int
	owns  map[int32]bool
}

// run lives one life after the other, each with one of the protocols.
func (m *hourly) run() {
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
		list, ok, end := m.enter()
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
			code := m.heartbeat()
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

// enter joins and fetches what the member has now; end says that the life is over.
func (m *hourly) enter() (list []int32, ok, end bool) {
	joined := m.join(45 * time.Second)
	if joined.ErrorCode != 0 {
		return nil, false, m.refused(joined.ErrorCode, joined.MemberID)
	}
	list, code := m.sync(joined)
	if code != 0 {
		return nil, false, m.refused(code, "")
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

// commit moves on in every partition that the member consumes.
func (m *hourly) commit() {
	rows := m.commitAll(slices.Collect(maps.Keys(m.owns)))
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, row := range rows {
		if row.ErrorCode == 0 {
			m.commits++
			m.committed[row.Partition] = max(m.committed[row.Partition], m.positions[row.Partition])
		}
	}
}

// fetch takes up where the last owner was, which may not be below what it was told is committed.
func (m *hourly) fetch(partitions []int32) {
	m.takeUp(partitions)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range partitions {
		if m.positions[p] < m.committed[p] {
			m.t.Errorf("partition %d is committed at %d, after %d was accepted", p, m.positions[p], m.committed[p])
		}
	}
}
