package log

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kbroker/kbroker/log/record"
)

// CleanerOptions are the settings of the cleaner, which compacts logs (rule 3.10). A CleanerOptions that a Manager was
// given is never changed.
type CleanerOptions struct {
	Threads           int           // log.cleaner.threads; 0: nothing is cleaned
	Backoff           time.Duration // log.cleaner.backoff.ms: between looks that found nothing to clean
	DedupeBytes       int64         // log.cleaner.dedupe.buffer.size: bound of the key maps of all threads together
	LoadFactor        float64       // log.cleaner.io.buffer.load.factor: how full a map may get, 0 to 1
	IOBufferBytes     int64         // log.cleaner.io.buffer.size: of the buffers of all threads together
	MaxBytesPerSecond float64       // log.cleaner.io.max.bytes.per.second, read and written, all threads together
}

// DefaultCleanerOptions returns Kafka's defaults (appendix A).
func DefaultCleanerOptions() CleanerOptions {
	return CleanerOptions{
		Threads: 1, Backoff: 15 * time.Second, DedupeBytes: 128 << 20, LoadFactor: 0.9, IOBufferBytes: 512 << 10,
		MaxBytesPerSecond: float64(NoLimit),
	}
}

// cleaner compacts the logs of a Manager that have compact in their policy. Each of its goroutines takes the dirtiest log
// that is due (rule 3.10.1), cleans it, and looks again; they run from SetCleaner until it is told of fewer threads, or
// until the Manager closes.
type cleaner struct {
	m        *Manager
	logger   *slog.Logger
	options  atomic.Pointer[CleanerOptions]
	throttle throttle
	quit     chan struct{}
	workers  sync.WaitGroup

	mu          sync.Mutex // guards what follows; never held across I/O
	running     int        // goroutines: those with numbers below it
	stopped     bool
	wake        chan struct{} // closed when options change
	busy        map[*Log]struct{}
	uncleanable map[*Log]string // why, until the next start
	stats       CleanerStats
}

func newCleaner(m *Manager) *cleaner {
	c := &cleaner{m: m, logger: m.logger, quit: make(chan struct{}), wake: make(chan struct{}), busy: map[*Log]struct{}{}, uncleanable: map[*Log]string{}}
	o := DefaultCleanerOptions()
	o.Threads = 0
	c.options.Store(&o)
	return c
}

// SetCleaner starts the cleaner, or changes its settings. Logs that are being cleaned are finished under the old ones.
func (m *Manager) SetCleaner(o CleanerOptions) {
	c := m.cleaner
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	c.options.Store(&o)
	close(c.wake)
	c.wake = make(chan struct{})
	for ; c.running < o.Threads; c.running++ {
		n := c.running
		c.workers.Go(func() { c.run(n) })
	}
}

// stop ends the goroutines, in the middle of a pass if need be, and returns when they have ended.
func (c *cleaner) stop() {
	c.mu.Lock()
	if !c.stopped {
		c.stopped = true
		close(c.quit)
	}
	c.mu.Unlock()
	c.workers.Wait()
}

// run is goroutine number n.
func (c *cleaner) run(n int) {
	w := &cleanWorker{c: c, sieve: record.NewSieve(c.m.codecs)}
	for {
		c.mu.Lock()
		o, wake := c.options.Load(), c.wake
		if n >= o.Threads && n == c.running-1 {
			c.running--
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		if n < o.Threads && w.cleanDirtiest() {
			continue
		}
		w.rest()
		timer := time.NewTimer(max(o.Backoff, time.Millisecond))
		select {
		case <-timer.C:
		case <-wake:
		case <-c.quit:
			timer.Stop()
			return
		}
		timer.Stop()
		if n >= o.Threads { // waits for those behind it to end first
			continue
		}
	}
}

// cleanWorker is what one goroutine of the cleaner keeps.
type cleanWorker struct {
	c       *cleaner
	sieve   *record.Sieve
	offsets offsetMap
	in, out []byte
	one     []byte
}

// rest lets go of what a pass takes memory for.
func (w *cleanWorker) rest() {
	*w = cleanWorker{c: w.c, sieve: record.NewSieve(w.c.m.codecs)}
}

// cleanDirtiest cleans the log that needs it most, and reports whether one was cleaned.
func (w *cleanWorker) cleanDirtiest() bool {
	work, ok := w.c.choose(time.Now())
	if !ok {
		return false
	}
	err := w.clean(work)
	w.c.done(work.l, err)
	return err == nil
}

// choose takes the dirtiest log of those that are due (rule 3.10.1).
func (c *cleaner) choose(now time.Time) (best dirtyLog, ok bool) {
	var maxRatio float64
	var maxDelay int64
	left := map[*Dir]int64{}
	for l := range c.m.Logs() {
		cfg := l.cfg.Load()
		if !cfg.Compact || l.dir.failure() != nil {
			continue
		}
		if err := l.rollIdle(now); err != nil {
			c.logger.Warn("a log can't be rolled for the cleaner", "log", l.tp.String(), "error", err)
		}
		w, found, err := l.inspect(now)
		if err != nil && !errors.Is(err, errRetired) {
			c.logger.Warn("a log can't be looked at by the cleaner", "log", l.tp.String(), "error", err)
		}
		if err != nil || !found {
			continue
		}
		c.mu.Lock()
		_, busy := c.busy[l]
		_, bad := c.uncleanable[l]
		c.mu.Unlock()
		if bad {
			left[l.dir] += w.dirtyBytes
		}
		if busy || bad {
			continue
		}
		maxRatio, maxDelay = max(maxRatio, w.ratio()), max(maxDelay, w.delay)
		if w.due(cfg) && (!ok || w.ratio() > best.ratio()) {
			best, ok = w, true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.MaxDirtyPercent, c.stats.MaxCompactionDelay = 100*maxRatio, time.Duration(maxDelay)*time.Millisecond
	c.stats.LastRun, c.stats.UncleanableBytes = now, left
	if ok {
		if _, taken := c.busy[best.l]; taken { // by another goroutine, since
			return best, false
		}
		c.busy[best.l] = struct{}{}
	}
	return best, ok
}

// clean is one pass over one log.
func (w *cleanWorker) clean(work dirtyLog) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	o := w.c.options.Load()
	size := int(min(max(o.IOBufferBytes/int64(max(o.Threads, 1))/2, record.HeaderSize), 1<<30))
	if len(w.in) != size {
		w.in, w.out = make([]byte, size), make([]byte, 0, size)
	}
	p := &cleaning{c: w.c, l: work.l, work: work, cfg: work.l.cfg.Load(), o: o, now: time.Now().UnixMilli(), sieve: w.sieve, offsets: &w.offsets, out: w.out, one: w.one}
	p.in.buf = w.in
	clean, err := p.run()
	if w.one = p.one; cap(w.one) > 2*size {
		w.one = nil
	}
	if err != nil {
		return err
	}
	if err := work.l.setCleaned(clean); err != nil {
		return err
	}
	w.c.note(work.l, clean, &p.stats)
	return nil
}

// done gives a log back, and sets it aside if it can't be cleaned.
func (c *cleaner) done(l *Log, err error) {
	c.mu.Lock()
	delete(c.busy, l)
	c.mu.Unlock()
	switch {
	case err == nil, errors.Is(err, errStopped):
	case errors.Is(err, errCleaningAborted), errors.Is(err, errRetired), l.Err() != nil:
		c.logger.Info("the cleaning of a log was broken off and begins anew later", "log", l.tp.String(), "reason", err)
	case errors.Is(err, errNoRoom), isTooManyFiles(err):
		c.logger.Warn("a log can't be cleaned now", "log", l.tp.String(), "error", err)
	default:
		c.mu.Lock()
		c.uncleanable[l] = err.Error()
		c.mu.Unlock()
		c.logger.Error("a log can't be cleaned and is left as it is until the next start: it grows meanwhile", "log", l.tp.String(), "error", err)
	}
}

// forget drops what is known of a log that is gone.
func (c *cleaner) forget(l *Log) {
	c.mu.Lock()
	delete(c.uncleanable, l)
	c.mu.Unlock()
}

// setCleaned notes that the log is clean below offset, and returns when the checkpoint says so. The segments were
// synced before.
func (l *Log) setCleaned(offset int64) error {
	if err := l.cleanerToken(); err != nil {
		return err
	}
	defer func() { <-l.token }()
	if l.End().Offset < offset || l.Err() != nil {
		return errCleaningAborted
	}
	l.cleaned.Store(offset)
	return l.dir.keeper.writeCleaned(l)
}

// cleanerToken takes the log's token, unless the cleaner is to end: its holder may be a truncation that waits for room on
// the disk, and gives up only after the cleaner has ended.
func (l *Log) cleanerToken() error {
	select {
	case l.token <- struct{}{}:
		return nil
	case <-l.m.cleaner.quit:
		return errStopped
	}
}
