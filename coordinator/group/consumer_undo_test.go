package group

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/metadata"
)

// refuse makes a decision whose records are too large to be written, and fails unless it is taken back: the groups are
// what they were, and a machine that is loaded from the log holds the same.
func (l *consumerLab) refuse(what string, decision func(e *coordinator.Effects)) {
	l.t.Helper()
	before := consumerDump(l.m)
	e := &coordinator.Effects{}
	decision(e)
	if len(e.Records) == 0 {
		return // there is nothing to refuse
	}
	if e.Refused == nil {
		l.t.Fatalf("%s: cannot be refused: every group of the partition would be loaded anew", what)
	}
	for _, r := range slices.Concat(e.Soft, e.Replies) {
		r(kerr.MessageTooLarge)
	}
	l.decide(func(next *coordinator.Effects) { e.Refused(kerr.MessageTooLarge, next) })
	if err := audit(l.m); err != nil {
		l.t.Fatalf("%s: refused, and %v", what, err)
	}
	if got := consumerDump(l.m); got != before {
		l.t.Fatalf("%s: refused, and the machine holds\n%s\nin place of\n%s", what, got, before)
	}
	for id, g := range l.m.groups {
		if g, ok := g.members.(*consumerGroup); ok && len(g.sessions) != len(g.members) {
			l.t.Fatalf("%s: group %s has %d members and %d sessions", what, id, len(g.members), len(g.sessions))
		}
	}
}

// refuseBeat is refuse of a heartbeat.
func (l *consumerLab) refuseBeat(what string, req *kmsg.ConsumerGroupHeartbeatRequest) {
	l.t.Helper()
	l.refuse(what, func(e *coordinator.Effects) {
		q := &ConsumerHeartbeat{Request: req, From: Client{ID: "lab", Host: "/192.0.2.1"}, MayDescribe: func(string) bool { return true }}
		l.m.ConsumerGroupHeartbeat(l.now, q, func(*kmsg.ConsumerGroupHeartbeatResponse, error) {}, e)
	})
}

// beatOf is a heartbeat of a member of group g; with names it is one that says everything.
func beatOf(member string, epoch int32, names ...string) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch = 1, "g", member, epoch
	if len(names) > 0 {
		req.SubscribedTopicNames, req.RebalanceTimeoutMillis, req.Topics = names, 60_000, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	return req
}

// joinOf is a JoinGroup of the consumer protocol for a topic.
func joinOf(member, topic string) *kmsg.JoinGroupRequest {
	md := kmsg.NewConsumerMemberMetadata()
	md.Version, md.Topics = 1, []string{topic}
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = 3, "g", member, consumerProtocolType
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 10_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: md.AppendTo(nil)}}
	return req
}

// TestConsumerRefused: a decision about a consumer group that is too large to be written leaves no trace. Each is made
// afterwards, so that what was left behind would be seen.
func TestConsumerRefused(t *testing.T) {
	l := newConsumerLab(t)
	l.topic("a", 4)
	l.topic("b", 4)
	for i, req := range []*kmsg.ConsumerGroupHeartbeatRequest{beatOf("m1", 0, "a"), beatOf("m2", 0, "a"), beatOf("m3", 0, "a", "b")} {
		l.refuseBeat(fmt.Sprintf("join %d", i+1), req)
		l.beat(req)
		l.advance(2 * time.Second)
		for id := range l.m.membersOf("g").(*consumerGroup).members {
			beat := beatOf(id, l.m.membersOf("g").(*consumerGroup).members[id].epoch)
			beat.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			l.refuseBeat("a heartbeat of "+id, beat)
			l.beat(beat)
		}
	}
	g := l.m.membersOf("g").(*consumerGroup)
	regex := beatOf("m1", g.members["m1"].epoch)
	regex.SubscribedTopicRegex = new("b.*")
	l.refuseBeat("a regular expression", regex)
	if len(g.regexes) > 0 {
		t.Error("a search goes on for a regular expression that nobody uses")
	}
	l.refuse("a classic join", func(e *coordinator.Effects) {
		l.m.JoinGroup(l.now, joinOf("", "a"), Client{}, func(*kmsg.JoinGroupResponse, error) {}, e)
	})
	l.refuseBeat("m2 leaves", beatOf("m2", epochLeave))
	l.advance(40 * time.Second)
	l.refuse("m2 is made to leave", func(e *coordinator.Effects) {
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Version, req.Group, req.Members = 5, "g", []kmsg.LeaveGroupRequestMember{{MemberID: "m2"}}
		l.m.LeaveGroup(l.now, req, func(*kmsg.LeaveGroupResponse, error) {}, e)
	})
	l.advance(time.Minute) // who was silent goes, also of those who came back by being refused to leave
	if g.len() > 0 || !l.m.timers.next().IsZero() {
		t.Errorf("%d members are left; the next timer is at %v", g.len(), l.m.timers.next())
	}
}

// TestMigrationRefused: a group that cannot become one of another protocol, since that is too much to write, is what it
// was, and its members begin again.
func TestMigrationRefused(t *testing.T) {
	l := newConsumerLab(t)
	l.topic("a", 4)
	l.unchecked = true // the classic group's rebalance is no record yet
	l.decide(func(e *coordinator.Effects) {
		l.m.JoinGroup(l.now, joinOf("", "a"), Client{ID: "c"}, func(*kmsg.JoinGroupResponse, error) {}, e)
	})
	classic := l.m.membersOf("g").(*classicGroup)
	l.refuseBeat("an upgrade", beatOf("m1", 0, "a"))
	if l.m.membersOf("g") != membership(classic) || classic.state() != "PreparingRebalance" || classic.phase.index == 0 || classic.first.session.index == 0 {
		t.Fatalf("the group is a %s one, %s", l.m.membersOf("g").kind(), l.m.membersOf("g").state())
	}
	l.beat(beatOf("m1", 0, "a"))
	l.unchecked = false
	l.refuseBeat("a downgrade", beatOf("m1", epochLeave))
	l.beat(beatOf("m1", epochLeave))
	if kind := l.m.membersOf("g").kind(); kind != "classic" {
		t.Errorf("the last member of the new protocol has gone, and the group is a %s one", kind)
	}
}

// TestLongSubscription: what one member says may be as long as a request, and is refused to it alone.
func TestLongSubscription(t *testing.T) {
	l := newConsumerLab(t)
	l.topic("a", 4)
	l.beat(beatOf("m1", 0, "a"))
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprint(i, strings.Repeat("x", 200))
	}
	l.refuseBeat("a long subscription", beatOf("m2", 0, names...))
	if resp := l.beat(beatOf("m1", l.m.membersOf("g").(*consumerGroup).members["m1"].epoch)); resp.ErrorCode != 0 {
		t.Errorf("the other member: %s", errorName(resp.ErrorCode))
	}
	if slices.ContainsFunc(l.log, func(r coordinator.Record) bool { return bytes.Contains(r.Key, []byte("m2")) }) {
		t.Error("the refused member is in the log")
	}
}

// TestRegexOfTooMuch: a regular expression that stands for more names than a record can hold writes nothing.
func TestRegexOfTooMuch(t *testing.T) {
	l := newConsumerLab(t)
	l.unchecked = true
	records := make([]metadata.Record, 0, 3000)
	for i := range 3000 {
		name := fmt.Sprint(i, strings.Repeat("x", 200))
		records = append(records, &metadata.TopicRecord{Name: name, ID: topicID(fmt.Sprint(i))})
	}
	l.metadata(records...)
	for expr, want := range map[string]bool{"1.*": true, ".*": false} {
		req := beatOf("m"+expr, 0)
		req.SubscribedTopicRegex, req.RebalanceTimeoutMillis, req.Topics = &expr, 1000, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		l.beat(req)
		l.advance(5 * time.Second)
		if _, got := l.m.membersOf("g").(*consumerGroup).resolved[expr]; got != want {
			t.Errorf("%s has been resolved: %v", expr, got)
		}
	}
}

// TestDowngradeOfTooMuch: a group whose classic members have so much to say that no record could hold it stays a group of
// KIP-848 when the last member of that protocol is missed.
func TestDowngradeOfTooMuch(t *testing.T) {
	for size, want := range map[int]string{1000: "classic", 200_000: "consumer"} {
		l := newConsumerLab(t)
		l.unchecked = true
		l.topic("a", 4)
		l.beat(beatOf("m1", 0, "a"))
		for range 3 {
			md := kmsg.NewConsumerMemberMetadata()
			md.Version, md.Topics, md.UserData = 1, []string{"a"}, make([]byte, size)
			req := joinOf("", "a")
			req.SessionTimeoutMillis, req.Protocols[0].Metadata = 600_000, md.AppendTo(nil)
			l.decide(func(e *coordinator.Effects) {
				l.m.JoinGroup(l.now, req, Client{ID: "c"}, func(*kmsg.JoinGroupResponse, error) {}, e)
			})
			l.advance(time.Millisecond)
		}
		l.beat(beatOf("m1", epochLeave))
		if got := l.m.membersOf("g").kind(); got != want {
			t.Errorf("members with %d bytes of metadata: a %s group", size, got)
		}
	}
}
