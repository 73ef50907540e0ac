package twin

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/integration/kafkapeer"
	"github.com/kbroker/kbroker/integration/kbrokerproc"
	"github.com/kbroker/kbroker/integration/rawconn"
)

var (
	kafkaAddr   = flag.String("kafka", "", "address of a Kafka 4.3.1 that runs already")
	kbrokerAddr = flag.String("kbroker", "", "address of a kbroker that runs already")
	explain     = flag.Bool("explain", false, "print Kafka's answers, for writing a script")
	self        = flag.Bool("self", false, "play Kafka against a second Kafka, to see that the scripts are deterministic")
)

// The properties make the two brokers comparable: nothing of the scripts' data is deleted by its age, answers name node
// 1, and groups form at once (kafkapeer sees to that).
var (
	kafkaProperties   = []string{retentionDelay + "=86400000"}
	kbrokerProperties = []string{"node.id=1", "group.initial.rebalance.delay.ms=0"}
)

// kafkaJVM lets the JVM compile quickly rather than well, which suits a run of minutes on two cores.
var kafkaJVM = []string{"-XX:TieredStopAtLevel=1"}

func TestTwin(t *testing.T) {
	rules, scripts := load(t)
	left, right := brokers(t)
	highest := map[int16]int16{}
	for key, r := range left.APIs {
		highest[key] = r.Max
	}
	suffix := ""
	if *kafkaAddr != "" || *kbrokerAddr != "" {
		suffix = "-" + strconv.FormatInt(time.Now().Unix(), 36)
	}
	s := &suite{left: left, right: right, rules: rules, stage: stage{highest: highest, suffix: suffix}, cov: Coverage{map[pairKey]bool{}, map[pairKey]bool{}}}
	for _, script := range scripts {
		t.Run(script.Name, func(t *testing.T) {
			for _, c := range script.Cases {
				t.Run(c.Name, func(t *testing.T) { s.run(t, script, c) })
			}
		})
	}
	if flag.Lookup("test.run").Value.String() != "" {
		return // a part of the scripts covers a part of the versions
	}
	for _, m := range s.cov.missing(s.covered(scripts), rules) {
		t.Error(m)
	}
	pairs := 0
	for _, r := range s.covered(scripts) {
		pairs += int(r.Max-r.Min) + 1
	}
	t.Logf("twin: %d cases, %d (key,version) pairs, %d differences (and %d on purpose)", s.cases, pairs, s.differences, s.deliberate)
}

// Scripts of groups have steps that must come within a second of each other, which a machine at its limits can make
// impossible. A case in which something is wrong, and a step took long, is played again, this many times at most.
const (
	longStep  = 300 * time.Millisecond
	mostAgain = 3
)

// heldUp reports whether a step of the case took long on either side.
func (p *pair) heldUp() bool { return max(p.leftT.longest, p.rightT.longest) > longStep }

// suite is one run over all scripts.
type suite struct {
	left, right Broker
	rules       *Rules
	stage       stage
	cov         Coverage
	cases       int // times that a case was played at a version
	differences int
	deliberate  int // differences that scripts give a reason for
}

// covered is what the scripts must cover: all that kbroker serves, or, with -self, the APIs that have a script.
func (s *suite) covered(scripts []*Script) map[int16]Versions {
	if !*self {
		return s.right.APIs
	}
	out := map[int16]Versions{}
	for _, script := range scripts {
		out[script.Key] = s.right.APIs[script.Key]
	}
	return out
}

func (s *suite) run(t *testing.T, script *Script, c *Case) {
	served := s.right.APIs[script.Key]
	reported := map[string]int16{} // what was found to be wrong, and at which version first
	for v := max(served.Min, c.Versions.Min); v <= min(served.Max, c.Versions.Max); v++ {
		t.Run(fmt.Sprintf("v%d", v), func(t *testing.T) {
			p, wrong := s.play(script, c, v, "")
			for again := 1; wrong != "" && p.heldUp() && again <= mostAgain; again++ {
				t.Logf("played again, since a step took %v or %v: %s", p.leftT.longest, p.rightT.longest, wrong)
				p, wrong = s.play(script, c, v, fmt.Sprint("-again", again))
			}
			s.cases++
			s.cov.add(p.leftT)
			if *explain {
				t.Log(p.explain())
			}
			s.deliberate += p.deliberate
			if wrong != "" {
				s.differences++
				what := regexp.MustCompile(fmt.Sprintf(`\bv%d\b`, v)).ReplaceAllString(wrong, "")
				if before, ok := reported[what]; ok {
					t.Errorf("as v%d", before)
					return
				}
				reported[what] = v
				t.Errorf("%s.twin, case %s, %s v%d, %s", script.Name, c.Name, kmsg.NameForKey(script.Key), v, wrong)
			}
		})
	}
}

// play plays a case to both brokers and says what was wrong.
func (s *suite) play(script *Script, c *Case, v int16, suffix string) (*pair, string) {
	p := &pair{same: *self, left: s.left, right: s.right, masks: append(append([]Mask{}, c.Masks...), s.rules.Masks...)}
	shared := s.stage
	shared.suffix += suffix
	shared.now = time.Now().UnixMilli()
	var both sync.WaitGroup
	both.Go(func() { p.leftT = shared.play(s.left, script, c, v) })
	both.Go(func() { p.rightT = shared.play(s.right, script, c, v) })
	both.Wait()
	return p, p.compare()
}

func load(t *testing.T) (*Rules, []*Script) {
	t.Helper()
	text, err := os.ReadFile("testdata/masks.txt")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := ParseRules(string(text))
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob("testdata/*.twin")
	var scripts []*Script
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		script, err := Parse(strings.TrimSuffix(filepath.Base(f), ".twin"), string(text))
		if err != nil {
			t.Fatal(err)
		}
		scripts = append(scripts, script)
	}
	if len(scripts) == 0 {
		t.Fatal("testdata has no scripts")
	}
	return rules, scripts
}

// brokers starts what the flags don't name.
func brokers(t *testing.T) (left, right Broker) {
	t.Helper()
	kafka, kbroker := *kafkaAddr, *kbrokerAddr
	if kafka == "" {
		kafka = kafkapeer.StartForTest(t, kafkapeer.Config{Properties: kafkaProperties, JVM: kafkaJVM}).Bootstrap()
	}
	if *self && kbroker == "" {
		kbroker = kafkapeer.StartForTest(t, kafkapeer.Config{Properties: kafkaProperties, JVM: kafkaJVM}).Bootstrap()
	}
	if kbroker == "" {
		node := kbrokerproc.StartForTest(t, kbrokerproc.Config{Properties: kbrokerProperties})
		t.Cleanup(func() { noPanics(t, node) })
		kbroker = node.Bootstrap()
	}
	left, err := Dial("kafka", kafka)
	if err != nil {
		t.Fatal(err)
	}
	right, err = Dial("kbroker", kbroker)
	if err != nil {
		t.Fatal(err)
	}
	prepare(t, left)
	prepare(t, right)
	return left, right
}

// noPanics fails the test if a request made kbroker panic, which to a client looks like a connection closed on purpose.
func noPanics(t *testing.T, node *kbrokerproc.Node) {
	panics, err := node.Logged("panic in API key")
	if err != nil {
		t.Error(err)
	}
	for _, line := range panics[:min(len(panics), 3)] {
		t.Errorf("kbroker: %s", line)
	}
}

// prepare gives both brokers the dynamic default of min.insync.replicas that Kafka writes when it formats a disk with the
// feature eligible.leader.replicas, which is not kbroker's way of having a default.
func prepare(t *testing.T, b Broker) {
	t.Helper()
	c, err := rawconn.Dial(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	res := kmsg.NewIncrementalAlterConfigsRequestResource()
	res.ResourceType = kmsg.ConfigResourceTypeBroker
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = "min.insync.replicas", kmsg.StringPtr("1")
	res.Configs = append(res.Configs, config)
	req.Resources = append(req.Resources, res)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if errs := errorCodes(resp); len(errs) > 0 {
		t.Fatalf("setting min.insync.replicas for all brokers of %s: %s", b.Name, errs)
	}
}
