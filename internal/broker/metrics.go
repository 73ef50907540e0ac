package broker

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/replica"
)

// collector reads the counters that the packages keep as atomics. There are no metric vectors on the hot path.
type collector struct{ b *Broker }

// maxPartitionSeries bounds the partitions that get series of their own; beyond it they are left out, and
// kbroker_partition_series_omitted says so.
const maxPartitionSeries = 2000

var (
	descRequests   = prometheus.NewDesc("kbroker_requests_total", "Requests started, by API.", []string{"api"}, nil)
	descMessagesIn = prometheus.NewDesc("kbroker_messages_in_total", "Records appended by clients.", nil, nil)
	descBytesIn    = prometheus.NewDesc("kbroker_bytes_in_total", "Bytes of record batches appended by clients.", nil, nil)
	descNetwork    = prometheus.NewDesc("kbroker_network_bytes_total", "Bytes moved on client connections.", []string{"direction"}, nil)
	descConns      = prometheus.NewDesc("kbroker_connections", "Open client connections.", nil, nil)
	descAccepted   = prometheus.NewDesc("kbroker_connections_accepted_total", "Client connections accepted.", nil, nil)
	descRefused    = prometheus.NewDesc("kbroker_connections_refused_total", "Client connections closed at once for a limit.", nil, nil)
	descMalformed  = prometheus.NewDesc("kbroker_connections_malformed_total", "Client connections closed for what they sent.", nil, nil)
	descStalled    = prometheus.NewDesc("kbroker_connections_stalled_total", "Client connections closed for standing still.", nil, nil)
	descTopics     = prometheus.NewDesc("kbroker_topics", "Topics in the cluster.", nil, nil)
	descPartitions = prometheus.NewDesc("kbroker_partitions", "Partitions with a replica on this node.", nil, nil)
	descOffset     = prometheus.NewDesc("kbroker_partition_offset", "Offsets of a partition by kind: start, high_watermark, end, durable.", []string{"topic", "partition", "kind"}, nil)
	descOmitted    = prometheus.NewDesc("kbroker_partition_series_omitted", "Partitions without series of their own.", nil, nil)
	descReady      = prometheus.NewDesc("kbroker_ready", "1 while clients are served.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRequests, descMessagesIn, descBytesIn, descNetwork, descConns, descAccepted, descRefused,
		descMalformed, descStalled, descTopics, descPartitions, descOffset, descOmitted, descReady} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	if !c.b.health.now().Ready {
		gauge(descReady, 0) // what follows is being built
		return
	}
	gauge(descReady, 1)
	m := c.b.service.Metrics()
	for key := range int16(kmsg.MaxKey + 1) {
		if n := m.Requests(key); n > 0 {
			count(descRequests, n, kmsg.NameForKey(key))
		}
	}
	count(descMessagesIn, m.MessagesIn.Load())
	count(descBytesIn, m.BytesIn.Load())
	s := c.b.server.Stats()
	count(descNetwork, s.BytesIn.Load(), "in")
	count(descNetwork, s.BytesOut.Load(), "out")
	gauge(descConns, float64(c.b.server.Connections()))
	count(descAccepted, s.Accepted.Load())
	count(descRefused, s.Refused.Load())
	count(descMalformed, s.Malformed.Load())
	count(descStalled, s.Stalled.Load())
	gauge(descTopics, float64(c.b.metadata.Load().NumTopics()))
	c.partitions(gauge)
}

// partitions exports the offsets of the partitions here, up to maxPartitionSeries of them.
func (c *collector) partitions(gauge func(*prometheus.Desc, float64, ...string)) {
	n := 0
	c.b.replicas.Each(func(p *replica.Partition) bool {
		if n++; n > maxPartitionSeries {
			return true
		}
		i := strconv.Itoa(int(p.Index))
		gauge(descOffset, float64(p.Log().StartOffset()), p.Topic, i, "start")
		gauge(descOffset, float64(p.HighWatermark()), p.Topic, i, "high_watermark")
		gauge(descOffset, float64(p.Log().End().Offset), p.Topic, i, "end")
		gauge(descOffset, float64(p.Log().DurableEnd().Offset), p.Topic, i, "durable")
		return true
	})
	gauge(descPartitions, float64(n))
	gauge(descOmitted, float64(max(0, n-maxPartitionSeries)))
}
