package config

import (
	"math"
	"slices"
	"time"
)

// topicSetters put a topic's settings into its view. Keys without one have no effect.
var topicSetters = map[string]func(*Topic, value){
	"cleanup.policy": func(t *Topic, v value) {
		t.CleanupDelete = slices.Contains(v.list(), "delete")
		t.CleanupCompact = slices.Contains(v.list(), "compact")
	},
	"retention.ms":                    func(t *Topic, v value) { t.RetentionMillis = max(v.int64(), -1) },
	"retention.bytes":                 func(t *Topic, v value) { t.RetentionBytes = max(v.int64(), -1) },
	"segment.bytes":                   func(t *Topic, v value) { t.SegmentBytes = v.int32() },
	"segment.ms":                      func(t *Topic, v value) { t.SegmentMillis = v.int64() },
	"segment.jitter.ms":               func(t *Topic, v value) { t.SegmentJitterMillis = v.int64() },
	"segment.index.bytes":             func(t *Topic, v value) { t.SegmentIndexBytes = v.int32() },
	"index.interval.bytes":            func(t *Topic, v value) { t.IndexIntervalBytes = v.int32() },
	"file.delete.delay.ms":            func(t *Topic, v value) { t.FileDeleteMillis = v.int64() },
	"preallocate":                     func(t *Topic, v value) { t.Preallocate = v.bool() },
	"max.message.bytes":               func(t *Topic, v value) { t.MaxMessageBytes = v.int32() },
	"compression.type":                func(t *Topic, v value) { t.Compression = v.compression() },
	"compression.gzip.level":          func(t *Topic, v value) { t.GzipLevel = v.int() },
	"compression.lz4.level":           func(t *Topic, v value) { t.Lz4Level = v.int() },
	"compression.zstd.level":          func(t *Topic, v value) { t.ZstdLevel = v.int() },
	"message.timestamp.type":          func(t *Topic, v value) { t.LogAppendTime = v == "LogAppendTime" },
	"message.timestamp.before.max.ms": func(t *Topic, v value) { t.TimestampBeforeMillis = v.int64() },
	"message.timestamp.after.max.ms":  func(t *Topic, v value) { t.TimestampAfterMillis = v.int64() },
	"min.insync.replicas":             func(t *Topic, v value) { t.MinInsyncReplicas = v.int() },
	"unclean.leader.election.enable":  func(t *Topic, v value) { t.UncleanLeaderElection = v.bool() },
	"min.cleanable.dirty.ratio":       func(t *Topic, v value) { t.MinCleanableDirtyRatio = v.float64() },
	"min.compaction.lag.ms":           func(t *Topic, v value) { t.MinCompactionLagMillis = v.int64() },
	"max.compaction.lag.ms":           func(t *Topic, v value) { t.MaxCompactionLagMillis = v.int64() },
	"delete.retention.ms":             func(t *Topic, v value) { t.DeleteRetentionMillis = v.int64() },
	"flush.messages":                  func(t *Topic, v value) { t.FlushMessages = v.int64() },
	"flush.ms":                        func(t *Topic, v value) { t.FlushMillis = v.int64() },
	"kbroker.durability":              func(t *Topic, v value) { t.Durability = v.durability() },
}

// internalSegmentBytes is segment.bytes without the lower limit. It wins over it.
const internalSegmentBytes = "internal.segment.bytes"

// brokerSetters put the broker's settings into its view, but for the listeners, which are read together, and for the
// defaults of topics.
var brokerSetters = map[string]func(*Broker, value){
	"node.id":                 func(b *Broker, v value) { b.NodeID = v.int32() },
	"broker.rack":             func(b *Broker, v value) { b.Rack = string(v) },
	"kbroker.cluster.id":      func(b *Broker, v value) { b.ClusterID = string(v) },
	"kbroker.http.listeners":  func(b *Broker, v value) { b.HTTP = v.list() },
	"kbroker.group.max.bytes": func(b *Broker, v value) { b.Groups.MaxBytes = v.int64() },
	"log.dirs":                func(b *Broker, v value) { b.LogDirs = v.list() },

	"socket.request.max.bytes":     func(b *Broker, v value) { b.Network.MaxRequestBytes = v.int32() },
	"socket.listen.backlog.size":   func(b *Broker, v value) { b.Network.Backlog = v.int() },
	"socket.send.buffer.bytes":     func(b *Broker, v value) { b.Network.SendBufferBytes = v.int() },
	"socket.receive.buffer.bytes":  func(b *Broker, v value) { b.Network.ReceiveBufferBytes = v.int() },
	"max.connections":              func(b *Broker, v value) { b.Network.MaxConnections = v.int() },
	"max.connections.per.ip":       func(b *Broker, v value) { b.Network.MaxPerIP = v.int() },
	"max.connection.creation.rate": func(b *Broker, v value) { b.Network.AcceptRate = v.int() },
	"queued.max.request.bytes":     func(b *Broker, v value) { b.Network.QueuedBytes = max(v.int64(), 0) },
	"max.connections.per.ip.overrides": func(b *Broker, v value) {
		b.Network.PerIP, _ = parseOverrides(string(v)) // checked before
	},
	"connections.max.idle.ms": func(b *Broker, v value) {
		if b.Network.Idle = v.millis(); b.Network.Idle <= 0 {
			b.Network.Idle = math.MaxInt64 // Kafka's way to say never
		}
	},

	"fetch.max.bytes": func(b *Broker, v value) { b.Limits.FetchMaxBytes = v.int32() },
	"max.incremental.fetch.session.cache.slots": func(b *Broker, v value) { b.Limits.FetchSessions = v.int() },
	"max.request.partition.size.limit":          func(b *Broker, v value) { b.Limits.PartitionsPerResponse = v.int32() },

	"quota.window.num":                     func(b *Broker, v value) { b.Quotas.Samples = v.int() },
	"quota.window.size.seconds":            func(b *Broker, v value) { b.Quotas.Window = v.times(time.Second) },
	"controller.quota.window.num":          func(b *Broker, v value) { b.Quotas.MutationSamples = v.int() },
	"controller.quota.window.size.seconds": func(b *Broker, v value) { b.Quotas.MutationWindow = v.times(time.Second) },

	"auto.create.topics.enable":  func(b *Broker, v value) { b.Topics.AutoCreate = v.bool() },
	"num.partitions":             func(b *Broker, v value) { b.Topics.Partitions = v.int32() },
	"default.replication.factor": func(b *Broker, v value) { b.Topics.ReplicationFactor = v.int16() },
	"delete.topic.enable":        func(b *Broker, v value) { b.Topics.Delete = v.bool() },

	"producer.id.expiration.ms":                func(b *Broker, v value) { b.Producers.Expiration = v.millis() },
	"producer.id.expiration.check.interval.ms": func(b *Broker, v value) { b.Producers.ExpirationCheck = v.millis() },

	"log.retention.check.interval.ms":               func(b *Broker, v value) { b.Log.RetentionCheck = v.millis() },
	"log.initial.task.delay.ms":                     func(b *Broker, v value) { b.Log.InitialTaskDelay = v.millis() },
	"replica.high.watermark.checkpoint.interval.ms": func(b *Broker, v value) { b.Log.CheckpointHW = v.millis() },
	"num.recovery.threads.per.data.dir":             func(b *Broker, v value) { b.Log.RecoveryThreads = v.int() },
	"log.cleaner.enable":                            func(b *Broker, v value) { b.Log.CleanerEnabled = v.bool() },
	"log.cleaner.backoff.ms":                        func(b *Broker, v value) { b.Log.CleanerBackoff = v.millis() },
	"log.cleaner.threads":                           func(b *Broker, v value) { b.Log.CleanerThreads = v.int() },
	"log.cleaner.dedupe.buffer.size":                func(b *Broker, v value) { b.Log.CleanerDedupeBytes = v.int64() },
	"log.cleaner.io.buffer.load.factor":             func(b *Broker, v value) { b.Log.CleanerLoadFactor = v.float64() },
	"log.cleaner.io.buffer.size":                    func(b *Broker, v value) { b.Log.CleanerBufferBytes = v.int64() },
	"log.cleaner.io.max.bytes.per.second":           func(b *Broker, v value) { b.Log.CleanerBytesPerSecond = v.float64() },

	"offsets.topic.num.partitions":        func(b *Broker, v value) { b.Groups.OffsetsPartitions = v.int32() },
	"offsets.topic.replication.factor":    func(b *Broker, v value) { b.Groups.OffsetsReplicationFactor = v.int16() },
	"offsets.topic.segment.bytes":         func(b *Broker, v value) { b.Groups.OffsetsSegmentBytes = v.int32() },
	"offsets.topic.compression.codec":     func(b *Broker, v value) { b.Groups.OffsetsCompression = v.codec() },
	"offsets.retention.minutes":           func(b *Broker, v value) { b.Groups.OffsetsRetention = v.times(time.Minute) },
	"offsets.retention.check.interval.ms": func(b *Broker, v value) { b.Groups.OffsetsRetentionCheck = v.millis() },
	"offsets.load.buffer.size":            func(b *Broker, v value) { b.Groups.OffsetsLoadBytes = v.int() },
	"offsets.commit.timeout.ms":           func(b *Broker, v value) { b.Groups.CommitTimeout = v.millis() },
	"offset.metadata.max.bytes":           func(b *Broker, v value) { b.Groups.OffsetMetadataMaxBytes = v.int() },

	"group.coordinator.rebalance.protocols":     func(b *Broker, v value) { b.Groups.Protocols = v.list() },
	"group.coordinator.append.linger.ms":        func(b *Broker, v value) { b.Groups.AppendLinger = v.millis() },
	"group.coordinator.cached.buffer.max.bytes": func(b *Broker, v value) { b.Groups.CachedBufferBytes = v.int() },
	"group.initial.rebalance.delay.ms":          func(b *Broker, v value) { b.Groups.InitialRebalanceDelay = v.millis() },
	"group.min.session.timeout.ms":              func(b *Broker, v value) { b.Groups.MinSessionTimeout = v.millis() },
	"group.max.session.timeout.ms":              func(b *Broker, v value) { b.Groups.MaxSessionTimeout = v.millis() },
	"group.max.size":                            func(b *Broker, v value) { b.Groups.MaxSize = v.int() },

	"group.consumer.assignors":                  func(b *Broker, v value) { b.Groups.Consumer.Assignors = v.assignors() },
	"group.consumer.max.size":                   func(b *Broker, v value) { b.Groups.Consumer.MaxSize = v.int() },
	"group.consumer.migration.policy":           func(b *Broker, v value) { b.Groups.Consumer.Migration = v.migration() },
	"group.consumer.regex.refresh.interval.ms":  func(b *Broker, v value) { b.Groups.Consumer.RegexRefresh = v.millis() },
	"group.consumer.session.timeout.ms":         func(b *Broker, v value) { b.Groups.Consumer.SessionTimeout = v.millis() },
	"group.consumer.min.session.timeout.ms":     func(b *Broker, v value) { b.Groups.Consumer.MinSessionTimeout = v.millis() },
	"group.consumer.max.session.timeout.ms":     func(b *Broker, v value) { b.Groups.Consumer.MaxSessionTimeout = v.millis() },
	"group.consumer.heartbeat.interval.ms":      func(b *Broker, v value) { b.Groups.Consumer.HeartbeatInterval = v.millis() },
	"group.consumer.min.heartbeat.interval.ms":  func(b *Broker, v value) { b.Groups.Consumer.MinHeartbeatInterval = v.millis() },
	"group.consumer.max.heartbeat.interval.ms":  func(b *Broker, v value) { b.Groups.Consumer.MaxHeartbeatInterval = v.millis() },
	"group.consumer.assignment.interval.ms":     func(b *Broker, v value) { b.Groups.Consumer.AssignmentInterval = v.millis() },
	"group.consumer.min.assignment.interval.ms": func(b *Broker, v value) { b.Groups.Consumer.MinAssignmentInterval = v.millis() },
	"group.consumer.max.assignment.interval.ms": func(b *Broker, v value) { b.Groups.Consumer.MaxAssignmentInterval = v.millis() },

	"transaction.state.log.num.partitions":      func(b *Broker, v value) { b.Transaction.StatePartitions = v.int32() },
	"transaction.state.log.replication.factor":  func(b *Broker, v value) { b.Transaction.StateReplicationFactor = v.int16() },
	"transaction.state.log.segment.bytes":       func(b *Broker, v value) { b.Transaction.StateSegmentBytes = v.int32() },
	"transaction.max.timeout.ms":                func(b *Broker, v value) { b.Transaction.MaxTimeoutMillis = v.int32() },
	"transactional.id.expiration.ms":            func(b *Broker, v value) { b.Transaction.IDExpiration = v.millis() },
	"transaction.partition.verification.enable": func(b *Broker, v value) { b.Transaction.Verification = v.bool() },
	"transaction.abort.timed.out.transaction.cleanup.interval.ms": func(b *Broker, v value) {
		b.Transaction.AbortTimedOutInterval = v.millis()
	},
}
