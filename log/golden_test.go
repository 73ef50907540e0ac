package log

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kbroker/kbroker/internal/vfs"
)

// baseOf returns the base offset in the name of a segment's file.
func baseOf(t testing.TB, name string) int64 {
	t.Helper()
	digits, _, _ := strings.Cut(filepath.Base(name), ".")
	base, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return base
}

func withExt(name, ext string) string {
	return strings.TrimSuffix(name, filepath.Ext(name)) + ext
}

// preallocated reports whether Kafka was killed before it trimmed the file: it ends in at least one entry of zeros.
func preallocated(data []byte, width int) bool {
	return len(data) >= width && len(strings.TrimRight(string(data[len(data)-width:]), "\x00")) == 0
}

// kafkaFiles is one of Kafka's data directories, for tests that only read it.
type kafkaFiles struct {
	name, dir string
	manifest  kafkaManifest
}

// TestKafkaFiles reads every small file that Kafka wrote, compares what it says, and writes it again to the byte.
func TestKafkaFiles(t *testing.T) {
	for _, tree := range kafkaTrees {
		k := &kafkaFiles{tree, kafkaTree(t, tree), readManifest(t, tree)}
		for what, check := range map[string]func(*testing.T){
			"offset indexes": k.checkOffsetIndexes, "time indexes": k.checkTimeIndexes, "transaction indexes": k.checkTxnIndexes,
			"snapshots": k.checkSnapshots, "checkpoints": k.checkCheckpoints, "epochs": k.checkEpochs, "meta": k.checkMetaFiles,
		} {
			t.Run(tree+" "+what, check)
		}
	}
}

// checkOffsetIndexes is T150: in every index that Kafka wrote, each entry's position holds a batch that ends at the
// entry's offset; and what we write from the same entries is the same file (rule 3.2.1).
func (k *kafkaFiles) checkOffsetIndexes(t *testing.T) {
	checked := 0
	for _, name := range glob(t, k.dir, "*/*.index") {
		data, logData := readTestFile(t, name), readTestFile(t, withExt(name, ".log"))
		x, err := openOffsetIndex(vfs.OS(), name, baseOf(t, name), 8192, int64(len(logData)))
		if preallocated(data, offsetEntryBytes) {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: a preallocated index was opened: %v", name, err)
			}
			x.close()
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		entries := offsetEntries(t, x)
		ends := make(map[int64]int64)
		for _, b := range readBatches(logData) {
			ends[b.Position] = b.Last
		}
		for _, e := range entries {
			if last, ok := ends[e.Position]; !ok || last != e.Offset {
				t.Errorf("%s: entry %+v, but the batch there ends at %d (%v)", name, e, last, ok)
			}
			checked++
		}
		again := newOffsetIndex(vfs.OS(), name+"2", x.base, 8192)
		for _, e := range entries {
			again.append(e.Offset, e.Position)
		}
		rewritten(t, &again.entryFile, data)
		x.close()
	}
	t.Logf("%s: %d entries", k.name, checked)
}

// rewritten seals x and compares its file with the original.
func rewritten(t *testing.T, x *entryFile, want []byte) {
	t.Helper()
	if err := x.seal(); err != nil {
		t.Fatal(err)
	}
	defer x.close()
	if got := readTestFile(t, x.path); string(got) != string(want) {
		t.Errorf("%s: rewritten as\n%x, not\n%x", x.path, got, want)
	}
}

func offsetEntries(t testing.TB, x *offsetIndex) []offsetEntry {
	t.Helper()
	var entries []offsetEntry
	if err := x.scan(0, func(i int64, e []byte) error {
		entries = append(entries, x.decode(i, e))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return entries
}

func timeEntries(t testing.TB, x *timeIndex) []timeEntry {
	t.Helper()
	var entries []timeEntry
	if err := x.scan(0, func(i int64, e []byte) error {
		entries = append(entries, x.decode(i, e))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return entries
}

// checkTimeIndexes is T150 for the time index: entries strictly ascend, and each is the largest timestamp so far
// and the end of the batch that has it (rule 3.2.2).
func (k *kafkaFiles) checkTimeIndexes(t *testing.T) {
	checked := 0
	for _, name := range glob(t, k.dir, "*/*.timeindex") {
		data := readTestFile(t, name)
		x, err := openTimeIndex(vfs.OS(), name, baseOf(t, name), 8192)
		if preallocated(data, timeEntryBytes) || len(data)%timeEntryBytes != 0 {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: a preallocated or torn index was opened: %v", name, err)
			}
			x.close()
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		entries := timeEntries(t, x)
		checkTimeEntries(t, name, entries)
		again := newTimeIndex(vfs.OS(), name+"2", x.base, 8192)
		for _, e := range entries {
			if err := again.maybeAppend(e.Timestamp, e.Offset, true); err != nil {
				t.Fatal(err)
			}
			checked++
		}
		rewritten(t, &again.entryFile, data)
		x.close()
	}
	t.Logf("%s: %d entries", k.name, checked)
}

func checkTimeEntries(t *testing.T, name string, entries []timeEntry) {
	t.Helper()
	i, largest, at := 0, int64(-1), int64(0)
	batches := readBatches(readTestFile(t, withExt(name, ".log")))
	for _, e := range entries {
		for ; i < len(batches) && batches[i].Last <= e.Offset; i++ {
			if batches[i].MaxTimestamp > largest {
				largest, at = batches[i].MaxTimestamp, batches[i].Last
			}
		}
		if e.Timestamp != largest || e.Offset != at {
			t.Errorf("%s: entry %+v, but the largest timestamp so far is %d at %d", name, e, largest, at)
		}
	}
}

func txnEntries(t testing.TB, name string) []AbortedTxn {
	t.Helper()
	x, err := openTxnIndex(vfs.OS(), name, baseOf(t, name))
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	txns, _, err := x.collect(nil, 0, 1<<62)
	if err != nil {
		t.Fatal(err)
	}
	return txns
}

// checkTxnIndexes compares every .txnindex with the manifest, and writes it again.
func (k *kafkaFiles) checkTxnIndexes(t *testing.T) {
	rows := 0
	for _, p := range k.manifest.Partitions {
		want := make(map[int64][]AbortedTxn)
		for _, e := range p.TxnIndex {
			want[e.Segment] = append(want[e.Segment], AbortedTxn{e.ProducerID, e.FirstOffset, e.LastOffset, e.LastStableOffset})
			rows++
		}
		got := make(map[int64][]AbortedTxn)
		for _, name := range glob(t, p.dir(k.dir), "*.txnindex") {
			base := baseOf(t, name)
			got[base] = txnEntries(t, name)
			again := newTxnIndex(vfs.OS(), name+"2", base)
			for _, txn := range got[base] {
				again.append(txn)
			}
			if len(got[base]) == 0 {
				delete(got, base)
				continue
			}
			rewritten(t, &again.entryFile, readTestFile(t, name))
		}
		if !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%s %s-%d: %v, but the manifest says %v", k.name, p.Topic, p.Partition, got, want)
		}
	}
	t.Logf("%s: %d entries", k.name, rows)
}

// checkSnapshots is T151: every snapshot that Kafka wrote is read and makes the same bytes again; the one that was
// damaged by hand is refused.
func (k *kafkaFiles) checkSnapshots(t *testing.T) {
	read := 0
	for _, name := range glob(t, k.dir, "*/*.snapshot*") {
		data := readTestFile(t, name)
		entries, err := decodeSnapshot(data)
		if k.name == "torn-tail" && filepath.Base(filepath.Dir(name)) == "txn-0" && filepath.Base(name) == "00000000000000001241.snapshot" {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: the flipped bit went unnoticed: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if again := encodeSnapshot(entries); string(again) != string(data) {
			t.Errorf("%s: rewritten as\n%x, not\n%x", name, again, data)
		}
		read++
	}
	t.Logf("%s: %d snapshots", k.name, read)
}

// checkCheckpoints compares every checkpoint with the manifest.
func (k *kafkaFiles) checkCheckpoints(t *testing.T) {
	recovery, hw := make(map[TopicPartition]int64), make(map[TopicPartition]int64)
	for _, p := range k.manifest.Partitions {
		tp := TopicPartition{p.Topic, p.Partition}
		if p.RecoveryPoint != nil {
			recovery[tp] = *p.RecoveryPoint
		}
		if p.HighWatermark != nil {
			hw[tp] = *p.HighWatermark
		}
	}
	for name, want := range map[string]map[TopicPartition]int64{
		RecoveryPointCheckpoint: recovery, HighWatermarkCheckpoint: hw,
		LogStartCheckpoint: {{"trimmed", 0}: 237}, CleanerCheckpoint: nil,
	} {
		got, err := ReadCheckpoint(vfs.OS(), k.dir, name)
		if err != nil || want != nil && !maps.Equal(got, want) {
			t.Errorf("%s, %s: %v, %v; the manifest says %v", k.name, name, got, err, want)
		}
		// Rows come in no order in Kafka's file, so that the lines are compared as a set.
		if again := lineSet(formatCheckpoint(got)); !slices.Equal(again, lineSet(readTestFile(t, filepath.Join(k.dir, name)))) {
			t.Errorf("%s, %s: rewritten as %q", k.name, name, again)
		}
	}
}

func lineSet(data []byte) []string {
	return slices.Sorted(strings.Lines(string(data)))
}

// checkEpochs is T155: every leader-epoch-checkpoint is read, equals the batches in the log, and is written the
// same again.
func (k *kafkaFiles) checkEpochs(t *testing.T) {
	for _, p := range k.manifest.Partitions {
		c, err := loadEpochs(vfs.OS(), p.dir(k.dir))
		if err != nil {
			t.Error(err)
			continue
		}
		name := filepath.Join(p.dir(k.dir), EpochsFile)
		if again := formatEpochs(c.Entries()); string(again) != string(readTestFile(t, name)) {
			t.Errorf("%s: rewritten as %q", name, again)
		}
		var got [][2]int64
		for _, e := range c.Entries() {
			got = append(got, [2]int64{int64(e.Epoch), e.StartOffset})
		}
		if !slices.Equal(got, p.LeaderEpochs) {
			t.Errorf("%s: %v, but the manifest says %v", name, got, p.LeaderEpochs)
		}
	}
}

// checkMetaFiles reads and rewrites the remaining small files.
func (k *kafkaFiles) checkMetaFiles(t *testing.T) {
	m, err := ReadMetaProperties(vfs.OS(), k.dir)
	if err != nil || m.ClusterID != k.manifest.ClusterID || m.NodeID != k.manifest.NodeID || m.Format != 0 || m.DirectoryID == ([16]byte{}) {
		t.Errorf("%s: meta.properties: %+v, %v", k.name, m, err)
	}
	if err := CheckMetaProperties([]string{k.dir}, []MetaProperties{m}, k.manifest.ClusterID, k.manifest.NodeID); err != nil {
		t.Error(err)
	}
	for _, p := range k.manifest.Partitions {
		id, err := ReadPartitionMetadata(vfs.OS(), p.dir(k.dir))
		if err != nil || formatUUID(id) != p.TopicID {
			t.Errorf("%s: topic id %s, %v; the manifest says %s", p.dir(k.dir), formatUUID(id), err, p.TopicID)
		}
		if again := formatPartitionMetadata(id); string(again) != string(readTestFile(t, filepath.Join(p.dir(k.dir), PartitionMetadataFile))) {
			t.Errorf("%s: partition.metadata rewritten as %q", p.dir(k.dir), again)
		}
	}
	epoch, err := ReadCleanShutdown(vfs.OS(), k.dir)
	if clean := k.name == "clean-shutdown"; clean && (epoch != 162 || err != nil) || !clean && !isNotExist(err) {
		t.Errorf("%s: clean shutdown file: %d, %v", k.name, epoch, err)
	}
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		d, err := ParseDirName(e.Name())
		if err != nil || d.String() != e.Name() || (d.Kind == DirDelete) != strings.HasSuffix(e.Name(), "-delete") {
			t.Errorf("directory %s: %+v, %v", e.Name(), d, err)
		}
	}
}
