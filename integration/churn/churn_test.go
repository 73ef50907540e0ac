package churn

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kbroker/kbroker/integration/kafkapeer"
	"github.com/kbroker/kbroker/integration/kbrokerproc"
)

var (
	long    = flag.Bool("long", false, "churn for a minute in each mode")
	against = flag.String("against", "kbroker", "kbroker, or kafka for a real Kafka")
	seed    = flag.Uint64("seed", 0, "who goes when; 0 is for another one each time")
)

const (
	partitions        = 36
	sessionTimeout    = 6 * time.Second
	heartbeatInterval = 500 * time.Millisecond
	// silence is how long a member may have gone without an accepted commit before it counts as possibly fenced. Its
	// heartbeats come from beside its commits and may be late by as much again before the session ends.
	silence  = sessionTimeout / 2
	patience = 2 * time.Minute
	// maxLeaving is how many leave at once; fewer if chance picks a seat twice.
	maxLeaving = 5
)

// mode says which protocol a new member speaks, by how much of the churn is over (0 to 1).
type mode struct {
	name     string
	protocol func(r *rand.Rand, over float64) string
	types    []string // of the group, as it changes
}

var modes = []mode{
	{"classic", func(*rand.Rand, float64) string { return "classic" }, []string{"classic"}},
	{"consumer", func(*rand.Rand, float64) string { return "consumer" }, []string{"consumer"}},
	{"migration", migrating, []string{"classic", "consumer", "classic"}},
}

// migrating moves most of the group to the new protocol, and then back; there are always newcomers of both.
func migrating(r *rand.Rand, over float64) string {
	const turn = 0.6
	likely := r.IntN(4) > 0
	if over > 0 && over < 1 && likely == (over < turn) {
		return "consumer"
	}
	return "classic"
}

// TestChurn is described in README.md.
func TestChurn(t *testing.T) {
	settings := []string{
		"group.consumer.min.session.timeout.ms=6000", "group.consumer.session.timeout.ms=6000",
		"group.consumer.min.heartbeat.interval.ms=500", "group.consumer.heartbeat.interval.ms=500",
		"group.consumer.migration.policy=bidirectional", "group.initial.rebalance.delay.ms=500",
	}
	var bootstrap string
	if *against == "kafka" {
		bootstrap = kafkapeer.StartForTest(t, kafkapeer.Config{Properties: settings}).Bootstrap()
	} else {
		bootstrap = kbrokerproc.StartForTest(t, kbrokerproc.Config{Properties: settings}).Bootstrap()
	}
	programs := libraries(t)
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Logf("-seed %d", *seed)
			c := &churn{t: t, mode: m, bootstrap: bootstrap, group: "churn-" + m.name, rand: rand.New(rand.NewPCG(*seed, 0)), speaking: map[string]int{}, history: newHistory()}
			c.run(programs)
		})
	}
}

// churn is one group and its members.
type churn struct {
	t *testing.T
	mode
	bootstrap, group string // the topic has the group's name
	rand             *rand.Rand
	places           []*place
	joined           int
	speaking         map[string]int // how many joined, by protocol
	mixed            int            // the most members that had partitions beside as many of the other protocol
	kills, leaves    int
	lastKill         time.Time

	mu      sync.Mutex // guards what follows
	history *history
}

// place is a process, which is started anew when it was killed, with room for some members.
type place struct {
	library *library
	process *process
	seats   []seat
}

// seat is a member, or an empty place for one.
type seat struct{ member, protocol string }

func (c *churn) run(programs []library) {
	t := c.t
	w := watch(t, c.bootstrap, c.group, func(wrong string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.history.complain("%s", wrong)
	})
	for i := range programs {
		if programs[i].classicOnly && !slices.Contains(c.types, "classic") {
			continue
		}
		for range programs[i].processes {
			c.places = append(c.places, &place{library: &programs[i], seats: make([]seat, programs[i].each)})
		}
	}
	duration := 12 * time.Second
	if *long {
		duration = time.Minute
	}
	start := time.Now()
	c.fill(0)
	c.await("every member to have a partition", c.allAtWork)
	settled := time.Since(start)
	for start = time.Now(); time.Since(start) < duration; {
		time.Sleep(time.Second + time.Duration(c.rand.Int64N(int64(time.Second))))
		over := min(time.Since(start).Seconds()/duration.Seconds(), 0.99)
		c.mix()
		c.fill(max(over, 0.01))
		c.depart()
	}
	c.settle()
	// What a killed member had is read on when its session has ended. The topic grows until then, so that all members
	// are heard of while they rebalance.
	time.Sleep(time.Until(c.lastKill.Add(sessionTimeout + time.Second)))
	c.await("every member to have a partition", c.allAtWork)
	ends := w.stopFeed()
	c.await("every record to be received", func() bool {
		return !slices.ContainsFunc(c.history.missing(ends), func(o int64) bool { return o >= 0 })
	})
	c.await("every record to be committed", func() bool { return slices.Equal(w.committed(), ends) })
	c.await("the group to be of type "+c.types[len(c.types)-1], func() bool { return w.lastType() == c.types[len(c.types)-1] })
	c.leaveAll()
	c.judge(ends, w.stop())
	c.report(ends, settled)
}

// fill lets a member join for every empty seat.
func (c *churn) fill(over float64) {
	for _, p := range c.places {
		if p.process == nil {
			p.process = startProcess(c.t, p.library, c.bootstrap, c.group, c.take)
		}
		for i := range p.seats {
			if p.seats[i].member == "" {
				c.joined++
				s := seat{fmt.Sprintf("%s-%d", p.library.name, c.joined), c.protocol(c.rand, over)}
				if p.library.classicOnly {
					s.protocol = "classic"
				}
				p.seats[i] = s
				c.speaking[s.protocol]++
				p.process.members = append(p.process.members, s.member)
				p.process.tell(c.t, "join "+s.member+" "+s.protocol)
			}
		}
	}
}

// depart lets some members leave, or kills a process.
func (c *churn) depart() {
	if (c.kills+c.leaves)%2 == 0 {
		c.leaves++
		for range maxLeaving {
			p := c.places[c.rand.IntN(len(c.places))]
			if p.process != nil {
				c.leave(p, c.rand.IntN(len(p.seats)))
			}
		}
		return
	}
	p := c.places[c.rand.IntN(len(c.places))]
	c.kills++
	c.lastKill = p.process.kill()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, member := range p.process.members {
		c.history.add(event{member: member, word: "killed", at: c.lastKill.UnixNano()})
	}
	p.process = nil
	clear(p.seats)
}

func (c *churn) leave(p *place, i int) {
	if p.seats[i].member != "" {
		p.process.tell(c.t, "leave "+p.seats[i].member)
		p.seats[i] = seat{}
	}
}

// settle fills all seats, with members of the protocol in which the group is to end.
func (c *churn) settle() {
	last := c.types[len(c.types)-1]
	for _, p := range c.places {
		for i := range p.seats {
			if p.process != nil && p.seats[i].protocol != last {
				c.leave(p, i)
			}
		}
	}
	c.fill(1)
}

// mix counts those at work by their protocols.
func (c *churn) mix() {
	c.mu.Lock()
	defer c.mu.Unlock()
	working := map[string]int{}
	for _, p := range c.places {
		for _, s := range p.seats {
			if len(c.history.open[s.member]) > 0 {
				working[s.protocol]++
			}
		}
	}
	c.mixed = max(c.mixed, min(working["classic"], working["consumer"]))
}

// leaveAll ends the input of all processes, upon which their members leave.
func (c *churn) leaveAll() {
	for _, p := range c.places {
		_ = p.process.in.Close()
	}
	late := time.After(patience)
	for _, p := range c.places {
		select {
		case <-p.process.done:
		case <-late:
			c.t.Fatalf("a process of %s did not end within %v of its input's end", p.library.name, patience)
		}
		if state := p.process.cmd.ProcessState; !state.Success() {
			c.t.Errorf("a process of %s ended with %v", p.library.name, state)
		}
	}
}

// take takes a line of a process.
func (c *churn) take(line string) {
	e, err := parseEvent(line)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.history.complain("%v", err)
		return
	}
	c.history.add(e)
}

// allAtWork says whether every seat's member has a partition, of which there are enough. It is asked under mu.
func (c *churn) allAtWork() bool {
	for _, p := range c.places {
		for _, s := range p.seats {
			if len(c.history.open[s.member]) == 0 {
				return false
			}
		}
	}
	return true
}

// await waits until holds, which is asked under mu. A complaint meanwhile is a failure.
func (c *churn) await(what string, holds func() bool) {
	c.t.Helper()
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		c.mu.Lock()
		ok, wrong := holds(), slices.Clone(c.history.wrong)
		c.mu.Unlock()
		switch {
		case len(wrong) > 0:
			c.t.Fatalf("while waiting for %s: %q", what, wrong[:min(len(wrong), 20)])
		case ok:
			return
		case time.Since(start) > patience:
			c.t.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}

func (c *churn) judge(ends []int64, types []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, wrong := range c.history.check(ends) {
		c.t.Error(wrong)
	}
	n := 0 // how much of c.types was seen; a group may change there and back more often
	for _, is := range types {
		if n < len(c.types) && is == c.types[n] {
			n++
		}
	}
	if n < len(c.types) || types[len(types)-1] != c.types[len(c.types)-1] {
		c.t.Errorf("the group was of types %v, want %v", types, c.types)
	}
	if len(c.types) > 1 && c.mixed == 0 {
		c.t.Error("members of both protocols never had partitions at once")
	}
	if left, killed := c.history.count["left"], c.history.count["killed"]; left+killed != c.joined {
		c.t.Errorf("%d members joined, %d were killed and %d left", c.joined, killed, left)
	}
}

// report logs the figures.
func (c *churn) report(ends []int64, settled time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	total := int64(0)
	for _, end := range ends {
		total += end
	}
	h := c.history
	c.t.Logf("%d members joined (%d at first, all at work after %v; by protocol %v), %d left, %d were killed in %d processes", c.joined, members(c.places),
		settled.Round(time.Millisecond), c.speaking, h.count["left"], h.count["killed"], c.kills)
	c.t.Logf("%d assignments of a partition, %d of them counted only up to their last commit; %d commits accepted, %d refused", len(h.spans), h.excused, len(h.commits), h.count["refused"])
	if c.mixed > 0 {
		c.t.Logf("at the height %d members of each protocol had partitions", c.mixed)
	}
	for reason, n := range h.refusals {
		c.t.Logf("refused %d times: %.200s", n, reason)
	}
	c.t.Logf("%d records, %d received again", total, h.again(ends))
}

func members(places []*place) int {
	n := 0
	for _, p := range places {
		n += len(p.seats)
	}
	return n
}
