package broker

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/internal/exposition"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/wire"
)

// clusterMetrics are what this node knows of the cluster and of itself, under Kafka's names.
var clusterMetrics = []metric{
	controllerGauge("activecontrollercount", "ActiveControllerCount", "1 on the node whose controller leads.", func(s *scrape) int { return one(s.quorum != nil) }),
	raftGauge("current_leader", "Id of the node whose controller leads, told by that node.", func(q *controller.QuorumStatus) int64 { return int64(q.Leader) }),
	raftGauge("current_epoch", "Raft's term.", func(q *controller.QuorumStatus) int64 { return int64(q.Term) }),
	raftGauge("high_watermark", "Metadata records that are committed end here, as Kafka counts: one above the last index.", func(q *controller.QuorumStatus) int64 { return q.HighWatermark }),
	raftGauge("log_end_offset", "Metadata records end here.", func(q *controller.QuorumStatus) (end int64) {
		for _, v := range q.Voters {
			end = max(end, v.LogEndOffset)
		}
		return end
	}),
	raftGauge("number_of_voters", "Members of the quorum.", func(q *controller.QuorumStatus) int64 { return int64(len(q.Voters)) }),
	controllerGauge("activebrokercount", "ActiveBrokerCount", "Registered brokers that are not fenced.", func(s *scrape) int { return s.brokers(false) }),
	controllerGauge("fencedbrokercount", "FencedBrokerCount", "Registered brokers that are fenced.", func(s *scrape) int { return s.brokers(true) }),
	controllerGauge("globaltopiccount", "GlobalTopicCount", "Topics of the cluster.", func(s *scrape) int { return s.image.NumTopics() }),
	controllerGauge("globalpartitioncount", "GlobalPartitionCount", "Partitions of the cluster.", func(s *scrape) int { return s.image.NumPartitions() }),
	controllerGauge("offlinepartitionscount", "OfflinePartitionsCount", "Partitions without a leader.", func(s *scrape) int { return s.counts.leaderless }),
	controllerGauge("preferredreplicaimbalancecount", "PreferredReplicaImbalanceCount", "Partitions that another than their first replica leads.", func(s *scrape) int { return s.counts.notPreferred }),
	controllerGauge("lastappliedrecordoffset", "LastAppliedRecordOffset", "Index of the last metadata record that is applied.", func(s *scrape) int { return int(s.image.Index) }),
	ofNode("kafka_server_brokermetadatametrics_last_applied_record_offset", gauge, "kafka.server:type=broker-metadata-metrics",
		"Index of the last metadata record that this broker has applied.", func(s *scrape) float64 { return float64(s.image.Index) }),
	ofNode("kafka_server_metadataloader_currentmetadataversion", gauge, "kafka.server:type=MetadataLoader,name=CurrentMetadataVersion", "Finalized level of metadata.version.",
		func(s *scrape) float64 { return float64(s.image.Features()["metadata.version"]) }),
	{
		Family: exposition.Family{Name: "kafka_server_metadataloader_finalizedlevel", Kind: gauge, Labels: []string{"featurename"}, Help: "Finalized level of a feature."},
		source: "kafka.server:type=MetadataLoader,name=FinalizedLevel",
		write: func(s *scrape, w *exposition.Writer) {
			levels := s.image.Features()
			for _, name := range slices.Sorted(maps.Keys(levels)) {
				w.Series(float64(levels[name]), featureName(name))
			}
		},
	},
	ofNode("kafka_server_kafkaserver_brokerstate", gauge, "kafka.server:type=KafkaServer,name=BrokerState", "3 while clients are served.",
		func(*scrape) float64 { return runningState }),
	diskBytes("read"), diskBytes("write"),
}

// runningState is Kafka's number of a broker that serves. Before and after nothing but kbroker_ready is told.
const runningState = 3

// raftGauge is a gauge of the quorum, on the node that leads it.
func raftGauge(name, help string, value func(*controller.QuorumStatus) int64) metric {
	m := metric{Family: exposition.Family{Name: "kafka_server_raftmetrics_" + name, Kind: gauge, Help: help}, source: "kafka.server:type=raft-metrics"}
	m.write = func(s *scrape, w *exposition.Writer) {
		if s.quorum != nil {
			w.Series(float64(value(s.quorum)))
		}
	}
	return m
}

func controllerGauge(name, mbean, help string, value func(*scrape) int) metric {
	return ofNode("kafka_controller_kafkacontroller_"+name, gauge, "kafka.controller:type=KafkaController,name="+mbean, help,
		func(s *scrape) float64 { return float64(value(s)) })
}

// brokers counts the registered brokers that are fenced, or those that are not.
func (s *scrape) brokers(fenced bool) (n int) {
	for _, b := range s.image.Brokers() {
		n += one(b.Fenced == fenced)
	}
	return n
}

// featureName is a feature as Kafka's metrics write it: metadata.version is metadataVersion.
func featureName(name string) string {
	words := strings.Split(name, ".")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

// diskBytes is what the process moved to or from disks, where Linux tells.
func diskBytes(direction string) metric {
	return metric{
		Family: exposition.Family{Name: "kafka_server_kafkaserver_linux_disk_" + direction + "_bytes", Kind: gauge,
			Help: "Bytes that this process caused to be moved by disks (" + direction + "), as Linux counts them."},
		source: "kafka.server:type=KafkaServer,name=linux-disk-" + direction + "-bytes",
		write: func(s *scrape, w *exposition.Writer) {
			if n, ok := s.b.processIO(direction + "_bytes: "); ok {
				w.Series(n)
			}
		},
	}
}

// processIO reads a line of /proc/self/io.
func (b *Broker) processIO(prefix string) (float64, bool) {
	f, err := b.o.FS.OpenFile("/proc/self/io", os.O_RDONLY, 0)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	var data [512]byte
	n, _ := f.ReadAt(data[:], 0) // a short file ends with io.EOF
	for line := range bytes.Lines(data[:n]) {
		if rest, ok := bytes.CutPrefix(line, []byte(prefix)); ok {
			v, err := strconv.ParseFloat(string(bytes.TrimSpace(rest)), 64)
			return v, err == nil
		}
	}
	return 0, false
}

// latencies calls yield for every API that was answered, with the numbers of its requests by wire.LatencyBounds and the
// sum of their times in seconds.
func (s *scrape) latencies(yield func(api string, buckets []int64, seconds float64)) {
	for key := range int16(kmsg.MaxKey + 1) {
		buckets, sum := s.b.server.Stats().Latency(key).Snapshot()
		if buckets != [len(buckets)]int64{} {
			yield(kmsg.NameForKey(key), buckets[:], sum.Seconds())
		}
	}
}

// latencyBounds are wire.LatencyBounds in seconds.
func latencyBounds() []float64 {
	bounds := make([]float64, len(wire.LatencyBounds))
	for i, b := range wire.LatencyBounds {
		bounds[i] = b.Seconds()
	}
	return bounds
}

func number[T ~int16 | ~int32](n T) string { return strconv.Itoa(int(n)) }

// isPreferred reports whether a partition is led by its first replica.
func isPreferred(reg *metadata.PartitionRegistration) bool { return reg.Leader == reg.Replicas[0] }
