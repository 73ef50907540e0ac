package clientsuites

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// suite is the tests of one package of somebody else's module, compiled.
type suite struct {
	binary  string
	dir     string // of the sources, where its tests expect to run
	leftOut []leftOut
}

// module is a library.
type module struct {
	name string // of the folder below modules/
	path string
}

// dir returns where the module's sources lie, and fetches them if need be.
func (m module) dir(t *testing.T) string {
	t.Helper()
	goCommand(t, "-C", filepath.Join("modules", m.name), "mod", "download", m.path)
	return strings.TrimSpace(goCommand(t, "-C", filepath.Join("modules", m.name), "list", "-m", "-f", "{{.Dir}}", m.path))
}

// compile compiles the tests of a package of the module.
func (m module) compile(t *testing.T, pkg string) *suite {
	t.Helper()
	dir := m.dir(t)
	return m.compileAt(t, pkg, filepath.Join(dir, strings.TrimPrefix(pkg, m.path)))
}

// compileAt compiles the tests of a package whose sources lie in dir. More flags are for the compiler.
func (m module) compileAt(t *testing.T, pkg, dir string, flags ...string) *suite {
	t.Helper()
	s := &suite{binary: filepath.Join(t.TempDir(), m.name+".test"), dir: dir}
	args := append([]string{"-C", filepath.Join("modules", m.name), "test", "-vet=off", "-c", "-o", s.binary}, flags...)
	goCommand(t, append(args, pkg)...)
	return s
}

// goCommand runs the go command and returns what it printed to its standard output.
func goCommand(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, stderr.String())
	}
	return string(out)
}

// names returns all tests of the suite, in its order.
func (s *suite) names(t *testing.T) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.binary, "-test.list", "^Test")
	cmd.Dir = s.dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	return strings.Fields(string(out))
}

var only = flag.String("only", "", "run only those of the libraries' tests that match this")

// options say how to run a suite.
type options struct {
	dir     string // to run in; the directory of the sources if empty
	env     []string
	only    string // a regular expression; all tests if empty
	timeout string
}

// run runs the tests that are not left out. Each is a subtest of t.
func (s *suite) run(t *testing.T, o options) {
	t.Helper()
	if *only != "" && o.only == "" {
		o.only = *only
	}
	want := s.wanted(t, o.only)
	if len(want) == 0 && *only != "" { // it is in another suite
		return
	}
	args := []string{"tool", "test2json", "-t", s.binary, "-test.v=test2json", "-test.timeout", o.timeout}
	if len(s.leftOut) > 0 {
		args = append(args, "-test.skip", skipPattern(s.leftOut))
	}
	if o.only != "" {
		args = append(args, "-test.run", o.only)
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = s.dir
	if o.dir != "" {
		cmd.Dir = o.dir
	}
	cmd.Env = append(os.Environ(), o.env...)
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	results := read(t, stdout)
	err = cmd.Wait()
	passed := 0
	for _, name := range want {
		ok := t.Run(name, func(t *testing.T) { results.judge(t, name) })
		if ok {
			passed++
		}
	}
	if err != nil && !t.Failed() {
		t.Errorf("%v: %v\n%s", cmd, err, results.tail())
	}
	t.Logf("%d tests passed, %d left out", passed, len(s.leftOut))
}

// wanted returns the tests that must run.
func (s *suite) wanted(t *testing.T, pattern string) (want []string) {
	t.Helper()
	chosen := regexp.MustCompile(pattern)
	left := map[string]bool{}
	for _, l := range s.leftOut {
		left[l.name] = true
	}
	for _, name := range s.names(t) {
		if chosen.MatchString(name) && !left[name] {
			want = append(want, name)
		}
	}
	if len(want) == 0 && *only == "" {
		t.Fatalf("no test of %s is called %q", s.binary, pattern)
	}
	return want
}

// event is one line of test2json.
type event struct {
	Action string
	Test   string
	Output string
}

// results are what became of a run.
type results struct {
	ended  map[string]string   // "pass", "fail" or "skip", by test and subtest
	output map[string][]string // by test and subtest
	all    []string            // the end of what was printed
}

// maxLines bounds the lines that are kept of one test.
const maxLines = 400

// maxLine bounds a line of output.
const maxLine = 16 << 20

func read(t *testing.T, in io.Reader) *results {
	t.Helper()
	r := &results{ended: map[string]string{}, output: map[string][]string{}}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			e = event{Action: "output", Output: lines.Text() + "\n"}
		}
		switch e.Action {
		case "output":
			r.output[e.Test] = keep(r.output[e.Test], e.Output)
			r.all = keep(r.all, e.Output)
		case "pass", "fail", "skip":
			r.ended[e.Test] = e.Action
		}
	}
	if err := lines.Err(); err != nil {
		t.Errorf("reading the output: %v", err)
		io.Copy(io.Discard, in) // let it end
	}
	return r
}

func keep(kept []string, line string) []string {
	kept = append(kept, line)
	return kept[max(0, len(kept)-maxLines):]
}

func (r *results) tail() string { return quote(r.all) }

// quote sets off what the suite printed, which would otherwise look like results of these tests.
func quote(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString("| " + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}

// judge fails t unless the test passed, with all its subtests.
func (r *results) judge(t *testing.T, name string) {
	t.Helper()
	switch r.ended[name] {
	case "pass":
	case "":
		t.Errorf("did not end; the last lines are:\n%s", r.tail())
	}
	for sub, how := range r.ended {
		if sub != name && !strings.HasPrefix(sub, name+"/") {
			continue
		}
		switch how {
		case "fail":
			t.Errorf("%s failed:\n%s", sub, quote(r.output[sub]))
		case "skip":
			t.Errorf("%s skips itself: it must be in the list of what is left out, with a reason", sub)
		}
	}
}
