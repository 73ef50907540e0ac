package config

import (
	"slices"
	"strconv"
	"time"
)

// GroupTiming is the time in the life of a consumer group (rule 8.7).
type GroupTiming struct {
	SessionTimeout     time.Duration // consumer.session.timeout.ms: a member that is silent for this long is removed
	HeartbeatInterval  time.Duration // consumer.heartbeat.interval.ms: how often members are told to report
	AssignmentInterval time.Duration // consumer.assignment.interval.ms: the least time between two target assignments
}

// ConsumerGroup returns the effective settings of a consumer group with the given overrides: the group's own where it
// has some, else the brokers'. The overrides were checked against the bounds of their time; those of today hold, since
// brokers may have been restarted with others.
func (s *Store) ConsumerGroup(overrides map[string]string) GroupTiming {
	c := &s.state.Load().view.Groups.Consumer
	t := c.GroupTiming
	for name, raw := range overrides {
		set, k := groupSetters[name], GroupKeys.Key(name)
		if set == nil || k == nil {
			continue
		}
		if shown, err := k.Parse(raw); err == nil {
			set(&t, value(shown))
		}
	}
	return GroupTiming{
		SessionTimeout:     min(max(t.SessionTimeout, c.MinSessionTimeout), c.MaxSessionTimeout),
		HeartbeatInterval:  min(max(t.HeartbeatInterval, c.MinHeartbeatInterval), c.MaxHeartbeatInterval),
		AssignmentInterval: min(max(t.AssignmentInterval, c.MinAssignmentInterval), c.MaxAssignmentInterval),
	}
}

// groupSetters put a group's settings into its view. Keys without one have no effect.
var groupSetters = map[string]func(*GroupTiming, value){
	"consumer.session.timeout.ms":     func(t *GroupTiming, v value) { t.SessionTimeout = v.millis() },
	"consumer.heartbeat.interval.ms":  func(t *GroupTiming, v value) { t.HeartbeatInterval = v.millis() },
	"consumer.assignment.interval.ms": func(t *GroupTiming, v value) { t.AssignmentInterval = v.millis() },
}

// MigrationPolicy says in which direction a group may change between the classic protocol and that of KIP-848 while it
// has members (rule 8.7).
type MigrationPolicy uint8

// The policies. The zero value is Kafka's default.
const (
	MigrateBothWays MigrationPolicy = iota
	MigrateUp
	MigrateDown
	MigrateNever
)

// Upgrade reports whether a classic group may become a consumer group.
func (p MigrationPolicy) Upgrade() bool { return p == MigrateBothWays || p == MigrateUp }

// Downgrade reports whether a consumer group may become a classic one.
func (p MigrationPolicy) Downgrade() bool { return p == MigrateBothWays || p == MigrateDown }

// check finds what settings of consumer groups say against each other, as Kafka does at its start.
func (c *ConsumerGroups) check() error {
	if len(c.Assignors) == 0 {
		return problem("group.consumer.assignors", "names no assignor; write uniform, range or both")
	}
	for _, name := range c.Assignors {
		if name != "uniform" && name != "range" {
			return problem("group.consumer.assignors",
				"kbroker has no assignor %q and does not load Java classes; write uniform, range or both", name)
		}
	}
	for _, x := range []struct {
		name         string
		low, v, high time.Duration
	}{
		{"session.timeout.ms", c.MinSessionTimeout, c.SessionTimeout, c.MaxSessionTimeout},
		{"heartbeat.interval.ms", c.MinHeartbeatInterval, c.HeartbeatInterval, c.MaxHeartbeatInterval},
		{"assignment.interval.ms", c.MinAssignmentInterval, c.AssignmentInterval, c.MaxAssignmentInterval},
	} {
		switch {
		case x.low > x.high:
			return problem("group.consumer.max."+x.name, "is %d, less than group.consumer.min.%s, which is %d",
				x.high.Milliseconds(), x.name, x.low.Milliseconds())
		case x.v < x.low || x.v > x.high:
			return problem("group.consumer."+x.name, "is %d, and group.consumer.{min,max}.%s allow %d to %d",
				x.v.Milliseconds(), x.name, x.low.Milliseconds(), x.high.Milliseconds())
		}
	}
	if c.HeartbeatInterval >= c.SessionTimeout {
		return problem("group.consumer.heartbeat.interval.ms", "is %d, and must be less than group.consumer.session.timeout.ms, which is %d",
			c.HeartbeatInterval.Milliseconds(), c.SessionTimeout.Milliseconds())
	}
	return nil
}

// check is that of all groups.
func (g *Groups) check() error {
	if !slices.Contains(g.Protocols, "classic") {
		return problem("group.coordinator.rebalance.protocols", "does not name classic, which every coordinator speaks; add it")
	}
	if g.OffsetsCompression == CompressionProducer {
		return problem("offsets.topic.compression.codec", "is no codec's number; allowed: 0 (none), 1 (gzip), 2 (snappy), 3 (lz4), 4 (zstd)")
	}
	// Kafka takes a smaller number, and then can never create the topic: segment.bytes of a topic has this limit.
	segment := TopicKeys.Key("segment.bytes")
	if size := strconv.Itoa(int(g.OffsetsSegmentBytes)); !segment.Valid.allows(size) {
		return problem("offsets.topic.segment.bytes", "is %s, and segments of a topic have %s bytes: __consumer_offsets could not be created", size, segment.Valid)
	}
	if g.OffsetsPartitions > maxOffsetsPartitions {
		return problem("offsets.topic.num.partitions", "is %d, and __consumer_offsets could not be created with more than %d", g.OffsetsPartitions, maxOffsetsPartitions)
	}
	return g.Consumer.check()
}

// maxOffsetsPartitions is how many partitions __consumer_offsets may have: the topic is made in one go, which writes
// 10,000 records of metadata at most, in Kafka as here (rule 7.4.13).
const maxOffsetsPartitions = 9_900
