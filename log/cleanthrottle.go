package log

import (
	"sync"
	"time"
)

// throttle spreads the cleaner's reads and writes over time (log.cleaner.io.max.bytes.per.second), all threads together.
type throttle struct {
	mu    sync.Mutex // guards next; never held over the wait
	next  time.Time  // when what was let through has been paid for
	moved int64      // bytes in all
}

// wait accounts for n bytes and returns when they may move at so many bytes per second, or with errStopped when quit is
// closed.
func (t *throttle) wait(n int, perSecond float64, quit <-chan struct{}) error {
	select {
	case <-quit:
		return errStopped
	default:
	}
	now := time.Now()
	t.mu.Lock()
	t.moved += int64(n)
	if t.next.Before(now) {
		t.next = now
	}
	pause := t.next.Sub(now)
	if perSecond < float64(NoLimit) {
		t.next = t.next.Add(time.Duration(min(float64(n)/perSecond*float64(time.Second), float64(time.Hour))))
	}
	t.mu.Unlock()
	if pause <= 0 {
		return nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-quit:
		return errStopped
	}
}

func (t *throttle) total() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.moved
}
