package main

import (
	"fmt"
	"io"
)

// report counts what passed and what failed, and prints as it goes.
type report struct {
	out            io.Writer
	passed, failed int
	failures       []string // names, for the summary
}

// check counts one thing that is no test of package testing. output is shown if it failed.
func (r *report) check(name string, err error, output []byte) {
	if err == nil {
		r.passed++
		fmt.Fprintf(r.out, "ok    %s\n", name)
		return
	}
	fmt.Fprintf(r.out, "FAIL  %s: %v\n%s", name, err, output)
	r.fail(name)
}

func (r *report) fail(name string) {
	r.failed++
	r.failures = append(r.failures, name)
}

// maxListed bounds the failures named once more at the end.
const maxListed = 50

// summarize prints the failures once more and the closing line, and reports whether all passed. A run that counted
// nothing has not passed.
func (r *report) summarize() bool {
	fmt.Fprintln(r.out)
	for _, name := range r.failures[:min(len(r.failures), maxListed)] {
		fmt.Fprintf(r.out, "failed: %s\n", name)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed\n", r.passed, r.failed)
	return r.failed == 0 && r.passed > 0
}
