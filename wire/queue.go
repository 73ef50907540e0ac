package wire

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// The replies of one connection that wait are bounded by number and by the memory that they hold (Reply.Size): beyond it
// the reader stops reading. One reply may always wait, however large.
const (
	maxQueued      = 1024
	maxQueuedBytes = 4 << 20
)

// queue is the way of a connection's replies out: complete ones are encoded and written by the reader while none waits, the
// others wait here for a writer. For a Late reply that is one of the server's, which begins when the first in line is
// complete; else it is a goroutine of the queue's own, which lasts as long as replies wait.
//
// out belongs to whoever may write: the writer while replies wait, else the reader. The hand-over happens under mu.
type queue struct {
	c      *conn
	out    Out
	buf    *buffer // what out.B started in
	wakeFn func()  // wake, made once

	mu      sync.Mutex // guards what follows
	items   []pending  // waiting, from head on
	head    int
	size    int           // memory that the items hold
	waiting bool          // replies wait, or are being written by a writer
	writer  bool          // a writer is at work, or has been told to be
	over    bool          // the connection has ended: no writer begins any more
	ended   chan struct{} // join's, closed when the writer has ended
	changed chan struct{} // capacity 1: an item was taken, or none waits any more
}

// idle reports whether the reader may write. Only the reader has replies wait, so true stays true for it.
func (q *queue) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.waiting
}

// push leaves a reply to a writer, waiting while the queue is full. It reports false when stop was closed.
func (q *queue) push(p pending, stop <-chan struct{}) bool {
	for {
		q.mu.Lock()
		if n := len(q.items) - q.head; n == 0 || n < maxQueued && q.size+p.size <= maxQueuedBytes {
			if q.head > 0 && q.head == len(q.items) {
				q.items, q.head = q.items[:0], 0
			}
			q.items = append(q.items, p)
			q.size += p.size
			if !q.waiting {
				q.waiting = true
				q.expectLocked(p.reply)
			}
			q.mu.Unlock()
			return true
		}
		q.mu.Unlock()
		select {
		case <-q.changed:
		case <-stop:
			return false
		}
	}
}

// expectLocked has a writer begin when the reply, the first in line, is complete, or at once when it can't tell.
func (q *queue) expectLocked(r Reply) {
	late, ok := r.(Late)
	if !ok {
		q.writer = true
		go q.run()
		return
	}
	if q.wakeFn == nil {
		q.wakeFn = q.wake
	}
	if !late.Notify(q.wakeFn) {
		q.beginLocked()
	}
}

// wake is called when the first reply in line is complete.
func (q *queue) wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.over {
		q.beginLocked()
	}
}

// beginLocked gives the queue to one of the server's writers.
func (q *queue) beginLocked() {
	q.writer = true
	q.c.srv.writers.add(q)
}

// writeComplete writes what is complete without waiting for anything; it is one of the server's writers that calls it. What
// has to be waited for goes on elsewhere: a reply tells when it is complete, and a peer that is slow to take what was
// written gets a goroutine.
func (q *queue) writeComplete() {
	defer q.recoverReply()
	for {
		next, ok := q.first()
		switch {
		case ok && q.out.size() < maxEncoded && next.Done():
			q.mu.Lock()
			p := q.popLocked()
			q.mu.Unlock()
			q.signal()
			q.c.srv.stats.answered(&p, time.Now())
			q.encode(p)
		case q.out.size() > 0:
			if !q.tryWrite() {
				go q.run()
				return
			}
		case q.endWriter(next):
			return
		}
	}
}

// first returns the first reply in line; ok is false when none waits.
func (q *queue) first() (r Reply, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head == len(q.items) {
		return nil, false
	}
	return q.items[q.head].reply, true
}

// endWriter ends a writer, after which another begins when next is complete. It reports false, and does nothing, when next
// is nil and a reply has come meanwhile.
func (q *queue) endWriter(next Reply) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if next == nil && q.head < len(q.items) {
		return false
	}
	if next == nil {
		q.restLocked()
		q.signal()
	}
	q.endedLocked()
	if next != nil && !q.over { // else join sees to what is left
		q.expectLocked(next)
	}
	return true
}

// endedLocked says that no writer is at work any more. It is a writer's last act: join goes on at once, without mu.
func (q *queue) endedLocked() {
	q.writer = false
	if q.ended != nil {
		close(q.ended)
	}
}

// fail ends the connection, and the writer that found that it can't go on.
func (q *queue) fail() {
	q.abandon()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.endedLocked()
}

// recoverReply is deferred by writers. A reply that panics ends its connection, and no other (as in conn.loop).
func (q *queue) recoverReply() {
	if p := recover(); p != nil {
		q.c.srv.note(q.c, fmt.Errorf("panic in a reply: %v\n%s", p, debug.Stack()))
		q.fail()
	}
}

// run is the goroutine of a queue whose replies, or whose peer, have to be waited for. It ends when no reply waits or the
// connection ends.
func (q *queue) run() {
	defer q.recoverReply()
	for {
		p, ok := q.pop()
		if !ok {
			return
		}
		if !p.reply.Done() {
			if q.write() != nil {
				p.reply.Release()
				q.fail()
				return
			}
			q.await(p.reply)
		}
		select {
		case <-q.c.stop:
			p.reply.Release()
			q.fail()
			return
		default:
		}
		q.c.srv.stats.answered(&p, time.Now())
		q.encode(p)
		if q.out.size() >= maxEncoded && q.write() != nil {
			q.fail()
			return
		}
	}
}

// await waits for a reply, which is released if it panics.
func (q *queue) await(r Reply) {
	panics := true
	defer func() {
		if panics {
			r.Release()
		}
	}()
	r.Wait(q.c.stop)
	panics = false
}

// pop takes the next reply. When there is none it writes what is encoded and, if still none has come, ends the writer.
func (q *queue) pop() (pending, bool) {
	for {
		q.mu.Lock()
		if q.head < len(q.items) {
			p := q.popLocked()
			q.mu.Unlock()
			q.signal()
			return p, true
		}
		if len(q.out.B) == 0 {
			q.restLocked()
			q.endedLocked()
			q.mu.Unlock()
			q.signal()
			return pending{}, false
		}
		q.mu.Unlock()
		if q.write() != nil {
			q.fail()
			return pending{}, false
		}
	}
}

// popLocked takes the first reply in line.
func (q *queue) popLocked() pending {
	p := q.items[q.head]
	q.items[q.head] = pending{}
	q.head++
	q.size -= p.size
	return p
}

// restLocked gives the way out back to the reader.
func (q *queue) restLocked() {
	q.shrink()
	q.waiting = false
}

// abandon releases everything after a failed write and closes the connection. waiting stays set: nobody may write.
func (q *queue) abandon() {
	q.c.close()
	q.out.Reset()
	q.mu.Lock()
	left := q.items[q.head:]
	q.items, q.head, q.size = nil, 0, 0
	q.mu.Unlock()
	for _, p := range left {
		p.reply.Release()
	}
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// encode appends one complete reply to out and releases it, also if that panics.
func (q *queue) encode(p pending) {
	defer p.reply.Release()
	if q.buf == nil {
		q.buf = q.c.srv.pools.get(outSize)
		q.out.B = q.buf.b[:0]
	}
	q.out.begin(p.header)
	p.reply.Append(&q.out)
	q.out.end()
}

// outSize is the pooled encoding buffer's size in bytes; replies that outgrow it are encoded into the collector's memory.
const outSize = 4 << 10

// shrink gives the encoding buffer back while nothing is to be written. Its caller may write.
func (q *queue) shrink() {
	q.c.srv.pools.put(q.buf)
	q.buf, q.out.B = nil, nil
}

// write sends what is encoded.
func (q *queue) write() error {
	if len(q.out.B) == 0 {
		return nil
	}
	q.c.progress.Add(1) // the peer's time begins now, not when it was last heard of
	q.c.writing.Store(true)
	err := q.c.sock.write(q.c, &q.out)
	q.c.writing.Store(false)
	q.out.Reset()
	if cap(q.out.B) > maxEncoded {
		q.shrink()
	}
	if err != nil {
		q.c.close()
	}
	return err
}

// tryWrite sends what is encoded if that needs no waiting. What it leaves in out is to be sent by write.
func (q *queue) tryWrite() bool {
	if len(q.out.sections) > 0 {
		return false
	}
	n, err := q.c.sock.try(q.c, q.out.B)
	if err != nil || n < len(q.out.B) { // write meets the error again
		q.out.B = q.out.B[:copy(q.out.B, q.out.B[n:])]
		return false
	}
	q.out.Reset()
	if cap(q.out.B) > maxEncoded {
		q.shrink()
	}
	return true
}

// drain waits until everything queued has been written or the connection has ended.
func (q *queue) drain(stop <-chan struct{}) {
	for !q.idle() {
		select {
		case <-q.changed:
		case <-stop:
			return
		}
	}
}

// join waits for the writer after the connection was closed, and releases what is left.
func (q *queue) join() {
	q.mu.Lock()
	q.over = true
	if q.writer {
		q.ended = make(chan struct{})
	}
	ended := q.ended
	q.mu.Unlock()
	if ended != nil {
		<-ended
	}
	q.abandon()
	q.shrink()
}
