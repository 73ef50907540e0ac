package power

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"
)

// proofHeader starts the file that long runs append to.
const proofHeader = `# What long runs have shown

Each line is one round of integration/power: ten cycles of load, strike, restart and full read on a fresh disk (its
package comment says how to run one). Rounds of kind *power* cut the power of the shipped program, *names* also take
back names that no directory sync covered, *kill* is kill -9. Counts are records; all but the first two must be 0. In
rounds of kind *control* the broker is wrong on purpose, and must be caught within 20 cycles: cycles are those it passed.

| kind | seed | round | commit | date | cycles | acknowledged | read | lost | duplicated | reordered | gaps | other |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
`

// proof is such a file; the empty one takes nothing.
type proof string

// has reports whether a round stands in the file, so that an interrupted run goes on where it stopped.
func (p proof) has(kind string, seed uint64, number int) (bool, error) {
	if p == "" {
		return false, nil
	}
	data, err := os.ReadFile(string(p))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return strings.Contains(string(data), proofKey(kind, seed, number)), err
}

func proofKey(kind string, seed uint64, number int) string {
	return fmt.Sprintf("\n| %s | %d | %d |", kind, seed, number)
}

// add appends a round, good or bad.
func (p proof) add(kind string, seed uint64, number int, r *round) error {
	if p == "" {
		return nil
	}
	f, err := os.OpenFile(string(p), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() == 0 {
		if _, err := f.WriteString(proofHeader); err != nil {
			return err
		}
	}
	found := &r.found
	_, err = fmt.Fprintf(f, "%s %s | %s | %d | %d | %d | %d | %d | %d | %d | %d |\n", proofKey(kind, seed, number)[1:],
		commit(), time.Now().UTC().Format(time.DateOnly), r.cycles, r.ledger.ackedCount(), found.Read,
		found.Lost, found.Duplicated, found.Reordered, found.Gaps, found.Damaged+found.Other)
	return err
}

// commit names what was tested; a plus says that the work tree had changes beside the proof itself.
func commit() string {
	hash, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	name := strings.TrimSpace(string(hash))
	if exec.Command("git", "diff", "--quiet", "HEAD", "--", ":/", ":(top,exclude)integration/PROOF.md").Run() != nil {
		name += "+"
	}
	return name
}
