// Package gcpace lets a small heap that is busy grow before it is collected.
//
// A broker holds little: with the default pace (GOGC=100) a heap of 8 MiB is collected for every 8 MiB of garbage, which
// is several times a second while a thousand members of a group rebalance. What a collection costs is marking, and the
// stacks of idle connections, which it shrinks and the next requests grow again. With a few MiB more it comes a third as
// often. A quiet broker gets its default pace back, and the system its memory.
//
// The bound is on the whole heap and not a multiple of it: a hostile client that has the broker hold much gets nothing
// on top (integration/garbage).
package gcpace

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// busyHeap is the size in bytes that a busy heap may reach before it is collected, if twice its live bytes are less.
	busyHeap = 24 << 20
	// busyInterval is how short the time between two collections must be for the heap to count as busy, and
	// quietInterval how long it must be for the default pace to return.
	busyInterval  = time.Second
	quietInterval = 10 * time.Second
	// defaultPercent is Go's. maxPercent bounds what a heap may grow to that holds more when the next collection ends:
	// until the pace is set anew, the percentage goes for that too.
	defaultPercent, maxPercent = 100, 400
	// worthIt is the least change of the percentage, in percent of it, that is made: each stops the world for a moment.
	worthIt = 20
)

// next returns the GC percentage after a collection that left so many live bytes and came so long after the one before.
func next(percent int, live int64, interval time.Duration) int {
	if interval >= quietInterval {
		return defaultPercent
	}
	if percent == defaultPercent && interval >= busyInterval || live <= 0 {
		return percent
	}
	want := min(max(defaultPercent, int((busyHeap-live)*100/live)), maxPercent)
	if change := max(want-percent, percent-want); change*100 < worthIt*percent {
		return percent
	}
	return want
}

// Pacer paces the collector of this process.
type Pacer struct {
	mu      sync.Mutex // guards what follows
	percent int
	last    time.Time // of the last collection
	stopped bool
	samples []metrics.Sample
}

// Start begins to pace the collector, until Stop. It leaves it alone, and returns nil, when the environment says how it is
// to be paced: whoever sets GOGC or GOMEMLIMIT wants that.
func Start() *Pacer {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	p := &Pacer{percent: defaultPercent, last: time.Now()}
	for _, name := range []string{"/gc/heap/live:bytes", "/gc/scan/stack:bytes", "/gc/scan/globals:bytes"} {
		p.samples = append(p.samples, metrics.Sample{Name: name})
	}
	p.watch()
	return p
}

// Stop gives the collector its default pace back.
func (p *Pacer) Stop() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	debug.SetGCPercent(defaultPercent)
}

// sentinel is unreachable at once, so that the next collection finds it. It has a pointer: objects without one may be
// allocated together with others, and live as long as those.
type sentinel struct{ _ *sentinel }

// watch has collected called after the next collection. A ticker would wake a broker that has nothing to do.
func (p *Pacer) watch() { runtime.AddCleanup(&sentinel{}, (*Pacer).collected, p) }

// collected runs on the runtime's goroutine for cleanups.
func (p *Pacer) collected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	defer p.watch()
	now := time.Now()
	metrics.Read(p.samples)
	var live int64 // what the percentage is of
	for _, s := range p.samples {
		live += int64(s.Value.Uint64())
	}
	percent := next(p.percent, live, now.Sub(p.last))
	p.last = now
	if percent != p.percent {
		p.percent = percent
		debug.SetGCPercent(percent)
	}
}
