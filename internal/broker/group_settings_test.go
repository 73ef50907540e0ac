package broker

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
)

// coordinate waits until groups are coordinated here.
func (c *plainClient) coordinate() {
	c.t.Helper()
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.SetVersion(3)
	find.CoordinatorKey = "g"
	c.ask(find)
	eventually(c.t, "the coordinator of every partition", func() bool {
		topic, _ := c.offsetsTopic()
		return topic != nil && c.b.takeCensus().active == len(topic.Partitions)
	})
}

// joinRequest asks for membership of group g, at a version at which a new member is taken at once.
func joinRequest(sessionMillis int32) *kmsg.JoinGroupRequest {
	q := kmsg.NewPtrJoinGroupRequest()
	q.SetVersion(3)
	q.Group, q.SessionTimeoutMillis, q.RebalanceTimeoutMillis, q.ProtocolType = "g", sessionMillis, 60_000, "consumer"
	q.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("m")}}
	return q
}

// join returns the outcome of one member's join.
func (c *plainClient) join(sessionMillis int32) error {
	c.t.Helper()
	return kerr.ErrorForCode(c.ask(joinRequest(sessionMillis)).(*kmsg.JoinGroupResponse).ErrorCode)
}

// state is how many groups are in a state.
func (c *plainClient) inState(state string) int {
	return c.b.takeCensus().byState[group.TypeState{Type: "classic", State: state}]
}

// offsetsTopic is the topic of committed offsets, and its settings.
func (c *plainClient) offsetsTopic() (*metadata.Topic, map[string]string) {
	im := c.b.metadata.Load()
	return im.Topic(group.OffsetsTopic), im.Config(metadata.ConfigResource{Type: metadata.ConfigTopic, Name: group.OffsetsTopic})
}

// commit commits one offset with metadata, and returns the outcome.
func (c *plainClient) commit(text string) error {
	c.t.Helper()
	q := kmsg.NewPtrOffsetCommitRequest()
	q.SetVersion(8)
	q.Group, q.Generation = "g", -1
	x, p := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	x.Topic, p.Metadata = "t", &text
	x.Partitions = append(x.Partitions, p)
	q.Topics = append(q.Topics, x)
	return kerr.ErrorForCode(c.ask(q).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
}

// offsetsCodec is the codec of the first batch of committed offsets.
func (c *plainClient) offsetsCodec() record.Codec {
	c.t.Helper()
	l := c.b.replicas.LookupName(group.OffsetsTopic, 0).Log()
	s, err := l.Read(0, 1<<20, true, l.End())
	if err != nil {
		c.t.Fatal(err)
	}
	defer s.Release()
	data := make([]byte, s.N)
	if _, err := s.File.ReadAt(data, s.Off); err != nil {
		c.t.Fatal(err)
	}
	return record.Batch(data).Codec()
}

// TestGroupSettings: each of the broker's settings of groups and their offsets changes what a client or the metadata
// sees.
func TestGroupSettings(t *testing.T) {
	for _, row := range []struct {
		settings string
		check    func(c *plainClient)
	}{
		{"offsets.topic.num.partitions=3", func(c *plainClient) {
			if topic, _ := c.offsetsTopic(); len(topic.Partitions) != 3 {
				c.t.Errorf("%d partitions", len(topic.Partitions))
			}
		}},
		{"offsets.topic.replication.factor=3", func(c *plainClient) { // no more than there are brokers
			if topic, _ := c.offsetsTopic(); len(topic.Partitions) != 50 || len(topic.Partitions[0].Replicas) != 1 {
				c.t.Errorf("%d partitions with %d replicas", len(topic.Partitions), len(topic.Partitions[0].Replicas))
			}
		}},
		{"offsets.topic.segment.bytes=2000000", func(c *plainClient) {
			if _, configs := c.offsetsTopic(); configs["segment.bytes"] != "2000000" || configs["cleanup.policy"] != "compact" {
				c.t.Errorf("settings are %v", configs)
			}
		}},
		{"offsets.topic.compression.codec=4 offsets.topic.num.partitions=1", func(c *plainClient) { c.commitsWith(record.Zstd) }},
		{"offsets.topic.compression.codec=0 offsets.topic.num.partitions=1", func(c *plainClient) { c.commitsWith(record.None) }},
		{"offset.metadata.max.bytes=5", func(c *plainClient) {
			if err := c.commit("12345"); err != nil {
				c.t.Error(err)
			}
			if err := c.commit("123456"); err != kerr.OffsetMetadataTooLarge {
				c.t.Errorf("too much metadata: %v", err)
			}
		}},
		{"group.min.session.timeout.ms=7000 group.initial.rebalance.delay.ms=0", func(c *plainClient) { c.joins(6999, 7000) }},
		{"group.max.session.timeout.ms=8000 group.initial.rebalance.delay.ms=0", func(c *plainClient) { c.joins(8001, 8000) }},
		{"group.initial.rebalance.delay.ms=0", func(c *plainClient) {
			if err := c.join(10_000); err != nil || c.inState("CompletingRebalance") != 1 {
				c.t.Errorf("%v, %v", err, c.b.takeCensus().byState)
			}
		}},
		{"group.initial.rebalance.delay.ms=3600000", func(c *plainClient) {
			go newPlainClient(c.t, c.b).Do(c.t.Context(), joinRequest(10_000)) // answered in an hour
			eventually(c.t, "a group that waits for more members", func() bool { return c.inState("PreparingRebalance") == 1 })
		}},
		{"group.max.size=1 group.initial.rebalance.delay.ms=0", func(c *plainClient) {
			if err := c.join(10_000); err != nil {
				c.t.Error(err)
			}
			if err := c.join(10_000); err != kerr.GroupMaxSizeReached {
				c.t.Errorf("one more: %v", err)
			}
		}},
	} {
		t.Run(row.settings, func(t *testing.T) {
			b := startTest(t, strings.Fields(row.settings)...)
			c := newPlainClient(t, b)
			c.create("t", 1)
			c.coordinate()
			row.check(c)
		})
	}
}

// TestCommitTimeout: a commit that a stalled disk keeps from being committed is answered after offsets.commit.timeout.ms.
func TestCommitTimeout(t *testing.T) {
	fsys := simfs.New()
	b := startOn(t, fsys, "offsets.commit.timeout.ms=1")
	c := newPlainClient(t, b)
	c.create("t", 1)
	c.coordinate()
	goOn := make(chan struct{})
	fsys.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "*.log", Before: func() { <-goOn }})
	err := c.commit("")
	close(goOn)
	if err != kerr.CoordinatorNotAvailable {
		t.Errorf("a commit that cannot be committed: %v", err)
	}
}

// oldOffset is the record of an offset of group g that was committed two minutes ago, as a coordinator writes it.
func oldOffset(t *testing.T) []byte {
	t.Helper()
	key, value := kmsg.NewOffsetCommitKey(), kmsg.NewOffsetCommitValue()
	key.Version, key.Group, key.Topic = 1, "g", "t"
	value.Version, value.Offset, value.LeaderEpoch = 3, 5, -1
	value.CommitTimestamp = time.Now().Add(-2 * time.Minute).UnixMilli()
	b := record.NewBuilder(record.NewCodecs(), record.BuilderOptions{})
	b.Append(record.Record{Key: key.AppendTo(nil), Value: value.AppendTo(nil), Timestamp: time.Now().UnixMilli()})
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestOffsetsRetention: a committed offset is kept for offsets.retention.minutes, and gone when its group is looked at
// for the first time after that, every offsets.retention.check.interval.ms.
func TestOffsetsRetention(t *testing.T) {
	fsys := simfs.New()
	often := []string{"offsets.topic.num.partitions=1", "offsets.retention.check.interval.ms=5"}
	b := startOn(t, fsys, often...)
	c := newPlainClient(t, b)
	c.create("t", 1)
	c.coordinate()
	newNamedClient(t, b, "__admin_client").produce(group.OffsetsTopic, 0, oldOffset(t), nil) // others may not write there
	restart := func(options ...string) {
		if err := b.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		b = startOn(t, fsys, append(options, often...)...)
		eventually(t, "the coordinator", func() bool { return b.takeCensus().active == 1 })
	}
	restart("offsets.retention.minutes=3")
	time.Sleep(50 * time.Millisecond) // some rounds, of which none is to delete it
	if n := b.takeCensus().offsets; n != 1 {
		t.Fatalf("%d offsets are kept, want 1", n)
	}
	restart("offsets.retention.minutes=1")
	eventually(t, "no offset", func() bool { return b.takeCensus().offsets == 0 })
}

// joins checks that a session timeout is refused, and that another one is taken.
func (c *plainClient) joins(refused, taken int32) {
	c.t.Helper()
	if err := c.join(refused); err != kerr.InvalidSessionTimeout {
		c.t.Errorf("a session timeout of %d: %v", refused, err)
	}
	if err := c.join(taken); err != nil {
		c.t.Errorf("a session timeout of %d: %v", taken, err)
	}
}

// commitsWith checks the codec in which committed offsets are kept.
func (c *plainClient) commitsWith(codec record.Codec) {
	c.t.Helper()
	if err := c.commit(strings.Repeat("m", 1000)); err != nil {
		c.t.Fatal(err)
	}
	if got := c.offsetsCodec(); got != codec {
		c.t.Errorf("the codec is %v, want %v", got, codec)
	}
}

// TestGroupMemory: who would make groups take more memory than kbroker.group.max.bytes may not join, until the setting is
// raised, and the metrics tell of it.
func TestGroupMemory(t *testing.T) {
	b := startTest(t, "offsets.topic.num.partitions=1", "group.initial.rebalance.delay.ms=0")
	c := newPlainClient(t, b)
	c.coordinate()
	c.alter("", "kbroker.group.max.bytes=1048576")
	q := joinRequest(10_000)
	q.Protocols[0].Metadata = make([]byte, 1<<20)
	join := func() error { return kerr.ErrorForCode(c.ask(q).(*kmsg.JoinGroupResponse).ErrorCode) }
	if err := join(); err != kerr.GroupMaxSizeReached {
		t.Errorf("a member that is too large: %v", err)
	}
	if series := scrapeSeries(t, b); series["kbroker_group_memory_bytes"] != "0" || series["kbroker_group_memory_refused_total"] != "1" {
		t.Errorf("%s bytes, %s refused", series["kbroker_group_memory_bytes"], series["kbroker_group_memory_refused_total"])
	}
	c.alter("", "kbroker.group.max.bytes=4194304")
	if err := join(); err != nil {
		t.Errorf("a member that has room: %v", err)
	}
	if used := b.groupMemory.Used(); used < 1<<20 {
		t.Errorf("a member of a megabyte takes %d bytes", used)
	}
}

// TestGroupsAreFull: that groups have no memory left is said once a minute, however many clients are refused.
func TestGroupsAreFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		full := (&Broker{logger: slog.New(slog.NewTextHandler(d, nil))}).groupsAreFull()
		for range 180 {
			full(2, 1)
			time.Sleep(time.Second)
		}
		if n := d.lines("raise kbroker.group.max.bytes"); n != 3 {
			t.Errorf("said %d times in 3 minutes", n)
		}
	})
}

// TestLargestOffsetsTopic: the topic can be made as large as the setting may say.
func TestLargestOffsetsTopic(t *testing.T) {
	c := newPlainClient(t, startTest(t, "offsets.topic.num.partitions=9900"))
	c.coordinate()
}
