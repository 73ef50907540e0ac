package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// event is one line of `go test -json`.
type event struct {
	Action     string
	Package    string
	Test       string
	Output     string
	Elapsed    float64 // seconds
	ImportPath string  // of build-output
}

// testRun follows one `go test -json`.
type testRun struct {
	r *report
	// label tells apart runs of the same tests in the list of failures, such as "race".
	label string
	// verbose shows what passing tests log, too.
	verbose bool
	// output is what tests that still run have printed, by package and test.
	output map[string][]string
	// counted and failed are the tests of packages that still run.
	counted, failed map[string]int
	failedEver      int
}

// goTest runs `go test -json` with args and counts its tests. A package that fails without a failing test, say because
// it does not build, counts as one.
func (r *report) goTest(label string, verbose bool, args ...string) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		r.check("go test "+strings.Join(args, " "), err, nil)
		return
	}
	run := &testRun{
		r: r, label: label, verbose: verbose,
		output: map[string][]string{}, counted: map[string]int{}, failed: map[string]int{},
	}
	run.follow(stdout)
	if err := cmd.Wait(); err != nil && run.failedEver == 0 {
		r.check("go test "+strings.Join(args, " "), err, nil)
	}
}

// maxLine bounds a line of output of a test.
const maxLine = 16 << 20

func (run *testRun) follow(in io.Reader) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(run.r.out, lines.Text())
			continue
		}
		run.event(&e)
	}
	if err := lines.Err(); err != nil {
		run.fail("reading the output of go test: " + err.Error())
		io.Copy(io.Discard, in) // let it end
	}
}

func (run *testRun) event(e *event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		run.keep(key, e.Output)
	case "build-output":
		fmt.Fprint(run.r.out, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			run.endPackage(e, key)
		} else {
			run.endTest(e, key)
		}
	}
}

// maxKept bounds the lines kept per test; of more the last ones are shown.
const maxKept = 400

func (run *testRun) keep(key, line string) {
	kept := append(run.output[key], line)
	run.output[key] = kept[max(len(kept)-maxKept, 0):]
}

func (run *testRun) endTest(e *event, key string) {
	run.counted[e.Package]++
	switch e.Action {
	case "pass":
		run.r.passed++
		if run.verbose {
			run.show(key, isLog)
		}
	case "fail":
		run.failed[e.Package]++
		run.show(key, func(string) bool { return true })
		run.fail(key)
	case "skip":
		run.failed[e.Package]++
		run.show(key, isLog)
		run.fail(key + " was skipped, which shows nothing")
	}
	delete(run.output, key)
}

func (run *testRun) endPackage(e *event, key string) {
	if e.Action == "fail" && run.failed[e.Package] == 0 {
		run.show(key, func(string) bool { return true })
		run.fail(e.Package)
	}
	if e.Action != "skip" { // no test files
		fmt.Fprintf(run.r.out, "%-5s %s: %d tests, %d failed, %.1f s%s\n", word[e.Action], e.Package,
			run.counted[e.Package], run.failed[e.Package], e.Elapsed, run.suffix())
	}
	delete(run.output, key)
}

var word = map[string]string{"pass": "ok", "fail": "FAIL"}

func (run *testRun) fail(what string) {
	run.failedEver++
	run.r.fail(what + run.suffix())
}

func (run *testRun) suffix() string {
	if run.label == "" {
		return ""
	}
	return " (" + run.label + ")"
}

func (run *testRun) show(key string, wanted func(line string) bool) {
	for _, line := range run.output[key] {
		if wanted(line) {
			fmt.Fprint(run.r.out, line)
		}
	}
}

// isLog tells what a test logged from the frame that package testing puts around it.
func isLog(line string) bool {
	line = strings.TrimLeft(line, " ")
	return !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ")
}
