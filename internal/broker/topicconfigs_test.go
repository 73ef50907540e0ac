package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
)

// liveTopicConfigs are the configs of a topic with what altering each one on a topic in use changes.
var liveTopicConfigs = map[string]func(*liveTopic){
	"compression.type": func(x *liveTopic) {
		x.put(1000, 0, nil)
		differ(x, "the codec", x.newest().Codec(), record.Zstd)
		x.set("compression.type=zstd")
		x.put(1000, 0, nil)
		if got := x.newest().Codec(); got != record.Zstd {
			x.t.Error("the codec is", got)
		}
	},
	"compression.gzip.level": level("gzip", record.Gzip, "1", "9"),
	"compression.lz4.level":  level("lz4", record.LZ4, "1", "9"),
	"compression.zstd.level": level("zstd", record.Zstd, "1", "19"),
	"file.delete.delay.ms": func(x *liveTopic) {
		x.set("internal.segment.bytes=500", "retention.bytes=0")
		x.put(400, 0, nil)
		eventually(x.t, "a file that waits", func() bool { return len(x.files(".log.deleted")) == 1 })
		x.set("file.delete.delay.ms=0")
		x.put(400, 0, nil)
		eventually(x.t, "a new, empty segment", func() bool { return x.log().StartOffset() == 2 })
		eventually(x.t, "one file that waits", func() bool {
			return slices.Equal(x.files(".log.deleted"), []string{"00000000000000000000.log.deleted"})
		})
	},
	"flush.messages": func(x *liveTopic) {
		x.set("kbroker.durability=replicated")
		x.put(100, 0, nil)
		eventually(x.t, "an acknowledgement before the sync", x.lags)
		x.set("flush.messages=1")
		for range 20 {
			if x.lags() {
				x.t.Fatal("an acknowledgement before the sync")
			}
		}
	},
	"flush.ms": func(x *liveTopic) {
		x.set("kbroker.durability=replicated")
		x.put(100, 0, nil)
		eventually(x.t, "an acknowledgement before the sync", x.lags)
		x.set("flush.ms=1")
		// A checkpoint syncs too, in its own time, and then leaves a snapshot.
		eventually(x.t, "a sync without a checkpoint", func() bool {
			x.put(100, 0, nil)
			end := x.log().End().Offset
			eventually(x.t, "a sync", func() bool { return x.log().DurableEnd().Offset == end })
			return !slices.Contains(x.files(".snapshot"), fmt.Sprintf("%020d.snapshot", end))
		})
	},
	"index.interval.bytes": func(x *liveTopic) {
		for range 20 {
			x.put(1000, 0, nil)
		}
		before := x.indexed()
		x.set("index.interval.bytes=1")
		for range 20 {
			x.put(1000, 0, nil)
		}
		if after := x.indexed() - before; before > 6 || after < 19 {
			x.t.Errorf("%d entries before, %d after", before, after)
		}
	},
	"internal.segment.bytes": rolls(400, 0, 10, nil, "internal.segment.bytes=1000"),
	"segment.bytes":          rolls(400_000, 0, 6, nil, "segment.bytes=1048576"),
	"segment.ms":             rolls(100, time.Second, 10, nil, "segment.ms=500"),
	"segment.jitter.ms":      rolls(100, time.Second, 100, []string{"segment.ms=50000"}, "segment.jitter.ms=50000"),
	"segment.index.bytes":    rolls(100, 0, 20, []string{"index.interval.bytes=1"}, "segment.index.bytes=64"),
	"kbroker.durability": func(x *liveTopic) {
		for range 20 {
			if x.lags() {
				x.t.Fatal("an acknowledgement before the sync")
			}
		}
		x.set("kbroker.durability=replicated")
		eventually(x.t, "an acknowledgement before the sync", x.lags)
		x.set("kbroker.durability=fsync")
		for range 20 {
			if x.lags() {
				x.t.Fatal("an acknowledgement before the sync")
			}
		}
	},
	"max.message.bytes": func(x *liveTopic) {
		x.put(2000, 0, nil)
		x.set("max.message.bytes=1000")
		x.put(2000, 0, kerr.MessageTooLarge)
	},
	"message.timestamp.type": func(x *liveTopic) {
		x.put(100, -time.Hour, nil)
		before := x.newest().TimestampType()
		x.set("message.timestamp.type=LogAppendTime")
		x.put(100, -time.Hour, nil)
		differ(x, "the type of timestamps", before, x.newest().TimestampType())
		if age := time.Since(time.UnixMilli(x.newest().MaxTimestamp())); age > 30*time.Minute {
			x.t.Error("the batch is from", age, "ago")
		}
	},
	"message.timestamp.after.max.ms": func(x *liveTopic) {
		x.put(100, 50*time.Minute, nil)
		x.set("message.timestamp.after.max.ms=1000")
		x.put(100, 50*time.Minute, kerr.InvalidTimestamp)
	},
	"message.timestamp.before.max.ms": func(x *liveTopic) {
		x.put(100, -50*time.Minute, nil)
		x.set("message.timestamp.before.max.ms=1000")
		x.put(100, -50*time.Minute, kerr.InvalidTimestamp)
	},
	"min.insync.replicas": func(x *liveTopic) {
		p := x.b.replicas.LookupName(x.name, 0)
		before := p.Settings().MinISR
		x.set("min.insync.replicas=2")
		differ(x, "what the partition asks for", before, p.Settings().MinISR)
		x.put(100, 0, nil) // more than there are replicas are never asked for (KIP-966); replica.TestEffectiveMinISR has several
	},
	"retention.ms":    retention("retention.ms=60000"),
	"retention.bytes": retention("retention.bytes=0"),
}

// compactionConfigs have a test of the cleaner each, in a table there too.
var compactionConfigs = []string{"cleanup.policy", "delete.retention.ms", "max.compaction.lag.ms", "min.cleanable.dirty.ratio", "min.compaction.lag.ms"}

// TestLiveTopicConfigs alters each config of Kafka's table of topic configs, and our own, on a topic in use, and sees that
// something changes; those that are said to be without effect are accepted and shown, and the others refused. A config
// without a test, or a test without a config, fails.
func TestLiveTopicConfigs(t *testing.T) {
	disk := simfs.New()
	b := startOn(t, disk, "log.retention.check.interval.ms=5", "log.initial.task.delay.ms=0")
	c := newPlainClient(t, b)
	tested := map[string]bool{}
	for _, k := range config.TopicKeys.Keys {
		fn := liveTopicConfigs[k.Name]
		tested[k.Name] = fn != nil
		switch {
		case slices.Contains(compactionConfigs, k.Name):
			if k.Class == config.Works && !strings.HasPrefix(k.Note, "internal/broker.Test") {
				t.Errorf("%s names the test %s", k.Name, k.Note)
			}
			continue
		case (fn != nil) != (k.Class == config.Works):
			t.Errorf("%s: a test here %v, %s", k.Name, fn != nil, k.Class)
			continue
		}
		t.Run(k.Name, func(t *testing.T) {
			x := &liveTopic{&plainClient{t: t, b: b, Client: c.Client}, disk, k.Name}
			x.create(k.Name, 1)
			if fn != nil {
				fn(x)
			} else {
				x.withoutEffect(&k)
			}
		})
	}
	for name := range liveTopicConfigs {
		if !tested[name] {
			t.Errorf("%s is no config of a topic", name)
		}
	}
}

// withoutEffect checks that a config that does nothing says why, and is kept and shown, or refused.
func (x *liveTopic) withoutEffect(k *config.Key) {
	x.put(100, 0, nil)
	value := map[config.Type]string{config.Boolean: "true", config.Long: "77", config.List: "0:1"}[k.Type]
	if k.Note == "" || value == "" {
		x.t.Fatalf("%s of type %s: %q", k.Name, k.Type, k.Note)
	}
	q := kmsg.NewPtrIncrementalAlterConfigsRequest()
	q.SetVersion(1)
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, x.name
	r.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: k.Name, Value: &value}}
	q.Resources = append(q.Resources, r)
	code := x.ask(q).(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode
	if k.Class == config.Refused {
		if code != kerr.InvalidConfig.Code {
			x.t.Error(kerr.ErrorForCode(code))
		}
		return
	}
	if code != 0 {
		x.t.Fatal(kerr.ErrorForCode(code))
	}
	x.put(100, 0, nil)
	d := kmsg.NewPtrDescribeConfigsRequest()
	d.SetVersion(4)
	d.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: x.name, ConfigNames: []string{k.Name}}}
	row := x.ask(d).(*kmsg.DescribeConfigsResponse).Resources[0].Configs[0]
	if row.Value == nil || *row.Value != value || row.Source != kmsg.ConfigSourceDynamicTopicConfig {
		x.t.Errorf("it is shown as %+v", row)
	}
}

// TestRetentionSettings: the broker's settings reach topics that do not set their own, at run time where they can change
// there, and those of the broker alone say when retention and the checkpoint of high watermarks run.
func TestRetentionSettings(t *testing.T) {
	for _, option := range []string{"log.retention.ms=60000", "log.retention.minutes=1", "log.retention.hours=1", "log.retention.bytes=0"} {
		disk := simfs.New()
		b := startOn(t, disk, option, "log.retention.check.interval.ms=5", "log.initial.task.delay.ms=0", "replica.high.watermark.checkpoint.interval.ms=5")
		x := &liveTopic{newPlainClient(t, b), disk, "t"}
		x.create("t", 1)
		x.put(100, -2*time.Hour, nil)
		eventually(t, "the end of a record with "+option, func() bool { return x.log().StartOffset() == 1 })
		eventually(t, "a checkpoint of high watermarks", func() bool {
			hw, err := log.ReadCheckpoint(disk, "/data", log.HighWatermarkCheckpoint)
			return err == nil && hw[log.TopicPartition{Topic: "t"}] == 1
		})
	}
	// Neither runs before its time.
	disk := simfs.New()
	b := startOn(t, disk, "log.retention.ms=60000", "log.retention.check.interval.ms=5", "log.initial.task.delay.ms=3600000", "replica.high.watermark.checkpoint.interval.ms=3600000")
	x := &liveTopic{newPlainClient(t, b), disk, "t"}
	x.create("t", 1)
	x.put(100, -2*time.Hour, nil)
	time.Sleep(50 * time.Millisecond)
	if got := x.log().StartOffset(); got != 0 {
		t.Error("the log starts at", got)
	}
	if hw, err := log.ReadCheckpoint(disk, "/data", log.HighWatermarkCheckpoint); err != nil || len(hw) != 0 {
		t.Error(hw, err)
	}
	x.alter("", "log.cleanup.policy=compact")
	b.retain()
	if got := x.log().StartOffset(); got != 0 {
		t.Error("the log of a compacted topic starts at", got)
	}
	x.alter("", "log.cleanup.policy=delete", "log.retention.ms=-1")
	b.retain()
	if got := x.log().StartOffset(); got != 0 {
		t.Error("the log starts at", got)
	}
	x.alter("", "log.retention.bytes=0")
	b.retain()
	if got := x.log().StartOffset(); got != 1 {
		t.Error("the log starts at", got)
	}
}
