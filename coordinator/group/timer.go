package group

import (
	"container/heap"
	"time"

	"github.com/kbroker/kbroker/coordinator"
)

// timer calls fire when its time has come. The zero value is not set. Its owner embeds it (a member's session, a group's
// rebalance), so that setting it again costs no allocation.
type timer struct {
	at    time.Time
	fire  func(now time.Time, e *coordinator.Effects)
	index int // in the heap, plus one; 0 when it is not set
}

// timers are the timers of one machine, by time. There is no goroutine and no clock in it: the runtime asks for the
// next deadline and calls Tick.
type timers struct{ heap timerHeap }

// set makes t fire at a time, in place of whatever it was set to.
func (s *timers) set(t *timer, at time.Time, fire func(now time.Time, e *coordinator.Effects)) {
	t.at, t.fire = at, fire
	if t.index > 0 {
		heap.Fix(&s.heap, t.index-1)
		return
	}
	heap.Push(&s.heap, t)
}

// cancel unsets t; a timer that is not set stays so.
func (s *timers) cancel(t *timer) {
	if t.index > 0 {
		heap.Remove(&s.heap, t.index-1)
	}
}

// next is the time of the first timer, zero without one.
func (s *timers) next() time.Time {
	if len(s.heap) == 0 {
		return time.Time{}
	}
	return s.heap[0].at
}

// recordBytesPerFire bounds the records that fireDue lets come together, in bytes, so that a partition is not held up by
// a thousand groups with long names that expire at once. What one timer has to write is parted from what others have: a
// batch needs to be no larger than that.
const recordBytesPerFire = 256 << 10

// fireDue fires the timers that are due, first things first, at most limit of them, and fewer if they have much to write.
func (s *timers) fireDue(now time.Time, e *coordinator.Effects, limit int) {
	written, size := 0, 0
	for range limit {
		if len(s.heap) == 0 || s.heap[0].at.After(now) || size > recordBytesPerFire {
			return
		}
		t := heap.Pop(&s.heap).(*timer)
		t.fire(now, e)
		e.Cut()
		for ; written < len(e.Records); written++ {
			size += len(e.Records[written].Key) + len(e.Records[written].Value)
		}
	}
}

type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	*h = append(*h, t)
	t.index = len(*h)
}

func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = 0
	return t
}
