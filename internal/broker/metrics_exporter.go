package broker

import (
	"net"
	"strconv"

	"github.com/kbroker/kbroker/internal/exposition"
)

// The names in this file are those of kafka_exporter. What it asks the whole cluster for every node tells of what it
// leads, so that sums over the nodes are right.

// exporterPartition is a gauge of every partition that this node leads.
func exporterPartition(name, help string, value func(*partitionSample) int64) metric {
	return ofLeader("kafka_topic_partition_"+name, "kafka_topic_partition_"+name, help, value)
}

var exporterMetrics = []metric{
	ofNode("kafka_brokers", gauge, "kafka_brokers", "Brokers of the cluster that are not fenced.", func(s *scrape) float64 { return float64(s.brokers(false)) }),
	{
		Family: exposition.Family{Name: "kafka_broker_info", Kind: gauge, Labels: []string{"id", "address"}, Help: "1 for each broker of the cluster."},
		source: "kafka_broker_info",
		write: func(s *scrape, w *exposition.Writer) {
			for _, b := range s.image.Brokers() {
				if !b.Fenced && len(b.Listeners) > 0 {
					l := &b.Listeners[0]
					w.Series(1, number(b.ID), net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))))
				}
			}
		},
	},
	{
		Family: exposition.Family{Name: "kafka_topic_partitions", Kind: gauge, Labels: []string{"topic"}, Help: "Partitions of a topic. The node that leads the first one tells."},
		source: "kafka_topic_partitions",
		topic: func(s *scrape, t *topicSample) (float64, bool) {
			return float64(len(t.topic.Partitions)), t.topic.Partitions[0].Leader == s.self
		},
	},
	exporterPartition("current_offset", "Offset that consumers reach: the high watermark.", func(p *partitionSample) int64 { return p.p.HighWatermark() }),
	exporterPartition("oldest_offset", "Offset of the first record.", func(p *partitionSample) int64 { return p.p.Log().StartOffset() }),
	exporterPartition("leader", "Id of the broker that leads.", func(p *partitionSample) int64 { return int64(p.reg.Leader) }),
	exporterPartition("leader_is_preferred", "1 when the first replica leads.", func(p *partitionSample) int64 { return int64(one(isPreferred(p.reg))) }),
	exporterPartition("replicas", "Replicas.", func(p *partitionSample) int64 { return int64(len(p.reg.Replicas)) }),
	exporterPartition("in_sync_replica", "Replicas in sync.", func(p *partitionSample) int64 { return int64(len(p.reg.ISR)) }),
	exporterPartition("under_replicated_partition", "1 when fewer replicas are in sync than there are.", func(p *partitionSample) int64 { return int64(one(p.underReplicated())) }),
}
