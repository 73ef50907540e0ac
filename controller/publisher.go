package controller

import (
	"sync"

	"github.com/kbroker/kbroker/metadata"
)

// publisher shows images to the node: first to the subscribers, then to everybody else by the Cell, and after that it
// releases the calls that wait for them. It has its own goroutine, so that a subscriber which is slow, opening thousands
// of partitions, does not hold up Raft. It may skip images, never their order: a subscriber compares two images and
// finds all that happened between them.
type publisher struct {
	cell        *metadata.Cell
	subscribers []func(prev, next *metadata.Image)
	stop        <-chan struct{}
	done        chan struct{} // closed when run has returned

	mu      sync.Mutex // guards what follows
	latest  *metadata.Image
	waiting []*batch
	wake    chan struct{} // holds a token while there may be something new

	shown chan struct{} // closed when the first image is out
}

// show hands on an image, and a batch of calls to be released with it; either may be nil.
func (p *publisher) show(im *metadata.Image, b *batch) {
	p.mu.Lock()
	if im != nil {
		p.latest = im
	}
	if b != nil {
		p.waiting = append(p.waiting, b) // bounded: the callers of what waits here are blocked
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run publishes until stop is closed.
func (p *publisher) run() {
	defer close(p.done)
	published := p.cell.Load()
	for first := true; ; {
		select {
		case <-p.wake:
		case <-p.stop:
			return
		}
		p.mu.Lock()
		next, batches := p.latest, p.waiting
		p.waiting = nil
		p.mu.Unlock()
		if next != nil && next != published {
			for _, fn := range p.subscribers {
				fn(published, next)
			}
			// Last, so that nobody is told of a partition that is not there yet.
			p.cell.Store(next)
			published = next
		}
		if next != nil && first {
			close(p.shown)
			first = false
		}
		for _, b := range batches {
			b.release()
		}
	}
}
