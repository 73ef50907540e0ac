package group

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
)

// join sends a JoinGroup and returns its answer, nil if it waits.
func (l *consumerLab) join(req *kmsg.JoinGroupRequest) (resp *kmsg.JoinGroupResponse) {
	l.decide(func(e *coordinator.Effects) {
		l.m.JoinGroup(l.now, req, Client{ID: "c"}, func(r *kmsg.JoinGroupResponse, _ error) { resp = r }, e)
	})
	return resp
}

// TestUpgradeRefused: a heartbeat that is not let in leaves a classic group what it is (rule 8.7.13).
func TestUpgradeRefused(t *testing.T) {
	bad := "("
	for name, x := range map[string]struct {
		size  int
		regex *string
		want  *kerr.Error
	}{
		"full":  {size: 1, want: kerr.GroupMaxSizeReached},
		"regex": {size: 10, regex: &bad, want: kerr.InvalidRegularExpression},
		"taken": {size: 10},
	} {
		l := newConsumerLab(t)
		l.topic("a", 2)
		l.config.Consumer.MaxSize = x.size
		l.join(joinOf("", "a"))
		l.advance(time.Second)
		req := beatOf("m1", epochJoin, "a")
		req.SubscribedTopicRegex = x.regex
		resp, kind := l.beat(req), "classic"
		if x.want == nil {
			kind = "consumer"
		} else if resp.ErrorCode != x.want.Code {
			t.Errorf("%s: error %d", name, resp.ErrorCode)
		}
		if got := l.m.membersOf("g").kind(); got != kind {
			t.Errorf("%s: the group is a %s group, with answer %d", name, got, resp.ErrorCode)
		}
	}
}

// TestEmptyKept: a classic member that is not let in leaves an empty consumer group what it is (rule 8.1.4).
func TestEmptyKept(t *testing.T) {
	l := newConsumerLab(t)
	l.topic("a", 2)
	l.beat(beatOf("m1", epochJoin, "a"))
	l.beat(beatOf("m1", epochLeave))
	if resp := l.join(joinOf("m1", "a")); resp == nil || resp.ErrorCode != kerr.UnknownMemberID.Code {
		t.Fatalf("an unknown member is answered %+v", resp)
	}
	if got := l.m.membersOf("g").kind(); got != "consumer" {
		t.Fatalf("the group is a %s group", got)
	}
	l.join(joinOf("", "a"))
	if got := l.m.membersOf("g").kind(); got != "classic" {
		t.Fatalf("with a new member the group is a %s group", got)
	}
}
