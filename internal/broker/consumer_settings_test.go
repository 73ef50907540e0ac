package broker

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator/group"
)

// consume has a new member join group g by the protocol of KIP-848, with an assignor of its choice if it is not empty.
func (c *plainClient) consume(member, assignor string) (*kmsg.ConsumerGroupHeartbeatResponse, error) {
	c.t.Helper()
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.SetVersion(1)
	q.Group, q.MemberID, q.RebalanceTimeoutMillis = "g", member, 60_000
	q.SubscribedTopicNames, q.Topics = []string{"t"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	if assignor != "" {
		q.ServerAssignor = &assignor
	}
	resp := c.ask(q).(*kmsg.ConsumerGroupHeartbeatResponse)
	return resp, kerr.ErrorForCode(resp.ErrorCode)
}

// alterGroup sets one config of group g.
func (c *plainClient) alterGroup(name, value string) error {
	c.t.Helper()
	q := kmsg.NewPtrIncrementalAlterConfigsRequest()
	q.SetVersion(1)
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, "g"
	x := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	x.Name, x.Value = name, &value
	r.Configs = append(r.Configs, x)
	q.Resources = append(q.Resources, r)
	return kerr.ErrorForCode(c.ask(q).(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode)
}

// interval checks how often a new member is told to report, in milliseconds.
func (c *plainClient) interval(usual int32) {
	c.t.Helper()
	if resp, err := c.consume("m", ""); err != nil || resp.HeartbeatIntervalMillis != usual {
		c.t.Errorf("members are told to report every %d ms (%v), want %d", resp.HeartbeatIntervalMillis, err, usual)
	}
}

// bounded checks that a group config may have one value, and not another.
func (c *plainClient) bounded(name, good, bad string) {
	c.t.Helper()
	if err := c.alterGroup(name, good); err != nil {
		c.t.Errorf("%s=%s: %v", name, good, err)
	}
	if err := c.alterGroup(name, bad); err != kerr.InvalidConfig {
		c.t.Errorf("%s=%s: %v", name, bad, err)
	}
}

// silenced checks that a member that is silent is removed.
func (c *plainClient) silenced() {
	c.t.Helper()
	if _, err := c.consume("m", ""); err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, "a group without members", func() bool {
		return c.b.takeCensus().byState[group.TypeState{Type: "consumer", State: "Empty"}] == 1
	})
}

// migrate has a member of KIP-848 join a group of classic ones.
func (c *plainClient) migrate() error {
	c.t.Helper()
	q := joinRequest(10_000)
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics = []string{"t"}
	q.Protocols[0].Metadata = m.AppendTo(nil)
	resp := c.ask(q).(*kmsg.JoinGroupResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		c.t.Fatal(err)
	}
	_, err := c.consume("m", "")
	return err
}

// brief are timings of groups that do not take the time of a test.
const brief = "group.consumer.min.session.timeout.ms=1 group.consumer.min.heartbeat.interval.ms=1 group.consumer.heartbeat.interval.ms=1 "

// TestConsumerGroupSettings is TestGroupSettings for groups of KIP-848, and for what a group sets itself.
func TestConsumerGroupSettings(t *testing.T) {
	for _, row := range []struct {
		settings string
		check    func(c *plainClient)
	}{
		{"group.consumer.max.size=1", func(c *plainClient) {
			if _, err := c.consume("m", ""); err != nil {
				c.t.Error(err)
			}
			if _, err := c.consume("n", ""); err != kerr.GroupMaxSizeReached {
				c.t.Errorf("one more: %v", err)
			}
		}},
		{"group.consumer.assignors=range", func(c *plainClient) {
			if _, err := c.consume("m", "uniform"); err != kerr.UnsupportedAssignor {
				c.t.Errorf("an assignor that is not offered: %v", err)
			}
			if _, err := c.consume("m", "range"); err != nil {
				c.t.Error(err)
			}
		}},
		{"group.consumer.heartbeat.interval.ms=7000", func(c *plainClient) { c.interval(7000) }},
		{"group.consumer.heartbeat.interval.ms=8000", func(c *plainClient) { // the group's own comes first
			if err := c.alterGroup("consumer.heartbeat.interval.ms", "9000"); err != nil {
				c.t.Error(err)
			}
			c.interval(9000)
		}},
		{brief + "group.consumer.session.timeout.ms=20", (*plainClient).silenced},
		{brief, func(c *plainClient) { // by default it takes 45 s
			if err := c.alterGroup("consumer.session.timeout.ms", "20"); err != nil {
				c.t.Error(err)
			}
			c.silenced()
		}},
		{"group.consumer.min.session.timeout.ms=44000", func(c *plainClient) { c.bounded("consumer.session.timeout.ms", "44000", "43999") }},
		{"group.consumer.max.session.timeout.ms=50000", func(c *plainClient) { c.bounded("consumer.session.timeout.ms", "50000", "50001") }},
		{"group.consumer.min.heartbeat.interval.ms=4000", func(c *plainClient) { c.bounded("consumer.heartbeat.interval.ms", "4000", "3999") }},
		{"group.consumer.max.heartbeat.interval.ms=6000", func(c *plainClient) { c.bounded("consumer.heartbeat.interval.ms", "6000", "6001") }},
		{"group.consumer.min.assignment.interval.ms=10", func(c *plainClient) { c.bounded("consumer.assignment.interval.ms", "10", "9") }},
		{"group.consumer.max.assignment.interval.ms=2000", func(c *plainClient) { c.bounded("consumer.assignment.interval.ms", "2000", "2001") }},
		{"group.consumer.migration.policy=bidirectional group.initial.rebalance.delay.ms=0", func(c *plainClient) {
			if err := c.migrate(); err != nil {
				c.t.Errorf("a migration that is allowed: %v", err)
			}
		}},
		{"group.consumer.migration.policy=disabled group.initial.rebalance.delay.ms=0", func(c *plainClient) {
			if err := c.migrate(); err == nil {
				c.t.Error("a migration that is not allowed")
			}
		}},
	} {
		t.Run(row.settings, func(t *testing.T) {
			b := startTest(t, append(strings.Fields(row.settings), "offsets.topic.num.partitions=1")...)
			c := newPlainClient(t, b)
			c.create("t", 1)
			c.coordinate()
			row.check(c)
		})
	}
}
