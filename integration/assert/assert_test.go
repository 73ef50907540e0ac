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
	better bool // kbroker does better than Kafka here, on purpose: not asserted about Kafka
	alone  bool // no other assertion may run beside it
	looks  bool // into the broker's process or files, so this test must have started it
}

// life says in which life of the broker an assertion is made.
type life int

const (
	first    life = iota // no restart
	stopped              // over a clean stop and a start
	killed               // over kill -9 and a start
	unmarked             // over a clean stop whose mark somebody removed, and a start that ends idle connections and expires records soon
)

// assertions are all that are made. T-numbers that are not here are in leftOut.
var assertions = concat(framing, producing, idempotence, fetching, sessions, offsets, metadata, admin, quotas,
	classic, committed, committing, joining, files, cleaning)

func concat(lists ...[]assertion) (all []assertion) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// TestAssertions makes all assertions about each target. Both run at once, since most of the time is waiting.
func TestAssertions(t *testing.T) {
	run := map[string][]target{"kafka": {kafka}, "kbroker": {kbroker}, "both": {kafka, kbroker}}[*targets]
	if run == nil || *address != "" && len(run) > 1 {
		t.Fatalf("-target %q: say kafka, kbroker or both; with -address not both", *targets)
	}
	tally := map[target]*results{}
	var all sync.WaitGroup
	for _, k := range run {
		r := &results{held: map[string]bool{}}
		tally[k] = r
		all.Go(func() {
			t.Run(strings.ReplaceAll(k.String(), " ", "-"), func(t *testing.T) { r.all(t, k) })
		})
	}
	all.Wait()
	if len(run) == 1 {
		r := tally[run[0]]
		if r.left > 0 {
			t.Logf("assert: %d assertions are about a broker that the test starts, and were left out", r.left)
		}
		t.Logf("assert: %d assertions held on %s", len(r.held), run[0])
		return
	}
	common, alone := 0, 0
	for _, a := range assertions {
		switch held := tally[kbroker].held[a.number]; {
		case held && a.better:
			alone++
		case held && tally[kafka].held[a.number]:
			common++
		}
	}
	t.Logf("assert: %d assertions held on %s and on %s (and %d about %s alone)", common, kafka, kbroker, alone, kbroker)
}

// results are one target's.
type results struct {
	mu   sync.Mutex // guards held
	held map[string]bool
	left int // assertions that need a broker of ours and were left out
}

// all makes all assertions about a target, leading a broker through its lives.
func (r *results) all(t *testing.T, k target) {
	b := &broker{target: k, address: *address}
	if *address == "" {
		b = startBroker(t, k)
	} else if err := b.ask(); err != nil {
		t.Fatal(err)
	}
	for l := first; l <= unmarked; l++ {
		var alone, together []*assertion
		for i := range assertions {
			switch a := &assertions[i]; {
			case a.life != l || a.better && b.target != kbroker:
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
