package examples

import (
	"bufio"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kbroker/kbroker/integration/kbrokerproc"
)

// TestExamples runs each example against kbroker dev and looks for the lines that say that it did its work.
func TestExamples(t *testing.T) {
	address := startDev(t)
	for _, example := range []struct {
		name  string
		lines []string // regular expressions
	}{
		{"simple-send-recv", []string{
			`sent +"hello" to partition 0 at offset 0`,
			`received +"hello" from partition 0 at offset 0`,
			`received +"good-bye" from partition 0 at offset 2`,
		}},
		{"multi-send-recv", []string{
			`30000 messages from 3 producers over 6 partitions to 2 consumers in \S+, in order, none lost`,
		}},
	} {
		t.Run(example.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "go", "run", "./examples/"+example.name, "-broker", address)
			cmd.Dir = "../.."
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %v\n%s", cmd, err, out)
			}
			for _, line := range example.lines {
				if !regexp.MustCompile(line).Match(out) {
					t.Errorf("%v printed no line like %q:\n%s", cmd, line, out)
				}
			}
		})
	}
}

// startDev runs kbroker dev, ends it in order with the test, and returns the address that it prints. It is not always
// port 9092: that may be in use.
func startDev(t *testing.T) string {
	t.Helper()
	binary, err := kbrokerproc.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "dev")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() }) // whatever hangs
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("kbroker dev ended with %v:\n%s", err, stderr.String())
		}
		kill.Stop()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 2 && f[0] == "bootstrap" {
			return f[1]
		}
	}
	t.Fatalf("kbroker dev printed no line \"bootstrap ADDRESS\":\n%s", stderr.String())
	return ""
}
