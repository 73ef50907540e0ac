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

// queue is the way of a connection's replies out: complete ones are encoded and written by the reader while no writer
// runs, the others wait here for the writer, which exists as long as the queue is not empty.
//
// out belongs to whoever may write: the writer while it runs, else the reader. The hand-over happens under mu.
type queue struct {
	c   *conn
	out Out
	buf *buffer // what out.B started in

	mu      sync.Mutex // guards what follows
	items   []pending  // waiting, from head on
	head    int
	size    int           // memory that the items hold
	running bool          // a writer goroutine exists
	changed chan struct{} // capacity 1: an item was taken, or the writer ended
	done    chan struct{} // closed when the running writer has ended
}

// idle reports whether the reader may write. Only the reader starts a writer, so true stays true for it.
func (q *queue) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.running
}

// push leaves a reply to the writer, waiting while the queue is full. It reports false when stop was closed.
func (q *queue) push(p pending, stop <-chan struct{}) bool {
	for {
		q.mu.Lock()
		if n := len(q.items) - q.head; n == 0 || n < maxQueued && q.size+p.size <= maxQueuedBytes {
			if q.head > 0 && q.head == len(q.items) {
				q.items, q.head = q.items[:0], 0
			}
			q.items = append(q.items, p)
			q.size += p.size
			if !q.running {
				q.running = true
				q.done = make(chan struct{})
				// The writer ends when the queue is empty or the connection ends.
				go q.run(q.done)
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

// run is the writer goroutine.
func (q *queue) run(done chan struct{}) {
	defer close(done)
	defer func() {
		if p := recover(); p != nil {
			// As in conn.loop: only this connection dies of it.
			q.c.srv.note(q.c, fmt.Errorf("panic in a reply: %v\n%s", p, debug.Stack()))
			q.abandon()
		}
	}()
	for {
		p, ok := q.pop()
		if !ok {
			return
		}
		if !p.reply.Done() {
			if q.write() != nil {
				p.reply.Release()
				q.abandon()
				return
			}
			p.reply.Wait(q.c.stop)
		}
		select {
		case <-q.c.stop:
			p.reply.Release()
			q.abandon()
			return
		default:
		}
		q.c.srv.stats.answered(&p, time.Now())
		q.encode(p)
		if q.out.size() >= maxEncoded && q.write() != nil {
			q.abandon()
			return
		}
	}
}

// pop takes the next reply. When there is none it writes what is encoded and, if still none has come, ends the writer.
func (q *queue) pop() (pending, bool) {
	for {
		q.mu.Lock()
		if q.head < len(q.items) {
			p := q.items[q.head]
			q.items[q.head] = pending{}
			q.head++
			q.size -= p.size
			q.mu.Unlock()
			q.signal()
			return p, true
		}
		if len(q.out.B) == 0 {
			q.shrink()
			q.running = false
			q.mu.Unlock()
			q.signal()
			return pending{}, false
		}
		q.mu.Unlock()
		if q.write() != nil {
			q.abandon()
			return pending{}, false
		}
	}
}

// abandon releases everything after a failed write and closes the connection. running stays set: nobody may write.
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

// encode appends one complete reply to out and releases it.
func (q *queue) encode(p pending) {
	if q.buf == nil {
		q.buf = q.c.srv.pools.get(outSize)
		q.out.B = q.buf.b[:0]
	}
	q.out.begin(p.header)
	p.reply.Append(&q.out)
	q.out.end()
	p.reply.Release()
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

// drain waits until everything queued has been written or the connection has ended.
func (q *queue) drain(stop <-chan struct{}) {
	for {
		q.mu.Lock()
		running := q.running
		q.mu.Unlock()
		if !running {
			return
		}
		select {
		case <-q.changed:
		case <-stop:
			return
		}
	}
}

// join waits for the writer goroutine after the connection was closed, and releases what is left.
func (q *queue) join() {
	q.mu.Lock()
	done := q.done
	q.mu.Unlock()
	if done != nil {
		<-done
	}
	q.abandon()
	q.shrink()
}
