package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestConsumerGroup: a group's own settings come before the brokers', within the brokers' bounds, and follow those that
// change at run time.
func TestConsumerGroup(t *testing.T) {
	s := open(t, "group.consumer.max.session.timeout.ms=50000", "group.consumer.assignment.interval.ms=7")
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	for _, c := range []struct {
		overrides string
		want      GroupTiming
	}{
		{"", GroupTiming{ms(45000), ms(5000), ms(7)}},
		{"consumer.session.timeout.ms=46000 consumer.heartbeat.interval.ms=6000 consumer.assignment.interval.ms=0", GroupTiming{ms(46000), ms(6000), 0}},
		{"consumer.session.timeout.ms=60000 consumer.heartbeat.interval.ms=1 share.session.timeout.ms=1 bogus=1", GroupTiming{ms(50000), ms(5000), ms(7)}},
		{"consumer.session.timeout.ms=x", GroupTiming{ms(45000), ms(5000), ms(7)}},
	} {
		overrides := map[string]string{}
		for _, o := range strings.Fields(c.overrides) {
			name, v, _ := strings.Cut(o, "=")
			overrides[name] = v
		}
		if got := s.ConsumerGroup(overrides); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.overrides, got, c.want)
		}
	}
	if _, err := s.Update(nil, map[string]string{"group.consumer.assignment.interval.ms": "8"}); err != nil {
		t.Fatal(err)
	}
	if got := s.ConsumerGroup(nil).AssignmentInterval; got != ms(8) {
		t.Errorf("the interval that was altered at run time is %v", got)
	}
}

func TestMigrationPolicy(t *testing.T) {
	for raw, want := range map[string][2]bool{
		"bidirectional": {true, true}, "UPGRADE": {true, false}, "downgrade": {false, true}, "Disabled": {false, false},
	} {
		p := open(t, "group.consumer.migration.policy="+raw).Broker().Groups.Consumer.Migration
		if got := [2]bool{p.Upgrade(), p.Downgrade()}; got != want {
			t.Errorf("%s allows %v, want %v", raw, got, want)
		}
	}
}

// TestGroupContradictions: settings that contradict each other are refused at the start.
func TestGroupContradictions(t *testing.T) {
	for _, c := range []struct{ options, want string }{
		{"group.consumer.min.session.timeout.ms=61000", "group.consumer.max.session.timeout.ms: is 60000, less than group.consumer.min.session.timeout.ms, which is 61000"},
		{"group.consumer.session.timeout.ms=44999", "-o: group.consumer.session.timeout.ms: is 44999, and group.consumer.{min,max}.session.timeout.ms allow 45000 to 60000"},
		{"group.consumer.heartbeat.interval.ms=16000", "-o: group.consumer.heartbeat.interval.ms: is 16000, and group.consumer.{min,max}.heartbeat.interval.ms allow 5000 to 15000"},
		{"group.consumer.min.session.timeout.ms=1 group.consumer.session.timeout.ms=5000", "group.consumer.heartbeat.interval.ms: is 5000, and must be less than group.consumer.session.timeout.ms, which is 5000"},
		{"group.coordinator.rebalance.protocols=consumer", "-o: group.coordinator.rebalance.protocols: does not name classic, which every coordinator speaks; add it"},
		{"offsets.topic.compression.codec=5", "-o: offsets.topic.compression.codec: is no codec's number; allowed: 0 (none), 1 (gzip), 2 (snappy), 3 (lz4), 4 (zstd)"},
	} {
		_, err := load(t, Sources{Options: strings.Fields(c.options)})
		if err == nil || err.Error() != c.want {
			t.Errorf("%s:\n got %v\nwant %s", c.options, err, c.want)
		}
	}
}

// TestAssignorClasses: files of older releases of Kafka name the assignors by their classes.
func TestAssignorClasses(t *testing.T) {
	s := open(t, "group.consumer.assignors=org.apache.kafka.coordinator.group.assignor.RangeAssignor, org.apache.kafka.coordinator.group.assignor.UniformAssignor")
	if got := s.Broker().Groups.Consumer.Assignors; !slices.Equal(got, []string{"range", "uniform"}) {
		t.Errorf("got %v", got)
	}
}
