//go:build linux

package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/kbroker/kbroker/integration/bench/proc"
)

// member is one member of the group; run is its whole life.
type member interface {
	// run joins and takes part until leave is closed, then leaves the group.
	run(leave <-chan struct{})
}

// standing is what a member knows of the group; the board compares those of all.
type standing struct {
	epoch      int32 // generation or member epoch; negative while it has none
	partitions int   // owned, in the protocol of KIP-848
}

// board sees when the members agree: all are in one epoch, and own as many partitions as they should.
type board struct {
	mu         sync.Mutex // guards everything
	epochs     map[int32]int
	partitions int // owned by all
	members    int // wanted
	owned      int // wanted; negative: not compared
	since      time.Time
	// hurry is closed while the members do not agree: they heartbeat as fast as they are answered then, so that what
	// is measured is the broker's work and not the clients' timers.
	hurry chan struct{}
}

// disagreed is closed, or will be as soon as the members do not agree.
func (b *board) disagreed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hurry
}

// move takes a member from one standing to the next.
func (b *board) move(from, to standing) {
	if from == to {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if from.epoch >= 0 {
		b.epochs[from.epoch]--
	}
	if to.epoch >= 0 {
		b.epochs[to.epoch]++
	}
	b.partitions += to.partitions - from.partitions
	b.look(to.epoch)
}

// look notes when agreement began. The epoch is that of whoever moved last: no other can have become complete.
func (b *board) look(epoch int32) {
	agree := epoch >= 0 && b.epochs[epoch] == b.members && (b.owned < 0 || b.partitions == b.owned)
	switch {
	case !agree:
		b.disagree()
	case b.since.IsZero():
		b.since, b.hurry = time.Now(), make(chan struct{})
	}
}

// disagree makes the members hurry.
func (b *board) disagree() {
	if !b.since.IsZero() {
		b.since = time.Time{}
		close(b.hurry)
	}
}

// want begins a phase with so many members.
func (b *board) want(members int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.members = members
	b.disagree()
}

// await returns when agreement began that then lasted.
func (b *board) await(phase string) time.Time {
	const lasting, patience = time.Second, 3 * time.Minute
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		b.mu.Lock()
		since := b.since
		b.mu.Unlock()
		if !since.IsZero() && time.Since(since) > lasting {
			return since
		}
		if time.Since(start) > patience {
			fail(fmt.Errorf("%s: the members did not agree within %v", phase, patience))
		}
	}
}

// phases measures how a group forms, loses a member and gets a new one.
func phases(o *options, newMember func(o *options, b *board, group string) member) {
	group := fmt.Sprintf("%s-%d", o.mode, time.Now().UnixNano())
	b := &board{epochs: map[int32]int{}, owned: -1, hurry: make(chan struct{})}
	close(b.hurry)
	if o.mode == "consumer" {
		b.owned = o.members
	}
	var running sync.WaitGroup
	start := func() chan struct{} {
		m, leave := newMember(o, b, group), make(chan struct{})
		running.Go(func() { m.run(leave) })
		return leave
	}
	var leaves []chan struct{}
	phase := func(name string, members int, begin func()) {
		b.want(members)
		cpu, _, _ := proc.Usage(o.pid)
		from := time.Now()
		begin()
		took := b.await(name).Sub(from)
		after, rss, _ := proc.Usage(o.pid)
		fmt.Printf("%s_%s members=%d ms=%.0f broker_cpu_ms=%.0f broker_rss_MB=%.0f\n", o.mode, name, members,
			float64(took.Microseconds())/1000, (after-cpu)*1000, rss)
	}
	phase("form", o.members, func() {
		for range o.members {
			leaves = append(leaves, start())
		}
	})
	phase("leave", o.members-1, func() {
		close(leaves[len(leaves)-1])
		leaves = leaves[:len(leaves)-1]
	})
	phase("join", o.members, func() { leaves = append(leaves, start()) })
	for _, leave := range leaves {
		close(leave)
	}
	running.Wait()
}
