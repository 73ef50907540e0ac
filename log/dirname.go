package log

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// DirKind is what a directory below a data directory holds (rule 3.1.1).
type DirKind uint8

const (
	DirLog    DirKind = iota // a log in service: topic-partition
	DirDelete                // scheduled for removal: topic-partition.ID-delete
	DirFuture                // target of a move between data directories: topic-partition.ID-future
	DirStray                 // found on disk, but not assigned to this broker: topic-partition.ID-stray
)

var dirSuffixes = [...]string{DirLog: "", DirDelete: "-delete", DirFuture: "-future", DirStray: "-stray"}

// maxDirName is the longest name of a directory; a topic name that makes it longer is cut (rule 3.1.1).
const maxDirName = 255

// DirName is the name of a log's directory, taken apart. The topic of a directory that is not in service may be cut.
type DirName struct {
	TopicPartition
	Kind   DirKind
	Unique [16]byte // random, unless Kind is DirLog
}

// ParseDirName takes the name of a log's directory apart. The partition is what follows the last dash: topics contain
// dashes too.
func ParseDirName(name string) (DirName, error) {
	var d DirName
	rest := name
	for kind := DirDelete; kind <= DirStray; kind++ {
		stem, ok := strings.CutSuffix(name, dirSuffixes[kind])
		if !ok {
			continue
		}
		dot := strings.LastIndexByte(stem, '.')
		if dot < 0 || len(stem)-dot-1 != hex.EncodedLen(len(d.Unique)) {
			continue // a topic may well be called my-delete-0, but then this is not a suffix
		}
		if _, err := hex.Decode(d.Unique[:], []byte(stem[dot+1:])); err != nil {
			return DirName{}, fmt.Errorf("directory %q: %q is no id of 32 hex digits", name, stem[dot+1:])
		}
		d.Kind, rest = kind, stem[:dot]
		break
	}
	dash := strings.LastIndexByte(rest, '-')
	if dash <= 0 {
		return DirName{}, fmt.Errorf("directory %q is not named TOPIC-PARTITION", name)
	}
	digits := rest[dash+1:]
	partition, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || digits != strconv.FormatUint(partition, 10) {
		return DirName{}, fmt.Errorf("directory %q: %q is no partition number", name, digits)
	}
	d.Topic, d.Partition = rest[:dash], int32(partition)
	return d, nil
}

// String returns the name of the directory, the topic cut where it would be longer than 255 bytes.
func (d DirName) String() string {
	if d.Kind == DirLog {
		return d.TopicPartition.String()
	}
	tail := fmt.Sprintf("-%d.%x%s", d.Partition, d.Unique, dirSuffixes[d.Kind])
	return d.Topic[:min(len(d.Topic), maxDirName-len(tail))] + tail
}
