package power

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/kbroker/kbroker/integration/kbrokerproc"
)

var (
	rounds     = flag.Int("rounds", 1, "rounds of cycles for each kind of strike")
	cycleCount = flag.Int("cycles", 10, "cycles in a round")
	seed       = flag.Uint64("seed", 1, "where all random choices start")
	proofFile  = flag.String("proof", "", "append each round to this file, and leave out those that it has")
)

// Both builds of the broker, made once.
var shipped, control string

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Geteuid() != 0 {
		fail(errors.New("integration/power mounts file systems: run it as root"))
	}
	var err1, err2 error
	shipped, err1 = kbrokerproc.Build(context.Background())
	control, err2 = kbrokerproc.Build(context.Background(), "negativecontrol")
	if err := errors.Join(err1, err2); err != nil {
		fail(err)
	}
	os.Exit(m.Run())
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// kind is one way to run rounds.
type kind struct {
	name   string
	binary string
	env    []string
	strike strike
	names  bool // take back names that were not synced
}

// start makes round number of a kind on a disk of its own. Every other round has its data directory on a folder; the
// first one does, since a sync of the whole file system makes up for a missing sync of a directory.
func (k *kind) start(t *testing.T, number int) *round {
	t.Helper()
	dir, env, names := t.TempDir(), k.env, ""
	if k.names {
		names = filepath.Join(dir, "names")
		env = append(env, "NEGATIVE_CONTROL_NAMES="+names)
	}
	r, err := newRound(t.Context(), dir, k.binary, env, k.strike, number%2 == 1, *seed<<16+uint64(number))
	if err != nil {
		t.Fatal(err)
	}
	r.names = names
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
			done, err := proof(*proofFile).has(k.name, *seed, number)
			if err != nil {
				t.Fatal(err)
			}
			if done {
				t.Logf("%s has this round", *proofFile)
				return
			}
			r := k.start(t, number)
			if err := r.run(t.Context(), *cycleCount); err != nil {
				t.Fatalf("seed %d: %v", *seed, err)
			}
			if r.found.wrong() > 0 {
				t.Errorf("seed %d: %s", *seed, &r.found)
			}
			t.Logf("%s: %d cycles, %d records acknowledged, %d read, %d lost, %d duplicated, %d reordered, %d gaps", k.name, r.cycles,
				r.ledger.ackedCount(), r.found.Read, r.found.Lost, r.found.Duplicated, r.found.Reordered, r.found.Gaps)
			if err := proof(*proofFile).add(k.name, *seed, number, r); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestPowerCuts is must-show 6: after any power cut everything acknowledged is there, once and in order.
func TestPowerCuts(t *testing.T) {
	(&kind{name: "power", binary: shipped, strike: cutPower}).prove(t)
	(&kind{name: "names", binary: control, strike: cutPower, names: true}).prove(t)
}

// TestKills is the same for kill -9.
func TestKills(t *testing.T) {
	(&kind{name: "kill", binary: shipped, strike: killProcess}).prove(t)
}

// TestNegativeControls shows that the tests above can fail: each of three brokers that are wrong on purpose is caught.
func TestNegativeControls(t *testing.T) {
	const within = 20 // cycles
	for _, wrong := range []string{"nosync", "nodirsync", "earlyack"} {
		t.Run(wrong, func(t *testing.T) {
			k := &kind{binary: control, env: []string{"NEGATIVE_CONTROL=" + wrong}, strike: cutPower, names: wrong == "nodirsync"}
			r := k.start(t, 0)
			if err := r.run(t.Context(), within); err != nil {
				t.Fatal(err)
			}
			if r.found.wrong() == 0 {
				t.Fatalf("not caught in %d cycles", within)
			}
			t.Logf("caught in cycle %d: %s", r.cycles+1, &r.found)
			if err := proof(*proofFile).add("control "+wrong, *seed, 0, r); err != nil {
				t.Fatal(err)
			}
		})
	}
}
