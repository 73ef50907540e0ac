package broker

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/replica"
)

// makeGroups makes the group coordinator. Its partitions come with the images.
func (b *Broker) makeGroups() {
	b.configureGroups()
	b.groupMemory = group.NewMemory(b.groupsAreFull())
	b.machines = coordinator.NewRuntime(coordinator.Options[*group.Machine]{
		Topic: group.OffsetsTopic, Self: b.o.Config.Broker().NodeID,
		New: func(int32) *group.Machine {
			return group.NewMachine(b.groupConfig.Load, b.metadata.Load, b.groupMemory)
		},
		Lookup: func(partition int32) *replica.Partition {
			return b.replicas.LookupName(group.OffsetsTopic, partition)
		},
		Codecs: b.codecs,
		Compression: func() record.Compression {
			return record.Compression{Codec: record.Codec(b.o.Config.Broker().Groups.OffsetsCompression)}
		},
		Logger: b.logger,
	})
	b.groups = group.NewCoordinator(b.machines, b.metadata.Load)
}

// configureGroups makes the group coordinator obey the settings as they are now.
func (b *Broker) configureGroups() {
	g := &b.o.Config.Broker().Groups
	b.groupConfig.Store(&group.Config{
		InitialRebalanceDelay: g.InitialRebalanceDelay, MinSessionTimeout: g.MinSessionTimeout, MaxSessionTimeout: g.MaxSessionTimeout,
		MaxSize: int32(g.MaxSize), MaxBytes: g.MaxBytes, OffsetMetadataMaxBytes: g.OffsetMetadataMaxBytes,
		OffsetsRetention: g.OffsetsRetention, OffsetsRetentionCheck: g.OffsetsRetentionCheck,
		Consumer: group.ConsumerConfig{
			Assignors: g.Consumer.Assignors, MaxSize: g.Consumer.MaxSize, RegexRefresh: g.Consumer.RegexRefresh,
			Upgrade: g.Consumer.Migration.Upgrade(), Downgrade: g.Consumer.Migration.Downgrade(), Timing: b.groupTiming,
		},
	})
}

// fullEvery is how often it is said that groups have no memory left. Every client that is refused asks again.
const fullEvery = time.Minute

// groupsAreFull says so in the log, now and then. It is called by every machine.
func (b *Broker) groupsAreFull() func(used, limit int64) {
	var said atomic.Int64 // nanoseconds since 1970
	return func(used, limit int64) {
		now, last := time.Now().UnixNano(), said.Load()
		if now-last < int64(fullEvery) || !said.CompareAndSwap(last, now) {
			return
		}
		b.logger.Warn("groups and their members take as much memory as they may: nobody may join. Let members leave, delete groups, or raise kbroker.group.max.bytes",
			"used", used, "kbroker.group.max.bytes", limit)
	}
}

// groupTiming is what holds for one group of KIP-848: its own settings, where it has some.
func (b *Broker) groupTiming(id string) group.ConsumerTiming {
	t := b.o.Config.ConsumerGroup(b.metadata.Load().Config(metadata.ConfigResource{Type: metadata.ConfigGroup, Name: id}))
	return group.ConsumerTiming{SessionTimeout: t.SessionTimeout, HeartbeatInterval: t.HeartbeatInterval, AssignmentInterval: t.AssignmentInterval}
}

// internalTopic is how a coordinator's topic is created (rules 7.1.7 and 8.6.5). It has as many replicas as are asked for
// and there are brokers for: a single node serves groups with Kafka's default of three.
func (b *Broker) internalTopic(name string) (controller.NewTopic, bool) {
	if name != group.OffsetsTopic {
		return controller.NewTopic{}, false
	}
	g := &b.o.Config.Broker().Groups
	alive := int16(0)
	for _, x := range b.metadata.Load().Brokers() {
		if !x.Fenced {
			alive++
		}
	}
	return controller.NewTopic{
		Name: name, Partitions: g.OffsetsPartitions, ReplicationFactor: max(1, min(g.OffsetsReplicationFactor, alive)),
		Configs: []controller.ConfigSetting{
			setting("cleanup.policy", "compact"), setting("compression.type", "producer"),
			setting("segment.bytes", strconv.Itoa(int(g.OffsetsSegmentBytes))),
		},
	}, true
}

func setting(name, value string) controller.ConfigSetting {
	return controller.ConfigSetting{Name: name, Value: &value}
}
