package broker

import (
	"maps"

	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/replica"
	"github.com/kbroker/kbroker/wire"
)

// Config resource types (rule 7.7.1).
const (
	topicResource  = 2
	brokerResource = 4
)

// resolve turns a topic's overrides into what replication and the log act on. It is the one place that knows both a
// setting's name and who acts on it.
func (b *Broker) resolve(_ string, overrides map[string]string) (*replica.Settings, *log.Config) {
	t := b.o.Config.Topic(overrides)
	return &replica.Settings{MinISR: t.MinInsyncReplicas}, logConfig(&t, b.o.Config.Broker())
}

// logConfig is the log's view of a topic.
func logConfig(t *config.Topic, b *config.Broker) *log.Config {
	c := log.DefaultConfig()
	c.SegmentBytes, c.SegmentMs, c.SegmentJitterMs = t.SegmentBytes, t.SegmentMillis, t.SegmentJitterMillis
	c.SegmentIndexBytes, c.IndexIntervalBytes, c.Preallocate = t.SegmentIndexBytes, t.IndexIntervalBytes, t.Preallocate
	c.MaxMessageBytes = t.MaxMessageBytes
	c.TimestampType = record.CreateTime
	if t.LogAppendTime {
		c.TimestampType = record.LogAppendTime
	}
	c.TimestampBeforeMaxMs, c.TimestampAfterMaxMs = t.TimestampBeforeMillis, t.TimestampAfterMillis
	c.Compression = compression(t)
	c.ProducerExpirationMs = b.Producers.Expiration.Milliseconds()
	c.Compact, c.Delete = t.CleanupCompact, t.CleanupDelete
	c.RetentionMs, c.RetentionBytes = limit(t.RetentionMillis), limit(t.RetentionBytes)
	c.DeleteRetentionMs, c.MinCompactionLagMs, c.MaxCompactionLagMs = t.DeleteRetentionMillis, t.MinCompactionLagMillis, t.MaxCompactionLagMillis
	c.MinCleanableDirtyRatio = t.MinCleanableDirtyRatio
	c.FlushMessages, c.FlushMs, c.FileDeleteDelayMs = t.FlushMessages, t.FlushMillis, t.FileDeleteMillis
	c.Durability = log.Fsync
	if t.Durability == config.Replicated {
		c.Durability = log.Replicated
	}
	return &c
}

// cleanerOptions is the cleaner's view of the broker's settings.
func cleanerOptions(b *config.Broker) log.CleanerOptions {
	c := &b.Log
	threads := c.CleanerThreads
	if !c.CleanerEnabled {
		threads = 0
	}
	return log.CleanerOptions{
		Threads: threads, Backoff: c.CleanerBackoff, DedupeBytes: c.CleanerDedupeBytes, LoadFactor: c.CleanerLoadFactor,
		IOBufferBytes: c.CleanerBufferBytes, MaxBytesPerSecond: c.CleanerBytesPerSecond,
	}
}

// limit turns Kafka's -1 for "no limit" into the log's.
func limit(n int64) int64 {
	if n < 0 {
		return log.NoLimit
	}
	return n
}

// compression is compression.type with the level of its codec.
func compression(t *config.Topic) record.Compression {
	if t.Compression == config.CompressionProducer {
		return record.Compression{}
	}
	c := record.Compression{Recompress: true, Codec: record.Codec(t.Compression)}
	switch c.Codec {
	case record.Gzip:
		c.Level = t.GzipLevel
	case record.LZ4:
		c.Level = t.Lz4Level
	case record.Zstd:
		c.Level = t.ZstdLevel
	}
	return c
}

// limits are what connections may cost.
func limits(c *config.Broker) wire.Limits {
	n := &c.Network
	perIP := n.MaxPerIP
	if perIP == 0 {
		perIP = -1 // in Kafka 0 admits only the addresses that have limits of their own
	}
	return wire.Limits{
		MaxConnections: n.MaxConnections, MaxPerIP: perIP, PerIP: n.PerIP, AcceptRate: n.AcceptRate,
		MaxFrame: n.MaxRequestBytes, Memory: n.QueuedBytes, Idle: n.Idle,
	}
}

// reconfigure follows changed dynamic configs. The broker's reach every topic through their defaults; Images share what
// did not change, so looking costs little.
func (b *Broker) reconfigure(prev, next *metadata.Image) {
	own, all := metadata.ConfigResource{Type: brokerResource, Name: b.nodeName()}, metadata.ConfigResource{Type: brokerResource}
	everything := !maps.Equal(prev.Config(own), next.Config(own)) || !maps.Equal(prev.Config(all), next.Config(all))
	if everything {
		if _, err := b.o.Config.Update(next.Config(own), next.Config(all)); err != nil {
			b.logger.Warn("dynamic broker settings", "err", err)
		}
		b.limitData()
		b.configureGroups()
		b.logs.SetCleaner(cleanerOptions(b.o.Config.Broker()))
		if b.server != nil {
			b.server.SetLimits(limits(b.o.Config.Broker()))
		}
	}
	follow := func(r metadata.ConfigResource) bool {
		// A topic that is gone keeps its settings to the end: they say when its files are deleted.
		if r.Type == topicResource && next.Topic(r.Name) != nil && (everything || !maps.Equal(prev.Config(r), next.Config(r))) {
			b.replicas.Configure(r.Name, next.Config(r))
		}
		return true
	}
	if everything {
		next.Topics(func(t *metadata.Topic) bool {
			return follow(metadata.ConfigResource{Type: topicResource, Name: t.Name})
		})
		return
	}
	next.ConfigResources(follow)
	prev.ConfigResources(func(r metadata.ConfigResource) bool { return next.Config(r) != nil || follow(r) })
}
