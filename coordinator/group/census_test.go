package group

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kbroker/kbroker/coordinator"
)

// replayCommit gives the machine a committed offset, as its log would.
func replayCommit(t *testing.T, m *Machine, id, topic string, partition int32, at int64) {
	t.Helper()
	o := offset{committed: at, leaderEpoch: -1, expireTime: -1}
	r := coordinator.Replayed{Key: appendOffsetKey(nil, id, topic, partition), Value: appendOffsetValue(nil, &o), ProducerID: -1}
	if err := m.Replay(&r); err != nil {
		t.Fatal(err)
	}
}

// TestCensus: groups are counted by type and state, and listed in order as far as there is room.
func TestCensus(t *testing.T) {
	l := newConsumerLab(t)
	replayCommit(t, l.m, "b", "t", 1, 7)
	replayCommit(t, l.m, "b", "t", 0, 5)
	replayCommit(t, l.m, "b", "s", 0, 3)
	replayCommit(t, l.m, "a", "t", 0, 1)
	classic := l.m.group("classic")
	classic.members = l.m.newClassicGroup("classic", time.Time{})
	consumer := l.m.group("consumer")
	consumer.members = l.m.newConsumerGroup("consumer")
	for _, c := range []struct {
		limit int
		want  string
	}{
		{100, "4 omitted 0: a 0 [{t 0 1}] b 0 [{s 0 3} {t 0 5} {t 1 7}] classic 0 [] consumer 0 []"},
		{4, "4 omitted 1: a 0 [{t 0 1}] classic 0 [] consumer 0 []"},
		{0, "4 omitted 4:"},
	} {
		census := l.m.Census(c.limit)
		got := fmt.Sprintf("%d omitted %d:", census.Offsets, census.Omitted)
		for _, g := range census.Groups {
			got += fmt.Sprintf(" %s %d %v", g.ID, g.Members, g.Offsets)
		}
		if got != c.want {
			t.Errorf("with room for %d: got %s\nwant %s", c.limit, got, c.want)
		}
		if states := strings.TrimPrefix(fmt.Sprint(census.ByState), "map"); states != "[{classic Empty}:3 {consumer Empty}:1]" {
			t.Errorf("by state: %s", states)
		}
	}
}
