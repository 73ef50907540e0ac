package group

import (
	"testing"
	"time"
)

// TestDynamicTakesStaticPlace: a dynamic member takes the place of a static one under the id that it has already. The
// dynamic member is none any more: its regular expression is forgotten, and others get what it was to have.
func TestDynamicTakesStaticPlace(t *testing.T) {
	for _, refused := range []bool{false, true} {
		l := newConsumerLab(t)
		l.topic("a", 1)
		l.topic("b", 5)
		static := beatOf("s", epochJoin, "b")
		static.InstanceID = new("i")
		l.beat(static)
		dynamic := beatOf("m", epochJoin, "b")
		dynamic.SubscribedTopicRegex = new("a.*")
		l.beat(dynamic)
		l.advance(2 * time.Second)
		l.beat(beatOf("n", epochJoin, "b"))
		l.advance(2 * time.Second)
		l.beat(beatOf("n", epochJoin, "b")) // makes the targets: two partitions each
		l.advance(2 * time.Second)
		away := beatOf("s", epochAway)
		away.InstanceID = new("i")
		l.beat(away)
		g := l.m.membersOf("g").(*consumerGroup)
		if g.resolved["a.*"] == nil || g.len() != 3 {
			t.Fatalf("the group is not what the test needs:\n%s", consumerDump(l.m))
		}
		again := beatOf("m", epochJoin, "b")
		again.InstanceID, again.SubscribedTopicRegex = new("i"), new("")
		if refused {
			l.refuseBeat("the replacement", again)
		}
		if resp := l.beat(again); resp.ErrorCode != 0 {
			t.Fatal(*resp.ErrorMessage)
		}
		given := 0
		for _, m := range g.members {
			given += len(m.target)
		}
		if g.len() != 2 || len(g.sessions) != 2 || len(g.resolved) > 0 || len(g.regexes) > 0 || given != 5 {
			t.Errorf("refused %v, %d sessions, %d searches, %d partitions are given:\n%s", refused, len(g.sessions), len(g.regexes), given, consumerDump(l.m))
		}
		l.advance(time.Minute)
		if g.len() > 0 || len(g.sessions) > 0 || !l.m.timers.next().IsZero() {
			t.Errorf("%d members and %d sessions at the end", g.len(), len(g.sessions))
		}
	}
}
