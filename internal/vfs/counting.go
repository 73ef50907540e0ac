package vfs

import (
	"io/fs"
	"path/filepath"
	"sync"
)

// Counters is an FS that passes everything on to another one and counts what passes. Tests use it to show numbers of
// syncs and the bytes read at recovery.
//
// Its files have no descriptor (Fd reports false), so that sendfile can't read past the count.
type Counters struct {
	FS

	mu       sync.Mutex // guards what follows; never held over a call of FS
	total    Tally
	bySuffix map[string]*Tally
	syncFS   int64
	syncDir  int64
	watch    func(file string) bool
	watched  int64
}

// Tally is what happened to files. Bytes are those really read or written.
type Tally struct {
	Reads, BytesRead     int64
	Writes, BytesWritten int64
	Syncs                int64
}

// Counting returns an FS on top of fsys that counts.
func Counting(fsys FS) *Counters {
	return &Counters{FS: fsys, bySuffix: map[string]*Tally{}}
}

// Total returns the tally of all files.
func (c *Counters) Total() Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}

// Suffix returns the tally of files whose name ends in suffix, from its last dot on (".log", ".index").
func (c *Counters) Suffix(suffix string) Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.bySuffix[suffix]; t != nil {
		return *t
	}
	return Tally{}
}

// SyncFSCalls returns the number of SyncFS calls.
func (c *Counters) SyncFSCalls() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.syncFS
}

// SyncDirCalls returns the number of SyncDir calls.
func (c *Counters) SyncDirCalls() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.syncDir
}

// Watch asks pred at every Sync and SyncFS, before it is passed on and on the goroutine that syncs, and counts those
// for which it says true: a test shows with it that no sync happens while some lock is held. pred must be safe for
// concurrent use. It gets the name of the file, or the argument of SyncFS.
func (c *Counters) Watch(pred func(file string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch, c.watched = pred, 0
}

// Watched returns how often the predicate of Watch was true.
func (c *Counters) Watched() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watched
}

// Reset sets all counts to zero; the predicate of Watch stays.
func (c *Counters) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total, c.syncFS, c.syncDir, c.watched = Tally{}, 0, 0, 0
	clear(c.bySuffix)
}

// count changes the tallies that file name belongs to.
func (c *Counters) count(name string, change func(*Tally)) {
	suffix := filepath.Ext(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.bySuffix[suffix]
	if t == nil {
		t = &Tally{}
		c.bySuffix[suffix] = t
	}
	change(t)
	change(&c.total)
}

// askWatch calls the predicate without the lock: it is the test's and may take any lock itself.
func (c *Counters) askWatch(name string) {
	c.mu.Lock()
	pred := c.watch
	c.mu.Unlock()
	if pred == nil || !pred(name) {
		return
	}
	c.mu.Lock()
	c.watched++
	c.mu.Unlock()
}

// OpenFile opens a file whose reads, writes and syncs are counted.
func (c *Counters) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := c.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &countedFile{File: f, c: c}, nil
}

// OpenDirect is OpenFile for reads past the page cache.
func (c *Counters) OpenDirect(name string) (File, error) {
	f, err := c.FS.OpenDirect(name)
	if err != nil {
		return nil, err
	}
	return &countedFile{File: f, c: c}, nil
}

// SyncDir counts and passes on.
func (c *Counters) SyncDir(name string) error {
	c.mu.Lock()
	c.syncDir++
	c.mu.Unlock()
	return c.FS.SyncDir(name)
}

// SyncFS counts, asks the predicate of Watch, and passes on.
func (c *Counters) SyncFS(name string) error {
	c.askWatch(name)
	c.mu.Lock()
	c.syncFS++
	c.mu.Unlock()
	return c.FS.SyncFS(name)
}

type countedFile struct {
	File
	c *Counters
}

func (f *countedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.c.count(f.Name(), func(t *Tally) { t.Reads++; t.BytesRead += int64(n) })
	return n, err
}

func (f *countedFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	f.c.count(f.Name(), func(t *Tally) { t.Writes++; t.BytesWritten += int64(n) })
	return n, err
}

func (f *countedFile) WritevAt(bufs [][]byte, off int64) (int64, error) {
	n, err := f.File.WritevAt(bufs, off)
	f.c.count(f.Name(), func(t *Tally) { t.Writes++; t.BytesWritten += n })
	return n, err
}

func (f *countedFile) Sync() error {
	f.c.askWatch(f.Name())
	f.c.count(f.Name(), func(t *Tally) { t.Syncs++ })
	return f.File.Sync()
}

func (*countedFile) Fd() (uintptr, bool) { return 0, false }
