package log

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
	"os"
	"path"
	"sync"

	"github.com/kbroker/kbroker/internal/vfs"
)

const (
	// MarksFile holds the durable marks of a data directory. Kafka knows no such file and ignores it.
	MarksFile = "kbroker-durable-marks"
	// marksMagic starts the file.
	marksMagic = "kbmarks\x01"
	// markBytes is the size of a slot: 64 bytes never straddle a sector, so that a write is all there or not at all.
	markBytes = 64
	// markSummed is how much of a slot its CRC-32C covers, which follows: topic id 16, partition 4, end offset 8, and
	// the recovery point as offset 8, segment 8 and position 8.
	markSummed = 52
	// marksPage is the unit in which the file is written: 64 slots, the system's page.
	marksPage = 4096
	// maxMarksBytes bounds the file: four million logs in one directory.
	maxMarksBytes = 256 << 20
)

// MarkKey names a log in the durable marks: topics that are deleted and made again must not share a mark.
type MarkKey struct {
	TopicID   [16]byte
	Partition int32
}

// durableMarks keep for each log of a data directory an offset below which everything was synced: a lower bound of
// what has been acknowledged. Recovery compares it with what it finds: a log that ends below its mark has lost
// acknowledged data, and says so instead of going on.
//
// The file is a mirror of buf: set changes a slot in memory, write brings the changed pages to the file in place,
// sync makes them durable. A torn slot fails its CRC and is free again; its log then has no bound, which is safe. All
// methods may be called concurrently, except that write and sync belong to one caller, the Committer.
type durableMarks struct {
	file vfs.File

	mu    sync.Mutex // guards what follows; never held across I/O
	buf   []byte     // the file's content: a header page, then slots
	dirty []uint64   // one word per page of slots, one bit per slot
	slots map[MarkKey]markSlot
	free  []markSlot

	scratch []byte // write's copy of what it writes
}

// markSlot is the number of a slot.
type markSlot int32

func (s markSlot) at() int { return marksPage + int(s)*markBytes }

// openDurableMarks reads the marks of data directory dir, and makes the file if there is none. A file whose header is
// damaged is an error that wraps ErrCorrupt: without the marks nothing proves that nothing is missing, and the
// operator decides.
func openDurableMarks(fsys vfs.FS, dir string) (*durableMarks, error) {
	name := path.Join(dir, MarksFile)
	buf, err := readFileBounded(fsys, name, maxMarksBytes)
	if isNotExist(err) {
		buf = newMarks()
		if err := writeFileAtomic(fsys, name, buf); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	m := &durableMarks{slots: make(map[MarkKey]markSlot)}
	if err := m.load(buf); err != nil {
		return nil, fmt.Errorf("durable marks %s: %w", name, err)
	}
	m.file, err = fsys.OpenFile(name, os.O_RDWR, 0o644)
	return m, err
}

// newMarks returns the content of a file without marks.
func newMarks() []byte {
	buf := make([]byte, marksPage)
	copy(buf, marksMagic)
	binary.BigEndian.PutUint32(buf[8:], markBytes)
	binary.BigEndian.PutUint32(buf[12:], crc32.Checksum(buf[:12], castagnoli))
	return buf
}

// load takes over the content of a file, cut to or filled up to whole pages.
func (m *durableMarks) load(buf []byte) error {
	if len(buf) < marksPage || string(buf[:8]) != marksMagic || binary.BigEndian.Uint32(buf[8:]) != markBytes ||
		binary.BigEndian.Uint32(buf[12:]) != crc32.Checksum(buf[:12], castagnoli) {
		return fmt.Errorf("its header is not that of such a file: %w", ErrCorrupt)
	}
	m.buf = append(buf, make([]byte, -len(buf)&(marksPage-1))...)
	m.dirty = make([]uint64, len(m.buf)/marksPage-1)
	for s := markSlot(len(m.dirty)*marksPage/markBytes) - 1; s >= 0; s-- {
		key, _, ok := decodeMark(m.buf[s.at():])
		if _, twice := m.slots[key]; !ok || twice {
			clear(m.buf[s.at() : s.at()+markBytes])
			m.free = append(m.free, s)
			continue
		}
		m.slots[key] = s
	}
	return nil
}

// mark is the content of a slot.
type mark struct {
	end int64 // everything below is synced
	// recovery is the recovery point (rule 3.5.2) with its place: where recovery begins to read. Its SegmentBase is
	// UnknownSegment while there is none.
	recovery Position
}

func encodeMark(b []byte, key MarkKey, v mark) {
	copy(b, key.TopicID[:])
	binary.BigEndian.PutUint32(b[16:], uint32(key.Partition))
	binary.BigEndian.PutUint64(b[20:], uint64(v.end))
	binary.BigEndian.PutUint64(b[28:], uint64(v.recovery.Offset))
	binary.BigEndian.PutUint64(b[36:], uint64(v.recovery.SegmentBase))
	binary.BigEndian.PutUint64(b[44:], uint64(v.recovery.Bytes))
	binary.BigEndian.PutUint32(b[markSummed:], crc32.Checksum(b[:markSummed], castagnoli))
}

func decodeMark(b []byte) (key MarkKey, v mark, ok bool) {
	key.TopicID, key.Partition = [16]byte(b), int32At(b, 16)
	v = mark{int64At(b, 20), Position{Offset: int64At(b, 28), SegmentBase: int64At(b, 36), Bytes: int64At(b, 44)}}
	ok = binary.BigEndian.Uint32(b[markSummed:]) == crc32.Checksum(b[:markSummed], castagnoli) &&
		key.Partition >= 0 && v.end >= 0
	return key, v, ok
}

// get returns the mark of a log, and false when it has none.
func (m *durableMarks) get(key MarkKey) (end int64, ok bool) {
	v, ok := m.read(key)
	return v.end, ok
}

// read is get with the recovery point.
func (m *durableMarks) read(key MarkKey) (v mark, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.slots[key]
	if !ok {
		return mark{recovery: At(0)}, false
	}
	_, v, ok = decodeMark(m.buf[s.at():])
	return v, ok
}

// slot returns the slot of a log, and assigns one, with the mark 0, when it has none.
func (m *durableMarks) slot(key MarkKey) markSlot {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.slots[key]; ok {
		return s
	}
	if len(m.free) == 0 {
		first := markSlot(len(m.dirty) * marksPage / markBytes)
		m.buf = append(m.buf, make([]byte, marksPage)...)
		m.dirty = append(m.dirty, 0)
		for s := first + marksPage/markBytes - 1; s >= first; s-- {
			m.free = append(m.free, s)
		}
	}
	s := m.free[len(m.free)-1]
	m.free = m.free[:len(m.free)-1]
	m.slots[key] = s
	m.put(s, key, mark{recovery: At(0)})
	return s
}

// put changes a slot; mu is held.
func (m *durableMarks) put(s markSlot, key MarkKey, v mark) {
	encodeMark(m.buf[s.at():], key, v)
	m.dirty[s/64] |= 1 << (s % 64)
}

// set notes in memory that everything below end is synced.
func (m *durableMarks) set(s markSlot, end int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if key, v, ok := decodeMark(m.buf[s.at():]); ok && v.end != end {
		v.end = end
		m.put(s, key, v)
	}
}

// setRecovery notes in memory that recovery may begin at p: below, the log is synced and so are its indexes.
func (m *durableMarks) setRecovery(s markSlot, p Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if key, v, ok := decodeMark(m.buf[s.at():]); ok && v.recovery != p {
		v.recovery = p
		m.put(s, key, v)
	}
}

// lower notes in memory, before the log is truncated to end, that no more is promised; write and sync come before the
// truncation. The recovery point loses its place, so that recovery syncs what it finds: after a kill in the middle of the
// truncation, the file's new length may be in the page cache only.
func (m *durableMarks) lower(s markSlot, end int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if key, v, ok := decodeMark(m.buf[s.at():]); ok {
		m.put(s, key, mark{min(v.end, end), At(min(v.recovery.Offset, end))})
	}
}

// release frees the slot of a log that is deleted.
func (m *durableMarks) release(key MarkKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.slots[key]
	if !ok {
		return
	}
	delete(m.slots, key)
	clear(m.buf[s.at() : s.at()+markBytes])
	m.dirty[s/64] |= 1 << (s % 64)
	m.free = append(m.free, s)
}

// write brings what changed to the file, one pwrite for each run of changed pages, and returns how many slots there
// were. It does not sync. After an error the next call writes the pages again; unless the disk was full, there is none:
// the directory fails (rule 3.1.5).
func (m *durableMarks) write() (int, error) {
	slots := 0
	for page := 0; ; {
		m.mu.Lock()
		for page < len(m.dirty) && m.dirty[page] == 0 {
			page++
		}
		first := page
		for page < len(m.dirty) && m.dirty[page] != 0 {
			slots += bits.OnesCount64(m.dirty[page])
			m.dirty[page] = 0
			page++
		}
		from, to := (first+1)*marksPage, (page+1)*marksPage
		m.scratch = append(m.scratch[:0], m.buf[from:to]...)
		m.mu.Unlock()
		if first == page {
			return slots, nil
		}
		if _, err := m.file.WriteAt(m.scratch, int64(from)); err != nil {
			m.mu.Lock()
			for p := first; p < page; p++ {
				m.dirty[p] = ^uint64(0) // all of the page, since it is not known which
			}
			m.mu.Unlock()
			return slots, fmt.Errorf("write durable marks %s: %w", m.file.Name(), err)
		}
	}
}

// sync makes what was written durable.
func (m *durableMarks) sync() error {
	if err := m.file.Sync(); err != nil {
		return fmt.Errorf("sync durable marks %s: %w", m.file.Name(), err)
	}
	return nil
}

func (m *durableMarks) close() error { return m.file.Close() }
