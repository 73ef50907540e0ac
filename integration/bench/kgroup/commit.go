//go:build linux

package main

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/integration/bench/proc"
)

// committer commits offsets to one group on one connection, -depth requests at a time.
type committer struct {
	conn  *conn
	group string
	sent  []time.Time // when the requests in flight were sent, a ring
	mine  []time.Duration
}

// commits measures a closed loop of OffsetCommit requests to simple groups.
func commits(o *options) {
	var done atomic.Int64
	var measuring, stop atomic.Bool
	var running sync.WaitGroup
	all := make([]*committer, o.conns)
	for i := range all {
		c := &committer{conn: dial(o), group: fmt.Sprintf("commit-%d-%d", time.Now().UnixNano(), i), sent: make([]time.Time, o.depth)}
		all[i] = c
		running.Go(func() { c.run(o, &done, &measuring, &stop) })
	}
	time.Sleep(o.warmup)
	measuring.Store(true)
	cpu, _, _ := proc.Usage(o.pid)
	from, count := time.Now(), done.Load()
	time.Sleep(o.duration)
	n, took := float64(done.Load()-count), time.Since(from)
	after, rss, _ := proc.Usage(o.pid)
	stop.Store(true)
	running.Wait()
	var times []time.Duration
	for _, c := range all {
		times = append(times, c.mine...)
	}
	slices.Sort(times)
	at := func(q float64) float64 {
		if len(times) == 0 {
			return 0
		}
		return float64(times[int(float64(len(times)-1)*q)].Microseconds())
	}
	fmt.Printf("commit conns=%d depth=%d parts=%d req/s=%.0f broker_cpu_us/req=%.1f broker_rss_MB=%.0f us_p50=%.0f us_p99=%.0f\n",
		o.conns, o.depth, o.partitions, n/took.Seconds(), (after-cpu)*1e6/max(1, n), rss, at(.5), at(.99))
}

func (c *committer) run(o *options, done *atomic.Int64, measuring, stop *atomic.Bool) {
	defer c.conn.Close()
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Version, q.Group, q.Generation = 8, c.group, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = o.topic
	for p := range o.partitions {
		row := kmsg.NewOffsetCommitRequestTopicPartition()
		row.Partition = int32(p)
		t.Partitions = append(t.Partitions, row)
	}
	q.Topics = append(q.Topics, t)
	sent, received := 0, 0
	for {
		for !stop.Load() && sent-received < o.depth {
			for i := range t.Partitions {
				t.Partitions[i].Offset = int64(sent)
			}
			c.sent[sent%o.depth] = time.Now()
			must(c.conn.send(q))
			sent++
		}
		if received == sent {
			return
		}
		answer, err := c.conn.receive(q)
		must(err)
		counts := true
		for _, topic := range answer.(*kmsg.OffsetCommitResponse).Topics {
			for _, row := range topic.Partitions {
				if row.ErrorCode != 0 { // such as a coordinator that still loads: it does not count
					retriable(row.ErrorCode)
					counts = false
				}
			}
		}
		if counts && measuring.Load() && !stop.Load() {
			c.mine = append(c.mine, time.Since(c.sent[received%o.depth]))
			done.Add(1)
		}
		received++
	}
}
