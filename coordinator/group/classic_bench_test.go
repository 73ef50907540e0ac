package group

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// BenchmarkThousand is what the machine itself has to do for 1,000 members that form a group, one that leaves and one that
// comes: three rebalances. The rest of the time that a real group takes is the network's and the clients'.
func BenchmarkThousand(b *testing.B) {
	for b.Loop() {
		c := newCrowd()
		for i := range 1000 {
			c.join(fmt.Sprint("m", i))
		}
		c.rebalance()
		c.leave("m500")
		c.rebalance()
		c.join("late")
		c.rebalance()
		if len(c.ids) != 1000 || c.generation != 3 {
			b.Fatalf("%d members in generation %d", len(c.ids), c.generation)
		}
		b.ReportMetric(float64(len(c.lab.log)), "records")
	}
}

// crowd is many members with little to say.
type crowd struct {
	lab        *lab
	ids        map[string]string
	told       []kmsg.JoinGroupResponseMember // what the leader knows
	leader     string
	generation int32
	metadata   []byte
}

func newCrowd() *crowd {
	l := newLab()
	l.config.InitialRebalanceDelay = 3 * time.Second
	return &crowd{lab: l, ids: map[string]string{}, metadata: bytes.Repeat([]byte("m"), 100)}
}

// join joins a member, twice if it has to come back with its id.
func (c *crowd) join(name string) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = 9, labGroup, c.ids[name], consumerProtocolType
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 45_000, 300_000
	for _, p := range []string{"range", "cooperative-sticky"} {
		req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: p, Metadata: c.metadata})
	}
	again := false
	c.lab.decide(func(e *effects) {
		c.lab.m.JoinGroup(c.lab.now, req, Client{ID: name, Host: "/192.0.2.1"}, func(resp *kmsg.JoinGroupResponse, err error) {
			c.ids[name] = resp.MemberID
			if again = resp.ErrorCode == kerr.MemberIDRequired.Code; !again {
				c.generation, c.leader = resp.Generation, resp.LeaderID
			}
			if len(resp.Members) > 0 {
				c.told = resp.Members
			}
		}, e)
	})
	if again {
		c.join(name)
	}
}

func (c *crowd) leave(name string) {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 5, labGroup
	req.Members = append(req.Members, kmsg.LeaveGroupRequestMember{MemberID: c.ids[name]})
	delete(c.ids, name)
	c.lab.decide(func(e *effects) { c.lab.m.LeaveGroup(c.lab.now, req, func(*kmsg.LeaveGroupResponse, error) {}, e) })
}

// rebalance lets everybody who is not parked join, and then fetch assignments.
func (c *crowd) rebalance() {
	c.lab.pass(6 * time.Second)
	g := c.lab.m.groups[labGroup].members.(*classicGroup)
	for name, id := range c.ids {
		if g.status == classicPreparing && g.byID[id].join == nil {
			c.join(name)
		}
	}
	for _, id := range c.ids {
		req := kmsg.NewPtrSyncGroupRequest()
		req.Version, req.Group, req.MemberID, req.Generation = 5, labGroup, id, c.generation
		if id == c.leader {
			for _, m := range c.told {
				req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m.MemberID, MemberAssignment: c.metadata[:40]})
			}
		}
		c.lab.decide(func(e *effects) { c.lab.m.SyncGroup(c.lab.now, req, func(*kmsg.SyncGroupResponse, error) {}, e) })
	}
}
