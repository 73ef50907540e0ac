package wire

import (
	"runtime"
	"sync"
)

// writers are the goroutines that write replies which became complete after their request was left: as many as can run at
// once, and none while there is nothing to write. A rebalance of a thousand members makes a thousand replies complete in the
// same moment; a goroutine for each would cost more than the write that it is there for.
type writers struct {
	wg *sync.WaitGroup // the server's, which waits for them

	mu    sync.Mutex // guards what follows
	ready []*queue   // to be written, from head on
	head  int
	busy  int // goroutines
}

// keptReady bounds the list, in queues, that is kept while nothing is to be written.
const keptReady = 4096

// add has a queue written. It does not wait. The queue's connection is still open, so that the server is still waited for.
func (w *writers) add(q *queue) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.head > 0 && len(w.ready) == cap(w.ready) { // move to the front rather than grow
		n := copy(w.ready, w.ready[w.head:])
		clear(w.ready[n:])
		w.ready, w.head = w.ready[:n], 0
	}
	w.ready = append(w.ready, q)
	if w.busy < runtime.GOMAXPROCS(0) {
		w.busy++
		w.wg.Add(1)
		go w.work()
	}
}

// work is one of the goroutines. It ends when nothing is to be written.
func (w *writers) work() {
	defer w.wg.Done()
	for {
		w.mu.Lock()
		if w.head == len(w.ready) {
			w.ready, w.head = w.ready[:0], 0
			if cap(w.ready) > keptReady {
				w.ready = nil
			}
			w.busy--
			w.mu.Unlock()
			return
		}
		q := w.ready[w.head]
		w.ready[w.head] = nil
		w.head++
		w.mu.Unlock()
		q.writeComplete()
	}
}
