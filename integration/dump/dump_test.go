package dump

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kbroker/kbroker/integration/kafkapeer"
	"github.com/kbroker/kbroker/integration/kbrokerproc"
)

// TestDump has Kafka read a data directory three times: after an orderly stop, as a kill under load left it, and after
// the recovery from that kill.
func TestDump(t *testing.T) {
	jars, err := kafkapeer.Install(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	classes := t.TempDir()
	compile := exec.CommandContext(t.Context(), "javac", "-cp", jars.ClassPath(), "-d", classes, "Checkpoints.java")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", compile, err, out)
	}
	k := &kafka{jars: jars, classes: classes}

	node := kbrokerproc.StartForTest(t, kbrokerproc.Config{})
	w := newWorkload(t, node.Bootstrap())
	w.run(t, recordsPerClient)
	if err := node.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Run("stopped", func(t *testing.T) { k.check(t, node.DataDir(), w) })

	again := kbrokerproc.StartForTest(t, node.Config())
	w.runUntil(t, time.Second, again.Kill)
	k.torn = true
	t.Run("killed", func(t *testing.T) { k.check(t, node.DataDir(), w) })
	k.torn = false

	last := kbrokerproc.StartForTest(t, node.Config())
	w.run(t, recordsPerClient/10)
	if err := last.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Run("recovered", func(t *testing.T) { k.check(t, node.DataDir(), w) })
}

// kafka runs what reads.
type kafka struct {
	jars    kafkapeer.Jars
	classes string // directory of Checkpoints.class
	// torn says that the last write of a log may be there in part: a kill ends a write where it is. Kafka's tool says how
	// many bytes of the segment are no batch, and goes on.
	torn bool
}

// check has everything below a data directory read. Any line that is not one of the expected kinds is a complaint.
func (k *kafka) check(t *testing.T, data string, w *workload) {
	logs := w.files(t, data, "*.log")
	if len(logs) < 4*len(topics)*partitions {
		t.Errorf("only %d segments: too few to show anything", len(logs))
	}
	records := k.records(t, k.dump(t, logs, "--deep-iteration", "--print-data-log"))
	found := 0
	for place, value := range w.acked {
		if records[place] != value {
			t.Errorf("%v was acknowledged with value %.40q, and holds %.40q", place, value, records[place])
		}
		found++
	}
	indexes := slices.Concat(w.files(t, data, "*.index"), w.files(t, data, "*.timeindex"))
	entries := strings.Count(k.dump(t, indexes), " offset: ")
	checked := k.dump(t, indexes, "--index-sanity-check")
	sane := strings.Count(checked, " passed sanity check.\n") + strings.Count(checked, " is empty.\n")
	if sane != len(indexes) {
		t.Errorf("%d of %d indexes passed the sanity check", sane, len(indexes))
	}
	snapshots := w.files(t, data, "*.snapshot")
	producers := strings.Count(k.dump(t, snapshots), "producerId: ")
	if producers == 0 || entries == 0 {
		t.Errorf("%d producers in snapshots and %d index entries: too few to show anything", producers, entries)
	}
	t.Logf("%d segments with %d records, the %d acknowledged ones among them; %d indexes with %d entries; %d snapshots with %d producers",
		len(logs), len(records), found, len(indexes), entries, len(snapshots), producers)
	k.checkpoints(t, data, records)
}

// expected are the lines that the dump tool prints about files with which nothing is wrong. The index of a segment that
// has just begun is empty; that of a stopped Kafka is, too.
var expected = regexp.MustCompile(`^(Dumping |Log starting offset: \d+$|baseOffset: .* isvalid: true$|\| offset: \d+ |offset: \d+ position: \d+ ?$|` +
	`timestamp: \d+ offset: \d+ ?$|producerId: \d+ |.* passed sanity check\.$|.* is empty\.$)`)

// tornTail is what the tool prints behind the last batch of a segment that goes on with something else.
var tornTail = regexp.MustCompile(`^Found \d+ invalid bytes at the end of \d+\.log$`)

// filesPerRun keeps the list of files well below the 128 KiB that Linux takes in one argument: a quick machine writes
// more than a thousand segments before the kill.
const filesPerRun = 250

// dump runs DumpLogSegments on files and returns what it prints.
func (k *kafka) dump(t *testing.T, files []string, args ...string) string {
	t.Helper()
	var out strings.Builder
	for some := range slices.Chunk(files, filesPerRun) {
		out.WriteString(k.dumpSome(t, append(slices.Clone(args), "--files", strings.Join(some, ","))))
	}
	return out.String()
}

// dumpSome is one run of the tool.
func (k *kafka) dumpSome(t *testing.T, args []string) string {
	t.Helper()
	cmd := k.jars.Command(t.Context(), "org.apache.kafka.tools.DumpLogSegments", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("DumpLogSegments %.200s: %v\n%s", args, err, stderr.String())
	}
	// With --deep-iteration the tool finds fault with the first record of every segment but the first, Kafka's own too:
	// it compares with -1.
	for line := range strings.Lines(stderr.String()) {
		if !strings.HasPrefix(line, "Non-consecutive offsets in ") && !strings.HasPrefix(line, "  -1 is followed by ") {
			t.Errorf("DumpLogSegments says %q", line)
		}
	}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, "\n")
		if k.torn && tornTail.MatchString(line) {
			t.Log(line)
		} else if !expected.MatchString(line) {
			t.Errorf("DumpLogSegments complains: %.200s", line)
		}
	}
	return string(out)
}

var (
	dumping    = regexp.MustCompile(`^Dumping .*?([^/\\]+)-(\d+)[/\\]\d+\.log$`)
	dumpRecord = regexp.MustCompile(`^\| offset: (\d+) .* payload: (\S+)$`)
)

// records returns the values that were dumped by their place.
func (k *kafka) records(t *testing.T, out string) map[place]string {
	t.Helper()
	records := map[place]string{}
	var at place
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		if m := dumping.FindStringSubmatch(line); m != nil {
			partition, _ := strconv.Atoi(m[2])
			at = place{topic: m[1], partition: int32(partition)}
		} else if m := dumpRecord.FindStringSubmatch(line); m != nil {
			at.offset, _ = strconv.ParseInt(m[1], 10, 64)
			if _, twice := records[at]; twice {
				t.Errorf("%v is there twice", at)
			}
			records[at] = m[2]
		}
	}
	return records
}

// checkpoints compares the small files, as Kafka reads them, with the records.
func (k *kafka) checkpoints(t *testing.T, data string, records map[place]string) {
	t.Helper()
	cmd := k.jars.Command(t.Context(), "Checkpoints", data)
	for i, arg := range cmd.Args {
		if arg == k.jars.ClassPath() {
			cmd.Args[i] += string(os.PathListSeparator) + k.classes
		}
	}
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("Kafka cannot read the checkpoints: %v\n%s%s", err, out, stderrOf(err))
		return
	}
	ends := map[string]int64{} // by directory
	for p := range records {
		dir := fmt.Sprintf("%s-%d", p.topic, p.partition)
		ends[dir] = max(ends[dir], p.offset+1)
	}
	met := map[string]map[string]bool{} // directories by kind of file
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if f[0] == "meta.properties" {
			continue
		}
		if met[f[0]] == nil {
			met[f[0]] = map[string]bool{}
		}
		met[f[0]][f[1]] = true
		end, known := ends[f[1]]
		if !known {
			t.Errorf("%s names a partition without records: %s", f[0], line)
		}
		if offset, err := strconv.ParseInt(f[len(f)-1], 10, 64); err == nil && offset > end {
			t.Errorf("%s is past the end of the log, %d: %s", f[0], end, line)
		}
	}
	for _, file := range []string{"partition.metadata", "leader-epoch-checkpoint"} {
		if len(met[file]) != len(ends) {
			t.Errorf("%s is there for %d partitions %v, and records for %d", file, len(met[file]), slices.Sorted(maps.Keys(met[file])), len(ends))
		}
	}
}

func stderrOf(err error) []byte {
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.Stderr
	}
	return nil
}

// files returns the files of all partitions that match a pattern.
func (w *workload) files(t *testing.T, data, pattern string) []string {
	t.Helper()
	var all []string
	for _, topic := range topics {
		found, err := filepath.Glob(filepath.Join(data, topic.name+"-*", pattern))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	if len(all) == 0 {
		t.Fatalf("no %s in %s", pattern, data)
	}
	return all
}
