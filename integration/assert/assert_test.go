package assert

import (
	"flag"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
)

var (
	targets = flag.String("target", "both", "kafka, kbroker or both")
	address = flag.String("address", "", "address of a broker that runs already; needs -target kafka or -target kbroker")
)

// assertion is one numbered claim about a broker, and how it is tried.
type assertion struct {
	number string // T001 to T157, in the specification's numbering
	claim  string // in short
	try    func(*check)
	life   life
	only   audience
	alone  bool // no other assertion may run beside it
	looks  bool // into the broker's process or files, so this test must have started it
}

// audience says which targets an assertion is about.
type audience int

const (
	both audience = iota
	// kbrokerOnly is for what kbroker does better than Kafka, on purpose.
	kbrokerOnly
)

// life says in which life of the broker an assertion is made.
type life int

const (
	first    life = iota // no restart
	stopped              // over a clean stop and a start
	killed               // over kill -9 and a start
	unmarked             // over a clean stop whose mark somebody removed, and a start with a short idle limit
)

// assertions are all that are made. T-numbers that are not here are in leftOut.
var assertions = concat(framing, producing, idempotence, fetching, sessions, offsets, metadata, admin, files)

func concat(lists ...[]assertion) (all []assertion) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// TestAssertions makes all assertions about Kafka, and then about kbroker.
func TestAssertions(t *testing.T) {
	run := map[string][]target{"kafka": {kafka}, "kbroker": {kbroker}, "both": {kafka, kbroker}}[*targets]
	if run == nil || *address != "" && len(run) > 1 {
		t.Fatalf("-target %q: say kafka, kbroker or both; with -address not both", *targets)
	}
	var tally []*results
	for _, k := range run {
		t.Run(strings.ReplaceAll(k.String(), " ", "-"), func(t *testing.T) {
			r := &results{held: map[string]bool{}}
			tally = append(tally, r)
			b := &broker{target: k, address: *address}
			if *address == "" {
				b = startBroker(t, k)
			} else if err := b.ask(); err != nil {
				t.Fatal(err)
			}
			r.run(t, b)
		})
	}
	report(t, run, tally)
}

// report prints what held. Its line is the proof that a run leaves.
func report(t *testing.T, run []target, tally []*results) {
	if len(tally) < len(run) { // -run chose one of them
		return
	}
	if len(run) == 1 {
		t.Logf("assert: %d assertions held on %s (%d need a broker that the test starts)", len(tally[0].held), run[0], tally[0].left)
		return
	}
	common, alone := 0, 0
	for number := range tally[1].held {
		if tally[0].held[number] {
			common++
		} else {
			alone++
		}
	}
	t.Logf("assert: %d assertions held on %s and on %s (and %d about %s alone)", common, run[0], run[1], alone, run[1])
}

// results are one target's.
type results struct {
	mu   sync.Mutex // guards held
	held map[string]bool
	left int // assertions that need a broker of ours and were left out
}

// run leads a broker through its lives.
func (r *results) run(t *testing.T, b *broker) {
	for l := first; l <= unmarked; l++ {
		var alone, together []*assertion
		for i := range assertions {
			switch a := &assertions[i]; {
			case a.life != l || a.only == kbrokerOnly && b.target != kbroker:
			case (a.looks || l != first) && !b.ours():
				r.left++
			case a.alone:
				alone = append(alone, a)
			default:
				together = append(together, a)
			}
		}
		for _, a := range alone {
			r.try(t, a, &check{b: b})
		}
		r.together(t, b, l, together)
	}
}

// atOnce bounds how many assertions of the first life run side by side: enough to fill their waits.
const atOnce = 12

// together runs assertions side by side. Those that restart the broker must all run at once, since they wait for each
// other.
func (r *results) together(t *testing.T, b *broker, l life, list []*assertion) {
	restart := newRestart(t.Context(), b, l, len(list))
	room := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, a := range list {
		all.Go(func() {
			if l == first {
				room <- struct{}{}
				defer func() { <-room }()
			}
			m := &member{restart: restart}
			defer m.leave()
			r.try(t, a, &check{b: b, member: m})
		})
	}
	all.Wait()
}

// try runs one assertion as a subtest, unless -run leaves it out.
func (r *results) try(t *testing.T, a *assertion, c *check) {
	ran := false
	held := t.Run(a.number, func(t *testing.T) {
		ran = true
		c.T, c.id = t, strings.ToLower(a.number)+"-"+strconv.FormatUint(rand.Uint64(), 36)
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s says: %s", a.number, a.claim)
			}
		})
		a.try(c)
	})
	if ran && held {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.held[a.number] = true
	}
}
