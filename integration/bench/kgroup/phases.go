//go:build linux

package main

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/kbroker/kbroker/integration/bench/proc"
)

// settlingTime is how long the broker is left alone after each phase, so that the phase is charged with what the broker
// still has to do when its last answer is out.
const settlingTime = 50 * time.Millisecond

// figures are what one kind of phase took, phase by phase.
type figures struct {
	times       []time.Duration
	broker, own time.Duration // CPU time, of all
	requests    int
}

// phases measures how a group forms, and how it loses a member and gets a new one, again and again.
func phases(o *options, newMember func(o *options, group string) member) {
	g := newGroup(o, newMember)
	defer g.close()
	for range o.members {
		g.add()
	}
	var form, leave, join figures
	form.add(g, func() {
		for _, s := range g.seats {
			g.send(s.peer, s.member.join())
		}
		g.settle(none, true)
	})
	epoch := func() int32 { return g.seats[0].standing().epoch }
	for i := range o.warmCycles + o.cycles {
		if i == o.warmCycles {
			leave, join = figures{}, figures{}
		}
		leave.add(g, func() {
			before := epoch()
			g.leave()
			g.settle(before, false)
		})
		g.add()
		join.add(g, func() {
			before := epoch()
			g.join()
			g.settle(before, false)
		})
	}
	form.print(o, "form", o.members)
	leave.print(o, "leave", o.members-1)
	join.print(o, "join", o.members)
	for _, s := range g.seats {
		g.send(s.peer, s.member.leave())
	}
	g.workUntil("not all could leave", func() bool { return g.inFlight == 0 })
}

// add measures one phase.
func (f *figures) add(g *group, phase func()) {
	broker, own, sent := proc.CPU(g.o.pid), proc.CPU(os.Getpid()), g.sent
	from := time.Now()
	phase()
	f.times = append(f.times, time.Since(from))
	f.own += proc.CPU(os.Getpid()) - own
	f.requests += g.sent - sent
	time.Sleep(settlingTime)
	f.broker += proc.CPU(g.o.pid) - broker
}

// print writes the median of the times, and of all else the mean: a collector of garbage does not run in every phase.
func (f *figures) print(o *options, name string, members int) {
	if len(f.times) == 0 {
		return
	}
	slices.Sort(f.times)
	n := len(f.times)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	_, rss, _ := proc.Usage(o.pid)
	fmt.Printf("%s_%s members=%d times=%d ms=%.1f ms_max=%.1f broker_cpu_ms=%.1f client_cpu_ms=%.1f requests=%d broker_rss_MB=%.0f\n",
		o.mode, name, members, n, ms((f.times[(n-1)/2]+f.times[n/2])/2), ms(f.times[n-1]), ms(f.broker)/float64(n), ms(f.own)/float64(n),
		f.requests/n, rss)
}
