package compaction

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kbroker/kbroker/integration/kafkapeer"
	"github.com/kbroker/kbroker/integration/kbrokerproc"
	"github.com/kbroker/kbroker/log/record"
)

// properties let the cleaners look often, and leave the choice of what they may clean to the test.
var properties = []string{"log.cleaner.backoff.ms=20", "log.cleaner.dedupe.buffer.size=8388608"}

// startPair starts both brokers at once: Kafka takes its time.
func startPair(t *testing.T) (kafka, kbroker *side) {
	t.Helper()
	var k *kafkapeer.Node
	var started sync.WaitGroup
	var err error
	started.Go(func() {
		var jars kafkapeer.Jars
		if jars, err = kafkapeer.Install(t.Context()); err == nil {
			k, err = jars.Start(t.Context(), kafkapeer.Config{Heap: "512M", Properties: properties})
		}
	})
	node := kbrokerproc.StartForTest(t, kbrokerproc.Config{Properties: properties})
	started.Wait()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return newSide(t, "Kafka", k.Bootstrap(), k.DataDir(), false), newSide(t, "kbroker", node.Bootstrap(), node.DataDir(), true)
}

// TestLeavesWhatKafkaLeaves writes the same batches to Kafka and to kbroker in phases, with a pass of both cleaners after
// each, and compares what is left: the records as a consumer gets them, and the batches as they lie in the files (rules 3.10.4 to 3.10.9). Tombstones whose time is short are gone with the pass after the one that saw them first.
func TestLeavesWhatKafkaLeaves(t *testing.T) {
	kafka, kbroker := startPair(t)
	codecs := record.NewCodecs()
	var inputs []*input
	for i := range topics {
		inputs = append(inputs, newInput(codecs, i))
	}
	before := map[string]int64{} // the active segments a phase ago
	for phase := range phases {
		written := map[string]int{}
		for i, topic := range topics {
			for n, b := range inputs[i].phase() {
				if a, o := kafka.produce(topic.name, b), kbroker.produce(topic.name, b); a != o {
					t.Fatalf("phase %d, %s: batch %d lies at %d in Kafka and at %d in kbroker", phase, topic.name, n, a, o)
				}
			}
			written[topic.name] = inputs[i].turn
		}
		active := kafka.clean()
		if ours := kbroker.clean(); !maps.Equal(active, ours) {
			t.Fatalf("phase %d: the active segments begin at %v in Kafka and at %v in kbroker", phase, active, ours)
		}
		for _, topic := range topics {
			t.Run(fmt.Sprintf("%s/%d", topic.name, phase), func(t *testing.T) {
				timestamps := topic.configs["message.timestamp.type"] == ""
				left := kafka.consume(topic.name, timestamps)
				compare(t, "records", left, kbroker.consume(topic.name, timestamps))
				ofKafka := kafka.batches(topic.name, timestamps, "")
				compare(t, "batches", ofKafka, withoutEnds(kbroker.batches(topic.name, timestamps, endsSegment), ofKafka))
				checkWork(t, left, written[topic.name], before[topic.name], strings.HasSuffix(topic.name, "-dropped"))
			})
		}
		before = active
	}
}

// checkWork makes sure that the comparison was one of compacted logs: at most half of the records are left, and tombstones
// that have been seen in an earlier phase, below the offset seen, are gone or not as the topic is to have it.
func checkWork(t *testing.T, left []string, written int, seen int64, dropped bool) {
	t.Helper()
	var old int
	for _, line := range left {
		var offset int64
		if _, err := fmt.Sscan(line, &offset); err != nil {
			t.Fatal(err)
		}
		if offset < seen && strings.Contains(line, "="+tombstone) {
			old++
		}
	}
	t.Logf("%d of %d records are left, %d of them tombstones from earlier phases", len(left), written, old)
	if len(left) == 0 || len(left) > written/2 {
		t.Errorf("%d of %d records are left", len(left), written)
	}
	if seen > 0 && (old == 0) != dropped {
		t.Errorf("%d tombstones from earlier phases are left", old)
	}
}

// endsSegment is behind the line of an empty batch of ours that ends its segment.
const endsSegment = ", the last one"

// withoutEnds takes those empty batches out of ours that Kafka does not have and that end a segment: kbroker keeps the last
// batch of every segment that it cleans, so that there are no gaps between segments, and Kafka that of the last one only.
func withoutEnds(ours, kafka []string) (common []string) {
	for _, line := range ours {
		plain, ends := strings.CutSuffix(line, endsSegment)
		if !ends || slices.Contains(kafka, plain) {
			common = append(common, plain)
		}
	}
	return common
}

// compare reports the first line that differs.
func compare(t *testing.T, what string, want, got []string) {
	t.Helper()
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			t.Fatalf("%s, line %d: there is\n%s\nand it should be\n%s", what, i+1, got[i], want[i])
		}
	}
	if len(want) != len(got) {
		t.Errorf("%s: there are %d and not %d", what, len(got), len(want))
	}
}
