//go:build linux

package main

import (
	"fmt"
	"time"
)

// durability says when a broker acknowledges. Both sides of a comparison always have the same.
type durability string

const (
	pageCache durability = "page cache" // written, not synced
	synced    durability = "synced"     // fdatasync before every acknowledgement
)

// row is one kind of work: what kblast does to a broker, and which of its figures are compared.
type row struct {
	name, title string
	durability  durability
	partitions  int
	starts      bool     // measured by the command startup, not by kblast
	groups      bool     // measured by the command kgroup
	noLimit     bool     // the limit server does not know how
	fresh       bool     // measured once, on brokers of its own
	prepare     []string // kblast's flags to fill the topic; nil if it stays empty
	measure     []string // the measuring command's flags
	writesMB    int      // about what is written, at most: so much memory is warmed before
	metrics     []metric
}

// by reports whether a contender takes part in the row.
func (r row) by(c contender) bool { return c != limit || !r.noLimit }

// metric is one figure of a row.
type metric struct {
	key           string // in the load generator's output, "TAG.KEY"
	title         string
	lowerIsBetter bool
	floor         floor
}

// floor is what is asked of kbroker; a zero field asks nothing.
type floor struct {
	limitRatio float64 // kbroker / limit: at least, or at most where lower is better
	kafkaRatio float64 // kbroker / Kafka: the same
	absolute   float64 // at most
}

// size scales a measurement: 1 for a full run, less for a quick one.
type size float64

func (s size) seconds(n float64) string {
	return time.Duration(float64(s) * n * float64(time.Second)).Round(time.Millisecond).String()
}

// times scales a number of repetitions, of which a quick run has as many as a full one: they are what a median is made of.
func (s size) times(n int) string { return fmt.Sprint(min(n, max(1, int(2.5*float64(s)*float64(n))))) }

func (s size) megabytes(n int) int { return int(float64(s) * float64(n)) }

// maxRunMB bounds what one measurement leaves on disk until its topic is deleted.
const maxRunMB = 2500

// rows is the benchmark. The volumes keep each measurement below maxRunMB, whatever the broker's speed.
func rows(s size) []row {
	all := []row{
		{name: "produce1m", title: "produce 1 MiB × 4 connections, 4 partitions", durability: pageCache, partitions: 4,
			measure: []string{"-conns", "4", "-batch", "1047552", "-rec", "1024", "-warm", "0s", "-d", "20s"}, writesMB: s.megabytes(2000),
			metrics: append(produceMetrics("produce.MB/s", "MB/s", 0.7, "produce.broker_cpu_s/GB", "broker CPU-s/GB"),
				metric{key: "produce.broker_rss_MB", title: "RSS under load, MB", lowerIsBetter: true, floor: floor{kafkaRatio: 1}})},
		{name: "produce16k", title: "produce 16 KiB, depth 5, 1 connection", durability: pageCache, partitions: 1,
			measure: []string{"-batch", "16384", "-depth", "5", "-warm", s.seconds(0.5), "-d", s.seconds(3)}, writesMB: s.megabytes(maxRunMB),
			metrics: produceMetrics("produce.req/s", "requests/s", 0.7, "produce.broker_cpu_us/req", "broker CPU-µs/request")},
		{name: "produce16k16", title: "produce 16 KiB, depth 4, 16 connections, 16 partitions", durability: pageCache, partitions: 16,
			measure: []string{"-conns", "16", "-batch", "16384", "-depth", "4", "-warm", s.seconds(0.5), "-d", s.seconds(3)}, writesMB: s.megabytes(maxRunMB),
			metrics: produceMetrics("produce.req/s", "requests/s", 0.7, "produce.broker_cpu_us/req", "broker CPU-µs/request")},
		{name: "produce1k", title: "produce 1 KB, depth 50, 2 connections, 2 partitions", durability: pageCache, partitions: 2,
			measure: []string{"-conns", "2", "-batch", "1000", "-rec", "100", "-depth", "50", "-warm", s.seconds(1), "-d", s.seconds(4)}, writesMB: 1500,
			metrics: produceMetrics("produce.req/s", "requests/s", 0.5, "produce.broker_cpu_us/req", "broker CPU-µs/request")},
		fetchRow(s, 1),
		fetchRow(s, 3),
		{name: "latency", title: "1,000 records/s of 1 KiB, one per request", durability: pageCache, partitions: 1,
			measure: []string{"-mode", "e2e", "-rps", "1000", "-rec", "1024", "-warm", s.seconds(1), "-d", s.seconds(20)}, writesMB: 50,
			metrics: latencyMetrics(1.5)},

		{name: "synced64", title: "64 requests of 16 KiB outstanding, 16 partitions", durability: synced, partitions: 16,
			measure: []string{"-conns", "16", "-batch", "16384", "-depth", "4", "-warm", s.seconds(0.5), "-d", s.seconds(4)}, writesMB: 2000,
			metrics: []metric{
				{key: "produce.req/s", title: "requests/s", floor: floor{kafkaRatio: 3.5}},
				{key: "produce.us_p50", title: "ack p50, µs", lowerIsBetter: true},
				{key: "produce.us_p99", title: "ack p99, µs", lowerIsBetter: true},
				{key: "produce.broker_cpu_us/req", title: "broker CPU-µs/request", lowerIsBetter: true, floor: floor{kafkaRatio: 1}}}},
		{name: "synced1", title: "produce 16 KiB, depth 5, 1 connection", durability: synced, partitions: 1,
			measure: []string{"-batch", "16384", "-depth", "5", "-warm", s.seconds(0.5), "-d", s.seconds(3)}, writesMB: 1000,
			metrics: []metric{{key: "produce.req/s", title: "requests/s", floor: floor{kafkaRatio: 1}}}},
		{name: "synced1m", title: "produce 1 MiB × 4 connections, 4 partitions", durability: synced, partitions: 4,
			measure: []string{"-conns", "4", "-batch", "1047552", "-rec", "1024", "-warm", "0s", "-d", "20s"}, writesMB: s.megabytes(1500),
			metrics: []metric{{key: "produce.MB/s", title: "MB/s", floor: floor{kafkaRatio: 1}}}},
		{name: "syncedlatency", title: "1,000 records/s of 1 KiB, one per request", durability: synced, partitions: 1,
			measure: []string{"-mode", "e2e", "-rps", "1000", "-rec", "1024", "-warm", s.seconds(1), "-d", s.seconds(10)}, writesMB: 50,
			metrics: latencyMetrics(0)},
	}
	for i := range all {
		r := &all[i]
		r.measure = append(r.measure, "-parts", fmt.Sprint(r.partitions))
		if r.prepare == nil {
			r.measure = append(r.measure, "-maxmb", fmt.Sprint(r.writesMB))
		}
	}
	return append(all, groupRows(s)...)
}

// fetchRow reads what was just written, once per connection and again and again, each from a partition of its own.
func fetchRow(s size, conns int) row {
	n := fmt.Sprint(conns)
	r := row{
		name:  "fetch5m" + n,
		title: fmt.Sprintf("fetch 5 MiB from cache, %d connections", conns), durability: pageCache, partitions: conns,
		prepare:  []string{"-conns", n, "-parts", n, "-batch", "1047552", "-rec", "1024", "-warm", "0s", "-d", "20s", "-maxmb", fmt.Sprint(s.megabytes(600))},
		measure:  []string{"-mode", "fetch", "-conns", n, "-fmax", "5242880", "-warm", s.seconds(0.5), "-d", s.seconds(3)},
		writesMB: s.megabytes(600),
		metrics:  produceMetrics("fetch.MB/s", "MB/s", 0.7, "fetch.broker_cpu_s/GB", "broker CPU-s/GB"),
	}
	if conns == 1 {
		r.title = "fetch 5 MiB from cache, 1 connection"
	}
	return r
}

// cpuFloor is how much more CPU than the limit server kbroker may use for the same work.
const cpuFloor = 1.6

func produceMetrics(rate, rateTitle string, ofLimit float64, cpu, cpuTitle string) []metric {
	return []metric{
		{key: rate, title: rateTitle, floor: floor{limitRatio: ofLimit, kafkaRatio: 1}},
		{key: cpu, title: cpuTitle, lowerIsBetter: true, floor: floor{limitRatio: cpuFloor, kafkaRatio: 1}},
	}
}

func latencyMetrics(p50OfLimit float64) []metric {
	ahead := floor{kafkaRatio: 1}
	return []metric{
		{key: "e2e_ack.us_p50", title: "ack p50, µs", lowerIsBetter: true, floor: ahead},
		{key: "e2e_ack.us_p99", title: "ack p99, µs", lowerIsBetter: true, floor: ahead},
		{key: "e2e_ack.us_p999", title: "ack p99.9, µs", lowerIsBetter: true, floor: ahead},
		{key: "e2e_consume.us_p50", title: "produce-to-consume p50, µs", lowerIsBetter: true, floor: floor{limitRatio: p50OfLimit, kafkaRatio: 1}},
		{key: "e2e_consume.us_p99", title: "produce-to-consume p99, µs", lowerIsBetter: true, floor: ahead},
		{key: "e2e_consume.us_p999", title: "produce-to-consume p99.9, µs", lowerIsBetter: true, floor: ahead},
		{key: "e2e_consume.broker_cpu_us/rec", title: "broker CPU-µs/record", lowerIsBetter: true, floor: ahead},
	}
}

// startRow is measured by the command startup, each time on a directory without topics; its flags are that command's.
func startRow(s size) row {
	most := func(n float64) floor { return floor{absolute: n, kafkaRatio: 1} }
	return row{
		name: "start", title: "one broker without topics", durability: pageCache, starts: true,
		measure: []string{"-n", "1", "-idle", s.seconds(6)},
		metrics: []metric{
			{key: "startup.first_produce_ms", title: "exec to first acknowledged produce, ms", lowerIsBetter: true, floor: most(50)},
			{key: "startup.idle_rss_MB", title: "idle RSS, MB", lowerIsBetter: true, floor: most(31.4)}, // 30 MiB
			{key: "startup.idle_cpu_pct", title: "idle CPU, % of a core", lowerIsBetter: true, floor: most(0.5)},
			{key: "startup.exit_ms", title: "SIGTERM to exit, ms", lowerIsBetter: true},
		},
	}
}

// groupRows is what a broker does for consumer groups, and for partitions that nobody uses.
func groupRows(s size) []row {
	twice, half := floor{kafkaRatio: 2}, floor{kafkaRatio: 0.5}
	const members = "1000" // also in a quick run: what a group costs is not in proportion to its size
	flags := func(mode string) []string {
		return []string{"-mode", mode, "-members", members, "-cycles", s.times(20), "-warm-cycles", s.times(10)}
	}
	phases := func(protocol string, names ...string) (all []metric) {
		for _, name := range names {
			key := protocol + "_" + name
			all = append(all,
				metric{key: key + ".ms", title: name + ", ms", lowerIsBetter: true, floor: half},
				metric{key: key + ".broker_cpu_ms", title: name + ", broker CPU-ms", lowerIsBetter: true, floor: half})
		}
		return all
	}
	return []row{
		{name: "groupclassic", title: "classic group of " + members + " members", durability: pageCache, groups: true,
			measure: flags("classic"), metrics: phases("classic", "form", "leave", "join")},
		{name: "groupconsumer", title: "KIP-848 group of " + members + " members", durability: pageCache, groups: true,
			measure: flags("consumer"), metrics: phases("consumer", "form", "leave", "join")},
		commitRow(s, "commits", pageCache, twice),
		commitRow(s, "syncedcommits", synced, twice),
		{name: "partitions", title: "10,000 idle partitions", durability: pageCache, groups: true, noLimit: true, fresh: true,
			measure: []string{"-mode", "partitions", "-count", "10000", "-idle", s.seconds(10)},
			metrics: []metric{
				{key: "partitions.create_ms", title: "creation, ms", lowerIsBetter: true, floor: half},
				{key: "partitions.idle_rss_MB", title: "idle RSS, MB", lowerIsBetter: true, floor: floor{absolute: 157, kafkaRatio: 0.5}}, // 150 MiB
				{key: "partitions.idle_cpu_pct", title: "idle CPU, % of a core", lowerIsBetter: true, floor: floor{absolute: 1, kafkaRatio: 0.5}},
			}},
	}
}

func commitRow(s size, name string, d durability, rate floor) row {
	return row{
		name: name, title: "offset commits of 10 partitions, depth 4, 16 connections", durability: d, groups: true, noLimit: true,
		measure: []string{"-mode", "commit", "-conns", "16", "-depth", "4", "-parts", "10", "-warm", s.seconds(1), "-d", s.seconds(4)},
		metrics: []metric{
			{key: "commit.req/s", title: "requests/s", floor: rate},
			{key: "commit.broker_cpu_us/req", title: "broker CPU-µs/request", lowerIsBetter: true, floor: floor{kafkaRatio: 0.5}},
			{key: "commit.us_p50", title: "p50, µs", lowerIsBetter: true, floor: floor{kafkaRatio: 0.5}},
			{key: "commit.us_p99", title: "p99, µs", lowerIsBetter: true, floor: floor{kafkaRatio: 1}}},
	}
}
