//go:build linux || darwin

package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
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
	dir, err := os.Stat(name)
	if err != nil {
		return false
	}
	// Not filepath.Join, which would take the parent of a symbolic link instead of that of what it leads to.
	parent, err := os.Stat(name + "/..")
	if err != nil {
		return false
	}
	dirStat, ok := dir.Sys().(*syscall.Stat_t)
	parentStat, ok2 := parent.Sys().(*syscall.Stat_t)
	return ok && ok2 && (dirStat.Dev != parentStat.Dev || dirStat.Ino == parentStat.Ino) // the root is its own parent
}

// maxLockTries bounds how often Lock starts again because the file was removed under it. Each time a holder must
// have stopped cleanly within microseconds.
const maxLockTries = 100

// Lock uses flock, which the kernel drops with the process, however it dies. A holder that stops cleanly removes the
// file, so a lock counts only if the name still leads to the locked file: otherwise the next process would create
// and lock a new one beside us.
func (o *osFS) Lock(name string) (io.Closer, error) {
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
			return o.hold(name, f), nil
		}
		f.Close()
	}
	return nil, &fs.PathError{Op: "flock", Path: name, Err: errors.New("the lock file keeps being removed")}
}

var systemNoSpaceErrors []error
