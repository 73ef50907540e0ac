package broker

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// TestMetricsHandler: what a scraper gets, compressed and not.
func TestMetricsHandler(t *testing.T) {
	b := startTest(t)
	for _, encoding := range []string{"", "gzip"} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept-Encoding", encoding)
		r.Header.Set("Accept", "application/openmetrics-text") // nobody gets another format for asking
		h := b.newMetricsHandler()
		h.ServeHTTP(w, r)
		body := io.Reader(w.Body)
		if encoding == "gzip" {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Fatal(err)
			}
			body = z
		}
		data, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" || w.Header().Get("Content-Encoding") != encoding {
			t.Errorf("%q: %d %v", encoding, w.Code, w.Header())
		}
		for _, want := range []string{"\nkbroker_ready 1\n", "\ngo_goroutines ", "\nprocess_resident_memory_bytes "} {
			if !bytes.Contains(data, []byte(want)) {
				t.Errorf("%q: there is no %q", encoding, want)
			}
		}
		if bytes.Contains(data, []byte("# EOF")) {
			t.Errorf("%q: it is OpenMetrics", encoding)
		}
	}
}

// TestScrapesAreBounded: one scrape too many is refused.
func TestScrapesAreBounded(t *testing.T) {
	h := startTest(t).newMetricsHandler()
	for range maxScrapes {
		h.slots <- struct{}{}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("it is answered with %d", w.Code)
	}
}

// countingWriter keeps nothing but the size of what is written.
type countingWriter struct{ bytes, series int }

func (w *countingWriter) Write(data []byte) (int, error) {
	w.bytes += len(data)
	w.series += bytes.Count(data, []byte("\n"))
	return len(data), nil
}

// TestManyPartitions: with 10,000 partitions a scrape is as large as with the 2,000 that have series of their own, counts
// all of them, and costs memory for those 2,000 only.
func TestManyPartitions(t *testing.T) {
	b := startTest(t)
	c := newPlainClient(t, b)
	for i := range 10 {
		c.create(fmt.Sprintf("many-%d", i), 1000)
	}
	h := b.newMetricsHandler()
	var w countingWriter
	if err := h.write(&w); err != nil {
		t.Fatal(err)
	}
	series := scrapeSeries(t, b)
	for name, want := range map[string]string{
		"kbroker_series_omitted": "8000", "kafka_server_replicamanager_partitioncount": "10000", "kafka_server_replicamanager_leadercount": "10000",
		`kafka_log_log_logendoffset{topic="many-1",partition="999"}`: "0", `kafka_topic_partitions{topic="many-9"}`: "1000",
	} {
		if series[name] != want {
			t.Errorf("%s is %q, want %s", name, series[name], want)
		}
	}
	if _, ok := series[`kafka_log_log_logendoffset{topic="many-2",partition="0"}`]; ok {
		t.Error("the partition beyond the bound has a series")
	}
	perPartition := 0
	for _, m := range allMetrics() {
		perPartition += one(m.partition != nil)
	}
	if most := maxPartitionSeries*perPartition + 1000; w.series > most {
		t.Errorf("%d lines, want at most %d", w.series, most)
	}
	allocs := testing.AllocsPerRun(3, func() {
		if err := h.write(io.Discard); err != nil {
			t.Fatal(err)
		}
	})
	// An index as text for each partition with series, and some for everything else. The series themselves cost nothing.
	if most := float64(maxPartitionSeries + 1000); allocs > most {
		t.Errorf("%v allocations in a scrape, want at most %v", allocs, most)
	}
}

// TestMetricNames: every family is there once, is named by the rules, and says what it is.
func TestMetricNames(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range allMetrics() {
		if seen[m.Name] {
			t.Errorf("%s is there twice", m.Name)
		}
		seen[m.Name] = true
		if m.Kind == counter && !strings.HasSuffix(m.Name, "_total") && !strings.HasSuffix(m.Name, "_count") {
			t.Errorf("the counter %s does not end in _total", m.Name)
		}
		if !strings.HasSuffix(m.Help, ".") || strings.HasPrefix(m.Name, "kafka_") != (m.source != "") {
			t.Errorf("%s: help %q, source %q", m.Name, m.Help, m.source)
		}
	}
}

// leftOut is an MBean, or several by a pattern, that /metrics has nothing of.
type leftOut struct{ pattern, reason string }

func readLeftOut(t *testing.T) (all []leftOut) {
	t.Helper()
	for _, line := range lines(t, "testdata/mbeans-left-out.tsv") {
		pattern, reason, ok := strings.Cut(line, "\t")
		if !ok || reason == "" {
			t.Fatalf("%q has no reason", line)
		}
		all = append(all, leftOut{pattern, reason})
	}
	return all
}

func lines(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// TestMBeans: of every MBean of Kafka 4.3.1, as testdata/mbeans.txt lists them without the keys that vary, there is a
// metric or a reason.
func TestMBeans(t *testing.T) {
	served := map[string]bool{}
	for _, m := range allMetrics() {
		served[m.source] = true
	}
	beans := lines(t, "testdata/mbeans.txt")
	used := map[string]bool{}
	for _, bean := range beans {
		match := -1
		left := readLeftOut(t)
		for i := range left {
			if ok, err := path.Match(left[i].pattern, bean); err != nil {
				t.Fatal(err)
			} else if ok {
				match = i
				break
			}
		}
		switch {
		case served[bean]:
			delete(served, bean)
		case match < 0:
			t.Errorf("of %s there is neither a metric nor a reason", bean)
		default:
			used[left[match].pattern] = true
		}
	}
	for _, l := range readLeftOut(t) {
		if !used[l.pattern] {
			t.Errorf("nothing is left out by %s", l.pattern)
		}
	}
	for source := range served {
		if strings.Contains(source, ":") {
			t.Errorf("Kafka has no %s", source)
		}
	}
}

// TestMetricsPage: docs/metrics.md is made from the table.
func TestMetricsPage(t *testing.T) {
	var w strings.Builder
	w.WriteString(metricsPageHead)
	section := func(title, about string, keep func(*metric) bool, source bool) {
		fmt.Fprintf(&w, "\n## %s\n\n%s\n\n| Metric | Type | Labels | What it is |", title, about)
		w.WriteString(map[bool]string{true: " MBean |\n|---|---|---|---|---|\n", false: "\n|---|---|---|---|\n"}[source])
		for _, m := range allMetrics() {
			if !keep(&m) {
				continue
			}
			fmt.Fprintf(&w, "| `%s` | %s | %s | %s |", m.Name, m.Kind, strings.Join(m.Labels, ", "), m.Help)
			if source {
				fmt.Fprintf(&w, " `%s` |", m.source)
			}
			w.WriteString("\n")
		}
	}
	section("Kafka's", "The names that the JMX exporter's common configuration gives Kafka's MBeans, in lower case.",
		func(m *metric) bool { return strings.Contains(m.source, ":") }, true)
	section("kafka_exporter's", "Every node tells of the partitions that it leads, so that sums over the nodes are right.",
		func(m *metric) bool { return m.source != "" && !strings.Contains(m.source, ":") }, false)
	section("kbroker's own", "What the others have no name for.", func(m *metric) bool { return m.source == "" }, false)
	w.WriteString("\n## Left out\n\nMBeans of Kafka 4.3.1 that have no metric here, and why. A `*` stands for anything.\n\n| MBean | Why |\n|---|---|\n")
	for _, l := range readLeftOut(t) {
		fmt.Fprintf(&w, "| `%s` | %s |\n", l.pattern, l.reason)
	}
	compareGolden(t, "../../docs/metrics.md", w.String())
}

const metricsPageHead = `# Metrics

<!-- Made by go test ./internal/broker -run TestMetricsPage -update. Do not edit. -->

` + "`http://127.0.0.1:8080/metrics`" + ` (` + "`kbroker.http.listeners`" + `) answers in Prometheus' text format. Dashboards and alerts made for
Kafka's JMX exporter and for kafka_exporter work as they are: there is nothing to install beside the broker. ` + "`go_*`" + ` and
` + "`process_*`" + ` come from the Go runtime and the operating system.

Counters begin at 0 with each start. The series of ` + "`kafka_server_brokertopicmetrics_*`" + ` without a topic are the sums of all
topics, deleted ones included.

Series are bounded: the first 2,000 topics and the first 2,000 partitions of a node, by name, have series of their own.
Groups and their committed offsets have 10,000 together.
What is beyond is in the sums, and ` + "`kbroker_series_omitted`" + ` counts it. A scrape is written as it is computed, so its memory
does not grow with the number of series; four are answered at a time.

While a node starts or stops there is ` + "`kbroker_ready`" + ` alone.
`

// TestMetricsAreSorted: partitions and topics come by name, so that series do not come and go between scrapes.
func TestMetricsAreSorted(t *testing.T) {
	b := startTest(t)
	c := newPlainClient(t, b)
	for _, name := range []string{"z", "a", "m"} {
		c.create(name, 1)
	}
	var names []string
	for _, x := range newScrape(b).topics {
		names = append(names, x.name)
	}
	if !slices.IsSorted(names) || len(names) != 3 {
		t.Errorf("topics are %v", names)
	}
}
