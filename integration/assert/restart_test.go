package assert

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// restart is one end of the broker and its next start, for which all assertions of a life wait together.
type restart struct {
	down, up *barrier
}

func newRestart(ctx context.Context, b *broker, l life, members int) *restart {
	return &restart{
		down: newBarrier(members, func() error { return end(b, l) }),
		up: newBarrier(members, func() error {
			b.process.Close()
			return b.revive(ctx, propertiesOf[l]...)
		}),
	}
}

// idleLimit is connections.max.idle.ms in the life unmarked, in milliseconds. No assertion of that life but T013 leaves
// a connection alone for long.
const idleLimit = 5000

// propertiesOf are settings that a life has besides the usual ones. In the last one retention looks often, and soon after
// the start: what other assertions wrote with old times is gone then.
var propertiesOf = map[life][]string{unmarked: {
	fmt.Sprintf("connections.max.idle.ms=%d", idleLimit), "log.retention.check.interval.ms=200", "log.initial.task.delay.ms=0",
}}

// end ends the broker in the way that the next life is about.
func end(b *broker, l life) error {
	if l == killed {
		b.process.Kill()
		return nil
	}
	if err := b.process.Stop(); err != nil {
		return err
	}
	if l == unmarked {
		return os.Remove(filepath.Join(b.process.DataDir(), ".kafka_cleanshutdown"))
	}
	return nil
}

// barrier opens when all of its members have arrived, after doing what it is there for. It does nothing if all of them
// arrived by leaving.
type barrier struct {
	act  func() error
	open chan struct{} // closed when act is done; err is set before
	err  error

	mu      sync.Mutex // guards what follows
	missing int
	wanted  bool // a member waits
}

func newBarrier(members int, act func() error) *barrier {
	return &barrier{act: act, open: make(chan struct{}), missing: members}
}

func (b *barrier) arrive(waits bool) {
	b.mu.Lock()
	b.missing--
	b.wanted = b.wanted || waits
	last := b.missing == 0
	b.mu.Unlock()
	if !last {
		return
	}
	if b.wanted {
		b.err = b.act()
	}
	close(b.open)
}

// member is one assertion's part in a restart.
type member struct {
	restart *restart
	passed  int // barriers
}

func (m *member) pass() error {
	b := []*barrier{m.restart.down, m.restart.up}[m.passed]
	m.passed++
	b.arrive(true)
	<-b.open
	return b.err
}

// leave must be called when the assertion is over, so that the others do not wait for one that failed.
func (m *member) leave() {
	for _, b := range []*barrier{m.restart.down, m.restart.up}[m.passed:] {
		b.arrive(false)
	}
	m.passed = 2
}

// awaitStop waits until the broker has ended. Connections are dead then, and files lie as it left them.
func (c *check) awaitStop() {
	c.Helper()
	if err := c.pass(); err != nil {
		c.Fatalf("stopping %s: %v", c.b.target, err)
	}
}

// awaitStart waits until the broker runs again.
func (c *check) awaitStart() {
	c.Helper()
	if err := c.pass(); err != nil {
		c.Fatalf("starting %s again: %v", c.b.target, err)
	}
}

// awaitRestart is both.
func (c *check) awaitRestart() {
	c.Helper()
	c.awaitStop()
	c.awaitStart()
}
