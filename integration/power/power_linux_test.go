package power

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

var (
	rounds     = flag.Int("rounds", 1, "rounds of cycles for each kind of strike")
	cycleCount = flag.Int("cycles", 10, "cycles in a round")
	seed       = flag.Uint64("seed", 1, "where all random choices start")
	proofFile  = flag.String("proof", "", "append each round to this file, and leave out those that it has")
)

// Both builds of the broker, made once.
var shipped, control *program

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		if os.Geteuid() != 0 {
			fmt.Fprintln(os.Stderr, "integration/power mounts file systems: run it as root")
			return 1
		}
		dir, err := os.MkdirTemp("", "power")
		if err == nil {
			defer os.RemoveAll(dir)
			shipped, err = build(dir, "")
		}
		if err == nil {
			control, err = build(dir, "negativecontrol")
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// kind is one way to run rounds.
type kind struct {
	name    string
	program *program
	strike  strike
	names   bool // take back names that were not synced
	seed    uint64
}

// start makes round number of a kind on a disk of its own.
func (k *kind) start(t *testing.T, number int) *round {
	t.Helper()
	dir, p, names := t.TempDir(), k.program, ""
	if k.names {
		names = filepath.Join(dir, "names")
		p = p.with("KBROKER_NAMES=" + names)
	}
	r, err := newRound(dir, p, k.strike, names, k.seed<<16+uint64(number))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// prove runs rounds that must find nothing.
func (k *kind) prove(t *testing.T) {
	for number := range *rounds {
		t.Run(fmt.Sprintf("%s/round %d", k.name, number), func(t *testing.T) {
			done, err := proof(*proofFile).has(k.name, k.seed, number)
			if err != nil {
				t.Fatal(err)
			}
			if done {
				t.Logf("%s has this round", *proofFile)
				return
			}
			r := k.start(t, number)
			if err := r.run(t.Context(), *cycleCount); err != nil {
				t.Fatalf("seed %d: %v", k.seed, err)
			}
			if r.found.wrong() > 0 {
				t.Errorf("seed %d: %s", k.seed, &r.found)
			}
			t.Logf("%s: %d cycles, %d records acknowledged, %d read, %d lost, %d duplicated, %d reordered, %d gaps", k.name, r.cycles,
				r.ledger.ackedCount(), r.found.Read, r.found.Lost, r.found.Duplicated, r.found.Reordered, r.found.Gaps)
			if err := proof(*proofFile).add(k.name, k.seed, number, r); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestPowerCuts is must-show 6: after any power cut everything acknowledged is there, once and in order.
func TestPowerCuts(t *testing.T) {
	(&kind{name: "power", program: shipped, strike: cutPower, seed: *seed}).prove(t)
	(&kind{name: "names", program: control, strike: cutPower, names: true, seed: *seed}).prove(t)
}

// TestKills is the same for kill -9.
func TestKills(t *testing.T) {
	(&kind{name: "kill", program: shipped, strike: killProcess, seed: *seed}).prove(t)
}

// TestNegativeControls shows that the tests above can fail: each of three brokers that are wrong on purpose is caught.
func TestNegativeControls(t *testing.T) {
	const within = 20 // cycles
	for _, wrong := range []string{"nosync", "nodirsync", "earlyack"} {
		t.Run(wrong, func(t *testing.T) {
			k := &kind{
				name: wrong, program: control.with("KBROKER_NEGATIVE=" + wrong), strike: cutPower, seed: *seed, names: wrong == "nodirsync",
			}
			r := k.start(t, 0)
			if err := r.run(t.Context(), within); err != nil {
				t.Fatal(err)
			}
			if r.found.wrong() == 0 {
				t.Fatalf("not caught in %d cycles", within)
			}
			t.Logf("caught in cycle %d: %s", r.cycles+1, &r.found)
		})
	}
}
