package handler

import (
	"flag"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/metadata"
)

var largeGroup = flag.Int("members", 2000, "how many members the tests of large groups have")

// largeNode is a node with a group of very many members.
type largeNode struct {
	*dataNode
	id string
}

// newLargeNode makes the node. Each record of the group repeats its id, so that fewer members make it large.
func newLargeNode(t *testing.T) *largeNode {
	n := newDataNode(t, log.Replicated)
	n.groups.InitialRebalanceDelay, n.groups.MaxSize = time.Second, 1<<30
	n.groups.Consumer = group.ConsumerConfig{
		Assignors: []string{"uniform"}, MaxSize: 1 << 30, Upgrade: true, Downgrade: true, RegexRefresh: 10 * time.Minute,
		Timing: func(string) group.ConsumerTiming {
			return group.ConsumerTiming{SessionTimeout: time.Hour, HeartbeatInterval: time.Minute, AssignmentInterval: time.Second}
		},
	}
	n.apply(&metadata.FeatureLevelRecord{Name: "group.version", Level: 1})
	n.deps.Config = testConfig(t)
	n.topic(group.OffsetsTopic, 1)
	n.topic("t", 3)
	n.await()
	return &largeNode{n, strings.Repeat("g", 200)}
}

// decide has the group's machine decide, and fails if it cannot.
func (n *largeNode) decide(decision group.Decision) {
	n.t.Helper()
	n.deps.Groups.Do(n.id, decision, func(err error) { n.t.Error(err) })
}

// beat has a member of KIP-848 join.
func (n *largeNode) beat(c *client, member string) {
	n.t.Helper()
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = 1, n.id, member, 60_000
	req.SubscribedTopicNames, req.Topics = []string{"t"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	resp := c.ask(req).(*kmsg.ConsumerGroupHeartbeatResponse)
	if resp.ErrorCode != 0 {
		n.t.Fatalf("%s joins: %d, %s", member, resp.ErrorCode, *resp.ErrorMessage)
	}
}

// want fails unless the group is one of KIP-848 with so many members, now and after its coordinator was elected anew.
func (n *largeNode) want(c *client, members int) {
	n.t.Helper()
	for range 2 {
		req := kmsg.NewPtrConsumerGroupDescribeRequest()
		req.Version, req.Groups = 1, []string{n.id}
		row := c.ask(req).(*kmsg.ConsumerGroupDescribeResponse).Groups[0]
		if row.ErrorCode != 0 || len(row.Members) != members {
			n.t.Fatalf("error %d, %d members and not %d", row.ErrorCode, len(row.Members), members)
		}
		n.elect()
		n.await()
	}
}

// TestLargeUpgrade: somebody joins a classic group with the protocol of KIP-848 whose members are more than a batch has room
// for as they are.
func TestLargeUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLargeNode(t)
		leader, joined := make(chan *kmsg.JoinGroupResponse, 1), 0
		meta := kmsg.NewConsumerMemberMetadata()
		meta.Version, meta.Topics = 1, []string{"t"}
		n.decide(func(m *group.Machine, now time.Time, e *coordinator.Effects) {
			for range *largeGroup {
				req := kmsg.NewPtrJoinGroupRequest()
				req.Version, req.Group, req.ProtocolType = 3, n.id, "consumer"
				req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 1_000_000, 1_000_000
				req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: meta.AppendTo(nil)}}
				m.JoinGroup(now, req, group.Client{ID: "consumer", Host: "/192.0.2.1"}, func(resp *kmsg.JoinGroupResponse, err error) {
					if err != nil || resp.ErrorCode != 0 {
						t.Errorf("a join: %d (%v)", resp.ErrorCode, err)
					}
					if joined++; resp.MemberID == resp.LeaderID {
						leader <- resp
					}
				}, e)
			}
		})
		sync := kmsg.NewPtrSyncGroupRequest()
		resp := <-leader
		synctest.Wait()
		sync.Version, sync.Group, sync.Generation, sync.MemberID = 3, n.id, resp.Generation, resp.MemberID
		c := n.connect()
		if code := c.ask(sync).(*kmsg.SyncGroupResponse).ErrorCode; code != 0 || joined != *largeGroup {
			t.Fatalf("the leader's assignment: error %d, %d members", code, joined)
		}
		n.beat(c, "new")
		n.want(c, *largeGroup+1)
	})
}

// TestLargeLeave: an administrator removes more members of KIP-848 at once than a batch has room for as they are.
func TestLargeLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLargeNode(t)
		c := n.connect()
		leave := kmsg.NewPtrLeaveGroupRequest()
		leave.Version, leave.Group = 5, n.id
		for range *largeGroup {
			who := kmsg.NewLeaveGroupRequestMember()
			who.MemberID = metadata.NewUUID().String()
			n.beat(c, who.MemberID)
			leave.Members = append(leave.Members, who)
		}
		n.beat(c, "stays")
		n.want(c, *largeGroup+1)
		left := c.ask(leave).(*kmsg.LeaveGroupResponse)
		if left.ErrorCode != 0 || len(left.Members) != *largeGroup || left.Members[0].ErrorCode != 0 {
			t.Fatalf("they leave: error %d, %d rows", left.ErrorCode, len(left.Members))
		}
		n.want(c, 1)
	})
}
