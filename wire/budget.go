package wire

import "sync"

// budget bounds the bytes that large frames hold together. One holder, the exempt one, may always go beyond it: without
// that, frames that are each half read could wait for each other for ever.
type budget struct {
	limit int64

	mu     sync.Mutex // guards what follows
	used   int64
	exempt *grant
	freed  chan struct{} // closed and replaced whenever bytes are given back
}

// grant is what one frame holds of a budget. It is used by one goroutine.
type grant struct{ n int64 }

func newBudget(limit int64) *budget {
	return &budget{limit: limit, freed: make(chan struct{})}
}

// take adds n bytes to g, waiting until they fit. It reports false when stop was closed first.
func (b *budget) take(g *grant, n int64, stop <-chan struct{}) bool {
	for {
		b.mu.Lock()
		if b.used+n <= b.limit || b.exempt == nil || b.exempt == g {
			if b.used+n > b.limit {
				b.exempt = g
			}
			b.used += n
			g.n += n
			b.mu.Unlock()
			return true
		}
		freed := b.freed
		b.mu.Unlock()
		select {
		case <-freed:
		case <-stop:
			return false
		}
	}
}

// release gives back everything g holds.
func (b *budget) release(g *grant) {
	if g.n == 0 {
		return
	}
	b.mu.Lock()
	b.used -= g.n
	g.n = 0
	if b.exempt == g {
		b.exempt = nil
	}
	close(b.freed)
	b.freed = make(chan struct{})
	b.mu.Unlock()
}
