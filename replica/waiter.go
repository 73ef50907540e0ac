package replica

import (
	"sync"
	"sync/atomic"
)

// Waiter is the one thing that a reply waits on. It is told by partitions in two ways: acknowledgements are counted
// down (Ack), and changes are collected on a ready list (Watch), so that a fetch looks again only at what woke it.
//
// C is signalled when all acknowledgements have arrived, and when a watch became ready. A Waiter is reused by its owner.
type Waiter struct {
	C chan struct{} // capacity 1

	pending atomic.Int32 // acknowledgements outstanding

	mu    sync.Mutex // guards ready and every Watch's readiness; taken after a Partition's mutex
	ready *Watch
}

// NewWaiter makes a waiter.
func NewWaiter() *Waiter { return &Waiter{C: make(chan struct{}, 1)} }

// Pending returns the number of acknowledgements that have not arrived.
func (w *Waiter) Pending() int { return int(w.pending.Load()) }

// Signal wakes the owner; a signal that was not taken yet is enough.
func (w *Waiter) Signal() {
	select {
	case w.C <- struct{}{}:
	default:
	}
}

// Drain takes a stale signal, before a Waiter is used again.
func (w *Waiter) Drain() {
	select {
	case <-w.C:
	default:
	}
}

// Watch ties a Waiter to one partition: any change of what can be read there puts it on the Waiter's ready list. It
// stays registered until Partition.Unwatch, also between the polls of a fetch session.
type Watch struct {
	Owner any // the owner's, such as the session's row; set before Partition.Watch

	waiter     *Waiter
	partition  *Partition
	prev, next *Watch // the partition's list; guarded by its mutex

	isReady   bool // guarded by Waiter.mu
	nextReady *Watch
}

// Partition returns what is watched, nil when nothing is.
func (x *Watch) Partition() *Partition { return x.partition }

// markReady puts x on its waiter's ready list, once, and wakes the owner.
func (x *Watch) markReady() {
	w := x.waiter
	w.mu.Lock()
	if !x.isReady {
		x.isReady = true
		x.nextReady = w.ready
		w.ready = x
	}
	w.mu.Unlock()
	w.Signal()
}

// TakeReady appends the watches that became ready since the last call to dst, in no order.
func (w *Waiter) TakeReady(dst []*Watch) []*Watch {
	w.mu.Lock()
	for x := w.ready; x != nil; {
		next := x.nextReady
		x.isReady, x.nextReady = false, nil
		dst = append(dst, x)
		x = next
	}
	w.ready = nil
	w.mu.Unlock()
	return dst
}

// forget takes x off the ready list.
func (w *Waiter) forget(x *Watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !x.isReady {
		return
	}
	for at := &w.ready; *at != nil; at = &(*at).nextReady {
		if *at == x {
			*at = x.nextReady
			break
		}
	}
	x.isReady, x.nextReady = false, nil
}

// Ack waits for one offset of one partition to be committed (acks=all) or durable (acks=1). Its owner reads Err after the
// Waiter has counted it down, or after Partition.Cancel.
type Ack struct {
	// Offset is the end offset that must be reached: last offset + 1.
	Offset int64
	// Err is nil when the offset was reached.
	Err error

	waiter     *Waiter
	queue      *ackQueue // nil when not queued
	prev, next *Ack
}

// ackQueue holds the acknowledgements that wait on one partition in order of offset. It is guarded by the partition's
// mutex.
type ackQueue struct{ first, last *Ack }

// add inserts a in order. Appends register in offset order, so the place is at the end nearly always.
func (q *ackQueue) add(a *Ack) {
	at := q.last
	for at != nil && at.Offset > a.Offset {
		at = at.prev
	}
	a.queue, a.prev = q, at
	if at == nil {
		a.next, q.first = q.first, a
	} else {
		a.next, at.next = at.next, a
	}
	if a.next == nil {
		q.last = a
	} else {
		a.next.prev = a
	}
}

func (q *ackQueue) remove(a *Ack) {
	if a.prev == nil {
		q.first = a.next
	} else {
		a.prev.next = a.next
	}
	if a.next == nil {
		q.last = a.prev
	} else {
		a.next.prev = a.prev
	}
	a.queue, a.prev, a.next = nil, nil, nil
}

// release completes every acknowledgement up to offset end with err.
func (q *ackQueue) release(end int64, err error) {
	for q.first != nil && q.first.Offset <= end {
		a := q.first
		q.remove(a)
		a.Err = err
		if a.waiter.pending.Add(-1) == 0 {
			a.waiter.Signal()
		}
	}
}
