//go:build linux || darwin

package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

func (*osFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// OwnMount compares the device of name with that of its parent. A bind mount of the same file system counts as not
// its own, which is right: a sync of the whole file system would hit others.
func (*osFS) OwnMount(name string) bool {
	dev, ino, ok := identity(name)
	if !ok {
		return false
	}
	parentDev, parentIno, ok := identity(filepath.Join(name, ".."))
	return ok && (dev != parentDev || ino == parentIno) // the root is its own parent
}

func identity(name string) (dev, ino uint64, ok bool) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return 0, 0, false
	}
	info, err := os.Stat(abs)
	if err != nil {
		return 0, 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return uint64(st.Dev), st.Ino, true
}

// maxLockTries bounds how often Lock starts again because the file was removed under it. Each time a holder must
// have stopped cleanly within microseconds.
const maxLockTries = 100

// Lock uses flock, which the kernel drops with the process, however it dies. A holder that stops cleanly removes the
// file, so a lock counts only if the name still leads to the locked file: otherwise the next process would create
// and lock a new one beside us.
func (*osFS) Lock(name string) (io.Closer, error) {
	for range maxLockTries {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		held, err := f.Stat()
		if err == nil {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, &LockedError{Name: name, PID: lockHolder(held)}
		}
		if err != nil {
			f.Close()
			return nil, &fs.PathError{Op: "flock", Path: name, Err: err}
		}
		if now, err := os.Stat(name); err == nil && os.SameFile(held, now) {
			return f, nil
		}
		f.Close()
	}
	return nil, &fs.PathError{Op: "flock", Path: name, Err: errors.New("the lock file keeps being removed")}
}

var systemNoSpaceErrors []error
