package controller

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/metadata"
)

// call is a command on its way.
type call struct {
	ctx  context.Context
	cmd  command
	err  error      // of decide
	done chan error // of capacity one
}

// batch is the calls that were decided together.
type batch struct {
	calls []*call
	// index is what the entry was expected to get, and head the image that it leads to then.
	index uint64
	head  *metadata.Image
}

// release answers the calls: what they decided is committed and shown.
func (b *batch) release() {
	for _, c := range b.calls {
		c.done <- c.err
	}
}

// fail answers the calls with an error: what they decided may or may not come to pass.
func (b *batch) fail(err error) {
	for _, c := range b.calls {
		c.done <- err
	}
}

// decide decides calls from the front of the queue, and returns how many: those whose records fit one entry. Calls
// whose caller has gone are not decided (rule 7.4.9).
func (d *decision) decide(queue []*call) int {
	for i, c := range queue {
		if c.err = timedOut(c.ctx); c.err != nil {
			continue
		}
		before := *d
		c.err = c.cmd.decide(d)
		if size := len(d.data) - len(before.data); c.err == nil && size > maxEntryBytes {
			c.err = refuse(kerr.PolicyViolation, "the request would write %d bytes of metadata, more than %d; send it in parts", size, maxEntryBytes)
		}
		if c.err != nil {
			*d = before
		}
		if len(d.records) >= maxRecords || len(d.data) >= batchBytes {
			return i + 1
		}
	}
	return len(queue)
}

// timedOut returns the error of a call whose context has ended, or nil.
func timedOut(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return refuse(kerr.RequestTimedOut, "the controller did not get to it in time; it may still happen")
	}
	return refuse(kerr.RequestTimedOut, "the broker is stopping; it may still happen")
}
