package compaction

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kbroker/kbroker/integration/kafkapeer"
)

// files returns the log files of __consumer_offsets, the active one of each partition apart.
func (o *offsetsTest) files() (sealed, active []string) {
	o.t.Helper()
	for p := range offsetsPartitions {
		files, err := filepath.Glob(filepath.Join(o.node.DataDir(), fmt.Sprint("__consumer_offsets-", p), "*.log"))
		o.must(err)
		slices.Sort(files)
		if len(files) == 0 {
			o.t.Fatal("no files of __consumer_offsets")
		}
		sealed, active = append(sealed, files[:len(files)-1]...), append(active, files[len(files)-1])
	}
	return sealed, active
}

// mentions reports whether sealed segments have anything of the deleted groups, tombstones included. A file that is
// swapped away meanwhile counts as one that does.
func (o *offsetsTest) mentions() bool {
	sealed, active := o.files()
	if len(sealed) < offsetsPartitions {
		return true
	}
	for _, file := range append(sealed, active...) {
		data, err := os.ReadFile(file)
		if err != nil || bytes.Contains(data, []byte("doomed-")) {
			return true
		}
	}
	return false
}

// bounded checks that the files have stayed small, and returns how many records were written to them.
func (o *offsetsTest) bounded() (written int64) {
	o.t.Helper()
	ends, err := o.admin.ListEndOffsets(o.t.Context(), "__consumer_offsets")
	o.must(err)
	ends.Each(func(e kadm.ListedOffset) { written += e.Offset })
	if written < leastCommits {
		o.t.Fatalf("%d records in __consumer_offsets", written)
	}
	const most = 6 * offsetsSegmentBytes * offsetsPartitions // what was written takes three times as much
	o.eventually("a size below the bound", func() bool {
		var size int64
		sealed, active := o.files()
		for _, file := range append(sealed, active...) {
			if info, err := os.Stat(file); err == nil {
				size += info.Size()
			}
		}
		return size <= most
	})
	return written
}

// excused is what Kafka's tool says of its own compacted logs too.
var excused = regexp.MustCompile(`^Non-consecutive offsets in | is followed by |^Found timestamp mismatch in |, log timestamp: -1\s*$`)

// printed is a committed offset, or its tombstone, as Kafka's decoder prints it.
var printed = regexp.MustCompile(`key: \{"type":"1","data":(\{.*?\})\} payload: (?:<DELETE>|\{"version":"4","data":(.*)\})$`)

// readByKafka has Kafka's tool decode the files: the last it prints of each group and partition is what was committed last.
func (o *offsetsTest) readByKafka() {
	o.t.Helper()
	jars, err := kafkapeer.Install(o.t.Context())
	o.must(err)
	sealed, active := o.files()
	cmd := jars.Command(o.t.Context(), "org.apache.kafka.tools.DumpLogSegments", "--offsets-decoder", "--files", strings.Join(append(sealed, active...), ","))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		o.t.Fatalf("Kafka's tool: %v\n%s", err, stderr.Bytes())
	}
	for line := range strings.Lines(stderr.String()) {
		if !excused.MatchString(line) {
			o.t.Errorf("Kafka's tool complains: %s", line)
		}
	}
	type key struct {
		Group, Topic string
		Partition    int32
	}
	found := map[key]string{}
	for line := range strings.Lines(string(out)) {
		m := printed.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		var k key
		o.must(json.Unmarshal([]byte(m[1]), &k))
		var v struct {
			Offset   int64
			Metadata string
		}
		if m[2] != "" {
			o.must(json.Unmarshal([]byte(m[2]), &v))
		}
		found[k] = fmt.Sprint(v.Offset, " ", v.Metadata)
	}
	for i := range simpleGroups {
		for p := range int32(dataPartitions) {
			want := fmt.Sprint(o.round*10+int64(p), " ", simple(i), " ", o.round)
			if got := found[key{simple(i), "t", p}]; got != want {
				o.t.Errorf("Kafka's tool prints %q of %s, partition %d, not %q", got, simple(i), p, want)
			}
		}
	}
	for k := range found {
		if strings.HasPrefix(k.Group, "doomed-") {
			o.t.Errorf("Kafka's tool prints an offset of %s, which was deleted", k.Group)
		}
	}
}
