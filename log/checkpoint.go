package log

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/kbroker/kbroker/internal/vfs"
)

// The offset checkpoints of a data directory (rule 3.3.2), each with its name in Kafka.
const (
	RecoveryPointCheckpoint = "recovery-point-offset-checkpoint" // everything below is known to be synced
	LogStartCheckpoint      = "log-start-offset-checkpoint"      // only logs that start above their first segment's base
	HighWatermarkCheckpoint = "replication-offset-checkpoint"
	CleanerCheckpoint       = "cleaner-offset-checkpoint" // first dirty offset
)

// maxCheckpointBytes bounds a checkpoint file: a million rows with topic names of 249 characters.
const maxCheckpointBytes = 280 << 20

// TopicPartition names a log.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String returns Kafka's directory name, topic-partition.
func (tp TopicPartition) String() string {
	return tp.Topic + "-" + strconv.Itoa(int(tp.Partition))
}

// Compare orders by topic, then by partition.
func (tp TopicPartition) Compare(other TopicPartition) int {
	if c := strings.Compare(tp.Topic, other.Topic); c != 0 {
		return c
	}
	return int(tp.Partition) - int(other.Partition)
}

// ReadCheckpoint reads the checkpoint called name in directory dir. A missing file is an empty checkpoint: nothing
// was ever written, and every checkpoint is only a lower bound. The error for a damaged one wraps ErrCorrupt and
// names the line.
func ReadCheckpoint(fsys vfs.FS, dir, name string) (map[TopicPartition]int64, error) {
	file := path.Join(dir, name)
	data, err := readFileBounded(fsys, file, maxCheckpointBytes)
	if isNotExist(err) {
		return map[TopicPartition]int64{}, nil
	}
	if err != nil {
		return nil, err
	}
	return parseCheckpoint(file, data)
}

func parseCheckpoint(name string, data []byte) (map[TopicPartition]int64, error) {
	offsets := make(map[TopicPartition]int64)
	err := parseTextFile(name, data, 3, func(fields [][]byte) error {
		partition, err := parseInt32(fields[1])
		if err != nil {
			return err
		}
		offset, err := parseInt64(fields[2])
		if err != nil {
			return err
		}
		if len(fields[0]) == 0 {
			return fmt.Errorf("the topic is empty")
		}
		tp := TopicPartition{string(fields[0]), partition}
		if _, twice := offsets[tp]; twice {
			return fmt.Errorf("%s has two rows", tp)
		}
		offsets[tp] = offset
		return nil
	})
	if err != nil {
		return nil, err
	}
	return offsets, nil
}

// WriteCheckpoint replaces the checkpoint called name in directory dir, durably. Rows come in the order of topic and
// partition, so that equal content makes equal files. It waits for the disk: no lock of a log may be held.
func WriteCheckpoint(fsys vfs.FS, dir, name string, offsets map[TopicPartition]int64) error {
	return writeFileAtomic(fsys, path.Join(dir, name), formatCheckpoint(offsets))
}

func formatCheckpoint(offsets map[TopicPartition]int64) []byte {
	b := appendTextHeader(nil, len(offsets))
	for _, tp := range sortedKeys(offsets) {
		b = appendCheckpointRow(b, tp, offsets[tp])
	}
	return b
}

func sortedKeys(offsets map[TopicPartition]int64) []TopicPartition {
	return slices.SortedFunc(maps.Keys(offsets), TopicPartition.Compare)
}

func appendCheckpointRow(b []byte, tp TopicPartition, offset int64) []byte {
	b = append(b, tp.Topic...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(tp.Partition), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, offset, 10)
	return append(b, '\n')
}
