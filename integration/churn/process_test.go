package churn

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kbroker/kbroker/integration/kafkapeer"
)

// library is a client library, and how its members are spread over processes. Those of one process die together.
type library struct {
	name            string
	command         []string // BOOTSTRAP and GROUP are to follow
	env             []string
	processes, each int
	classicOnly     bool // it does not speak KIP-848
}

// libraries builds the programs. What integration/clients/setup.sh installs must be there.
func libraries(t *testing.T) []library {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	python := filepath.Join(cache, "kbroker-clients", "venv", "bin", "python")
	if _, err := os.Stat(python); err != nil {
		t.Fatalf("%v; bash integration/clients/setup.sh installs it", err)
	}
	env := []string{"PYTHONDONTWRITEBYTECODE=1"}
	return []library{
		{name: "franz-go", command: []string{self}, env: []string{membersVariable + "=1"}, processes: 5, each: 2},
		{name: "librdkafka", command: []string{python, filepath.Join("programs", "churn_members.py")}, env: env, processes: 5, each: 2},
		{name: "kafka-python", command: []string{python, filepath.Join("programs", "churn_kafka_python.py")}, env: env, processes: 2, each: 2, classicOnly: true},
		{name: "java", command: javaMembers(t), processes: 2, each: 5}, // a JVM for each would be mostly starting JVMs
	}
}

func javaMembers(t *testing.T) []string {
	t.Helper()
	jars, err := kafkapeer.Install(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "javac", "-cp", jars.ClassPath(), "-d", dir, filepath.Join("programs", "ChurnMembers.java")).CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	args := jars.Command(t.Context(), "ChurnMembers").Args
	for i := range args {
		if args[i] == jars.ClassPath() {
			args[i] += string(os.PathListSeparator) + dir
		}
	}
	return args
}

// process is a running program with members in it.
type process struct {
	library *library
	cmd     *exec.Cmd
	in      io.WriteCloser
	members []string // that it was told to let join, gone ones too
	stderr  strings.Builder
	done    chan struct{} // closed when all it said was taken and it has ended
}

// startProcess starts a program, whose lines go to take.
func startProcess(t *testing.T, l *library, bootstrap, group string, take func(line string)) *process {
	t.Helper()
	p := &process{library: l, done: make(chan struct{})}
	p.cmd = exec.Command(l.command[0], append(l.command[1:len(l.command):len(l.command)], bootstrap, group)...)
	p.cmd.Env = append(os.Environ(), l.env...)
	p.cmd.Stderr = &p.stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in = in
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		defer close(p.done)
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				break // a line without its end is one that was cut
			}
			take(strings.TrimSpace(line))
		}
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() && p.stderr.Len() > 0 {
			t.Logf("a process of %s said:\n%s", l.name, p.stderr.String()[max(0, p.stderr.Len()-4000):])
		}
	})
	return p
}

// tell gives the process a command.
func (p *process) tell(t *testing.T, command string) {
	t.Helper()
	if _, err := fmt.Fprintln(p.in, command); err != nil {
		t.Fatalf("a process of %s takes no commands: %v\n%s", p.library.name, err, p.stderr.String())
	}
}

// kill ends the process with SIGKILL and returns a time at which it was still alive.
func (p *process) kill() time.Time {
	at := time.Now()
	_ = p.cmd.Process.Kill()
	<-p.done
	return at
}
