package log

import (
	"encoding/binary"
	"fmt"

	"github.com/kbroker/kbroker/internal/vfs"
)

// timeEntryBytes is the size of an entry of the time index (rule 3.2.2).
const timeEntryBytes = 12

// timeIndex maps timestamps to offsets in one segment, sparsely (rule 3.2.2). An entry says: no record up to and
// including Offset has a timestamp above Timestamp, and the batch that ends at Offset has one that is equal.
type timeIndex struct {
	entryFile
	base     int64
	capacity int64 // entries
}

// timeEntry is one entry, with its offset made absolute.
type timeEntry struct {
	Timestamp int64 // milliseconds since 1970
	Offset    int64 // last offset of the batch that holds it
}

// newTimeIndex makes the index of a segment that is about to be written. maxBytes is segment.index.bytes.
func newTimeIndex(fs vfs.FS, path string, base int64, maxBytes int32) *timeIndex {
	x := &timeIndex{base: base, capacity: int64(maxBytes) / timeEntryBytes}
	x.entryFile = entryFile{fs: fs, path: path, width: timeEntryBytes}
	x.verified.Store(true)
	return x
}

// openTimeIndex takes over the index of a segment found on disk; errors as those of openOffsetIndex.
func openTimeIndex(fs vfs.FS, path string, base int64, maxBytes int32) (*timeIndex, error) {
	x := newTimeIndex(fs, path, base, maxBytes)
	x.verified.Store(false)
	x.check = x.checkEntry
	if err := x.open(); err != nil {
		return x, err
	}
	if x.written == 0 {
		x.verified.Store(true)
		return x, nil
	}
	var first, last [timeEntryBytes]byte
	file, err := x.forReading()
	if err != nil {
		return x, err
	}
	defer file.release()
	if err := x.readEntries(file, first[:], 0); err != nil {
		return x, err
	}
	var prev []byte
	if x.written > 1 {
		prev = first[:]
	}
	if err := x.readEntries(file, last[:], x.written-1); err != nil {
		return x, err
	}
	if err := x.checkEntry(prev, last[:]); err != nil {
		return x, fmt.Errorf("index %s, last entry: %w", path, err)
	}
	return x, nil
}

// checkEntry verifies one entry against one before it.
func (x *timeIndex) checkEntry(prev, entry []byte) error {
	ts, rel := int64At(entry, 0), int32At(entry, 8)
	switch {
	case ts < 0 || rel < 0:
		return fmt.Errorf("negative timestamp %d or offset %d: %w", ts, rel, ErrCorrupt)
	case prev != nil && (ts <= int64At(prev, 0) || rel <= int32At(prev, 8)):
		return fmt.Errorf("timestamp %d, offset %d do not follow timestamp %d, offset %d: %w",
			ts, x.base+int64(rel), int64At(prev, 0), x.base+int64(int32At(prev, 8)), ErrCorrupt)
	}
	return nil
}

// add adds an entry, for a caller that knows that it follows the last one and that there is room, as the tail of a log
// does (rules 3.2.2 and 3.2.5). timestamp is the largest of the segment so far, offset the last offset of the batch that
// holds it.
func (x *timeIndex) add(timestamp, offset int64) {
	var e [timeEntryBytes]byte
	binary.BigEndian.PutUint64(e[0:], uint64(timestamp))
	binary.BigEndian.PutUint32(e[8:], uint32(offset-x.base))
	x.append(e[:])
}

// lookup returns the entry with the greatest timestamp ≤ target, or (-1, base): no record before its offset is younger
// than target.
func (x *timeIndex) lookup(target int64) (timeEntry, error) {
	var e [timeEntryBytes]byte
	i, err := x.floor(func(e []byte) bool { return int64At(e, 0) <= target }, e[:])
	return x.decode(i, e[:]), err
}

// lastEntry returns the last entry, which holds the largest timestamp of a sealed segment, and false when there is
// none.
func (x *timeIndex) lastEntry() (timeEntry, bool, error) {
	var e [timeEntryBytes]byte
	i, err := x.floor(func([]byte) bool { return true }, e[:])
	return x.decode(i, e[:]), i >= 0, err
}

func (x *timeIndex) decode(i int64, e []byte) timeEntry {
	if i < 0 {
		return timeEntry{Timestamp: -1, Offset: x.base}
	}
	return timeEntry{Timestamp: int64At(e, 0), Offset: x.base + int64(int32At(e, 8))}
}

// truncateTo removes the entries with an offset ≥ offset (rule 3.8.2).
func (x *timeIndex) truncateTo(offset int64) error {
	var e [timeEntryBytes]byte
	i, err := x.floor(func(e []byte) bool { return x.base+int64(int32At(e, 8)) < offset }, e[:])
	if err != nil {
		return err
	}
	return x.truncate(i + 1)
}
