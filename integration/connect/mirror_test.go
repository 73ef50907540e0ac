package connect

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kbroker/kbroker/integration/kafkapeer"
)

const (
	mirrored   = 3000 // records in the mirrored topic
	partitions = 3
	// committed is the offset that the group has in each partition: its end. MirrorMaker translates exactly only what it
	// sees move; of what was there before it came it knows the ends.
	committed    = mirrored / partitions
	original     = "orders"
	copied       = "source.orders"
	mirrorsGroup = "shoppers"
)

// TestMirrorMaker has MirrorMaker 2 mirror a topic and a group from a real Kafka.
func TestMirrorMaker(t *testing.T) {
	t.Parallel()
	source := kafkapeer.StartForTest(t, kafkapeer.Config{}).Bootstrap()
	target := startBroker(t)
	from, to := client(t, source), client(t, target)
	want := fill(t, from)
	commit(t, from)
	properties := []string{
		"clusters=source,target", "source.bootstrap.servers=" + source, "target.bootstrap.servers=" + target,
		"source->target.enabled=true", "target->source.enabled=false",
		"source->target.topics=" + original, "source->target.groups=" + mirrorsGroup,
		"sync.group.offsets.enabled=true", "offset.lag.max=0", "sync.topic.acls.enabled=false",
	}
	properties = append(properties, each([]string{"replication.factor", "checkpoints.topic.replication.factor",
		"heartbeats.topic.replication.factor", "offset-syncs.topic.replication.factor", "config.storage.replication.factor",
		"offset.storage.replication.factor", "status.storage.replication.factor"}, 1)...)
	properties = append(properties, each([]string{"emit.checkpoints.interval.seconds", "sync.group.offsets.interval.seconds",
		"refresh.topics.interval.seconds", "refresh.groups.interval.seconds", "emit.heartbeats.interval.seconds"}, 1)...)
	startJVM(t, "org.apache.kafka.connect.mirror.MirrorMaker", "Kafka MirrorMaker started", properties)
	eventually(t, "the mirrored records", func() error { return mirroredAll(t, to, want) })
	eventually(t, "the group's offsets", func() error { return translated(t, to) })
	eventually(t, "heartbeats", func() error { return hasRecords(t, to, "heartbeats") })
	t.Logf("MirrorMaker 2 copied %d records in %d partitions from Kafka %s and translated the group's offsets",
		mirrored, partitions, kafkapeer.Version())
}

func client(t *testing.T, bootstrap string) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// place is where a record lies.
type place struct {
	partition int32
	offset    int64
}

// fill writes the source topic and returns what is where.
func fill(t *testing.T, c *kgo.Client) map[place]string {
	t.Helper()
	if _, err := kadm.NewClient(c).CreateTopic(t.Context(), partitions, 1, nil, original); err != nil {
		t.Fatal(err)
	}
	var all []*kgo.Record
	for i := range mirrored {
		all = append(all, &kgo.Record{
			Topic: original, Partition: int32(i % partitions), Key: fmt.Append(nil, i), Value: fmt.Append(nil, "order ", i),
			Headers: []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, i)}},
		})
	}
	results := c.ProduceSync(t.Context(), all...)
	if err := results.FirstErr(); err != nil {
		t.Fatal(err)
	}
	records := map[place]string{}
	for _, r := range results {
		records[place{r.Record.Partition, r.Record.Offset}] = text(r.Record)
	}
	return records
}

func text(r *kgo.Record) string { return fmt.Sprintf("%s=%s %v", r.Key, r.Value, r.Headers) }

// commit commits offsets of a group that has no members.
func commit(t *testing.T, c *kgo.Client) {
	t.Helper()
	offsets := kadm.Offsets{}
	for p := range int32(partitions) {
		offsets.AddOffset(original, p, committed, -1)
	}
	if err := kadm.NewClient(c).CommitAllOffsets(t.Context(), mirrorsGroup, offsets); err != nil {
		t.Fatal(err)
	}
}

// mirroredAll sees that the copy is equal to the original, offsets included.
func mirroredAll(t *testing.T, c *kgo.Client, want map[place]string) error {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	ends, err := kadm.NewClient(c).ListEndOffsets(ctx, copied)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return err
	}
	total := int64(0)
	assigned := map[int32]kgo.Offset{}
	ends.Each(func(l kadm.ListedOffset) {
		total += l.Offset
		assigned[l.Partition] = kgo.NewOffset().AtStart()
	})
	if total != mirrored || len(assigned) != partitions {
		return fmt.Errorf("%s has %d records in %d partitions", copied, total, len(assigned))
	}
	c.AddConsumePartitions(map[string]map[int32]kgo.Offset{copied: assigned})
	defer c.PurgeTopicsFromConsuming(copied)
	got := map[place]string{}
	for len(got) < mirrored {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) { got[place{r.Partition, r.Offset}] = text(r) })
	}
	if !maps.Equal(got, want) {
		t.Fatalf("%s differs from %s", copied, original)
	}
	return nil
}

// translated sees that the group has its offsets, in the copy.
func translated(t *testing.T, c *kgo.Client) error {
	offsets, err := kadm.NewClient(c).FetchOffsets(t.Context(), mirrorsGroup)
	if err == nil {
		err = offsets.Error()
	}
	if err != nil {
		return err
	}
	for p := range int32(partitions) {
		if o, ok := offsets.Lookup(copied, p); !ok || o.At != committed {
			return fmt.Errorf("partition %d of %s has no committed offset %d but %+v", p, copied, committed, o)
		}
	}
	return nil
}

func hasRecords(t *testing.T, c *kgo.Client, topic string) error {
	ends, err := kadm.NewClient(c).ListEndOffsets(t.Context(), topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return err
	}
	if o, ok := ends.Lookup(topic, 0); !ok || o.Offset == 0 {
		return fmt.Errorf("topic %s is empty", topic)
	}
	return nil
}
