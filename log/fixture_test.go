package log

import (
	"encoding/json"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/kbroker/kbroker/internal/kafkatree"
	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/internal/vfs"
)

// kafkaTrees are the data directories of a real Kafka 4.3.1; testdata/kafka-4.3.1/README.md says how they were
// made.
var kafkaTrees = []string{"clean-shutdown", "sigkill", "torn-tail"}

// kafkaTree unpacks one of kafkaTrees and returns the data directory.
func kafkaTree(t testing.TB, name string) string {
	t.Helper()
	return kafkatree.Unpack(t, filepath.Join("testdata", "kafka-4.3.1", name+".tar.gz"))
}

// kafkaManifest says what a correct reader finds in a tree.
type kafkaManifest struct {
	ClusterID string `json:"cluster_id"`
	NodeID    int32  `json:"node_id"`
	Topics    []struct {
		Name    string            `json:"name"`
		Configs map[string]string `json:"configs"`
	} `json:"topics"`
	Partitions []manifestPartition `json:"partitions"`
}

type manifestPartition struct {
	Topic         string          `json:"topic"`
	Partition     int32           `json:"partition"`
	TopicID       string          `json:"topic_id"`
	LogStart      int64           `json:"log_start_offset"`
	LogEnd        int64           `json:"log_end_offset"`
	HighWatermark *int64          `json:"high_watermark_in_checkpoint"`
	RecoveryPoint *int64          `json:"recovery_point_in_checkpoint"`
	LeaderEpochs  [][2]int64      `json:"leader_epochs"`
	LastStable    int64           `json:"last_stable_offset"`
	Uncommitted   manifestRecords `json:"read_uncommitted"`
	Committed     manifestRecords `json:"read_committed"`
	TxnIndex      []struct {
		Segment          int64 `json:"segment"`
		ProducerID       int64 `json:"producer_id"`
		FirstOffset      int64 `json:"first_offset"`
		LastOffset       int64 `json:"last_offset"`
		LastStableOffset int64 `json:"last_stable_offset"`
	} `json:"txnindex_entries"`
	Segments []struct {
		BaseOffset    int64            `json:"base_offset"`
		FileSizes     map[string]int64 `json:"file_sizes"`
		ValidLogBytes int64            `json:"valid_log_bytes"`
	} `json:"segments"`
}

// manifestRecords are the records that a consumer sees; the manifest's "hashes" says what is hashed.
type manifestRecords struct {
	Records int    `json:"records"`
	Values  string `json:"values_sha256"`
	Full    string `json:"full_sha256"`
}

func (p *manifestPartition) dir(tree string) string {
	return filepath.Join(tree, TopicPartition{p.Topic, p.Partition}.String())
}

func readManifest(t testing.TB, name string) kafkaManifest {
	t.Helper()
	data := readTestFile(t, filepath.Join("testdata", "kafka-4.3.1", name+".json"))
	var m kafkaManifest
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func readTestFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// glob returns the files of a tree that match pattern, which is relative to it.
func glob(t testing.TB, tree, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(tree, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// newSimDisk returns a disk in memory with the durable directory /d.
func newSimDisk(t testing.TB) *simfs.FS {
	t.Helper()
	disk := simfs.New()
	if err := disk.MkdirAll("/d", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := disk.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	return disk
}

// writeTestFile makes a file with the content data.
func writeTestFile(t testing.TB, fsys vfs.FS, name string, data []byte) {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
}

// testBatch is what the tests of the small files need of a batch in a .log file. It is decoded here on its own, so
// that these tests do not lean on the code that writes.
type testBatch struct {
	producerBatch
	Base, Last  int64
	Position    int64
	LeaderEpoch int32
	Bytes       []byte
}

// readBatches returns the batches of a .log file up to the first that is damaged.
func readBatches(data []byte) []testBatch {
	var batches []testBatch
	for pos := 0; len(data)-pos >= 61; {
		b := data[pos:]
		size := 12 + int64(int32At(b, 8))
		if size < 61 || size > int64(len(b)) || b[16] != 2 ||
			crc32.Checksum(b[21:size], crc32.MakeTable(crc32.Castagnoli)) != uint32(int32At(b, 17)) {
			break
		}
		attributes := int(b[21])<<8 | int(b[22])
		t := testBatch{
			Base: int64At(b, 0), Last: int64At(b, 0) + int64(int32At(b, 23)), Position: int64(pos), LeaderEpoch: int32At(b, 12),
			Bytes: slices.Clone(b[:size]),
			producerBatch: producerBatch{
				ProducerID: int64At(b, 43), Epoch: int16(b[51])<<8 | int16(b[52]), BaseSequence: int32At(b, 53),
				LastOffsetDelta: int32At(b, 23), MaxTimestamp: int64At(b, 35),
				Transactional: attributes&0x10 != 0, Control: attributes&0x20 != 0,
			},
		}
		if t.Control && int32At(b, 57) == 1 {
			// One record, all of whose lengths are one byte: length, attributes, two deltas, key length, key, value
			// length, value.
			r := b[61:size]
			i := 1 + 1
			for range 2 { // timestamp and offset delta
				for r[i]&0x80 != 0 {
					i++
				}
				i++
			}
			switch r[i+1+3] {
			case 0:
				t.Marker = abortMarker
			case 1:
				t.Marker = commitMarker
			}
			if t.Marker != noMarker {
				t.CoordinatorEpoch = int32At(r, i+1+4+1+2)
			}
		}
		batches = append(batches, t)
		pos += int(size)
	}
	return batches
}
