package log

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/kbroker/kbroker/internal/vfs"
)

// The functions below read a whole file for people to look at, damaged or not: they call fn with each entry up to the
// damage, or behind it where entries have a place of their own, and return what is wrong, which wraps ErrCorrupt. They
// only read; the file may be that of a log which is open.

// ReadOffsetIndex reads the offset index name of the segment that starts at offset base. logSize is the size of its
// .log file in bytes, beyond which no entry may point. fn gets the last offset of a batch and where the batch starts.
func ReadOffsetIndex(fsys vfs.FS, name string, base, logSize int64, fn func(offset, position int64)) error {
	x := &offsetIndex{base: base}
	check := func(prev, entry []byte) error { return x.checkEntry(prev, entry, logSize) }
	return readIndex(fsys, name, offsetEntryBytes, check, func(entry []byte) {
		e := x.decode(0, entry)
		fn(e.Offset, e.Position)
	})
}

// ReadTimeIndex reads the time index name of the segment that starts at offset base. fn gets a time in milliseconds
// since 1970 and the last offset of the batch that has it.
func ReadTimeIndex(fsys vfs.FS, name string, base int64, fn func(timestamp, offset int64)) error {
	x := &timeIndex{base: base}
	return readIndex(fsys, name, timeEntryBytes, x.checkEntry, func(entry []byte) {
		e := x.decode(0, entry)
		fn(e.Timestamp, e.Offset)
	})
}

// ReadTxnIndex reads the transaction index name of the segment that starts at offset base. version is that of the
// entry's format, 0 unless the entry is damaged.
func ReadTxnIndex(fsys vfs.FS, name string, base int64, fn func(version int16, t AbortedTxn)) error {
	x := &txnIndex{base: base}
	return readIndex(fsys, name, txnEntryBytes, x.checkEntry, func(entry []byte) {
		fn(int16(binary.BigEndian.Uint16(entry)), decodeAbortedTxn(entry))
	})
}

// readIndex calls fn with the entries of an index file up to the zeros that fill a preallocated one (rule 3.2.6). A
// damaged one does not end it: the error is for the first that check refuses.
func readIndex(fsys vfs.FS, name string, width int64, check func(prev, entry []byte) error, fn func(entry []byte)) error {
	info, err := fsys.Stat(name)
	if err != nil {
		return err
	}
	x := &entryFile{fs: fsys, width: width, path: name, readOnly: true}
	x.written = info.Size() / width // without what is left over at the end
	defer x.close()
	var prev []byte
	var damage error
	err = x.scan(0, func(i int64, entry []byte) error {
		alone := info.Size() == width // the timestamp 0 of a segment's first record may well be the only entry
		if strings.Trim(string(entry), "\x00") == "" && !alone {
			return errStop
		}
		fn(entry)
		if err := check(prev, entry); err != nil && damage == nil {
			damage = fmt.Errorf("entry %d: %w", i, err)
		}
		prev = append(prev[:0], entry...)
		return nil
	})
	if err != nil && err != errStop {
		return err
	}
	if rest := info.Size() % width; rest != 0 && damage == nil {
		damage = fmt.Errorf("%d stray bytes at the end: %w", rest, ErrCorrupt)
	}
	return damage
}

// Mark is the durable mark of one log.
type Mark struct {
	Slot int32 // number of its place in the file
	Key  MarkKey
	End  int64 // everything below is synced
	// Recovery is the recovery point with its place (rule 3.5.2); its SegmentBase is UnknownSegment while there is none.
	Recovery Position
}

// ReadMarks reads the durable marks in file name, in the order of their slots. Slots that are free or torn are left out.
func ReadMarks(fsys vfs.FS, name string) ([]Mark, error) {
	data, err := readFileBounded(fsys, name, maxMarksBytes)
	if err != nil {
		return nil, err
	}
	m := &durableMarks{slots: make(map[MarkKey]markSlot)}
	if err := m.load(data); err != nil {
		return nil, err
	}
	marks := make([]Mark, 0, len(m.slots))
	for key, slot := range m.slots {
		v, _ := m.read(key)
		marks = append(marks, Mark{Slot: int32(slot), Key: key, End: v.end, Recovery: v.recovery})
	}
	slices.SortFunc(marks, func(a, b Mark) int { return int(a.Slot) - int(b.Slot) })
	return marks, nil
}
