package group

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
)

// recount is what a membership takes, counted anew.
func recount(members membership) int {
	n := groupOverhead
	switch g := members.(type) {
	case *classicGroup:
		n += 2 * len(g.id)
		for m := range g.all {
			n += m.size()
		}
		for _, p := range g.pending.byID {
			n += p.size()
		}
	case *consumerGroup:
		n += 2 * len(g.id)
		for id, m := range g.members {
			n += memberSize(id) + sizeOfTarget(m.target) + m.memberCurrent.size()
			if m.memberInfo != nil {
				n += m.memberInfo.size()
			}
		}
		for _, r := range g.resolved {
			n += r.size()
		}
		for expr, s := range g.regexes {
			n += s.memory(expr)
		}
	}
	return n
}

// audit compares the account of a machine that has one for itself with what its groups take, and the orders that are kept
// of members with the members.
func audit(m *Machine) error {
	n := 0
	for _, g := range m.groups {
		if g.members != nil {
			n += recount(g.members)
		}
		if g, ok := g.members.(*consumerGroup); ok {
			if want := slices.Sorted(maps.Keys(g.members)); !slices.EqualFunc(g.ordered, want, func(m *consumerMember, id string) bool { return m == g.members[id] }) {
				return fmt.Errorf("group %s has the members %v, and another order", g.id, want)
			}
		}
	}
	if used := m.memory.Used(); used != int64(n) {
		return fmt.Errorf("the groups take %d bytes, and the account says %d", n, used)
	}
	return nil
}

// TestMemoryOfConsumerGroups: groups of KIP-848 without end are refused when they take as much memory as they may. Who
// is there already stays, and says what it says; what leaves makes room.
func TestMemoryOfConsumerGroups(t *testing.T) {
	l := newConsumerLab(t)
	l.unchecked = true
	full := 0
	l.m.memory.full = func(used, limit int64) { full++ }
	l.config.MaxBytes = 4 << 20
	l.topic("a", 4)
	names := []string{"a", strings.Repeat("b", 200), strings.Repeat("c", 200)}
	join := func(group, member string) *kmsg.ConsumerGroupHeartbeatRequest {
		req := beatOf(member, epochJoin, names...)
		req.Group = group
		return req
	}
	n := 0
	var refused *kmsg.ConsumerGroupHeartbeatResponse
	for ; n < 100_000 && refused == nil; n++ {
		if resp := l.beat(join(fmt.Sprint("g", n), "m")); resp.ErrorCode != 0 {
			refused = resp
		}
	}
	if refused == nil || refused.ErrorCode != kerr.GroupMaxSizeReached.Code || !strings.Contains(*refused.ErrorMessage, "kbroker.group.max.bytes") {
		t.Fatalf("after %d groups: %+v", n, refused)
	}
	if err := audit(l.m); err != nil || l.m.memory.Used() > l.config.MaxBytes || full != 1 || l.m.memory.Refused() != 1 {
		t.Errorf("%d bytes: %v; told %d times, %d refused", l.m.memory.Used(), err, full, l.m.memory.Refused())
	}
	if l.m.groups[fmt.Sprint("g", n-1)] != nil {
		t.Error("the group that was refused is there")
	}
	if resp := l.beat(join("g0", "m")); resp.ErrorCode != 0 {
		t.Errorf("a member joins again: %v", *resp.ErrorMessage)
	}
	if resp := l.beat(join("g0", "another")); resp.ErrorCode != kerr.GroupMaxSizeReached.Code {
		t.Error("another member is let into a group that is there")
	}
	more := join("g0", "m")
	more.SubscribedTopicNames = append(names, "d")
	if resp := l.beat(more); resp.ErrorCode != kerr.GroupMaxSizeReached.Code {
		t.Error("a member subscribes to more")
	}
	leave := beatOf("m", epochLeave)
	leave.Group = "g1"
	l.beat(leave)
	if resp := l.beat(join("g0", "another")); resp.ErrorCode != 0 {
		t.Errorf("a member left, and nobody may come in its place: %s", *resp.ErrorMessage)
	}
	l.m.Unload(kerr.NotCoordinator)
	if used := l.m.memory.Used(); used != 0 {
		t.Errorf("a machine that is unloaded takes %d bytes", used)
	}
}

// TestMemoryOfClassicGroups is TestMemoryOfConsumerGroups of the classic protocol.
func TestMemoryOfClassicGroups(t *testing.T) {
	l := newLab()
	l.config.MaxBytes = 4 << 20
	metadata := make([]byte, 1000)
	var refused *kmsg.JoinGroupResponse
	n := 0
	for ; n < 100_000 && refused == nil; n++ {
		if resp := l.joinOf(fmt.Sprint("g", n), "c", 3, metadata); resp != nil && resp.ErrorCode != 0 {
			refused = resp
		}
	}
	if refused == nil || refused.ErrorCode != kerr.GroupMaxSizeReached.Code {
		t.Fatalf("after %d groups: %+v", n, refused)
	}
	if l.m.groups[fmt.Sprint("g", n-1)] != nil {
		t.Error("the group that was refused is there")
	}
	if err := audit(l.m); err != nil || l.m.memory.Used() > l.config.MaxBytes {
		t.Errorf("%d bytes: %v", l.m.memory.Used(), err)
	}
	if resp := l.joinOf("g0", "c", 9, metadata); resp == nil || resp.ErrorCode != kerr.GroupMaxSizeReached.Code {
		t.Errorf("an id is given out: %+v", resp)
	}
	l.pass(time.Hour) // all sessions end
	if err := audit(l.m); err != nil {
		t.Error(err)
	}
	if resp := l.joinOf("g0", "c", 3, metadata); resp != nil && resp.ErrorCode != 0 {
		t.Errorf("all members have gone, and one that comes is refused with %d", resp.ErrorCode)
	}
}

// TestMemoryOfAssignments: what a leader assigns counts too. When there is no memory for it the leader learns that, and
// the others begin again.
func TestMemoryOfAssignments(t *testing.T) {
	l := newLab()
	l.config.MaxBytes = 1 << 20
	joined := l.joinOf(labGroup, "c", 3, nil)
	if joined == nil || joined.ErrorCode != 0 {
		t.Fatalf("%+v", joined)
	}
	sync := func(size int) (code int16) {
		req := kmsg.NewPtrSyncGroupRequest()
		req.Group, req.MemberID, req.Generation = labGroup, joined.MemberID, joined.Generation
		req.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: joined.MemberID, MemberAssignment: make([]byte, size)}}
		l.decide(func(e *effects) {
			l.m.SyncGroup(l.now, req, func(resp *kmsg.SyncGroupResponse, _ error) { code = resp.ErrorCode }, e)
		})
		return code
	}
	if code := sync(2 << 20); code != kerr.GroupMaxSizeReached.Code {
		t.Errorf("an assignment that is too large: %v", kerr.ErrorForCode(code))
	}
	if state := l.m.groups[labGroup].members.state(); state != "PreparingRebalance" {
		t.Errorf("the group is in %s", state)
	}
	if err := audit(l.m); err != nil {
		t.Error(err)
	}
}

// TestMemoryAfterLoading: a machine counts from when it is in service, and a limit that has become lower costs nobody what
// it has.
func TestMemoryAfterLoading(t *testing.T) {
	l := newConsumerLab(t)
	l.topic("a", 4)
	l.beat(beatOf("m", epochJoin, "a"))
	l.config.MaxBytes = 1
	m := l.load(l.log)
	if used := m.memory.Used(); used != 0 {
		t.Errorf("%d bytes are counted of a machine that may not come into service", used)
	}
	m.Loaded(l.now, &coordinator.Effects{})
	if err := audit(m); err != nil || m.memory.Used() == 0 || m.groups["g"].members.len() != 1 {
		t.Errorf("%d bytes, %d members: %v", m.memory.Used(), m.groups["g"].members.len(), err)
	}
}
