package group

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// joinOf joins a group as nobody in particular, and returns the answer if there is one.
func (l *lab) joinOf(groupID, clientID string, version int16, metadata []byte) (answer *kmsg.JoinGroupResponse) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.ProtocolType = version, groupID, consumerProtocolType
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 10_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: metadata}}
	l.decide(func(e *effects) {
		l.m.JoinGroup(l.now, req, Client{ID: clientID}, func(resp *kmsg.JoinGroupResponse, _ error) { answer = resp }, e)
	})
	return answer
}

// TestPendingIDsAreBounded: who asks for member ids in a loop makes the group forget the oldest, and nothing more.
func TestPendingIDsAreBounded(t *testing.T) {
	l := newLab()
	long := strings.Repeat("c", 10_000)
	var first, last string
	for i := range 1000 {
		last = l.joinOf(labGroup, long, 9, nil).MemberID
		if i == 0 {
			first = last
		}
	}
	p := &l.m.groups[labGroup].members.(*classicGroup).pending
	if p.has(first) || !p.has(last) || p.bytes > maxPendingBytes || p.len() < 100 || p.len() != p.order.Len() {
		t.Errorf("%d ids in %d bytes; the first is there: %v, the last: %v", p.len(), p.bytes, p.has(first), p.has(last))
	}
	l.pass(10 * time.Second)
	if p.len() != 0 || p.bytes != 0 {
		t.Errorf("%d ids in %d bytes after their sessions", p.len(), p.bytes)
	}
}

// TestLongClientIDs: a member id fits into a string of the protocol, however long the client's id is.
func TestLongClientIDs(t *testing.T) {
	id := newLab().joinOf(labGroup, strings.Repeat("c", 1<<15-1), 9, nil).MemberID
	if len(id) != 1<<15-1 {
		t.Errorf("an id of %d bytes", len(id))
	}
}

// TestMemberBytesAreBounded: a group does not keep more of its members' metadata than it may.
func TestMemberBytesAreBounded(t *testing.T) {
	l := newLab()
	l.config.InitialRebalanceDelay = 3 * time.Second
	refused := false
	for i := 0; i < 200 && !refused; i++ {
		resp := l.joinOf(labGroup, "c", 3, make([]byte, 1<<20))
		refused = resp != nil && resp.ErrorCode == kerr.GroupMaxSizeReached.Code
	}
	g := l.m.groups[labGroup].members.(*classicGroup)
	if !refused || g.bytes > maxMemberBytes || g.bytes < maxMemberBytes/2 {
		t.Errorf("refused: %v, with %d members of %d bytes", refused, g.len(), g.bytes)
	}
}

// TestDeparturesAreBounded: a thousand members that leave at once cost two records of the group, and as many that leave
// one after the other a number of bytes for the time that they take. Everybody is answered.
func TestDeparturesAreBounded(t *testing.T) {
	const members = 1000
	for _, pause := range []time.Duration{0, time.Millisecond} {
		l := newLab()
		ids := l.settledGroup(members)
		before, began := len(l.log), l.now
		for _, id := range ids[:members-1] {
			req := kmsg.NewPtrLeaveGroupRequest()
			req.Version, req.Group = 5, labGroup
			req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: id}}
			l.leave(req)
			l.pass(pause)
		}
		l.pass(longestDeparture)
		written := 0
		for _, r := range l.log[before:] {
			written += len(r.Value)
		}
		most := 2 * len(l.log[before-1].Value)
		if pause > 0 {
			most += int(l.now.Sub(began).Seconds() * departureBytesPerSecond)
		}
		if written > most || l.parked != 0 || len(l.left) != members-1 {
			t.Errorf("with a pause of %v: %d records of %d bytes, of at most %d; %d have left, %d wait", pause, len(l.log)-before, written, most, len(l.left), l.parked)
		}
		if l.load(); l.m.groups[labGroup].members.len() != 1 {
			t.Errorf("after a crash: %s", l.state())
		}
	}
}

// settledGroup makes a group that is Stable, and returns the ids of its members.
func (l *lab) settledGroup(members int) (ids []string) {
	l.config.InitialRebalanceDelay = 3 * time.Second
	for range members {
		l.joinOf(labGroup, "client", 3, make([]byte, 100))
	}
	l.pass(6 * time.Second)
	g := l.m.groups[labGroup].members.(*classicGroup)
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 5, labGroup, g.leader, g.generation
	for m := range g.all {
		ids = append(ids, m.id)
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m.id, MemberAssignment: make([]byte, 50)})
	}
	l.sync(l.actor("leader"), req)
	return ids
}

// TestTickIsBounded: groups that empty at the same time are written in batches that fit.
func TestTickIsBounded(t *testing.T) {
	l := newLab()
	long := strings.Repeat("g", 10_000)
	for i := range 200 {
		l.joinOf(fmt.Sprint(long, i), "c", 3, nil)
	}
	l.now = l.now.Add(time.Minute)
	for ticks := 0; ; ticks++ {
		at := l.m.Deadline()
		if at.IsZero() || at.After(l.now) {
			if ticks < 4 {
				t.Errorf("all in %d ticks", ticks)
			}
			break
		}
		l.decide(func(e *effects) {
			l.m.Tick(l.now, e)
			size := 0
			for _, r := range e.Records {
				size += len(r.Key) + len(r.Value)
			}
			if size > 2*recordBytesPerFire {
				t.Errorf("%d bytes in one tick", size)
			}
		})
	}
	for id := range l.m.groups {
		if _, ok := l.m.groups[id].members.empty(); !ok {
			t.Fatal("a group has members still")
		}
	}
}
