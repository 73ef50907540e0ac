package tools

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kbroker/kbroker/integration/kafkapeer"
	"github.com/kbroker/kbroker/integration/kbrokerproc"
)

var (
	show    = flag.Bool("show", false, "log what the tools print")
	against = flag.String("against", "kbroker", "kbroker, or kafka to compare Kafka with itself, which shows what a mask is needed for")
)

// step is one run of a tool on each broker.
type step struct {
	name  string   // unique; what the subtest is called
	class string   // in org.apache.kafka.tools, or with its package
	args  []string // {bootstrap} and {file:NAME} are filled in
	stdin string
	exit  int
	want  []string // regular expressions, each of which must match somewhere in what kbroker's run printed
	alone string   // why the outputs are not compared; empty if they are
	// masks are regular expressions, what they match is not compared.
	masks []string
	// sorted compares lines without regard to their order, where that is the order of a hash map.
	sorted bool
	// own gives it a JVM of its own, since it says the most when that ends.
	own bool
}

// files are what {file:NAME} stands for.
var files = map[string]string{
	"delete.json":         `{"partitions":[{"topic":"lines","partition":0,"offset":2}],"version":1}`,
	"delete-too-far.json": `{"partitions":[{"topic":"lines","partition":0,"offset":2000}],"version":1}`,
	"reset.csv":           "lines,0,3\n",
	"move.json":           `{"topics":[{"topic":"orders"}],"version":1}`,
	"moved.json":          `{"version":1,"partitions":[{"topic":"orders","partition":0,"replicas":[1],"log_dirs":["any"]}]}`,
}

// steps are run in this order, on the same topics and groups.
var steps = slices.Concat(topicSteps, recordSteps, configSteps, groupSteps, clusterSteps)

// TestTools runs every step on Kafka and on kbroker.
func TestTools(t *testing.T) {
	jars, err := kafkapeer.Install(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kafka, tested := kafkapeer.StartForTest(t, kafkapeer.Config{}).Bootstrap(), startTested(t)
	live(t, kafka)
	live(t, tested)
	r := &runner{jars: jars, jvm: startJVM(t, jars), dir: t.TempDir()}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	compared := 0
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			want, got := r.run(t, &s, kafka), r.run(t, &s, tested)
			s.judge(t, want, got)
		})
		if s.alone == "" {
			compared++
		}
	}
	t.Logf("%d runs of Kafka's tools, %d of which printed on kbroker what they print on Kafka", len(steps), compared)
}

func startTested(t *testing.T) string {
	t.Helper()
	if *against == "kafka" {
		return kafkapeer.StartForTest(t, kafkapeer.Config{}).Bootstrap()
	}
	return kbrokerproc.StartForTest(t, kbrokerproc.Config{}).Bootstrap()
}

// runner runs steps.
type runner struct {
	jars kafkapeer.Jars
	jvm  *jvm
	dir  string // of the files
}

func (r *runner) run(t *testing.T, s *step, bootstrap string) answer {
	t.Helper()
	class := s.class
	if !strings.Contains(class, ".") || strings.HasPrefix(class, "consumer.") || strings.HasPrefix(class, "reassign.") {
		class = "org.apache.kafka.tools." + class
	}
	req := request{Class: class, Stdin: s.stdin}
	for _, arg := range s.args {
		arg = strings.ReplaceAll(arg, "{bootstrap}", bootstrap)
		if name, ok := strings.CutPrefix(arg, "{file:"); ok {
			arg = filepath.Join(r.dir, strings.TrimSuffix(name, "}"))
		}
		req.Args = append(req.Args, arg)
	}
	a := answer{}
	if s.own {
		a = runAlone(t, r.jars, req)
	} else {
		a = r.jvm.run(t, req)
	}
	a.Out = strings.ReplaceAll(a.Out, bootstrap, "BOOTSTRAP")
	if *show {
		t.Logf("%s %q: exit %d\n%s%s", req.Class, req.Args, a.Exit, a.Out, a.Err)
	}
	return a
}

// judge compares what a tool did on Kafka, want, and on kbroker, got.
func (s *step) judge(t *testing.T, want, got answer) {
	t.Helper()
	if got.Exit != s.exit || want.Exit != s.exit {
		t.Errorf("exit code %d on kbroker, %d on Kafka, want %d; on kbroker it printed\n%s%s\non Kafka\n%s%s",
			got.Exit, want.Exit, s.exit, got.Out, got.Err, want.Out, want.Err)
	}
	for _, pattern := range s.want {
		if !regexp.MustCompile("(?m)" + pattern).MatchString(got.Out + got.Err) {
			t.Errorf("nothing like %q in\n%s%s", pattern, got.Out, got.Err)
		}
	}
	if s.alone == "" && s.masked(got.Out) != s.masked(want.Out) {
		t.Errorf("on kbroker it printed\n%s\non Kafka\n%s", s.masked(got.Out), s.masked(want.Out))
	}
}

// blanks are runs of spaces, since tables are as wide as what was masked in them.
var blanks = regexp.MustCompile(`[ \t]+`)

// masked is what is compared.
func (s *step) masked(out string) string {
	for _, mask := range s.masks {
		out = regexp.MustCompile("(?m)"+mask).ReplaceAllString(out, "")
	}
	out = blanks.ReplaceAllString(out, " ")
	if s.sorted {
		lines := strings.Split(out, "\n")
		slices.Sort(lines)
		out = strings.Join(lines, "\n")
	}
	return out
}

// TestNames sees that a failure names one step.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range steps {
		if seen[s.name] {
			t.Errorf("two steps are called %s", s.name)
		}
		seen[s.name] = true
		if s.alone == "" && len(s.want) == 0 {
			t.Errorf("%s: two empty outputs would be equal: say what must be in them", s.name)
		}
	}
}
