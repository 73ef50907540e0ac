package log

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/kbroker/kbroker/internal/vfs"
)

// offsetEntryBytes is the size of an entry of the offset index (rule 3.2.1).
const offsetEntryBytes = 8

// offsetIndex maps offsets to positions in one segment's file, sparsely (rule 3.2.1). An entry holds the last offset of
// the batch that starts at its position.
type offsetIndex struct {
	entryFile
	base     int64
	capacity int64 // entries
}

// offsetEntry is one entry, with its offset made absolute.
type offsetEntry struct {
	Offset   int64 // last offset of the batch at Position
	Position int64 // in bytes from the start of the segment's file
}

// newOffsetIndex makes the index of a segment that is about to be written. maxBytes is segment.index.bytes (rule
// 3.2.5). No file is touched before flush.
func newOffsetIndex(fs vfs.FS, path string, base int64, maxBytes int32) *offsetIndex {
	x := &offsetIndex{base: base, capacity: int64(maxBytes) / offsetEntryBytes}
	x.entryFile = entryFile{fs: fs, path: path, width: offsetEntryBytes}
	x.verified.Store(true)
	return x
}

// openOffsetIndex takes over the index of a segment found on disk, whose log file has logSize bytes. The size and the
// last entry are checked here, the rest when it is first searched. An error that wraps ErrCorrupt or fs.ErrNotExist,
// from here or from a later lookup, means that the caller has to rebuild the index: reset, then append.
//
// An entry may still be wrong in a way that only the log can tell (rule 3.2.7): a reader checks that the batch at
// Position is one and does not start above Offset.
func openOffsetIndex(fs vfs.FS, path string, base int64, maxBytes int32, logSize int64) (*offsetIndex, error) {
	x := newOffsetIndex(fs, path, base, maxBytes)
	x.verified.Store(false)
	x.check = func(prev, entry []byte) error { return x.checkEntry(prev, entry, logSize) }
	if err := x.open(); err != nil {
		return x, err
	}
	if x.written == 0 {
		x.verified.Store(true)
		return x, nil
	}
	file, err := x.forReading()
	if err != nil {
		return x, err
	}
	defer file.release()
	var last [offsetEntryBytes]byte
	if err := x.readEntries(file, last[:], x.written-1); err != nil {
		return x, err
	}
	if err := x.checkEntry(nil, last[:], logSize); err != nil {
		return x, fmt.Errorf("index %s, last entry: %w", path, err)
	}
	return x, nil
}

// checkEntry verifies one entry against its neighbour and the size of the log.
func (x *offsetIndex) checkEntry(prev, entry []byte, logSize int64) error {
	rel, pos := int32At(entry, 0), int32At(entry, 4)
	switch {
	case rel < 0 || pos < 0:
		return fmt.Errorf("negative offset %d or position %d: %w", rel, pos, ErrCorrupt)
	case rel == 0 && pos == 0: // the first batch of a segment has no entry (rule 3.2.3): unused, preallocated space
		return fmt.Errorf("an entry of zeros: %w", ErrCorrupt)
	case int64(pos) >= logSize:
		return fmt.Errorf("position %d is beyond the log file's %d bytes: %w", pos, logSize, ErrCorrupt)
	case prev != nil && (rel <= int32At(prev, 0) || pos <= int32At(prev, 4)):
		return fmt.Errorf("offset %d, position %d do not follow offset %d, position %d: %w",
			x.base+int64(rel), pos, x.base+int64(int32At(prev, 0)), int32At(prev, 4), ErrCorrupt)
	}
	return nil
}

// append adds an entry for the batch at position that ends at lastOffset. Both must be above those of the entry before
// it and within an int32 of the segment's start: the log rolls before (rules 3.4.1c and d). A full index ignores it.
func (x *offsetIndex) append(lastOffset, position int64) {
	rel := lastOffset - x.base
	if rel < 0 || rel > math.MaxInt32 || position < 0 || position > math.MaxInt32 {
		panic(fmt.Sprintf("log: entry (%d, %d) does not fit the index of segment %d", lastOffset, position, x.base))
	}
	if x.full() {
		return
	}
	var e [offsetEntryBytes]byte
	binary.BigEndian.PutUint32(e[0:], uint32(rel))
	binary.BigEndian.PutUint32(e[4:], uint32(position))
	x.entryFile.append(e[:])
}

// full reports whether the segment has to roll (rule 3.4.1c).
func (x *offsetIndex) full() bool { return x.count() >= x.capacity }

// lookup returns the entry with the greatest offset ≤ target, or the start of the segment, (base, 0).
func (x *offsetIndex) lookup(target int64) (offsetEntry, error) {
	var e [offsetEntryBytes]byte
	i, err := x.floor(func(e []byte) bool { return x.base+int64(int32At(e, 0)) <= target }, e[:])
	return x.decode(i, e[:]), err
}

// after returns the first entry whose position is ≥ target, and false when there is none.
func (x *offsetIndex) after(target int64) (offsetEntry, bool, error) {
	var e [offsetEntryBytes]byte
	i, err := x.floor(func(e []byte) bool { return int64(int32At(e, 4)) < target }, e[:])
	if err != nil || i+1 >= x.count() {
		return offsetEntry{}, false, err
	}
	err = x.entry(i+1, e[:])
	return x.decode(i+1, e[:]), err == nil, err
}

// lastEntry returns the last entry, or (base, 0).
func (x *offsetIndex) lastEntry() (offsetEntry, error) { return x.lookup(math.MaxInt64) }

func (x *offsetIndex) decode(i int64, e []byte) offsetEntry {
	if i < 0 {
		return offsetEntry{Offset: x.base}
	}
	return offsetEntry{Offset: x.base + int64(int32At(e, 0)), Position: int64(int32At(e, 4))}
}

// truncateTo removes the entries with an offset ≥ offset (rule 3.8.2).
func (x *offsetIndex) truncateTo(offset int64) error {
	var e [offsetEntryBytes]byte
	i, err := x.floor(func(e []byte) bool { return x.base+int64(int32At(e, 0)) < offset }, e[:])
	if err != nil {
		return err
	}
	return x.truncate(i + 1)
}
