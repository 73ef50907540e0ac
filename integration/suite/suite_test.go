package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// follow feeds lines of `go test -json` to a run and returns what came of it.
func follow(t *testing.T, verbose bool, lines ...string) (*report, string) {
	t.Helper()
	var out bytes.Buffer
	r := &report{out: &out}
	run := &testRun{r: r, label: "race", verbose: verbose, output: map[string][]string{}, counted: map[string]int{}, failed: map[string]int{}}
	run.follow(strings.NewReader(strings.Join(lines, "\n")))
	return r, out.String()
}

func TestCounting(t *testing.T) {
	tests := map[string]struct {
		verbose        bool
		lines          []string
		passed, failed int
		shows, hides   string
	}{
		"a pass is quiet": {
			lines: []string{
				`{"Action":"run","Package":"p","Test":"TestA"}`,
				`{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: a log\n"}`,
				`{"Action":"pass","Package":"p","Test":"TestA"}`,
				`{"Action":"pass","Package":"p","Elapsed":1.5}`,
			},
			passed: 1, shows: "ok    p: 1 tests, 0 failed, 1.5 s (race)", hides: "a log",
		},
		"a pass that logs a proof": {
			verbose: true,
			lines: []string{
				`{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}`,
				`{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: 0 lost\n"}`,
				`{"Action":"pass","Package":"p","Test":"TestA"}`,
			},
			passed: 1, shows: "0 lost", hides: "=== RUN",
		},
		"a failure shows its output": {
			lines: []string{
				`{"Action":"output","Package":"p","Test":"TestA/sub","Output":"    a_test.go:1: wrong\n"}`,
				`{"Action":"fail","Package":"p","Test":"TestA/sub"}`,
				`{"Action":"pass","Package":"p","Test":"TestB"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			passed: 1, failed: 1, shows: "a_test.go:1: wrong",
		},
		"a package that does not build": {
			lines: []string{
				`{"ImportPath":"p [p.test]","Action":"build-output","Output":"a.go:3: undefined: x\n"}`,
				`{"ImportPath":"p [p.test]","Action":"build-fail"}`,
				`{"Action":"output","Package":"p","Output":"FAIL p [build failed]\n"}`,
				`{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}`,
			},
			failed: 1, shows: "undefined: x",
		},
		"a skip is a failure": {
			lines: []string{
				`{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: no kcat\n"}`,
				`{"Action":"skip","Package":"p","Test":"TestA"}`,
				`{"Action":"pass","Package":"p"}`,
			},
			failed: 1, shows: "no kcat",
		},
		"a package without tests": {lines: []string{`{"Action":"skip","Package":"p"}`}, hides: "p"},
		"what is no JSON":         {lines: []string{"go: downloading x"}, shows: "go: downloading x"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r, out := follow(t, test.verbose, test.lines...)
			if r.passed != test.passed || r.failed != test.failed {
				t.Errorf("%d passed, %d failed; want %d and %d", r.passed, r.failed, test.passed, test.failed)
			}
			if !strings.Contains(out, test.shows) || test.hides != "" && strings.Contains(out, test.hides) {
				t.Errorf("output must show %q and not %q:\n%s", test.shows, test.hides, out)
			}
		})
	}
}

func TestSummary(t *testing.T) {
	var out bytes.Buffer
	r := &report{out: &out}
	if r.summarize() {
		t.Error("a run that tested nothing passed")
	}
	r.check("gofmt", nil, nil)
	if !r.summarize() {
		t.Error("a run with one pass failed")
	}
	r.check("vet", errors.New("exit status 1"), []byte("x.go:1\n"))
	if r.summarize() || !strings.HasSuffix(out.String(), "\nfailed: vet\n1 passed, 1 failed\n") {
		t.Errorf("a run with a failure passed, or its last lines are wrong:\n%s", out.String())
	}
}

func TestRotate(t *testing.T) {
	list := []string{"a", "b", "c", "d", "e"}
	seen := map[string]bool{}
	for turn := range 3 {
		chosen := rotate(list, turn, 2)
		if len(chosen) != 2 {
			t.Fatalf("turn %d: %v, want two", turn, chosen)
		}
		for _, c := range chosen {
			seen[c] = true
		}
	}
	if len(seen) != len(list) {
		t.Errorf("three turns of two saw only %v", seen)
	}
	if all := rotate(list, 7, 10); !slices.Equal(slices.Sorted(slices.Values(all)), list) {
		t.Errorf("asked for more than there are: %v", all)
	}
}

func TestChoose(t *testing.T) {
	chosen, err := choose([]string{"unit", "vet"})
	if err != nil || len(chosen) != 2 || chosen[0].name != "vet" {
		t.Errorf("choose gave %v, %v; want vet before unit, as in the table", chosen, err)
	}
	if _, err := choose([]string{"uint"}); err == nil {
		t.Error("an unknown step was taken")
	}
}

func TestDeadlineFault(t *testing.T) {
	fault := "fuzz: elapsed: 6s, execs: 100 (0/sec)\n--- FAIL: FuzzA (6.03s)\n    context deadline exceeded\nFAIL\n"
	if !deadlineFault([]byte(fault)) {
		t.Error("a deadline counts as a failure")
	}
	for _, out := range []string{
		"--- FAIL: FuzzA (1s)\n    a_test.go:1: wrong\n    Failing input written to testdata/fuzz/FuzzA/1\nFAIL\n",
		"--- FAIL: FuzzA (1s)\n    fuzzing process hung or terminated unexpectedly: exit status 2\n    Failing input written to x\n    context deadline exceeded\n",
		"a.go:3: undefined: x\nFAIL p [build failed]\n",
	} {
		if deadlineFault([]byte(out)) {
			t.Errorf("no failure: %q", out)
		}
	}
}
