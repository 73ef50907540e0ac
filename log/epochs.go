package log

import (
	"fmt"
	"path"
	"slices"
	"sort"
	"strconv"
	"sync"

	"github.com/kbroker/kbroker/internal/vfs"
)

const (
	// EpochsFile is the name of the checkpoint in a partition's directory (rule 3.3.1).
	EpochsFile = "leader-epoch-checkpoint"
	// maxEpochsBytes bounds the file: a million leader changes.
	maxEpochsBytes = 32 << 20
)

// EpochEntry says which offset a leader epoch starts at.
type EpochEntry struct {
	Epoch       int32
	StartOffset int64
}

// EpochCache is a replica's history of leader epochs: entries that ascend in both epoch and start offset. It
// is changed in memory only; Persist writes the file, which can always be rebuilt from the batch headers of the log.
//
// All methods may be called concurrently, except that one caller at a time may be in Persist.
type EpochCache struct {
	mu        sync.RWMutex // guards what follows; never held across I/O
	entries   []EpochEntry
	version   uint64 // counts changes
	persisted uint64 // version that the file holds
}

// Assign notes that epoch starts at offset start, unless it is known to start there or earlier. Entries at the end
// that contradict it (epoch or start not below) are dropped first (rule 3.4.6). It reports whether anything changed,
// so that the caller knows to have the cache persisted.
func (c *EpochCache) Assign(epoch int32, start int64) bool {
	if epoch < 0 || start < 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.entries)
	if n > 0 && c.entries[n-1].Epoch == epoch && c.entries[n-1].StartOffset <= start {
		return false
	}
	for n > 0 && (c.entries[n-1].Epoch >= epoch || c.entries[n-1].StartOffset >= start) {
		n--
	}
	c.entries = append(c.entries[:n], EpochEntry{epoch, start})
	c.version++
	return true
}

// Latest returns the newest entry, and false when there is none.
func (c *EpochCache) Latest() (EpochEntry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.entries) == 0 {
		return EpochEntry{Epoch: -1, StartOffset: -1}, false
	}
	return c.entries[len(c.entries)-1], true
}

// EpochFor returns the epoch of the record at offset, and false when offset lies before the first entry.
func (c *EpochCache) EpochFor(offset int64) (int32, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	i := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].StartOffset > offset })
	if i == 0 {
		return -1, false
	}
	return c.entries[i-1].Epoch, true
}

// EndOffsetFor answers OffsetForLeaderEpoch and finds where two logs diverge (rules 6.8.2 and 6.8.3): the largest epoch
// ≤ epoch, and the offset at which it ends. logEnd is the log end offset. (-1, -1) means unknown; so does epoch -1, with
// which a replica says that it has none.
func (c *EpochCache) EndOffsetFor(epoch int32, logEnd int64) (int32, int64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	n := len(c.entries)
	if n == 0 || epoch == -1 || epoch > c.entries[n-1].Epoch {
		return -1, -1
	}
	if epoch == c.entries[n-1].Epoch {
		return epoch, logEnd
	}
	higher := sort.Search(n, func(i int) bool { return c.entries[i].Epoch > epoch })
	if higher == 0 {
		return epoch, c.entries[0].StartOffset
	}
	return c.entries[higher-1].Epoch, c.entries[higher].StartOffset
}

// TruncateFromEnd drops the entries that start at or above offset (rule 3.8.2).
func (c *EpochCache) TruncateFromEnd(offset int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.entries)
	for n > 0 && c.entries[n-1].StartOffset >= offset {
		n--
	}
	if n == len(c.entries) {
		return false
	}
	c.entries = c.entries[:n]
	c.version++
	return true
}

// TruncateFromStart drops the entries that start below the log start offset, and keeps the newest of them with its
// start raised to it (rule 3.6.4).
func (c *EpochCache) TruncateFromStart(offset int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	below := 0
	for below < len(c.entries) && c.entries[below].StartOffset <= offset {
		below++
	}
	if below == 0 || below == 1 && c.entries[0].StartOffset == offset {
		return false
	}
	c.entries = slices.Delete(c.entries, 0, below-1)
	c.entries[0].StartOffset = offset
	c.version++
	return true
}

// Clear drops everything (rule 3.8.3).
func (c *EpochCache) Clear() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) == 0 {
		return false
	}
	c.entries = nil
	c.version++
	return true
}

// Entries returns a copy.
func (c *EpochCache) Entries() []EpochEntry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clone(c.entries)
}

// Dirty reports whether the file lacks a change.
func (c *EpochCache) Dirty() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.version != c.persisted
}

// Persist replaces the file in the partition's directory dir if it lacks a change, durably: an unsynced rewrite of
// this file has corrupted it elsewhere (KAFKA-16541). It waits for the disk: no lock of a log may be held.
func (c *EpochCache) Persist(fsys vfs.FS, dir string) error {
	c.mu.RLock()
	version, dirty := c.version, c.version != c.persisted
	var data []byte
	if dirty {
		data = formatEpochs(c.entries)
	}
	c.mu.RUnlock()
	if !dirty {
		return nil
	}
	if err := writeFileAtomic(fsys, path.Join(dir, EpochsFile), data); err != nil {
		return err
	}
	c.mu.Lock()
	c.persisted = version
	c.mu.Unlock()
	return nil
}

// loadEpochs reads the file in the partition's directory dir. A missing file is an empty cache. On an error that wraps
// ErrCorrupt the caller rebuilds the cache from batch headers.
func loadEpochs(fsys vfs.FS, dir string) (*EpochCache, error) {
	entries, err := ReadEpochs(fsys, path.Join(dir, EpochsFile))
	if isNotExist(err) {
		return &EpochCache{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &EpochCache{entries: entries}, nil
}

// ReadEpochs reads a file of leader epochs. With an error that wraps ErrCorrupt come the entries before the damage.
func ReadEpochs(fsys vfs.FS, name string) ([]EpochEntry, error) {
	data, err := readFileBounded(fsys, name, maxEpochsBytes)
	if err != nil {
		return nil, err
	}
	return parseEpochs(name, data)
}

func parseEpochs(name string, data []byte) ([]EpochEntry, error) {
	var entries []EpochEntry
	err := parseTextFile(name, data, 2, func(fields [][]byte) error {
		epoch, err := parseInt32(fields[0])
		if err != nil {
			return err
		}
		start, err := parseInt64(fields[1])
		if err != nil {
			return err
		}
		if n := len(entries); n > 0 && (epoch <= entries[n-1].Epoch || start <= entries[n-1].StartOffset) {
			return fmt.Errorf("epoch %d at %d does not follow epoch %d at %d", epoch, start, entries[n-1].Epoch, entries[n-1].StartOffset)
		}
		entries = append(entries, EpochEntry{epoch, start})
		return nil
	})
	return entries, err
}

func formatEpochs(entries []EpochEntry) []byte {
	b := appendTextHeader(nil, len(entries))
	for _, e := range entries {
		b = strconv.AppendInt(b, int64(e.Epoch), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, e.StartOffset, 10)
		b = append(b, '\n')
	}
	return b
}
