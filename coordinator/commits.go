package coordinator

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/replica"
)

// commits are the replies of a shard that wait for the partition to be committed, in the order of the offsets that they
// wait for. One acknowledgement, for the first of them, is registered with the partition: what is committed with it is
// released with it. It belongs to the shard's goroutine.
type commits struct {
	waiter *replica.Waiter
	ack    replica.Ack
	asked  bool // ack is with the partition, or has come back
	queue  []awaited
	head   int
}

// awaited is a reply and the end of the log when it was decided.
type awaited struct {
	end   int64
	reply Reply
}

// len is the number of replies that wait.
func (c *commits) len() int { return len(c.queue) - c.head }

// add has a reply wait for the log to be committed up to end, which is not below that of the reply before.
func (c *commits) add(end int64, r Reply) {
	if c.head > 0 && len(c.queue) == cap(c.queue) { // move to the front rather than grow
		n := copy(c.queue, c.queue[c.head:])
		clear(c.queue[n:])
		c.queue, c.head = c.queue[:n], 0
	}
	c.queue = append(c.queue, awaited{end, r})
}

// release sends the replies for what is committed, and asks to be told of the rest. An error says that the rest won't be
// committed by this leader.
func (c *commits) release(p *replica.Partition) error {
	c.sendUpTo(p.HighWatermark())
	for c.len() > 0 {
		if !c.asked {
			c.ack.Offset, c.asked = c.queue[c.head].end, true
			p.Await(&c.ack, c.waiter, -1)
		}
		if c.waiter.Pending() > 0 {
			return nil
		}
		c.asked = false
		// An ISR that shrank below its minimum does not take back what was committed.
		if err := c.ack.Err; err != nil && !errors.Is(err, kerr.NotEnoughReplicasAfterAppend) {
			return err
		}
		c.sendUpTo(p.HighWatermark())
	}
	c.forget(p)
	return nil
}

func (c *commits) sendUpTo(hw int64) {
	for c.len() > 0 && c.queue[c.head].end <= hw {
		r := c.queue[c.head].reply
		c.queue[c.head] = awaited{}
		c.head++
		r(nil)
	}
}

// fail sends what is committed, and err to all others.
func (c *commits) fail(p *replica.Partition, err error) {
	c.sendUpTo(p.HighWatermark())
	for ; c.head < len(c.queue); c.head++ {
		c.queue[c.head].reply(err)
	}
	c.forget(p)
}

// forget takes back what was asked of the partition, and the memory of the queue, when nothing waits.
func (c *commits) forget(p *replica.Partition) {
	if c.asked {
		p.Cancel(&c.ack, nil)
		c.asked = false
	}
	c.queue, c.head = nil, 0
}
