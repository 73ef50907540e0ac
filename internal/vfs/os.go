package vfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// osFS is the operating system's file system. What differs between systems is in os_linux.go, os_darwin.go,
// os_unix.go and os_windows.go.
type osFS struct {
	// vectors recycles the arguments of vectored writes (*vectoredWrite), so that an append allocates nothing.
	vectors sync.Pool
	// locked has the lock files that are held (*os.File), by directory. SyncFS uses their descriptors.
	locked sync.Map
}

// heldLock is a lock file until its Close.
type heldLock struct {
	*os.File
	fs  *osFS
	dir string
}

// hold notes that the lock file called name is held.
func (o *osFS) hold(name string, f *os.File) *heldLock {
	l := &heldLock{File: f, fs: o, dir: filepath.Dir(name)}
	o.locked.Store(l.dir, f)
	return l
}

// Close releases the lock.
func (l *heldLock) Close() error {
	l.fs.locked.CompareAndDelete(l.dir, l.File)
	return l.File.Close()
}

// osFile is an open file of osFS. System calls that package os lacks go through conn, which holds the descriptor
// open for the length of the call: a descriptor taken with Fd could be closed and reused meanwhile, and the write
// would then land in somebody else's file.
type osFile struct {
	*os.File
	conn syscall.RawConn
	fs   *osFS
}

func (o *osFS) wrap(f *os.File) (*osFile, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &osFile{File: f, conn: conn, fs: o}, nil
}

func (o *osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	w, err := o.wrap(f)
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (*osFS) Remove(name string) error                     { return os.Remove(name) }
func (*osFS) RemoveAll(name string) error                  { return os.RemoveAll(name) }
func (*osFS) Rename(oldName, newName string) error         { return os.Rename(oldName, newName) }
func (*osFS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }
func (*osFS) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (*osFS) Stat(name string) (fs.FileInfo, error)        { return os.Stat(name) }

func (*osFS) Chtimes(name string, modified time.Time) error {
	return os.Chtimes(name, time.Time{}, modified) // the time of access stays
}

func (f *osFile) Fd() (uintptr, bool) { return f.File.Fd(), true }

func (f *osFile) Size() (int64, error) {
	info, err := f.File.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
