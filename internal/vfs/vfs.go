// Package vfs is the file-system seam: everything kbroker keeps on disk goes through an FS, so that tests run the
// real code on an in-memory disk that loses what was not synced (internal/simfs).
//
// It guarantees nothing beyond what POSIX does: a write is durable after Sync of its file, a created, renamed or
// removed name after SyncDir of its directory (rule 3.5.3).
package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"time"
	"unsafe"
)

// FS is one file system. Names are slash-separated paths as the operating system takes them.
// Errors wrap the *fs.PathError of the operating system, so errors.Is(err, syscall.ENOSPC) and fs.ErrNotExist work.
type FS interface {
	// OpenFile opens name with the flags of package os (os.O_RDWR|os.O_CREATE …).
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// OpenDirect opens name read-only past the page cache where the system can (O_DIRECT), else like OpenFile. Reads
	// on it must use buffers from AlignedBuffer and offsets that are multiples of DirectAlign.
	OpenDirect(name string) (File, error)
	Remove(name string) error
	RemoveAll(name string) error
	Rename(oldName, newName string) error
	MkdirAll(name string, perm fs.FileMode) error
	// ReadDir lists name in file-name order.
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
	// Chtimes sets the time at which name was last written, as Stat tells it. The cleaner has to keep a segment's.
	Chtimes(name string, modified time.Time) error
	// SyncDir makes creations, renames and removals in directory name durable.
	SyncDir(name string) error
	// SyncFS makes everything written to the file system that holds name durable in one call (syncfs). The error is
	// errors.ErrUnsupported where the system cannot.
	SyncFS(name string) error
	// OwnMount reports whether directory name is the root of a mounted file system, so that SyncFS hits nobody else.
	OwnMount(name string) bool
	// Space reports the bytes free to this process and the total bytes of the file system that holds name.
	Space(name string) (free, total uint64, err error)
	// Lock takes an exclusive advisory lock on file name, creating it empty and leaving it empty (rule 3.1.4). When
	// another holder has it the error is a *LockedError naming that process as far as it is known. Closing the result
	// releases the lock; the file stays, and who stops cleanly removes it before closing.
	Lock(name string) (io.Closer, error)
}

// File is an open file. All methods may be called concurrently; overlapping writes are the caller's business.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// WritevAt writes bufs one after another at off as if they were one buffer (pwritev), and returns the bytes
	// written; a short count comes with a non-nil error. It does not change bufs.
	WritevAt(bufs [][]byte, off int64) (int64, error)
	Truncate(size int64) error
	// Sync makes the file's data and size durable (fdatasync).
	Sync() error
	Size() (int64, error)
	Stat() (fs.FileInfo, error)
	// Fd returns the descriptor for sendfile, and false where there is none (simfs).
	Fd() (uintptr, bool)
	Name() string
}

// DirectAlign is the alignment in bytes of buffers, offsets and lengths on a file from OpenDirect.
const DirectAlign = 4096

// LockedError says that another process holds a lock.
type LockedError struct {
	Name string
	PID  int // 0 when unknown
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return e.Name + " is locked by another process"
	}
	return fmt.Sprintf("%s is locked by process %d", e.Name, e.PID)
}

// AlignedBuffer returns a zeroed buffer for files from OpenDirect: n bytes rounded up to a multiple of DirectAlign,
// starting at an address that is one. The collector never moves it.
func AlignedBuffer(n int) []byte {
	n = (n + DirectAlign - 1) / DirectAlign * DirectAlign
	buf := make([]byte, n+DirectAlign)
	skip := 0
	if over := uintptr(unsafe.Pointer(unsafe.SliceData(buf))) % DirectAlign; over != 0 {
		skip = DirectAlign - int(over)
	}
	return buf[skip : skip+n : skip+n]
}
