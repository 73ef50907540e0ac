package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/kbroker/kbroker/internal/vfs"
)

// ErrCorrupt marks bytes on disk that cannot be what was written there. Whoever meets it may rebuild the file from the
// log (indexes, epochs), fall back to an older one (snapshots), or must report it.
var ErrCorrupt = errors.New("corrupt")

const (
	// tailBytes is how many bytes of entries an index keeps in memory before it asks to be flushed (wantsFlush). At one
	// entry per 4 KiB of log it lets an index of 8-byte entries go 2 MiB of log without a write, for 4 KiB of memory;
	// keeping the active segment's whole index resident would cost 5 MiB per GiB of log and partition.
	tailBytes = 4096
	// scratchBytes is the size of the block that a search in the file ends with.
	scratchBytes = 512
	// scanBytes is the size of the reads of a sequential pass; it holds whole entries of each size (8, 12, 34).
	scanBytes = 34 * 24 * 32
)

// entryFile is a file of fixed-size entries in ascending order: what offset, time and transaction index share.
//
// New entries stay in memory (the tail) until flush writes them in one pwrite. Older ones are searched in the file with
// pread: the page cache holds what is hot, nothing is mapped (a failing disk would be a signal instead of an error) and
// a sealed segment keeps no memory. A file that ends early is legal: recovery scans the log from the last entry on
// (rule 3.2.8).
//
// append, flush, truncate and reset are called under the log's append lock. Searches may run beside them, except that
// a search beside truncate may report an error; the log's readers are bounded by its end and never ask above it.
type entryFile struct {
	fs    vfs.FS
	width int64 // bytes per entry
	// check verifies one entry against the one before it (nil for the first) when a file that was found on disk is
	// first searched.
	check func(prev, entry []byte) error
	// readOnly opens the file without the wish to write it.
	readOnly bool

	verified atomic.Bool // the entries were written by this process, or checked
	// scratch is a one-place cache of the block for searches in the file, so that a lookup allocates nothing.
	scratch atomic.Pointer[[scratchBytes]byte]

	path string
	made bool // the file is there; guarded by the append lock

	mu      sync.RWMutex // guards what follows; never held across I/O
	file    *openFile    // nil until there is something to write or to read
	retired bool         // it is not opened any more
	written int64        // entries in the file
	tail    []byte       // entries that are not in the file yet
}

// open takes over the file at path as it is on disk. The error is fs.ErrNotExist or wraps ErrCorrupt when the size is
// no multiple of the entry size (rule 3.2.7).
func (f *entryFile) open() error {
	info, err := f.fs.Stat(f.path)
	if err != nil {
		return err
	}
	if info.Size()%f.width != 0 {
		return fmt.Errorf("index %s: its size of %d bytes is no multiple of the entry size %d: %w", f.path, info.Size(), f.width, ErrCorrupt)
	}
	f.written, f.made = info.Size()/f.width, true
	return nil
}

// count returns the number of entries, written or not.
func (f *entryFile) count() int64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.written + int64(len(f.tail))/f.width
}

// append adds one entry in memory.
func (f *entryFile) append(entry []byte) {
	f.mu.Lock()
	f.tail = append(f.tail, entry...)
	f.mu.Unlock()
}

// wantsFlush reports whether the entries in memory have reached the bound of tailBytes. The owner then calls flush
// outside its hot path; nothing breaks when it is late.
func (f *entryFile) wantsFlush() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return len(f.tail) >= tailBytes
}

// forWriting opens the file, creating it, unless it is open. The caller releases it; a close meanwhile takes effect then.
func (f *entryFile) forWriting() (*openFile, error) { return f.handle(os.O_RDWR | os.O_CREATE) }

// forReading is forWriting for a file that has to be there: whoever reads beside the removal of a segment must not make
// its index anew.
func (f *entryFile) forReading() (*openFile, error) {
	if f.readOnly {
		return f.handle(os.O_RDONLY)
	}
	return f.handle(os.O_RDWR)
}

func (f *entryFile) handle(flags int) (*openFile, error) {
	f.mu.RLock()
	file, retired := f.file, f.retired
	open := file != nil && file.pin() // close takes the file away under mu before it gives up its reference
	f.mu.RUnlock()
	switch {
	case open:
		return file, nil
	case retired:
		return nil, errRetired
	}
	opened, err := f.fs.OpenFile(f.path, flags, 0o644)
	if err != nil {
		return nil, err
	}
	file = &openFile{File: opened}
	file.refs.Store(2)
	f.mu.Lock()
	if f.file == nil && !f.retired {
		f.file = file
		f.mu.Unlock()
		return file, nil
	}
	other := f.file
	open = other != nil && other.pin() // another goroutine was first
	f.mu.Unlock()
	_ = opened.Close()
	if !open {
		return nil, errRetired
	}
	return other, nil
}

// create makes the file under another name, which the caller changes to the index's own while the file is open.
func (f *entryFile) create(name string) error {
	opened, err := f.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	file := &openFile{File: opened}
	file.refs.Store(1)
	f.mu.Lock()
	f.file = file
	f.mu.Unlock()
	f.made = true
	return nil
}

// pending reports whether there are entries in memory.
func (f *entryFile) pending() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return len(f.tail) > 0
}

// flush writes the entries in memory to the file, creating it, in one write. It does not sync.
func (f *entryFile) flush() error {
	// Only the holder of the append lock changes what decides here, and that is the caller.
	if f.made && len(f.tail) == 0 {
		return nil
	}
	file, err := f.forWriting()
	if err != nil {
		return err
	}
	defer file.release()
	if f.made = true; len(f.tail) == 0 {
		return nil
	}
	if _, err := file.WriteAt(f.tail, f.written*f.width); err != nil {
		return fmt.Errorf("write index %s: %w", f.path, err)
	}
	f.mu.Lock()
	f.written += int64(len(f.tail)) / f.width
	f.tail = f.tail[:0]
	if cap(f.tail) > 2*tailBytes { // after a time in which flush failed
		f.tail = nil
	}
	f.mu.Unlock()
	return nil
}

// sync makes what flush wrote durable. Only the keeper, recovery and a clean close call it, never under a lock of the
// log. The file is opened again if it was closed to save descriptors.
func (f *entryFile) sync() error {
	f.mu.RLock()
	nothing := f.file == nil && f.written == 0
	f.mu.RUnlock()
	if nothing {
		return nil
	}
	file, err := f.forReading()
	if err == nil {
		err = file.Sync()
		file.release()
	}
	if err != nil {
		return fmt.Errorf("sync index %s: %w", f.path, err)
	}
	return nil
}

// truncate keeps the first n entries.
func (f *entryFile) truncate(n int64) error {
	f.mu.Lock()
	written, tail := f.written, f.tail
	cut := n < written
	if cut {
		f.written, f.tail = n, nil
	} else if keep := (n - written) * f.width; keep < int64(len(tail)) {
		f.tail = tail[:keep]
	}
	f.mu.Unlock()
	if !cut {
		return nil
	}
	if err := f.cutFile(n); err != nil {
		f.mu.Lock()
		f.written, f.tail = written, tail // a second try finds everything as it was
		f.mu.Unlock()
		return fmt.Errorf("truncate index %s to %d entries: %w", f.path, n, err)
	}
	return nil
}

func (f *entryFile) cutFile(entries int64) error {
	file, err := f.forReading()
	if err != nil {
		return err
	}
	defer file.release()
	return file.Truncate(entries * f.width)
}

// reset empties the index, whatever the file holds, so that it can be rebuilt.
func (f *entryFile) reset() error {
	f.mu.Lock()
	f.written, f.tail = 0, f.tail[:0]
	f.mu.Unlock()
	f.verified.Store(true)
	file, err := f.forReading()
	if isNotExist(err) { // flush makes it
		f.made = false
		return nil
	}
	if err != nil {
		return err
	}
	defer file.release()
	if err := file.Truncate(0); err != nil {
		return fmt.Errorf("empty index %s: %w", f.path, err)
	}
	return nil
}

// seal flushes and gives the memory back; the index takes no more entries until truncate or reset.
func (f *entryFile) seal() error {
	if err := f.flush(); err != nil {
		return err
	}
	f.mu.Lock()
	f.tail = nil
	f.mu.Unlock()
	return nil
}

// close closes the descriptor as soon as nobody uses it. What was not flushed stays in memory.
func (f *entryFile) close() { f.drop(false) }

// retire is close for an index that is not opened again.
func (f *entryFile) retire() { f.drop(true) }

func (f *entryFile) drop(retire bool) {
	f.mu.Lock()
	file := f.file
	f.file, f.retired = nil, f.retired || retire
	f.mu.Unlock()
	if file != nil {
		file.release()
	}
}

// errStop ends a scan without an error.
var errStop = errors.New("stop")

// scan calls fn with each entry from number first on; an entry is valid during the call. fn ends the pass with errStop.
func (f *entryFile) scan(first int64, fn func(i int64, entry []byte) error) error {
	f.mu.RLock()
	written, tail := f.written, append([]byte(nil), f.tail...)
	f.mu.RUnlock()
	buf := make([]byte, min(scanBytes/f.width*f.width, max(written-first, 0)*f.width))
	var file *openFile
	if first < written {
		var err error
		if file, err = f.forReading(); err != nil {
			return err
		}
		defer file.release()
	}
	for i := first; i < written; {
		chunk := buf[:min(int64(len(buf)), (written-i)*f.width)]
		if err := f.readEntries(file, chunk, i); err != nil {
			return err
		}
		n, err := each(chunk, f.width, i, fn)
		if err != nil {
			return err
		}
		i += n
	}
	skip := max(first-written, 0) * f.width
	_, err := each(tail[min(skip, int64(len(tail))):], f.width, max(first, written), fn)
	return err
}

// each calls fn with the entries of chunk, the first of which has number i, and returns how many there are.
func each(chunk []byte, width, i int64, fn func(i int64, entry []byte) error) (int64, error) {
	n := int64(len(chunk)) / width
	for j := range n {
		if err := fn(i+j, chunk[j*width:(j+1)*width]); err != nil {
			return j, err
		}
	}
	return n, nil
}

func int32At(b []byte, at int) int32 { return int32(binary.BigEndian.Uint32(b[at:])) }
func int64At(b []byte, at int) int64 { return int64(binary.BigEndian.Uint64(b[at:])) }
