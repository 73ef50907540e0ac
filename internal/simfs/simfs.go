// Package simfs is a file system in memory that behaves as disks do when the power fails: it keeps what was synced,
// and of what was not a seeded choice, torn at sector boundaries.
//
// It guarantees exactly what package vfs promises of a real disk and nothing more. A file's bytes and size are durable
// after Sync of the file, a name after SyncDir of its directory (rule 3.5.3), and neither brings the other along. An FS
// is what one process sees of a disk. Crash and Kill end that process and return the FS of the next one; on the old
// one everything fails from then on, so that goroutines left over can do no harm.
//
// All methods may be called concurrently. Nothing in this package sleeps or waits, so it works in a synctest bubble.
//
// Not modelled: links, permissions, and renames from one directory to another, which fail with EXDEV.
package simfs

import (
	"cmp"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kbroker/kbroker/internal/vfs"
)

// FS is one process's view of a disk. It implements vfs.FS.
type FS struct {
	d *disk

	// What follows is guarded by d.mu.

	down      bool // the process has ended
	opens     int  // files that it has open
	lostSyncs int
	rules     []*Rule
	locks     map[*node]bool
}

var _ vfs.FS = (*FS)(nil)

// disk is what outlives a process.
type disk struct {
	mu   sync.Mutex // guards everything below and all nodes; never held over anything that waits
	root *node
	// used is the bytes in files that have a name or are open.
	used, capacity int64
	mounts         map[string]bool
	// Negative controls.
	syncIsNoop, syncDirIsNoop bool
}

// defaultCapacity is the size of a disk unless SetCapacity says otherwise: more than a test can fill.
const defaultCapacity = 1 << 50

// New returns an empty disk as seen by its first process.
func New() *FS {
	return &FS{d: &disk{root: newDir(), capacity: defaultCapacity, mounts: map[string]bool{}}, locks: map[*node]bool{}}
}

// SetCapacity makes the disk total bytes large: writes that need more fail with ENOSPC after writing what fits. It may
// be less than what is in use.
func (s *FS) SetCapacity(total int64) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.d.capacity = total
}

// SetOwnMount makes OwnMount report own for directory name.
func (s *FS) SetOwnMount(name string, own bool) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.d.mounts[clean(name)] = own
}

// SetSyncNoop makes Sync and SyncFS succeed without doing anything: the negative control of tests that claim to
// notice a missing sync.
func (s *FS) SetSyncNoop(on bool) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.d.syncIsNoop = on
}

// SetSyncDirNoop is SetSyncNoop for SyncDir.
func (s *FS) SetSyncDirNoop(on bool) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.d.syncDirIsNoop = on
}

// clean turns a name as package filepath makes it into the absolute slash-separated form used here.
func clean(name string) string {
	name = filepath.ToSlash(strings.TrimPrefix(name, filepath.VolumeName(name)))
	return path.Clean("/" + name)
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// OpenFile implements vfs.FS. A directory can't be opened: nothing reads one but ReadDir and SyncDir.
func (s *FS) OpenFile(name string, flag int, _ fs.FileMode) (vfs.File, error) {
	f, err := s.open(name, flag)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// OpenFiles returns how many files the process has open: what it would have descriptors for.
func (s *FS) OpenFiles() int {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	return s.opens
}

// LostSyncs returns how many calls of Sync and SyncFS have failed by a Rule in this process: what they lost is still in
// the page cache, and not on the disk.
func (s *FS) LostSyncs() int {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	return s.lostSyncs
}

// OpenDirect implements vfs.FS. Reads that are not aligned fail with EINVAL on every system, so that a test finds them.
func (s *FS) OpenDirect(name string) (vfs.File, error) {
	f, err := s.open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return &directFile{f}, nil
}

func (s *FS) open(name string, flag int) (*file, error) {
	fault := s.enter(OpOpen, name)
	defer s.d.mu.Unlock()
	if fault.err != nil {
		return nil, pathError("open", name, fault.err)
	}
	n, err := s.openNode(name, flag)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	n.opens++
	s.opens++
	return &file{s: s, n: n, name: name, access: flag & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR)}, nil
}

// openNode finds or makes the file that an open with flag leads to.
func (s *FS) openNode(name string, flag int) (*node, error) {
	if flag&os.O_APPEND != 0 {
		return nil, syscall.EINVAL // WriteAt has no meaning on such a file
	}
	dir, base, err := s.d.parent(name)
	if err != nil {
		return nil, err
	}
	n := dir.names[base]
	switch {
	case n == nil && flag&os.O_CREATE == 0:
		return nil, syscall.ENOENT
	case n == nil:
		n = newFile()
		dir.alter(nameOp{add: base, node: n})
	case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return nil, syscall.EEXIST
	case n.isDir():
		return nil, syscall.EISDIR
	}
	if flag&os.O_TRUNC != 0 {
		s.d.truncate(n, 0)
	}
	return n, nil
}

// Remove implements vfs.FS.
func (s *FS) Remove(name string) error {
	fault := s.enter(OpRemove, name)
	defer s.d.mu.Unlock()
	if fault.err != nil {
		return pathError("remove", name, fault.err)
	}
	dir, base, err := s.d.parent(name)
	if err != nil {
		return pathError("remove", name, err)
	}
	switch n := dir.names[base]; {
	case n == nil:
		return pathError("remove", name, syscall.ENOENT)
	case len(n.names) > 0:
		return pathError("remove", name, syscall.ENOTEMPTY)
	default:
		s.d.unlink(dir, base)
		return nil
	}
}

// RemoveAll implements vfs.FS. As on a real disk it is many removals, of which a crash keeps some.
func (s *FS) RemoveAll(name string) error {
	fault := s.enter(OpRemove, name)
	defer s.d.mu.Unlock()
	if fault.err != nil {
		return pathError("removeall", name, fault.err)
	}
	dir, base, err := s.d.parent(name)
	if err == syscall.ENOENT || err == nil && dir.names[base] == nil {
		return nil
	}
	if err != nil {
		return pathError("removeall", name, err)
	}
	s.d.unlinkTree(dir, base)
	return nil
}

// Rename implements vfs.FS.
func (s *FS) Rename(oldName, newName string) error {
	fault := s.enter(OpRename, oldName)
	defer s.d.mu.Unlock()
	err := fault.err
	if err == nil {
		err = s.d.rename(oldName, newName)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: err}
	}
	return nil
}

// MkdirAll implements vfs.FS.
func (s *FS) MkdirAll(name string, _ fs.FileMode) error {
	fault := s.enter(OpMkdir, name)
	defer s.d.mu.Unlock()
	if fault.err != nil {
		return pathError("mkdir", name, fault.err)
	}
	dir := s.d.root
	for _, base := range split(name) {
		n := dir.names[base]
		if n == nil {
			n = newDir()
			dir.alter(nameOp{add: base, node: n})
		}
		if !n.isDir() {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		dir = n
	}
	return nil
}

// ReadDir implements vfs.FS.
func (s *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	fault := s.enter(OpReadDir, name)
	defer s.d.mu.Unlock()
	if fault.err != nil {
		return nil, pathError("open", name, fault.err)
	}
	dir, err := s.d.dir(name)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	entries := make([]fs.DirEntry, 0, len(dir.names))
	for base, n := range dir.names {
		entries = append(entries, fs.FileInfoToDirEntry(n.info(base)))
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// Stat implements vfs.FS.
func (s *FS) Stat(name string) (fs.FileInfo, error) {
	fault := s.enter(OpStat, name)
	defer s.d.mu.Unlock()
	if fault.err != nil {
		return nil, pathError("stat", name, fault.err)
	}
	n, err := s.d.find(name)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	return n.info(path.Base(clean(name))), nil
}

// Chtimes implements vfs.FS.
func (s *FS) Chtimes(name string, modified time.Time) error {
	fault := s.enter(OpStat, name)
	defer s.d.mu.Unlock()
	n, err := s.d.find(name)
	if err = cmp.Or(fault.err, err); err != nil {
		return pathError("chtimes", name, err)
	}
	n.modified = modified
	return nil
}

// SyncDir implements vfs.FS.
func (s *FS) SyncDir(name string) error {
	fault := s.enter(OpSyncDir, name)
	defer s.d.mu.Unlock()
	if fault.err != nil {
		return pathError("sync", name, fault.err)
	}
	dir, err := s.d.dir(name)
	if err != nil {
		return pathError("sync", name, err)
	}
	if !s.d.syncDirIsNoop {
		dir.syncNames()
	}
	return nil
}

// SyncFS implements vfs.FS: it makes the whole disk durable.
func (s *FS) SyncFS(name string) error {
	fault := s.enter(OpSyncFS, name)
	defer s.d.mu.Unlock()
	if fault.injected {
		s.lostSyncs++
		s.d.root.walk((*node).loseUnsynced)
	}
	if fault.err == nil {
		_, fault.err = s.d.find(name)
	}
	if fault.err != nil {
		return pathError("syncfs", name, fault.err)
	}
	if !s.d.syncIsNoop {
		s.d.root.walk((*node).syncData)
		s.d.root.walk((*node).syncNames)
	}
	return nil
}

// OwnMount implements vfs.FS; SetOwnMount decides.
func (s *FS) OwnMount(name string) bool {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	return s.d.mounts[clean(name)]
}

// Space implements vfs.FS.
func (s *FS) Space(name string) (free, total uint64, err error) {
	fault := s.enter(OpStat, name)
	defer s.d.mu.Unlock()
	if fault.err != nil {
		return 0, 0, pathError("statfs", name, fault.err)
	}
	return uint64(s.d.room()), uint64(s.d.capacity), nil
}

// Lock implements vfs.FS. The holder is always this process, whose id the error names.
func (s *FS) Lock(name string) (io.Closer, error) {
	fault := s.enter(OpLock, name)
	defer s.d.mu.Unlock()
	if fault.err != nil {
		return nil, pathError("flock", name, fault.err)
	}
	n, err := s.openNode(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, pathError("flock", name, err)
	}
	if s.locks[n] {
		return nil, &vfs.LockedError{Name: name, PID: os.Getpid()}
	}
	s.locks[n] = true
	return &heldLock{s: s, n: n}, nil
}

// heldLock is the result of Lock.
type heldLock struct {
	s *FS
	n *node
}

func (l *heldLock) Close() error {
	l.s.d.mu.Lock()
	defer l.s.d.mu.Unlock()
	if !l.s.locks[l.n] {
		return fs.ErrClosed
	}
	delete(l.s.locks, l.n)
	return nil
}
