//go:build linux

// Command kgroup puts load on a group coordinator, and on what else a broker does besides moving records.
//
// Modes:
//
//	classic     -members join one group of the classic protocol; then, -cycles times, one leaves and one joins. Each
//	            phase lasts until all members have their assignment of the same generation.
//	consumer    the same with the protocol of KIP-848; a phase lasts until every partition is owned and all members are
//	            in one epoch.
//	commit      -conns connections commit offsets of -parts partitions to a group each, -depth requests in flight
//	partitions  creates topics with -count partitions in all, then looks at the idle broker
//
// Members heartbeat only when a phase has something for them to learn, and then at once: what is measured is the broker's
// work and not the timers of its clients. Start the brokers with group.initial.rebalance.delay.ms=0 and
// group.consumer.assignment.interval.ms=0 for the same reason.
//
// The result is one line of words and key=value pairs per measurement on stdout. The first error ends the process with
// exit code 1: a load generator holds nothing that would need cleaning up.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

// options are the command line. They are set before the first connection is made and only read afterwards.
type options struct {
	addr, topic, mode  string
	members, conns     int
	depth, partitions  int
	count, pid         int
	cycles, warmCycles int
	duration           time.Duration
	warmup, idle       time.Duration
}

func parseOptions() *options {
	o := new(options)
	flag.StringVar(&o.addr, "addr", "127.0.0.1:9092", "the broker")
	flag.StringVar(&o.topic, "topic", "kgroup", "topic to use; it is created, and deleted at the end")
	flag.StringVar(&o.mode, "mode", "classic", "classic, consumer, commit or partitions")
	flag.IntVar(&o.members, "members", 1000, "classic and consumer: members of the group")
	flag.IntVar(&o.conns, "conns", 16, "commit: connections, each with a group of its own")
	flag.IntVar(&o.depth, "depth", 4, "commit: requests in flight per connection")
	flag.IntVar(&o.partitions, "parts", 10, "partitions of the topic; a commit names all of them")
	flag.IntVar(&o.count, "count", 10000, "partitions: how many")
	flag.IntVar(&o.pid, "pid", 0, "process of the broker, whose CPU time and memory are reported")
	flag.IntVar(&o.cycles, "cycles", 20, "classic and consumer: how often a member leaves and one joins")
	flag.IntVar(&o.warmCycles, "warm-cycles", 10, "classic and consumer: how often they do before that counts")
	flag.DurationVar(&o.duration, "d", 4*time.Second, "commit: time to measure")
	flag.DurationVar(&o.warmup, "warm", time.Second, "commit: time to run before measuring")
	flag.DurationVar(&o.idle, "idle", 6*time.Second, "partitions: time to stay idle; CPU use is that of its second half")
	flag.Parse()
	return o
}

// fail ends the process with the first error.
func fail(err error) {
	fmt.Fprintln(os.Stderr, "kgroup:", err)
	os.Exit(1)
}

func must(err error) {
	if err != nil {
		fail(err)
	}
}

func main() {
	o := parseOptions()
	switch o.mode {
	case "classic":
		withTopic(o, o.partitions, func() { phases(o, newClassicMember) })
	case "consumer":
		withTopic(o, o.members, func() { phases(o, newConsumerMember) })
	case "commit":
		withTopic(o, o.partitions, func() { commits(o) })
	case "partitions":
		idlePartitions(o)
	default:
		fail(fmt.Errorf("-mode %q: want classic, consumer, commit or partitions", o.mode))
	}
}
