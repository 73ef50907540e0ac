package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/exposition"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/replica"
)

// The names in this file are those that the common configuration of the Prometheus JMX exporter makes of Kafka's MBeans,
// in lower case, so that dashboards and alerts for Kafka work as they are.

const (
	gauge   = exposition.Gauge
	counter = exposition.Counter
)

// ofNode is a metric with one series.
func ofNode(name string, kind exposition.Kind, source, help string, value func(*scrape) float64) metric {
	return metric{Family: exposition.Family{Name: name, Kind: kind, Help: help}, source: source, node: value}
}

// ofPartitions is a gauge of every partition here.
func ofPartitions(name, source, help string, value func(*partitionSample) int64) metric {
	return metric{
		Family: exposition.Family{Name: name, Kind: gauge, Help: help, Labels: []string{"topic", "partition"}}, source: source,
		partition: func(_ *scrape, p *partitionSample) (float64, bool) { return float64(value(p)), true },
	}
}

// ofLeader is a gauge of every partition that this node leads.
func ofLeader(name, source, help string, value func(*partitionSample) int64) metric {
	m := ofPartitions(name, source, help, nil)
	m.partition = func(_ *scrape, p *partitionSample) (float64, bool) {
		if !p.leads {
			return 0, false
		}
		return float64(value(p)), true
	}
	return m
}

// traffic is a counter of each topic with the sum of all, topics that were deleted since included, in a series without
// the label.
func traffic(name, mbean string, kind replica.TrafficKind, help string) metric {
	return metric{
		Family: exposition.Family{Name: "kafka_server_brokertopicmetrics_" + name + "_total", Kind: counter, Help: help, Labels: []string{"topic"}},
		source: "kafka.server:type=BrokerTopicMetrics,name=" + mbean,
		write: func(s *scrape, w *exposition.Writer) {
			w.Series(float64(s.total[kind]), "")
			for i := range s.topics {
				w.Series(float64(s.topics[i].traffic[kind]), s.topics[i].name)
			}
		},
	}
}

var brokerTopicMetrics = []metric{
	traffic("messagesin", "MessagesInPerSec", replica.MessagesIn, "Records appended."),
	traffic("bytesin", "BytesInPerSec", replica.BytesIn, "Bytes of record batches appended, as they are kept."),
	traffic("bytesout", "BytesOutPerSec", replica.BytesOut, "Bytes of records sent to consumers."),
	traffic("bytesrejected", "BytesRejectedPerSec", replica.BytesRejected, "Bytes of batches refused for being larger than max.message.bytes."),
	traffic("totalproducerequests", "TotalProduceRequestsPerSec", replica.Produces, "Partitions that Produce requests wrote to, or tried to."),
	traffic("totalfetchrequests", "TotalFetchRequestsPerSec", replica.Fetches, "Partitions that Fetch requests looked at. Those of a fetch session that did not change are not looked at."),
	traffic("failedproducerequests", "FailedProduceRequestsPerSec", replica.FailedProduces, "Partitions to which a Produce request failed, other than for being led elsewhere."),
	traffic("failedfetchrequests", "FailedFetchRequestsPerSec", replica.FailedFetches, "Partitions from which a Fetch request failed, other than for being led elsewhere or an offset out of range."),
	ofNode("kafka_server_brokertopicmetrics_replicationbytesout_total", counter, "kafka.server:type=BrokerTopicMetrics,name=ReplicationBytesOutPerSec",
		"Bytes of records sent to followers.", func(s *scrape) float64 { return float64(s.total[replica.ReplicationOut]) }),
}

// replicaManager is a gauge of the sums over this node's replicas.
func replicaManager(name, mbean, help string, value func(*partitionCounts) int) metric {
	return ofNode("kafka_server_replicamanager_"+name, gauge, "kafka.server:type=ReplicaManager,name="+mbean, help,
		func(s *scrape) float64 { return float64(value(&s.counts)) })
}

var replicaMetrics = []metric{
	replicaManager("partitioncount", "PartitionCount", "Partitions with a replica on this node.", func(c *partitionCounts) int { return c.replicas }),
	replicaManager("leadercount", "LeaderCount", "Partitions that this node leads.", func(c *partitionCounts) int { return c.leaders }),
	replicaManager("offlinereplicacount", "OfflineReplicaCount", "Replicas in a data directory that failed.", func(c *partitionCounts) int { return c.offline }),
	replicaManager("underreplicatedpartitions", "UnderReplicatedPartitions", "Partitions led here with fewer replicas in sync than they have.", func(c *partitionCounts) int { return c.underReplicated }),
	replicaManager("underminisrpartitioncount", "UnderMinIsrPartitionCount", "Partitions led here with fewer replicas in sync than min.insync.replicas.", func(c *partitionCounts) int { return c.underMinISR }),
	replicaManager("atminisrpartitioncount", "AtMinIsrPartitionCount", "Partitions led here with just as many replicas in sync as min.insync.replicas asks for.", func(c *partitionCounts) int { return c.atMinISR }),
	replicaManager("reassigningpartitions", "ReassigningPartitions", "Partitions led here whose replicas are being moved.", func(c *partitionCounts) int { return c.reassigning }),
	replicaManager("produceridcount", "ProducerIdCount", "Idempotent producers remembered, once for each partition.", func(c *partitionCounts) int { return c.producers }),

	ofLeader("kafka_cluster_partition_insyncreplicascount", "kafka.cluster:type=Partition,name=InSyncReplicasCount", "Replicas in sync.",
		func(p *partitionSample) int64 { return int64(len(p.reg.ISR)) }),
	ofLeader("kafka_cluster_partition_replicascount", "kafka.cluster:type=Partition,name=ReplicasCount", "Replicas.",
		func(p *partitionSample) int64 { return int64(len(p.reg.Replicas)) }),
	ofLeader("kafka_cluster_partition_underreplicated", "kafka.cluster:type=Partition,name=UnderReplicated", "1 when fewer replicas are in sync than there are.",
		func(p *partitionSample) int64 { return int64(one(p.underReplicated())) }),
	ofLeader("kafka_cluster_partition_underminisr", "kafka.cluster:type=Partition,name=UnderMinIsr", "1 when fewer replicas are in sync than min.insync.replicas.",
		func(p *partitionSample) int64 { return int64(one(p.underMinISR())) }),
	ofLeader("kafka_cluster_partition_atminisr", "kafka.cluster:type=Partition,name=AtMinIsr", "1 when just as many replicas are in sync as min.insync.replicas asks for.",
		func(p *partitionSample) int64 { return int64(one(p.atMinISR())) }),
	ofLeader("kafka_cluster_partition_laststableoffsetlag", "kafka.cluster:type=Partition,name=LastStableOffsetLag", "Records that open transactions keep from read_committed consumers.",
		func(p *partitionSample) int64 { return p.p.HighWatermark() - p.p.LastStableOffset() }),

	ofPartitions("kafka_log_log_logstartoffset", "kafka.log:type=Log,name=LogStartOffset", "Offset of the first record.",
		func(p *partitionSample) int64 { return p.p.Log().StartOffset() }),
	ofPartitions("kafka_log_log_logendoffset", "kafka.log:type=Log,name=LogEndOffset", "Offset of the next record.",
		func(p *partitionSample) int64 { return p.p.Log().End().Offset }),
	ofPartitions("kafka_log_log_numlogsegments", "kafka.log:type=Log,name=NumLogSegments", "Segments. A partition that nothing was written to has none.",
		func(p *partitionSample) int64 { return int64(p.p.Log().SegmentCount()) }),
	ofPartitions("kafka_log_log_retentionsizeinpercent", "kafka.log:type=Log,name=RetentionSizeInPercent", "Bytes of all segments in percent of retention.bytes, 0 without such a limit.",
		func(p *partitionSample) int64 {
			if limit := p.p.Log().Config().RetentionBytes; limit > 0 && limit != log.NoLimit {
				return p.p.Log().Size() * 100 / limit
			}
			return 0
		}),
	ofPartitions("kafka_log_log_size", "kafka.log:type=Log,name=Size", "Bytes of all segments.",
		func(p *partitionSample) int64 { return p.p.Log().Size() }),

	{
		Family: exposition.Family{Name: "kafka_log_logmanager_logdirectoryoffline", Kind: gauge, Labels: []string{"logdirectory"},
			Help: "1 when the data directory failed; it stays so until a restart."},
		source: "kafka.log:type=LogManager,name=LogDirectoryOffline",
		write: func(s *scrape, w *exposition.Writer) {
			for _, d := range s.b.logs.Dirs() {
				w.Series(float64(one(d.State() == log.DirFailed)), d.Path())
			}
		},
	},
	ofNode("kafka_log_logmanager_offlinelogdirectorycount", gauge, "kafka.log:type=LogManager,name=OfflineLogDirectoryCount", "Data directories that failed.",
		func(s *scrape) (n float64) {
			for _, d := range s.b.logs.Dirs() {
				n += float64(one(d.State() == log.DirFailed))
			}
			return n
		}),
	ofNode("kafka_log_logflushstats_logflushrateandtimems_count", counter, "kafka.log:type=LogFlushStats,name=LogFlushRateAndTimeMs", "Syncs of log files.",
		func(s *scrape) (n float64) {
			for _, d := range s.b.logs.Dirs() {
				n += float64(d.Counters().Syncs)
			}
			return n
		}),
}

var networkMetrics = []metric{
	{
		Family: exposition.Family{Name: "kafka_network_requestmetrics_requests_total", Kind: counter, Labels: []string{"request", "version"}, Help: "Requests that were started."},
		source: "kafka.network:type=RequestMetrics,name=RequestsPerSec",
		write: func(s *scrape, w *exposition.Writer) {
			s.b.service.Metrics().Requests(func(key, version int16, n int64) { w.Series(float64(n), kmsg.NameForKey(key), number(version)) })
		},
	},
	{
		Family: exposition.Family{Name: "kafka_network_requestmetrics_errors_total", Kind: counter, Labels: []string{"request", "error"},
			Help: "Error codes in answers, NONE included, those of single topics, partitions and groups too."},
		source: "kafka.network:type=RequestMetrics,name=ErrorsPerSec",
		write: func(s *scrape, w *exposition.Writer) {
			s.b.service.Metrics().Codes(func(key, code int16, n int64) { w.Series(float64(n), kmsg.NameForKey(key), errorName(code)) })
		},
	},
	{
		Family: exposition.Family{Name: "kafka_network_requestmetrics_totaltimems_count", Kind: counter, Labels: []string{"request"}, Help: "Requests that were answered."},
		source: "kafka.network:type=RequestMetrics,name=TotalTimeMs",
		write: func(s *scrape, w *exposition.Writer) {
			s.latencies(func(api string, buckets []int64, _ float64) {
				n := int64(0)
				for _, b := range buckets {
					n += b
				}
				w.Series(float64(n), api)
			})
		},
	},
	{
		Family: exposition.Family{Name: "kafka_server_socket_server_metrics_connection_count", Kind: gauge, Labels: []string{"listener"}, Help: "Open connections."},
		source: "kafka.server:type=socket-server-metrics",
		write: func(s *scrape, w *exposition.Writer) {
			open := s.b.server.ByListener()
			for _, l := range s.b.listeners {
				w.Series(float64(open[l.Name]), l.Name)
			}
		},
	},
	ofNode("kafka_server_fetchsessioncache_numincrementalfetchsessions", gauge, "kafka.server:type=FetchSessionCache,name=NumIncrementalFetchSessions", "Incremental fetch sessions.",
		func(s *scrape) float64 { n, _, _ := s.b.service.FetchSessions(); return float64(n) }),
	ofNode("kafka_server_fetchsessioncache_numincrementalfetchpartitionscached", gauge, "kafka.server:type=FetchSessionCache,name=NumIncrementalFetchPartitionsCached", "Partitions of all incremental fetch sessions.",
		func(s *scrape) float64 { _, n, _ := s.b.service.FetchSessions(); return float64(n) }),
	ofNode("kafka_server_fetchsessioncache_incrementalfetchsessionevictions_total", counter, "kafka.server:type=FetchSessionCache,name=IncrementalFetchSessionEvictionsPerSec", "Incremental fetch sessions that lost their slot to another.",
		func(s *scrape) float64 { _, _, n := s.b.service.FetchSessions(); return float64(n) }),
}

// errorName is Kafka's name of an error code.
func errorName(code int16) string {
	if code == 0 {
		return "NONE"
	}
	return kerr.TypedErrorForCode(code).Message
}
