package simfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"unsafe"

	"github.com/kbroker/kbroker/internal/vfs"
)

// file is an open file.
type file struct {
	s      *FS
	n      *node
	name   string
	access int  // os.O_RDONLY, os.O_WRONLY or os.O_RDWR
	closed bool // guarded by the disk's mu
}

var errNegativeOffset = errors.New("negative offset")

// enter is FS.enter with the checks that every method of an open file starts with.
func (f *file) enter(op Op, off int64) fault {
	fault := f.s.enter(op, f.name)
	switch {
	case f.closed:
		fault = refuse(fs.ErrClosed)
	case fault.err != nil:
	case off < 0:
		fault = refuse(errNegativeOffset)
	case op == OpRead && f.access == os.O_WRONLY, op == OpWrite && f.access == os.O_RDONLY:
		fault = refuse(syscall.EBADF)
	case op == OpTruncate && f.access == os.O_RDONLY:
		fault = refuse(syscall.EINVAL)
	}
	return fault
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	return f.read(p, off, func() int {
		if off >= int64(len(f.n.data)) {
			return 0
		}
		return copy(p, f.n.data[off:])
	})
}

// read wraps a copy out of the file in what all reads share.
func (f *file) read(p []byte, off int64, copyOut func() int) (int, error) {
	fault := f.enter(OpRead, off)
	defer f.s.d.mu.Unlock()
	if fault.err != nil {
		return 0, pathError("read", f.name, fault.err)
	}
	n := copyOut()
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.WritevAt([][]byte{p}, off)
	return int(n), err
}

func (f *file) WritevAt(bufs [][]byte, off int64) (int64, error) {
	fault := f.enter(OpWrite, off)
	defer f.s.d.mu.Unlock()
	if fault.err != nil && !fault.injected {
		return 0, pathError("write", f.name, fault.err)
	}
	limit := int64(1) << 62
	if fault.err != nil {
		limit = fault.partial
	}
	var total int64
	for _, p := range bufs {
		want := int64(len(p))
		n := f.s.d.write(f.n, p[:min(want, limit-total)], off+total)
		if total += n; n == want {
			continue
		}
		if fault.err == nil {
			fault.err = syscall.ENOSPC
		}
		break
	}
	if fault.err != nil {
		return total, pathError("write", f.name, fault.err)
	}
	return total, nil
}

// write puts as much of p at off as there is room for.
func (d *disk) write(n *node, p []byte, off int64) int64 {
	size := int64(len(n.data))
	if most := size + d.room() - off; int64(len(p)) > most {
		p = p[:max(most, 0)]
	}
	if len(p) == 0 {
		return 0
	}
	d.used += max(off+int64(len(p))-size, 0)
	n.write(p, off)
	return int64(len(p))
}

func (f *file) Truncate(size int64) error {
	fault := f.enter(OpTruncate, size)
	defer f.s.d.mu.Unlock()
	if fault.err == nil && size-int64(len(f.n.data)) > f.s.d.room() {
		fault.err = syscall.ENOSPC
	}
	if fault.err != nil {
		return pathError("truncate", f.name, fault.err)
	}
	f.s.d.truncate(f.n, size)
	return nil
}

func (f *file) Sync() error {
	fault := f.enter(OpSync, 0)
	defer f.s.d.mu.Unlock()
	if fault.injected {
		f.s.lostSyncs++
		f.n.loseUnsynced()
	}
	if fault.err != nil {
		return pathError("sync", f.name, fault.err)
	}
	if !f.s.d.syncIsNoop {
		f.n.syncData()
	}
	return nil
}

func (f *file) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *file) Stat() (fs.FileInfo, error) {
	fault := f.enter(OpStat, 0)
	defer f.s.d.mu.Unlock()
	if fault.err != nil {
		return nil, pathError("stat", f.name, fault.err)
	}
	return f.n.info(path.Base(clean(f.name))), nil
}

// Close succeeds after the process has ended too, so that deferred calls stay quiet.
func (f *file) Close() error {
	f.s.d.mu.Lock()
	defer f.s.d.mu.Unlock()
	if f.closed {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	if !f.s.down {
		f.n.opens--
		f.s.opens--
		f.s.d.release(f.n)
	}
	return nil
}

func (f *file) Fd() (uintptr, bool) { return 0, false }
func (f *file) Name() string        { return f.name }

// directFile reads past the page cache.
type directFile struct{ *file }

func (f *directFile) ReadAt(p []byte, off int64) (int, error) {
	address := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	if off%vfs.DirectAlign != 0 || len(p)%vfs.DirectAlign != 0 || address%vfs.DirectAlign != 0 {
		return 0, pathError("read", f.name, fmt.Errorf("address %#x, offset %d and length %d must be multiples of %d: %w",
			address, off, len(p), vfs.DirectAlign, syscall.EINVAL))
	}
	return f.read(p, off, func() int { return f.n.readDirect(p, off) })
}
