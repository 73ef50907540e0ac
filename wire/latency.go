package wire

import (
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// LatencyBounds are the upper bounds of a Latency's buckets: from a request that the page cache answers to one that
// waits for other people's data.
var LatencyBounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// Latency counts the requests of one API by their time: from the read that brought their last byte to when their answer
// was ready to be encoded. How long a client is in taking the answer is no part of it.
type Latency struct {
	buckets [len(LatencyBounds) + 1]atomic.Int64
	nanos   atomic.Int64
}

func (l *Latency) observe(d time.Duration) {
	i := 0
	for i < len(LatencyBounds) && d > LatencyBounds[i] {
		i++
	}
	l.buckets[i].Add(1)
	l.nanos.Add(int64(d))
}

// Snapshot returns the number of requests in each bucket, the last one being for those above all bounds, and the sum of
// their times.
func (l *Latency) Snapshot() (buckets [len(LatencyBounds) + 1]int64, sum time.Duration) {
	for i := range l.buckets {
		buckets[i] = l.buckets[i].Load()
	}
	return buckets, time.Duration(l.nanos.Load())
}

// Latency returns the times of an API's requests that were answered, nil for a key that no API has.
func (s *Stats) Latency(key int16) *Latency {
	if key < 0 || int(key) >= len(s.latencies) {
		return nil
	}
	return &s.latencies[key]
}

// latencies are by API key.
type latencies [kmsg.MaxKey + 1]Latency

// answered counts a request whose answer is ready.
func (s *Stats) answered(p *pending, now time.Time) {
	if l := s.Latency(p.key); l != nil {
		l.observe(now.Sub(p.arrived))
	}
}

// ByListener returns the number of open connections of each listener that has some.
func (s *Server) ByListener() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[string]int{}
	for c := range s.conns {
		n[c.listener]++
	}
	return n
}
