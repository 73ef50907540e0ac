package clients

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kbroker/kbroker/integration/kafkapeer"
	"github.com/kbroker/kbroker/integration/kbrokerproc"
)

var (
	full    = flag.Bool("full", false, "100,000 records for every pair and codec, not only for one codec of each client")
	against = flag.String("against", "kbroker", "kbroker, or kafka for a real Kafka")
)

const (
	partitions  = 3       // of every topic; the programs know it
	manyRecords = 100_000 // for a client's own codec, or all of them with -full
	fewRecords  = 3_000
)

var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// program is one client.
type program struct {
	name    string
	command []string
	codecs  []string // that it can write
	own     string   // the codec with which it writes many records; empty for a smoke test with few
	rich    bool     // it can write the shape rich
	reads   reading

	groups       []string // the group protocols that it speaks
	groupCommand []string // the program that knows the verbs of groups
}

// reading says what a client reads.
type reading int

const (
	everything  reading = iota
	fewAndPlain         // it can't tell null from empty, or is slow
	nothing             // it can't read without a group
)

// task is one topic that a client writes.
type task struct {
	by         *program
	topic      string
	records    int
	seed       int
	codec      string
	idempotent bool
}

// String is the programs' argument.
func (k task) String() string {
	shape := "plain"
	if k.by.rich {
		shape = "rich"
	}
	return fmt.Sprintf("%s:%d:%d:%s:%s:%t", k.topic, k.records, k.seed, shape, k.codec, k.idempotent)
}

// tasks are all topics.
func tasks(programs []*program) []task {
	var all []task
	for _, p := range programs {
		for _, codec := range p.codecs {
			records := fewRecords
			if codec == p.own || *full && p.own != "" {
				records = manyRecords
			}
			all = append(all, task{
				by: p, topic: p.name + "-" + codec, records: records, seed: len(all) + 1, codec: codec,
				// kafka-go has no idempotent producer and does not look at this.
				idempotent: codec != "none" && codec != "gzip",
			})
		}
	}
	return all
}

// for reading by p.
func readable(p *program, all []task) []task {
	return slices.DeleteFunc(slices.Clone(all), func(k task) bool {
		return p.reads == nothing || p.reads == fewAndPlain && (k.by.rich || k.records > fewRecords)
	})
}

// TestPairs has every client write, and then every client read what all of them wrote.
func TestPairs(t *testing.T) {
	bootstrap := startBroker(t)
	programs := installed(t)
	all := tasks(programs)
	createTopics(t, bootstrap, all)
	t.Run("produce", func(t *testing.T) {
		for _, p := range programs {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				mine := slices.DeleteFunc(slices.Clone(all), func(k task) bool { return k.by != p })
				run(t, p, "produce", bootstrap, mine)
			})
		}
	})
	if t.Failed() {
		t.Fatal("nothing to read where writing failed")
	}
	t.Run("consume", func(t *testing.T) {
		for _, p := range programs {
			if p.reads == nothing {
				continue
			}
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				run(t, p, "consume", bootstrap, readable(p, all))
			})
		}
	})
}

// TestAdmin has every client create a topic, describe it and delete it.
func TestAdmin(t *testing.T) {
	bootstrap := startBroker(t)
	for _, p := range installed(t) {
		t.Run(p.name, func(t *testing.T) { report(t, p, "admin", bootstrap, []string{"admin-" + p.name}) })
	}
}

// run lets a program do tasks, each a subtest.
func run(t *testing.T, p *program, verb, bootstrap string, tasks []task) {
	t.Helper()
	var args []string
	records := 0
	for _, k := range tasks {
		args = append(args, k.String())
		records += k.records
	}
	report(t, p, verb, bootstrap, args)
	t.Logf("%s %s: %d topics, %d records", p.name, verb, len(tasks), records)
}

// report runs a program and makes a subtest of each argument's result.
func report(t *testing.T, p *program, verb, bootstrap string, args []string) {
	t.Helper()
	command := append(slices.Clone(p.command), verb, bootstrap)
	cmd := exec.CommandContext(t.Context(), command[0], append(command[1:], args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	results := map[string]string{} // by argument; empty if ok
	for line := range strings.Lines(string(out)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		arg, reason, _ := strings.Cut(rest, " ")
		switch word {
		case "ok":
			results[arg] = ""
		case "FAIL":
			results[arg] = reason
		}
	}
	for _, arg := range args {
		name, _, _ := strings.Cut(arg, ":")
		t.Run(name, func(t *testing.T) {
			if reason, ok := results[arg]; !ok || reason != "" {
				t.Errorf("%s %s %s: %s (%v)\n%s", p.name, verb, arg, reason, err, stderr.String())
			}
		})
	}
	if err != nil && !t.Failed() {
		t.Errorf("%s %s: %v\n%s", p.name, verb, err, stderr.String())
	}
}

// startBroker starts what is tested, with the given settings, and returns its address.
func startBroker(t *testing.T, properties ...string) string {
	t.Helper()
	if *against == "kafka" {
		return kafkapeer.StartForTest(t, kafkapeer.Config{Properties: properties}).Bootstrap()
	}
	return kbrokerproc.StartForTest(t, kbrokerproc.Config{Properties: properties}).Bootstrap()
}

// createTopics makes the topics of the tasks. Nothing of them may expire, old as the timestamps are.
func createTopics(t *testing.T, bootstrap string, all []task) {
	t.Helper()
	var names []string
	for _, k := range all {
		names = append(names, k.topic)
	}
	create(t, bootstrap, partitions, names...)
}

func create(t *testing.T, bootstrap string, partitions int32, names ...string) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	forever := "-1"
	admin := kadm.NewClient(c)
	created, err := admin.CreateTopics(t.Context(), partitions, 1, map[string]*string{"retention.ms": &forever}, names...)
	if err == nil {
		err = created.Error()
	}
	if err != nil {
		t.Fatalf("create topics: %v", err)
	}
	// Kafka answers before it serves the partitions, and not every client copes well with that.
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		ends, err := admin.ListEndOffsets(t.Context(), names...)
		if err == nil {
			err = ends.Error()
		}
		if err == nil {
			return
		}
		if time.Since(start) > 20*time.Second {
			t.Fatalf("the new topics do not serve: %v", err)
		}
	}
}

// installed builds the programs and returns them. What setup.sh installs must be there.
func installed(t *testing.T) []*program {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir, here := t.TempDir(), workingDir(t)
	cache = filepath.Join(cache, "kbroker-clients")
	python := filepath.Join(cache, "venv", "bin", "python")
	node := filepath.Join(cache, "node")
	for _, path := range []string{python, node} {
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%v; bash integration/clients/setup.sh installs it", err)
		}
	}
	goProgram := filepath.Join(dir, "goclients")
	build(t, "go", "build", "-C", filepath.Join(here, "programs", "go"), "-o", goProgram, ".")
	jars, err := kafkapeer.Install(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	build(t, "javac", "-cp", jars.ClassPath(), "-d", dir, filepath.Join(here, "programs", "java", "Client.java"),
		filepath.Join(here, "programs", "java", "GroupClient.java"))
	java := func(class string) []string {
		args := jars.Command(t.Context(), class).Args
		for i := range args {
			if args[i] == jars.ClassPath() {
				args[i] += string(os.PathListSeparator) + dir
			}
		}
		return args
	}
	script := func(name string) string { return filepath.Join(here, "programs", "python", name) }
	t.Setenv("NODE_PATH", filepath.Join(node, "node_modules"))
	t.Setenv("PYTHONDONTWRITEBYTECODE", "1")
	js := func(name string) []string { return []string{"node", filepath.Join(here, "programs", "node", name)} }
	of := func(library string) []string { return []string{goProgram, library} }
	classic, both := []string{"classic"}, []string{"classic", "consumer"}
	return []*program{
		{name: "kcat", command: of("kcat"), codecs: codecs, own: "none"},
		{name: "librdkafka", command: []string{python, script("confluent.py")}, codecs: codecs, own: "zstd", rich: true,
			groups: both, groupCommand: []string{python, script("confluent_group.py")}},
		{name: "java", command: java("Client"), codecs: codecs, own: "lz4", rich: true, groups: both, groupCommand: java("GroupClient")},
		{name: "franz-go", command: of("franz-go"), codecs: codecs, own: "snappy", rich: true, groups: classic, groupCommand: of("franz-go")},
		{name: "sarama", command: of("sarama"), codecs: codecs, own: "gzip", rich: true, groups: classic, groupCommand: of("sarama")},
		{name: "kafka-python", command: []string{python, script("kafka_python.py")}, codecs: codecs, reads: fewAndPlain,
			groups: classic, groupCommand: []string{python, script("kafka_python_group.py")}},
		{name: "kafka-go", command: of("kafka-go"), codecs: codecs, reads: fewAndPlain, groups: classic, groupCommand: of("kafka-go")},
		{name: "kafkajs", command: js("kafkajs.js"), codecs: codecs[:2], reads: nothing, groups: classic, groupCommand: js("kafkajs_group.js")},
	}
}

func workingDir(t *testing.T) string {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return here
}

func build(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}
