package wire

import "time"

// mute keeps the reader from starting another request until d from now.
func (c *conn) mute(d time.Duration) {
	until := int64(time.Since(c.srv.began) + d)
	for {
		old := c.mutedUntil.Load()
		if old >= until || c.mutedUntil.CompareAndSwap(old, until) {
			return
		}
	}
}

// sitOut answers what was asked and then waits until the connection is muted no longer. It is the reader that waits, who
// has nothing else to do: the connection costs others nothing, and the peer's bytes stay in its own socket. A peer that
// is muted for longer than it may be idle is closed by the janitor.
func (c *conn) sitOut() error {
	if err := c.flushAndRespond(); err != nil {
		return err
	}
	if c.in != nil {
		c.park()
	}
	c.inFrame.Store(false) // nobody waits for the peer
	c.srv.stats.Muted.Add(1)
	defer c.srv.stats.Muted.Add(-1)
	defer c.progress.Add(1)
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		until := c.mutedUntil.Load()
		left := time.Duration(until) - time.Since(c.srv.began)
		if left <= 0 {
			if c.mutedUntil.CompareAndSwap(until, 0) {
				return nil
			}
			continue
		}
		t.Reset(left)
		select {
		case <-t.C:
		case <-c.stop:
			return errClosed
		}
	}
}
