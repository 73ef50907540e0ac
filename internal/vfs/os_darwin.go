package vfs

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// OpenDirect turns caching off for the file (F_NOCACHE), darwin's nearest thing to O_DIRECT.
func (o *osFS) OpenDirect(name string) (File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_NOCACHE, 1); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "fcntl F_NOCACHE", Path: name, Err: err}
	}
	w, err := o.wrap(f)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// SyncFS is not to be had: darwin's sync only schedules.
func (*osFS) SyncFS(name string) error {
	return &fs.PathError{Op: "syncfs", Path: name, Err: errors.ErrUnsupported}
}

func (*osFS) Space(name string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(name, &st); err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}

// lockHolder has no source on darwin.
func lockHolder(fs.FileInfo) int { return 0 }
