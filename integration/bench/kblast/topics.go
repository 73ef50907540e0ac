//go:build linux

package main

import (
	"fmt"
	"net"
	"time"
)

// createTopics creates the topics in one request.
func createTopics(o *options, names []string) {
	c := dial(o)
	defer c.Close()
	body := call(c, createRequest(names, o.partitions))[8:] // throttle time, count
	for range names {
		name := string(body[2 : 2+be.Uint16(body)])
		body = body[2+len(name):]
		code, n := int16(be.Uint16(body)), max(int16(be.Uint16(body[2:])), 0)
		message := body[4 : 4+n]
		body = body[4+n:]
		if code != 0 {
			fail(fmt.Errorf("create topic %s: error code %d %s", name, code, message))
		}
	}
}

// awaitTopic waits until every partition of the topic serves. A broker may answer CreateTopics when the topic is
// decided, and take it up a little later.
func awaitTopic(o *options) {
	c := dial(o)
	defer c.Close()
	const patience, pause = 10 * time.Second, 5 * time.Millisecond
	for start := time.Now(); ; time.Sleep(pause) {
		p, code := listOffsets(o, c, func(int, int64) {})
		if code == 0 {
			return
		}
		if time.Since(start) > patience {
			fail(fmt.Errorf("partition %d of the new topic %s does not serve after %v: error code %d", p, o.topic, patience, code))
		}
	}
}

// listOffsets calls f with the end offset of each partition, up to the first that answers with an error, which it
// returns.
func listOffsets(o *options, c net.Conn, f func(partition int, end int64)) (partition, code int) {
	const latest = -1
	q := newFrame(keyListOffsets, verListOffsets, len(o.topic)+12*o.partitions)
	q.i32(-1)
	q.i32(1)
	q.str(o.topic)
	q.i32(o.partitions)
	for p := range o.partitions {
		q.i32(p)
		q.i64(latest)
	}
	body := call(c, q.done())
	body = body[4+2+len(o.topic)+4:]
	for ; len(body) > 0; body = body[4+2+8+8:] {
		partition, code = int(be.Uint32(body)), int(int16(be.Uint16(body[4:])))
		if code != 0 {
			return partition, code
		}
		f(partition, int64(be.Uint64(body[14:])))
	}
	return 0, 0
}

func createMany(o *options) {
	var names []string
	for i := range o.count {
		names = append(names, fmt.Sprintf("%s-%d", o.topic, i))
	}
	t := time.Now()
	before, _ := processCPU(o.pid)
	if o.oneRequest {
		createTopics(o, names)
	} else {
		for _, name := range names {
			createTopics(o, []string{name})
		}
	}
	seconds := time.Since(t).Seconds()
	after, rss := processCPU(o.pid)
	fmt.Printf("%s create topics=%d parts=%d s=%.3f topics/s=%.0f broker_cpu_s=%.2f broker_rss_MB=%d\n",
		o.label, o.count, o.partitions, seconds, float64(o.count)/seconds, after-before, rss)
}

func deleteTopic(o *options) {
	c := dial(o)
	defer c.Close()
	f := newFrame(keyDeleteTopics, verDeleteTopics, len(o.topic)+16)
	f.i32(1)
	f.str(o.topic)
	f.i32(30000)
	body := call(c, f.done())
	if code := int16(be.Uint16(body[len(body)-2:])); code != 0 {
		fail(fmt.Errorf("delete topic %s: error code %d", o.topic, code))
	}
}

// idle holds connections that said ApiVersions once.
func idle(o *options) {
	for range o.conns {
		c := dial(o)
		defer c.Close()
		call(c, newFrame(keyAPIVersions, verAPIVersions, 0).done())
	}
	before, rss := processCPU(o.pid)
	time.Sleep(o.duration)
	after, _ := processCPU(o.pid)
	fmt.Printf("%s idle conns=%d broker_rss_MB=%d broker_cpu_pct=%.2f\n", o.label, o.conns, rss, (after-before)*100/o.duration.Seconds())
}
