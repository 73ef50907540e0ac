package vfs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OpenDirect falls back to the page cache on file systems that refuse O_DIRECT.
func (o *osFS) OpenDirect(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) {
		return o.OpenFile(name, os.O_RDONLY, 0)
	}
	if err != nil {
		return nil, err
	}
	w, err := o.wrap(f)
	if err != nil {
		return nil, err
	}
	return &directFile{osFile: w}, nil
}

// directFile reads past the page cache. It has a ReadAt of its own because os.File.ReadAt goes on after a short read
// at an offset that O_DIRECT would refuse.
type directFile struct{ *osFile }

func (f *directFile) ReadAt(p []byte, off int64) (int, error) {
	if off%DirectAlign != 0 || len(p)%DirectAlign != 0 {
		return 0, &fs.PathError{Op: "read", Path: f.Name(),
			Err: fmt.Errorf("offset %d or length %d is no multiple of %d: %w", off, len(p), DirectAlign, unix.EINVAL)}
	}
	total := 0
	for total < len(p) {
		n, err := f.pread(p[total:], off+int64(total))
		total += n
		if err != nil {
			return total, &fs.PathError{Op: "read", Path: f.Name(), Err: err}
		}
		if n == 0 || n%DirectAlign != 0 { // the end lies inside a block
			return total, io.EOF
		}
	}
	return total, nil
}

func (f *directFile) pread(p []byte, off int64) (n int, err error) {
	if f.conn.Control(func(fd uintptr) {
		err = retry(func() error { n, err = unix.Pread(int(fd), p, off); return err })
	}) != nil {
		return 0, fs.ErrClosed
	}
	return max(n, 0), err
}

// retry calls fn again as long as a signal interrupts it.
func retry(fn func() error) error {
	for {
		if err := fn(); err != unix.EINTR {
			return err
		}
	}
}

// vectorLen bounds the buffers of one pwritev. Linux takes 1024; past 64 the cost of a further call no longer shows,
// and the array stays a kilobyte.
const vectorLen = 64

// vectoredWrite is one pwritev with its arguments and results. call is bound once, so that handing it to
// RawConn.Control does not allocate.
type vectoredWrite struct {
	iov  [vectorLen]unix.Iovec
	n    int   // entries of iov in use
	off  int64 // file offset of iov[0]
	call func(fd uintptr)

	written int
	errno   syscall.Errno
}

func newVectoredWrite() *vectoredWrite {
	w := &vectoredWrite{}
	w.call = w.pwritev
	return w
}

func (w *vectoredWrite) pwritev(fd uintptr) {
	for {
		n, _, errno := syscall.Syscall6(unix.SYS_PWRITEV, fd, uintptr(unsafe.Pointer(&w.iov[0])), uintptr(w.n),
			uintptr(w.off), uintptr(w.off>>32), 0)
		if errno == unix.EINTR {
			continue
		}
		w.written, w.errno = int(n), errno
		return
	}
}

// run makes one pwritev, which may write only a part.
func (w *vectoredWrite) run(conn syscall.RawConn) error {
	switch {
	case conn.Control(w.call) != nil: // it fails only on a closed file
		return fs.ErrClosed
	case w.errno != 0:
		return w.errno
	case w.written == 0:
		return io.ErrShortWrite
	}
	return nil
}

// fill points iov at bufs from byte skip of the first one on, and returns the bytes it covers.
func (w *vectoredWrite) fill(bufs [][]byte, skip int) {
	w.n = 0
	for _, b := range bufs {
		b, skip = b[skip:], 0
		if len(b) == 0 {
			continue
		}
		w.iov[w.n].Base = &b[0]
		w.iov[w.n].SetLen(len(b))
		if w.n++; w.n == vectorLen {
			return
		}
	}
}

func (f *osFile) WritevAt(bufs [][]byte, off int64) (int64, error) {
	if len(bufs) == 1 {
		n, err := f.File.WriteAt(bufs[0], off)
		return int64(n), err
	}
	w, _ := f.fs.vectors.Get().(*vectoredWrite)
	if w == nil {
		w = newVectoredWrite()
	}
	defer func() {
		clear(w.iov[:])
		f.fs.vectors.Put(w)
	}()
	var total int64
	for skip := 0; ; {
		if w.fill(bufs, skip); w.n == 0 {
			return total, nil
		}
		w.off = off + total
		err := w.run(f.conn)
		runtime.KeepAlive(bufs)
		if err != nil {
			return total, &fs.PathError{Op: "pwritev", Path: f.Name(), Err: err}
		}
		total += int64(w.written)
		for skip += w.written; len(bufs) > 0 && skip >= len(bufs[0]); bufs = bufs[1:] {
			skip -= len(bufs[0])
		}
	}
}

func (f *osFile) Sync() error {
	return f.control("fdatasync", func(fd int) error { return unix.Fdatasync(fd) })
}

// control runs fn on the descriptor while it is held open.
func (f *osFile) control(op string, fn func(fd int) error) error {
	var err error
	if ctlErr := f.conn.Control(func(fd uintptr) {
		err = retry(func() error { return fn(int(fd)) })
	}); ctlErr != nil {
		err = fs.ErrClosed // the only reason Control has
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: f.Name(), Err: err}
	}
	return nil
}

// SyncFS uses the descriptor of the directory's lock if this FS holds it. The kernel tells a write error once to whoever syncs
// the file system, and to others only on descriptors that were open before: one that is opened for each sync misses an
// error that another process has been told.
func (o *osFS) SyncFS(name string) error {
	if lock, ok := o.locked.Load(filepath.Clean(name)); ok {
		w, err := o.wrap(lock.(*os.File))
		if err != nil {
			return err
		}
		return w.control("syncfs", unix.Syncfs)
	}
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	w, err := o.wrap(d)
	if err != nil {
		return err
	}
	return w.control("syncfs", unix.Syncfs)
}

func (*osFS) Space(name string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(name, &st) }); err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return st.Bavail * uint64(st.Frsize), st.Blocks * uint64(st.Frsize), nil
}

// lockHolder finds in /proc/locks who holds an flock on the file: a line such as
//
//	1: FLOCK  ADVISORY  WRITE 4711 fd:01:131085 0 EOF
//
// with the device in hexadecimal and the inode in decimal. The lock file itself can't say, it stays empty.
func lockHolder(info fs.FileInfo) int {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer f.Close()
	want := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != want {
			continue
		}
		// A holder outside this process's pid namespace shows as 0 or -1.
		if pid, err := strconv.Atoi(fields[4]); err == nil && pid > 0 {
			return pid
		}
	}
	return 0
}
