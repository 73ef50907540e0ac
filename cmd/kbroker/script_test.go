package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/kbroker/kbroker/internal/config"
)

// beKbroker in the environment makes the test binary the program that it tests, so that tests run it as users do.
const beKbroker = "BE_KBROKER"

func TestMain(m *testing.M) {
	if os.Getenv(beKbroker) != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// shell runs shell commands in a directory of its own, in which kbroker is the program under test.
type shell struct {
	t   *testing.T
	dir string
	bin string // of the program
	env []string
}

func newShell(t *testing.T, env ...string) *shell {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, bin := t.TempDir(), t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "kbroker")); err != nil {
		t.Fatal(err)
	}
	return &shell{t: t, dir: dir, bin: filepath.Join(bin, "kbroker"), env: append([]string{
		// A race detector waits a second before its process ends, and a script has many processes.
		beKbroker + "=1", "GORACE=atexit_sleep_ms=0", "PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}, env...)}
}

func (s *shell) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	return cmd
}

// commandLimit is how long a command of a script may take. Most take some milliseconds.
const commandLimit = 30 * time.Second

// run returns the output of a script's commands, stderr included, and the exit code of the last one if it is not 0.
func (s *shell) run(script string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), commandLimit)
	defer cancel()
	out, err := s.command(ctx, "sh", "-c", script).CombinedOutput()
	text := string(out)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		text += fmt.Sprintf("exit %d\n", exit.ExitCode())
	case err != nil:
		s.t.Fatal(err)
	}
	return text
}

// masks hide what differs from run to run.
var masks = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`(id +|"id":"|cluster +)[A-Za-z0-9_-]{22}`), "${1}ID"},
	{regexp.MustCompile(`\b1[0-9]{12}\b`), "TIME"},
	{regexp.MustCompile(`crc: [0-9]+`), "crc: CRC"},
	{regexp.MustCompile(`go1\.[0-9.]+(rc[0-9]+)? [a-z]+/[a-z0-9]+`), "GO"},
}

func (s *shell) masked(text string, known map[string]string) string {
	for value, name := range known {
		text = strings.ReplaceAll(text, value, name)
	}
	text = strings.ReplaceAll(text, s.dir, "DIR")
	for _, m := range masks {
		text = m.pattern.ReplaceAllString(text, m.with)
	}
	return text
}

// judgement is what config check says about an environment, of which the lines are variables as NAME=VALUE.
func judgement(environ []string) string {
	settings, err := config.Load(config.Sources{Defaults: nodeDefaults, Environ: environ})
	if err == nil {
		_, err = config.NewStore(settings)
	}
	var out strings.Builder
	v := judge(settings, err)
	_ = v.print(&out) // it writes to memory
	for _, e := range v.Errors {
		fmt.Fprintf(&out, "error: %s\n", e)
	}
	fmt.Fprintf(&out, "starts: %v\n", v.Starts)
	return out.String()
}

// TestScripts runs testdata/*.txt: "run" gives its lines to a shell, "file NAME" writes them to a file, "judge" takes
// them for an environment. In testdata/node.txt a node runs at BOOTSTRAP.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var known map[string]string
		var env []string
		if filepath.Base(path) == "node.txt" {
			n := startNode(t)
			known = map[string]string{n.bootstrap: "BOOTSTRAP", n.shell.dir: "NODE"}
			env = []string{"KBROKER_BOOTSTRAP=" + n.bootstrap, "NODE=" + n.shell.dir}
		}
		s := newShell(t, env...)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			switch d.Cmd {
			case "file":
				if err := os.WriteFile(filepath.Join(s.dir, d.CmdArgs[0].Key), []byte(d.Input+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				return ""
			case "judge":
				return judgement(strings.Split(d.Input, "\n"))
			case "run":
				return s.masked(s.run(d.Input), known)
			}
			t.Fatalf("%s: there is no command %s", d.Pos, d.Cmd)
			return ""
		})
	})
}

// process is a kbroker that runs beside a test.
type process struct {
	shell     *shell
	bootstrap string
	cmd       *exec.Cmd
	out, err  bytes.Buffer // may be read when it has ended
}

// begin starts a command and ends it with the test.
func (s *shell) begin(args ...string) *process {
	s.t.Helper()
	p := &process{shell: s, cmd: s.command(context.Background(), s.bin, args...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// stop sends a signal and returns the exit code.
func (p *process) stop(sig syscall.Signal) int {
	_ = p.cmd.Process.Signal(sig)
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

// startNode starts a node on a free port and waits until it serves.
func startNode(t *testing.T, args ...string) *process {
	t.Helper()
	address := freeAddress(t)
	s := newShell(t, "KBROKER_BOOTSTRAP="+address)
	p := s.begin(append([]string{"start", "--listen", address, "-o", "kbroker.http.listeners=", "--data", "data"}, args...)...)
	p.bootstrap = address
	if out := s.run("kbroker health --wait 20s"); strings.Contains(out, "exit") {
		t.Fatalf("the node does not serve: %s", out)
	}
	return p
}

// freeAddress returns a loopback address with a port that nobody has, outside of the ports that outgoing connections get.
func freeAddress(t *testing.T) string {
	t.Helper()
	for port := 20000 + os.Getpid()%9000; port < 32000; port++ {
		address := fmt.Sprintf("127.0.0.1:%d", port)
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}
