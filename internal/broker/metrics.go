package broker

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kbroker/kbroker/internal/exposition"
)

// Bounds of a scrape. What has no series of its own is counted by kbroker_series_omitted, and is in all sums.
const (
	// maxPartitionSeries bounds the partitions with series of their own, the first by topic name.
	maxPartitionSeries = 2000
	// maxTopicSeries bounds the topics with series of their own.
	maxTopicSeries = 2000
	// maxScrapes bounds the scrapes at a time: each walks all partitions.
	maxScrapes = 4
	// maxScrapeTime bounds how long one may take to be read: a peer that does not read would keep the place of others.
	maxScrapeTime = time.Minute
)

// metric is one family of /metrics: exactly one of the functions says what its series are. The counters are kept by the
// packages that count; here they are read.
type metric struct {
	exposition.Family
	// source is what the metric is in the world that its name comes from: an MBean of Kafka's, or a metric of
	// kafka_exporter; empty for our own.
	source string

	node      func(s *scrape) float64
	topic     func(s *scrape, t *topicSample) (v float64, ok bool)
	partition func(s *scrape, p *partitionSample) (v float64, ok bool)
	write     func(s *scrape, w *exposition.Writer)
}

// allMetrics are the families in the order in which they are written.
func allMetrics() []metric {
	var all []metric
	for _, part := range [][]metric{brokerTopicMetrics, replicaMetrics, cleanerMetrics, clusterMetrics, networkMetrics, exporterMetrics, groupMetrics, ownMetrics} {
		all = append(all, part...)
	}
	return all
}

// metricsHandler answers /metrics.
type metricsHandler struct {
	b       *Broker
	metrics []metric
	process http.Handler  // what the Go runtime and the process tell about themselves
	slots   chan struct{} // capacity maxScrapes
}

func (b *Broker) newMetricsHandler() *metricsHandler {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &metricsHandler{
		b: b, metrics: allMetrics(), slots: make(chan struct{}, maxScrapes),
		process: promhttp.HandlerFor(r, promhttp.HandlerOpts{DisableCompression: true}),
	}
}

func (h *metricsHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		http.Error(w, "too many scrapes at a time", http.StatusServiceUnavailable)
		return
	}
	// An error says that w is not a connection. The server lifts the deadline before the next request.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(maxScrapeTime))
	w.Header().Set("Content-Type", exposition.ContentType)
	out := io.Writer(w)
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is one that there is
		defer z.Close()
		out = z
	}
	if h.write(out) != nil {
		return // the peer is gone
	}
	plain := r.Clone(r.Context())
	plain.Header = http.Header{} // the same format, whatever else the peer can read
	h.process.ServeHTTP(&bodyWriter{w, out}, plain)
}

// bodyWriter sends a body elsewhere than the headers.
type bodyWriter struct {
	http.ResponseWriter
	body io.Writer
}

func (w *bodyWriter) Header() http.Header            { return http.Header{} } // they are set
func (w *bodyWriter) WriteHeader(int)                {}
func (w *bodyWriter) Write(data []byte) (int, error) { return w.body.Write(data) }

// write writes the node's own metrics. While the node does not serve there is one: the others are of what is being built.
func (h *metricsHandler) write(out io.Writer) error {
	w := exposition.NewWriter(out)
	if !h.b.health.now().Ready {
		w.Begin(&ready)
		w.Series(0)
		return w.Flush()
	}
	s := newScrape(h.b)
	for i := range h.metrics {
		m := &h.metrics[i]
		w.Begin(&m.Family)
		switch {
		case m.node != nil:
			w.Series(m.node(s))
		case m.write != nil:
			m.write(s, w)
		case m.topic != nil:
			for i := range s.topics {
				if v, ok := m.topic(s, &s.topics[i]); ok {
					w.Series(v, s.topics[i].name)
				}
			}
		default:
			for i := range s.partitions {
				p := &s.partitions[i]
				if v, ok := m.partition(s, p); ok {
					w.Series(v, p.p.Topic, p.index)
				}
			}
		}
	}
	return w.Flush()
}

// ready is the one that is there before the node serves.
var ready = exposition.Family{Name: "kbroker_ready", Kind: exposition.Gauge, Help: "1 while clients are served."}
