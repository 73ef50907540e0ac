package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// driven reports whether a package drives the built broker from outside, rather than being part of it.
func driven(importPath string) bool {
	return strings.Contains(importPath, "/integration/") || strings.Contains(importPath, "/examples/")
}

// packages lists the packages with tests that drive the broker, or those that don't.
func packages(r *report, want bool) []string {
	const format = `{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}`
	out, err := command(nil, "go", "list", "-f", format, "./...")
	list := strings.Fields(string(out))
	if err == nil && len(list) == 0 {
		err = errors.New("no tests found")
	}
	if err != nil {
		r.check("go list", err, out)
		return nil
	}
	return slices.DeleteFunc(list, func(p string) bool { return driven(p) != want })
}

// Time limits for one package: far above what it takes, so that a hang costs the run and not the machine.
const (
	unitTimeout        = "20m"
	integrationTimeout = "30m"
)

// runUnit runs the unit tests twice: as shipped, which is where allocations are counted, and with the race detector.
func runUnit(r *report) {
	list := packages(r, false)
	// The runner itself is a package that needs no broker.
	list = append(list, "./integration/suite")
	r.goTest("", false, append([]string{"-count=1", "-timeout", unitTimeout}, list...)...)
	r.goTest("race", false, append([]string{"-count=1", "-race", "-timeout", unitTimeout}, list...)...)
}

// runIntegration runs one suite at a time, since each wants both cores, and shows what they log: the counts that prove
// something.
func runIntegration(r *report) {
	list := slices.DeleteFunc(packages(r, true), func(p string) bool { return strings.HasSuffix(p, "/integration/suite") })
	if len(list) > 0 {
		r.goTest("", true, append([]string{"-count=1", "-p", "1", "-timeout", integrationTimeout}, list...)...)
	}
}

// fuzzTargetsPerRun bounds the time that fuzzing takes; every target's turn comes within some days. All corpora run as
// unit tests every time.
const fuzzTargetsPerRun = 8

// fuzzTarget is one function FuzzXxx.
type fuzzTarget struct{ pkg, name string }

func runFuzz(r *report) {
	targets, err := fuzzTargets()
	if err != nil {
		r.check("finding fuzz targets", err, nil)
		return
	}
	chosen := rotate(targets, int(time.Now().Unix()/(24*60*60)), fuzzTargetsPerRun)
	fmt.Fprintf(r.out, "%d of %d targets, %v each\n", len(chosen), len(targets), *fuzzTime)
	for _, target := range chosen {
		out, err := target.fuzz()
		for range fuzzRetries {
			if err == nil || !deadlineFault(out) {
				break
			}
			out, err = target.fuzz()
		}
		r.check(target.name+" in "+target.pkg, err, out)
	}
}

func (f fuzzTarget) fuzz() ([]byte, error) {
	out, err := exec.Command("go", "test", "-run", "^$", "-fuzz", "^"+f.name+"$", "-fuzztime", fuzzTime.String(), f.pkg).CombinedOutput()
	return out, err
}

// fuzzRetries is how often a target is fuzzed again whose failure was none.
const fuzzRetries = 3

// deadlineFault reports whether all that failed is that the time for fuzzing was over, which package testing takes for a
// failure now and then, when a worker is busy at that moment. A failure of the target names its input.
func deadlineFault(out []byte) bool {
	return bytes.Contains(out, []byte("\n    context deadline exceeded\n")) && !bytes.Contains(out, []byte("Failing input written"))
}

// fuzzTargets lists all targets, in an order that is the same everywhere.
func fuzzTargets() ([]fuzzTarget, error) {
	out, err := command(nil, "go", "test", "-json", "-list", "^Fuzz", "./...")
	if err != nil {
		return nil, fmt.Errorf("go test -list: %w\n%s", err, out)
	}
	var targets []fuzzTarget
	for line := range strings.Lines(string(out)) {
		var e event
		if json.Unmarshal([]byte(line), &e) == nil && e.Action == "output" && strings.HasPrefix(e.Output, "Fuzz") {
			targets = append(targets, fuzzTarget{e.Package, strings.TrimSpace(e.Output)})
		}
	}
	slices.SortFunc(targets, func(a, b fuzzTarget) int { return strings.Compare(a.pkg+" "+a.name, b.pkg+" "+b.name) })
	return targets, nil
}

// rotate returns n elements of list, the next n for the next turn, in a circle.
func rotate[T any](list []T, turn, n int) []T {
	n = min(n, len(list))
	chosen := make([]T, 0, n)
	for i := range n {
		chosen = append(chosen, list[(turn*n+i)%len(list)])
	}
	return chosen
}
