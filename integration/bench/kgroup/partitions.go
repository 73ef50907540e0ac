//go:build linux

package main

import (
	"fmt"
	"time"

	"github.com/kbroker/kbroker/integration/bench/proc"
)

// perTopic is how many partitions a topic gets, and topicsPerRequest how many topics are created at once.
const (
	perTopic         = 100
	topicsPerRequest = 10
)

// idlePartitions creates many partitions, and sees what they cost a broker that nobody uses. The topics stay: whoever
// runs this removes the broker afterwards.
func idlePartitions(o *options) {
	c := dial(o)
	defer c.Close()
	from := time.Now()
	for made := 0; made < o.count/perTopic; made += topicsPerRequest {
		var names []string
		for i := range min(topicsPerRequest, o.count/perTopic-made) {
			names = append(names, fmt.Sprintf("%s-%d", o.topic, made+i))
		}
		createTopics(c, names, perTopic)
	}
	created := time.Since(from)
	time.Sleep(o.idle / 2)
	before, at := proc.ThreadsCPU(o.pid), time.Now()
	time.Sleep(o.idle / 2)
	cpu := (proc.ThreadsCPU(o.pid) - before).Seconds() * 100 / time.Since(at).Seconds()
	_, rss, _ := proc.Usage(o.pid)
	fmt.Printf("partitions count=%d create_ms=%.0f idle_rss_MB=%.1f idle_cpu_pct=%.3f\n", o.count,
		float64(created.Microseconds())/1000, rss, cpu)
}
