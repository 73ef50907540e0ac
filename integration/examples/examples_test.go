package examples

import (
	"os/exec"
	"regexp"
	"testing"

	"github.com/kbroker/kbroker/integration/kbrokerproc"
)

// TestExamples runs each example and looks for the lines that say that it did its work.
func TestExamples(t *testing.T) {
	broker := kbrokerproc.StartForTest(t, kbrokerproc.Config{})
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
			cmd := exec.CommandContext(t.Context(), "go", "run", "./examples/"+example.name, "-broker", broker.Bootstrap())
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
