// Command suite runs every check and test of the repository: it is what `make test` and CI run.
//
//	go run ./integration/suite [flags] [step…]
//
// Without steps it runs all of them. It installs what the tests need by running integration/*/setup.sh first; a new
// suite below integration/ is found by itself, with its setup.sh and its tests, and needs no line anywhere. The last
// line of output is "N passed, N failed"; the exit code is 1 if anything failed or was skipped. A test that lacks a
// tool must fail, never skip: the tool belongs into a setup.sh.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"time"
)

// step is one part of the suite.
type step struct {
	name string
	help string
	run  func(*report)
}

var steps = []step{
	{"setup", "install what the tests need (integration/*/setup.sh)", runSetup},
	{"format", "gofmt", runFormat},
	{"vet", "go vet for linux, darwin and windows, tests included", runVet},
	{"staticcheck", "staticcheck " + staticcheckVersion, runStaticcheck},
	{"govulncheck", "govulncheck " + govulncheckVersion + ", where its database can be reached", runGovulncheck},
	{"unit", "unit tests as shipped, and again with the race detector", runUnit},
	{"fuzz", "some fuzz targets for some seconds each, others every day", runFuzz},
	{"integration", "the suites below integration/ and the examples", runIntegration},
}

var fuzzTime = flag.Duration("fuzztime", 5*time.Second, "how long to run each fuzz target")

func main() {
	flag.Usage = usage
	flag.Parse()
	chosen, err := choose(flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		usage()
		os.Exit(2)
	}
	r := &report{out: os.Stdout}
	for _, s := range chosen {
		start := time.Now()
		fmt.Fprintf(r.out, "\n== %s: %s\n", s.name, s.help)
		s.run(r)
		fmt.Fprintf(r.out, "== %s took %v\n", s.name, time.Since(start).Round(time.Second))
	}
	if !r.summarize() {
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: go run ./integration/suite [flags] [step…]\n\nSteps, in the order in which all of them run:")
	for _, s := range steps {
		fmt.Fprintf(os.Stderr, "  %-12s %s\n", s.name, s.help)
	}
	flag.PrintDefaults()
}

// choose returns the named steps in the order of the table, or all.
func choose(names []string) ([]step, error) {
	if len(names) == 0 {
		return steps, nil
	}
	for _, name := range names {
		if !slices.ContainsFunc(steps, func(s step) bool { return s.name == name }) {
			return nil, fmt.Errorf("there is no step %q", name)
		}
	}
	return slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return !slices.Contains(names, s.name) }), nil
}
