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

// observe counts n requests that took d each.
func (l *Latency) observe(d time.Duration, n int64) {
	i := 0
	for i < len(LatencyBounds) && d > LatencyBounds[i] {
		i++
	}
	l.buckets[i].Add(n)
	l.nanos.Add(int64(d) * n)
}

// latencyRun joins requests that are answered together: those of one read mostly are of one API, and connections would
// fight for the counters' cache line with every one of them.
type latencyRun struct {
	key     int16
	arrived time.Time
	n       int64
}

// answered counts a request whose answer is ready now.
func (r *latencyRun) answered(s *Stats, p *pending, now time.Time) {
	if r.n > 0 && (p.key != r.key || !p.arrived.Equal(r.arrived)) {
		r.end(s, now)
	}
	r.key, r.arrived = p.key, p.arrived
	r.n++
}

// end counts what was joined.
func (r *latencyRun) end(s *Stats, now time.Time) {
	if l := s.Latency(r.key); l != nil && r.n > 0 {
		l.observe(now.Sub(r.arrived), r.n)
	}
	r.n = 0
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
		l.observe(now.Sub(p.arrived), 1)
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
