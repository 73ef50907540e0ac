package log

import (
	"cmp"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/kbroker/kbroker/internal/vfs"
)

// notReplayable names logs whose snapshots hold producers whose batches are gone: cleaned or deleted.
var notReplayable = map[string]bool{"compacted": true, "compacted-txn": true, "compact-delete": true, "retained": true, "trimmed": true}

// TestReplayMakesKafkasState replays the batches of every log that Kafka wrote through the producer state and the
// epoch cache, and finds at each snapshot what Kafka had there, in each segment the aborted transactions that Kafka
// indexed, and at the end Kafka's epochs (rules 3.2.9 to 3.2.11, 4.3.1, 5.7.4, 3.4.6).
func TestReplayMakesKafkasState(t *testing.T) {
	for _, tree := range []string{"clean-shutdown", "sigkill"} {
		dir, snapshots := kafkaTree(t, tree), 0
		for _, p := range readManifest(t, tree).Partitions {
			if p.Topic == "__cluster_metadata" {
				continue
			}
			r := replayLog(t, p.dir(dir))
			want := make(map[int64][]AbortedTxn)
			for _, e := range p.TxnIndex {
				want[e.Segment] = append(want[e.Segment], AbortedTxn{e.ProducerID, e.FirstOffset, e.LastOffset, e.LastStableOffset})
			}
			if !notReplayable[p.Topic] && !maps.EqualFunc(r.aborted, want, slices.Equal) {
				t.Errorf("%s %s-%d: aborted %v, but Kafka indexed %v", tree, p.Topic, p.Partition, r.aborted, want)
			}
			for _, name := range glob(t, p.dir(dir), "*.snapshot") {
				want, err := ReadSnapshot(vfs.OS(), name)
				if err != nil {
					t.Fatal(err)
				}
				got, ok := r.snapshots[baseOf(t, name)]
				if !ok || notReplayable[p.Topic] {
					continue
				}
				slices.SortFunc(want, func(a, b SnapshotEntry) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
				if !slices.Equal(got, want) {
					t.Errorf("%s: replayed to\n%+v, but Kafka wrote\n%+v", name, got, want)
				}
				snapshots++
			}
			// The leader makes its entry when it takes office (rule 3.4.6), so that the file may know epochs without
			// batches.
			c, err := loadEpochs(vfs.OS(), p.dir(dir))
			if err != nil {
				t.Fatal(err)
			}
			r.epochs.TruncateFromStart(p.LogStart)
			for _, e := range r.epochs.Entries() {
				if end, ok := c.EpochFor(e.StartOffset); !ok || end != e.Epoch {
					t.Errorf("%s %s-%d: replayed epochs %v, but Kafka wrote %v", tree, p.Topic, p.Partition, r.epochs.Entries(), c.Entries())
				}
			}
		}
		if snapshots < 20 {
			t.Errorf("%s: only %d snapshots compared", tree, snapshots)
		}
		t.Logf("%s: %d snapshots compared", tree, snapshots)
	}
}

// replayed is what the batches of one log amount to.
type replayed struct {
	snapshots map[int64][]SnapshotEntry // by offset: at every batch end
	aborted   map[int64][]AbortedTxn    // by segment
	epochs    EpochCache
}

func replayLog(t *testing.T, dir string) *replayed {
	t.Helper()
	r := &replayed{snapshots: make(map[int64][]SnapshotEntry), aborted: make(map[int64][]AbortedTxn)}
	s := newProducerState(producerStateConfig{})
	names := glob(t, dir, "*.log")
	for _, name := range names {
		for _, b := range readBatches(readTestFile(t, name)) {
			var u producerUndo
			if txn, aborted := s.update(&b.producerBatch, b.Base, 0, &u); aborted {
				r.aborted[baseOf(t, name)] = append(r.aborted[baseOf(t, name)], txn)
			}
			r.epochs.Assign(b.LeaderEpoch, b.Base)
			r.snapshots[b.Last+1] = s.snapshot()
		}
	}
	if len(names) == 0 {
		t.Errorf("%s has no segments", filepath.Base(dir))
	}
	return r
}
