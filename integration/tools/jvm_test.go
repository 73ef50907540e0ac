package tools

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/kbroker/kbroker/integration/kafkapeer"
)

// jvm is a running Tools.java.
type jvm struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Scanner
	log     strings.Builder // its standard error; valid when it has ended
}

// request and answer are Tools.java's.
type request struct {
	Class string   `json:"class"`
	Args  []string `json:"args"`
	Stdin string   `json:"stdin"`
}

type answer struct {
	Exit int    `json:"exit"`
	Out  string `json:"out"`
	Err  string `json:"err"`
}

// maxAnswer bounds what a tool may print.
const maxAnswer = 16 << 20

// startJVM compiles and starts Tools.java, which ends with the test.
func startJVM(t *testing.T, jars kafkapeer.Jars) *jvm {
	t.Helper()
	classes := t.TempDir()
	compile := exec.CommandContext(t.Context(), "javac", "-cp", jars.ClassPath(), "-d", classes, "Tools.java")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", compile, err, out)
	}
	j := &jvm{cmd: jars.Command(t.Context(), "Tools")}
	for i, arg := range j.cmd.Args {
		if arg == jars.ClassPath() {
			j.cmd.Args[i] += string(os.PathListSeparator) + classes
		}
	}
	j.cmd.Stderr = &j.log
	in, err := j.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := j.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := j.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	j.in, j.answers = in, bufio.NewScanner(out)
	j.answers.Buffer(nil, maxAnswer)
	t.Cleanup(func() {
		j.in.Close() // on which it exits
		j.cmd.Wait()
		if t.Failed() && j.log.Len() > 0 {
			t.Logf("what the tools' JVM logged:\n%s", j.log.String())
		}
	})
	return j
}

// toolLimit is how long one tool may take. Most take some tenths of a second.
const toolLimit = 2 * time.Minute

// run runs a tool. One that does not come to its end costs the JVM.
func (j *jvm) run(t *testing.T, r request) answer {
	t.Helper()
	late := time.AfterFunc(toolLimit, func() { j.cmd.Process.Kill() })
	defer late.Stop()
	line, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.in.Write(append(line, '\n')); err != nil {
		t.Fatalf("%s %v: the JVM is gone: %v", r.Class, r.Args, err)
	}
	if !j.answers.Scan() {
		t.Fatalf("%s %v did not come to an end within %v (%v)", r.Class, r.Args, toolLimit, j.answers.Err())
	}
	var a answer
	if err := json.Unmarshal(j.answers.Bytes(), &a); err != nil {
		t.Fatalf("%s %v: %v in %q", r.Class, r.Args, err, j.answers.Text())
	}
	return a
}

// runAlone runs a tool in a JVM of its own.
func runAlone(t *testing.T, jars kafkapeer.Jars, r request) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolLimit)
	defer cancel()
	cmd := jars.Command(ctx, r.Class, r.Args...)
	var out, err strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(r.Stdin), &out, &err
	if failed := cmd.Run(); failed != nil && cmd.ProcessState == nil {
		t.Fatalf("%v: %v", cmd, failed)
	}
	return answer{Exit: cmd.ProcessState.ExitCode(), Out: out.String(), Err: err.String()}
}
