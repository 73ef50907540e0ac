package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
)

// keyed is a batch of records as KEY=VALUE, or KEY for a tombstone.
func keyed(t *testing.T, records ...string) []byte {
	t.Helper()
	b := record.NewBuilder(nil, record.BuilderOptions{})
	for _, r := range records {
		key, value, ok := strings.Cut(r, "=")
		rec := record.Record{Timestamp: time.Now().UnixMilli(), Key: []byte(key)}
		if ok {
			rec.Value = append([]byte(value), make([]byte, 500)...)
		}
		b.Append(rec)
	}
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// overwrite writes the same key many times, over several segments.
func (c *plainClient) overwrite(topic string) {
	c.t.Helper()
	for i := range 30 {
		c.produce(topic, 0, keyed(c.t, fmt.Sprintf("k=%d", i)), nil)
	}
}

// alter sets configs of a topic, or of the broker when topic is empty.
func (c *plainClient) alter(topic string, configs ...string) {
	c.t.Helper()
	q := kmsg.NewPtrIncrementalAlterConfigsRequest()
	q.SetVersion(1)
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	if topic == "" {
		r.ResourceType = kmsg.ConfigResourceTypeBroker
	}
	for _, pair := range configs {
		key, value, _ := strings.Cut(pair, "=")
		x := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		x.Name, x.Value = key, &value
		r.Configs = append(r.Configs, x)
	}
	q.Resources = append(q.Resources, r)
	if code := c.ask(q).(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode; code != 0 {
		c.t.Fatal(configs, kerr.ErrorForCode(code))
	}
}

// records returns the records of a topic as KEY or, for a tombstone, KEY-.
func (c *plainClient) records(topic string) (all []string) {
	c.t.Helper()
	l := c.b.replicas.LookupName(topic, 0).Log()
	for at := l.StartOffset(); at < l.End().Offset; {
		s, err := l.Read(at, 1<<20, true, l.End())
		if err != nil {
			c.t.Fatal(err)
		}
		data := make([]byte, s.N)
		_, err = s.File.ReadAt(data, s.Off)
		s.Release()
		if err != nil {
			c.t.Fatal(err)
		}
		for {
			b, rest, err := record.Next(data)
			if err != nil || b == nil {
				break
			}
			for r, err := range b.Records(c.b.codecs) {
				if err != nil {
					c.t.Fatal(err)
				}
				name := string(r.Key)
				if r.Value == nil {
					name += "-"
				}
				all = append(all, name)
			}
			at, data = b.LastOffset()+1, rest
		}
	}
	return all
}

// compacted reports whether some of what overwrite wrote is gone.
func (c *plainClient) compacted(topic string) bool { return len(c.records(topic)) < 30 }

// eventually waits for what the cleaner does in its own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not seen: %s", what)
		}
	}
}

// quickly are settings of a broker that looks for something to clean all the time.
var quickly = []string{"log.cleaner.backoff.ms=5", "log.cleaner.min.cleanable.ratio=0"}

// tiny makes a compacted topic have many segments.
var tiny = []string{"internal.segment.bytes=2048", "cleanup.policy=compact"}

// TestCompactionSettings: each topic config of compaction is altered while the topic is in use, and changes what the
// cleaner does. A topic is shown not to be cleaned by one that is, twice, after it was written.
func TestCompactionSettings(t *testing.T) {
	b := startTest(t, quickly...)
	c := newPlainClient(t, b)
	rows := []struct{ key, before, after string }{
		{"cleanup.policy", "delete", "compact"},
		{"min.cleanable.dirty.ratio", "1", "0"},
		{"min.compaction.lag.ms", "3600000", "0"},
	}
	for _, r := range rows {
		c.create(r.key, 1, slices.Concat(tiny, []string{r.key + "=" + r.before})...)
		c.overwrite(r.key)
	}
	c.create("max.compaction.lag.ms", 1, slices.Concat(tiny, []string{"min.cleanable.dirty.ratio=1"})...)
	c.overwrite("max.compaction.lag.ms")
	c.create("seen", 1, tiny...)
	for range 2 {
		c.overwrite("seen")
		eventually(t, "a clean topic", func() bool { return c.compacted("seen") })
	}
	for _, r := range append(rows, struct{ key, before, after string }{"max.compaction.lag.ms", "", "1"}) {
		if c.compacted(r.key) {
			t.Errorf("a topic with %s=%s is compacted", r.key, r.before)
		}
		c.alter(r.key, r.key+"="+r.after)
	}
	for _, r := range rows {
		eventually(t, "compaction with "+r.key+"="+r.after, func() bool { return c.compacted(r.key) })
	}
	// The active segment too, though nothing is appended any more.
	eventually(t, "compaction with max.compaction.lag.ms=1", func() bool { return len(c.records("max.compaction.lag.ms")) == 1 })
}

// TestDeleteRetention: how long a tombstone stays follows delete.retention.ms as it was when it was first cleaned.
func TestDeleteRetention(t *testing.T) {
	b := startTest(t, quickly...)
	c := newPlainClient(t, b)
	c.create("t", 1, slices.Concat(tiny, []string{"max.compaction.lag.ms=1"})...)
	has := func(name string) bool { return slices.Contains(c.records("t"), name) }
	c.produce("t", 0, keyed(t, "old=1", "old"), nil)
	eventually(t, "a compacted key", func() bool { return !has("old") && has("old-") })
	c.alter("t", "delete.retention.ms=0")
	c.produce("t", 0, keyed(t, "new=1", "new"), nil)
	eventually(t, "the end of a tombstone", func() bool {
		c.produce("t", 0, keyed(t, "x=1"), nil) // only what is dirty is cleaned
		return !has("new") && !has("new-")
	})
	if !has("old-") {
		t.Error("a tombstone that was cleaned before is gone too")
	}
}

// TestCleanerSettings: the cleaner follows the broker's settings at run time.
func TestCleanerSettings(t *testing.T) {
	b := startTest(t, "log.cleaner.backoff.ms=3600000", "log.cleaner.min.cleanable.ratio=1", "log.cleaner.min.compaction.lag.ms=3600000")
	c := newPlainClient(t, b)
	c.create("t", 1, tiny...)
	c.overwrite("t")
	c.alter("", "log.cleaner.backoff.ms=5", "log.cleaner.threads=2", "log.cleaner.io.buffer.load.factor=0.5", "log.cleaner.io.buffer.size=100000",
		"log.cleaner.io.max.bytes.per.second=1000000", "log.cleaner.dedupe.buffer.size=3000000", "log.cleaner.delete.retention.ms=77",
		"log.cleaner.max.compaction.lag.ms=86400000")
	got, want := cleanerOptions(b.o.Config.Broker()), log.CleanerOptions{
		Threads: 2, Backoff: 5 * time.Millisecond, DedupeBytes: 3_000_000, LoadFactor: 0.5, IOBufferBytes: 100_000, MaxBytesPerSecond: 1e6,
	}
	if got != want {
		t.Errorf("the cleaner has %+v, want %+v", got, want)
	}
	if cfg := b.replicas.LookupName("t", 0).Log().Config(); cfg.DeleteRetentionMs != 77 || cfg.MaxCompactionLagMs != 86400000 || cfg.MinCompactionLagMs != 3600000 || cfg.MinCleanableDirtyRatio != 1 {
		t.Errorf("the log has %+v", cfg)
	}
	eventually(t, "two threads", func() bool { return b.logs.CleanerStats().Threads == 2 })
	c.alter("", "log.cleaner.min.cleanable.ratio=0", "log.cleaner.min.compaction.lag.ms=0")
	eventually(t, "compaction", func() bool { return c.compacted("t") })
	c.alter("", "log.cleaner.threads=1")
	eventually(t, "one thread", func() bool { return b.logs.CleanerStats().Threads == 1 })
	eventually(t, "the end of a pass", func() bool { return b.logs.CleanerStats().Passes > 0 })
	if s := b.logs.CleanerStats(); s.RecopyPercent <= 0 || s.RecopyPercent >= 100 || s.IOBytes == 0 || s.MaxBufferUtilizationPercent <= 0 || s.LastRun.IsZero() {
		t.Errorf("its numbers are %+v", s)
	}
	off := startTest(t, "log.cleaner.enable=false", "log.cleaner.backoff.ms=5")
	if n := off.logs.CleanerStats().Threads; n != 0 {
		t.Errorf("a cleaner that is off has %d threads", n)
	}
}

// TestKeylessRecord: a compacted topic takes no record without a key (rule 2.4.8).
func TestKeylessRecord(t *testing.T) {
	b := startTest(t)
	c := newPlainClient(t, b)
	c.create("t", 1, tiny...)
	c.produce("t", 0, scriptBatch(t, 1, record.BuilderOptions{}), kerr.InvalidRecord)
	c.alter("t", "cleanup.policy=delete")
	c.produce("t", 0, scriptBatch(t, 1, record.BuilderOptions{}), nil)
}
