package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDev: what dev prints is what its reader needs, and nothing else: the commands work when they are pasted. Nothing
// is left when it ends.
func TestDev(t *testing.T) {
	s := newShell(t)
	address := freeAddress(t)
	p := s.begin("dev", "--listen", address)
	if out := s.run("kbroker health -b " + address + " --wait 20s"); strings.Contains(out, "exit") {
		t.Fatalf("it does not serve: %s", out)
	}
	if code := p.stop(syscall.SIGINT); code != exitOK {
		t.Errorf("SIGINT ends it with %d", code)
	}
	want := regexp.MustCompile(`^bootstrap  ADDRESS
http       (http://127\.0\.0\.1:[0-9]+)
produce    (echo hello \| .*kbroker produce demo -b ADDRESS)
consume    (.*kbroker consume demo -b ADDRESS)
$`)
	got := strings.ReplaceAll(p.out.String(), address, "ADDRESS")
	lines := want.FindStringSubmatch(got)
	if lines == nil || p.err.Len() > 0 {
		t.Fatalf("it prints %q, and %q on stderr", got, p.err.String())
	}
	p = s.begin("dev", "--listen", address)
	s.run("kbroker health -b " + address + " --wait 20s")
	produce, consume := strings.ReplaceAll(lines[2], "ADDRESS", address), strings.ReplaceAll(lines[3], "ADDRESS", address)
	if out := s.run(produce + " && " + consume + " -n 1"); out != "hello\n" {
		t.Errorf("%s; %s gives %q", produce, consume, out)
	}
	p.stop(syscall.SIGTERM)
	if left, _ := filepath.Glob(filepath.Join(s.dir, "kbroker-dev-*")); len(left) > 0 {
		t.Errorf("it leaves %v", left)
	}
}

// TestStopIsClean: SIGTERM leaves the marker of a clean shutdown and the exit code 0, and what was written is there at
// the next start.
func TestStopIsClean(t *testing.T) {
	n := startNode(t)
	if out := n.shell.run("seq 1 1000 | kbroker produce t"); out != "" {
		t.Fatal(out)
	}
	if code := n.stop(syscall.SIGTERM); code != exitOK {
		t.Errorf("it ends with %d: %s", code, n.err.String())
	}
	if _, err := os.Stat(filepath.Join(n.shell.dir, "data", ".kafka_cleanshutdown")); err != nil {
		t.Error(err)
	}
	if !strings.Contains(n.err.String(), `"event":"ready"`) {
		t.Errorf("it never said that it is ready: %s", n.err.String())
	}
	if !strings.Contains(n.err.String(), `"event":"stopped"`) {
		t.Errorf("it never said that it stopped: %s", n.err.String())
	}
	again := n.shell.begin("start", "--listen", n.bootstrap, "-o", "kbroker.http.listeners=", "--data", "data")
	if out := n.shell.run("kbroker health --wait 20s >health && kbroker consume t -e | wc -l"); strings.TrimSpace(out) != "1000" {
		t.Errorf("after a restart it has %q", out)
	}
	again.stop(syscall.SIGTERM)
}

// TestStartRefuses: what keeps a node from starting is one line that says what to change, with a code of its own.
func TestStartRefuses(t *testing.T) {
	n := startNode(t)
	s := n.shell
	other := freeAddress(t)
	if err := os.WriteFile(filepath.Join(s.dir, "plain"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, args, want string }{
		{"a port in use", "--listen " + n.bootstrap + " --data other",
			"kbroker: bind the listeners: cannot listen on ADDRESS for clients: bind: address already in use; change listeners, or stop what uses the port\nexit 75\n"},
		{"a port of HTTP in use", "--listen " + other + " --data other -o kbroker.http.listeners=" + n.bootstrap,
			"kbroker: bind the listeners: cannot listen on ADDRESS for HTTP \\(health and metrics\\): bind: address already in use; " +
				"change kbroker.http.listeners \\(-o kbroker.http.listeners=127.0.0.1:8081, .*\\), or stop what uses the port\nexit 75\n"},
		{"a directory in use", "--listen " + other + " --data data", "kbroker: .*data.*[0-9]+.*\nexit 75\n"},
		{"a directory that is a file", "--listen " + other + " --data plain", "kbroker: .*plain.*\nexit 74\n"},
		{"a bad value", "-o num.partitions=x", "kbroker: -o: num.partitions: \"x\" is not a whole number; allowed: at least 1\nexit 78\n"},
		{"a port without an address", "--listen 9092", "kbroker: --listen 9092: write it as HOST:PORT, such as 127.0.0.1:9092\nexit 2\n"},
		{"a refused setting", "-o authorizer.class.name=a.B", "kbroker: -o: authorizer.class.name=a.B: .*leave it out.*\nexit 78\n"},
		{"a file that is not there", "none.properties", "kbroker: reading the settings: open none.properties: no such file or directory\nexit 78\n"},
		{"an address that is not this machine's", "--listen 192.0.2.1:9092 --data other", "kbroker: .*192.0.2.1:9092.*change listeners.*\nexit 78\n"},
		{"a wrong flag", "--lisen x", "kbroker: unknown flag: --lisen \\(see kbroker start --help\\)\nexit 2\n"},
	} {
		got := strings.ReplaceAll(s.run("kbroker start -o kbroker.http.listeners= "+c.args), n.bootstrap, "ADDRESS")
		if !regexp.MustCompile("^" + c.want + "$").MatchString(got) {
			t.Errorf("%s:\n got %s\nwant %s", c.what, got, c.want)
		}
	}
	if code := n.stop(syscall.SIGTERM); code != exitOK {
		t.Fatalf("the first node ends with %d", code)
	}
	got := s.run("kbroker start -o kbroker.http.listeners= -o node.id=2 --data data --listen " + other)
	if want := "^kbroker: .*data belongs to another node or cluster: .*node.id=1, but the configuration says 2; .*\nexit 78\n$"; !regexp.MustCompile(want).MatchString(got) {
		t.Errorf("another node's directory:\n got %s\nwant %s", got, want)
	}
}

// TestInterrupt: a consumer that waits ends at SIGINT, without a word.
func TestInterrupt(t *testing.T) {
	n := startNode(t)
	n.shell.run("echo x | kbroker produce t")
	p := n.shell.begin("consume", "t", "-b", n.bootstrap)
	time.Sleep(300 * time.Millisecond) // long enough to be waiting; if not, the outcome is the same
	if code := p.stop(syscall.SIGINT); code != exitInterrupted || p.err.Len() > 0 {
		t.Errorf("it ends with %d: %s", code, p.err.String())
	}
}

// TestInterruptTyping: a producer that waits for its input ends at the first SIGINT, without a word.
func TestInterruptTyping(t *testing.T) {
	n := startNode(t)
	p := &process{shell: n.shell, cmd: n.shell.command(t.Context(), n.shell.bin, "produce", "t", "-b", n.bootstrap)}
	p.cmd.Stderr = &p.err
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("typed\n")); err != nil {
		t.Fatal(err)
	}
	if out := n.shell.run("until kbroker consume t -n 1 2>none; do sleep 0.1; done"); out != "typed\n" {
		t.Fatalf("it writes %q", out)
	}
	if code := p.stop(syscall.SIGINT); code != exitInterrupted || p.err.Len() > 0 {
		t.Errorf("it ends with %d: %s", code, p.err.String())
	}
}
