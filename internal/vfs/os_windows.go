package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// OpenDirect reads through the cache: FILE_FLAG_NO_BUFFERING would need a handle opened outside package os.
func (o *osFS) OpenDirect(name string) (File, error) { return o.OpenFile(name, os.O_RDONLY, 0) }

// SyncDir does nothing: NTFS journals names by itself, and a directory can't be flushed by its handle.
func (*osFS) SyncDir(name string) error {
	_, err := os.Stat(name)
	return err
}

func (*osFS) SyncFS(name string) error {
	return &fs.PathError{Op: "syncfs", Path: name, Err: errors.ErrUnsupported}
}

// OwnMount is false because SyncFS is not to be had.
func (*osFS) OwnMount(string) bool { return false }

func (*osFS) Space(name string) (free, total uint64, err error) {
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return 0, 0, &fs.PathError{Op: "GetDiskFreeSpaceEx", Path: name, Err: err}
	}
	var all uint64
	if err := windows.GetDiskFreeSpaceEx(path, &free, &total, &all); err != nil {
		return 0, 0, &fs.PathError{Op: "GetDiskFreeSpaceEx", Path: name, Err: err}
	}
	return free, total, nil
}

// Lock uses LockFileEx on the file's first byte, which the system drops with the process.
func (o *osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err = windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
	if err == nil {
		return o.hold(name, f), nil
	}
	f.Close()
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return nil, &LockedError{Name: name}
	}
	return nil, &fs.PathError{Op: "LockFileEx", Path: name, Err: err}
}

var systemNoSpaceErrors = []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL}
