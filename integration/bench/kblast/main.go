//go:build linux

// Command kblast is a Kafka load generator that costs as little CPU as possible, so that on a small machine the
// broker and not its client is measured. Batches are encoded once, checksum included, and sent again and again; only
// the correlation id changes. It speaks versions that every broker of the last years takes, none of them flexible:
// Produce v7, Fetch v11, ListOffsets v1, CreateTopics v2, DeleteTopics v1. It knows one broker, asks for no metadata
// and uses no idempotence.
//
// Modes:
//
//	produce  a closed loop with -depth requests in flight on each of -conns connections, or an open loop at -rate MB/s
//	         or -rps requests/s
//	fetch    -conns readers read the partitions from the start, again and again
//	e2e      an open loop of small timestamped batches and a consumer in the same process: acknowledgement and
//	         produce-to-consume latency
//	create   -count topics, one request each, or all in one with -onereq
//	delete   deletes -topic
//	idle     holds -conns connections for -d
//
// In an open loop latency counts from the scheduled time, unless the sender itself woke up late (a late timer is not
// the broker's fault). With -pid the CPU time and memory of that process, the broker, are reported too.
//
// The result is one line of words and key=value pairs per measurement on stdout. MB and GB are decimal. The first
// error ends the process with exit code 1: a load generator holds nothing that would need cleaning up.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

// options are the command line. They are set before the first connection is made and only read afterwards.
type options struct {
	addr, topic, mode, label, congestion string

	partitions, conns, depth, perRequest int
	batchBytes, recordBytes              int
	acks                                 int
	megabytesPerSecond, requestsPerSec   float64
	fetchBytes, maxWaitMillis            int
	duration, warmup                     time.Duration
	maxMegabytes                         int64
	pid, count                           int
	create, oneRequest                   bool
}

func parseOptions() *options {
	o := new(options)
	flag.StringVar(&o.addr, "addr", "127.0.0.1:9092", "the broker")
	flag.StringVar(&o.topic, "topic", "kblast", "topic to use")
	flag.StringVar(&o.mode, "mode", "produce", "produce, fetch, e2e, create, delete or idle")
	flag.StringVar(&o.label, "label", "", "word to print in front of each result")
	flag.StringVar(&o.congestion, "cc", "", "TCP congestion control of our sockets, such as reno; empty leaves the system's")
	flag.IntVar(&o.partitions, "parts", 1, "partitions of the topic; connection i uses partitions i, i+conns, …")
	flag.IntVar(&o.conns, "conns", 1, "connections")
	flag.IntVar(&o.depth, "depth", 5, "produce: requests in flight per connection")
	flag.IntVar(&o.perRequest, "preq", 1, "produce: partitions in one request")
	flag.IntVar(&o.batchBytes, "batch", 1<<20-1024, "produce: bytes of one record batch, about")
	flag.IntVar(&o.recordBytes, "rec", 1024, "bytes of a record's value")
	flag.IntVar(&o.acks, "acks", -1, "produce: required acknowledgements")
	flag.Float64Var(&o.megabytesPerSecond, "rate", 0, "produce: MB/s over all connections, open loop; 0 is a closed loop")
	flag.Float64Var(&o.requestsPerSec, "rps", 0, "produce and e2e: requests/s over all connections, open loop; 0 follows -rate")
	flag.IntVar(&o.fetchBytes, "fmax", 4<<20, "fetch: max_bytes and partition_max_bytes")
	flag.IntVar(&o.maxWaitMillis, "maxwait", 100, "fetch: max_wait_ms")
	flag.DurationVar(&o.duration, "d", 5*time.Second, "time to measure")
	flag.DurationVar(&o.warmup, "warm", time.Second, "time to run before measuring")
	flag.Int64Var(&o.maxMegabytes, "maxmb", 0, "produce: stop after this many MB, warm-up included, whatever -d says; 0 is no bound")
	flag.IntVar(&o.pid, "pid", 0, "process of the broker, whose CPU time and memory are reported")
	flag.IntVar(&o.count, "count", 100, "create: number of topics")
	flag.BoolVar(&o.create, "create", false, "create the topic first")
	flag.BoolVar(&o.oneRequest, "onereq", false, "create: all topics in one request")
	flag.Parse()
	return o
}

// fail ends the process with the first error.
func fail(err error) {
	fmt.Fprintln(os.Stderr, "kblast:", err)
	os.Exit(1)
}

func must(err error) {
	if err != nil {
		fail(err)
	}
}

func main() {
	o := parseOptions()
	if o.create {
		createTopics(o, []string{o.topic})
		awaitTopic(o)
	}
	switch o.mode {
	case "produce":
		produce(o)
	case "fetch":
		fetch(o)
	case "e2e":
		endToEnd(o)
	case "create":
		createMany(o)
	case "delete":
		deleteTopic(o)
	case "idle":
		idle(o)
	default:
		fail(fmt.Errorf("-mode %q: want produce, fetch, e2e, create, delete or idle", o.mode))
	}
}
