package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"
)

func create(t *testing.T, fsys FS, name string) File {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestWritevAt covers what the loop around pwritev must get right: empty buffers, more buffers than one call takes,
// and an offset inside the file.
func TestWritevAt(t *testing.T) {
	many := make([][]byte, 200)
	for i := range many {
		many[i] = bytes.Repeat([]byte{byte(i)}, i%7)
	}
	tests := map[string][][]byte{
		"none":       nil,
		"one":        {[]byte("abc")},
		"one, empty": {{}},
		"some empty": {{}, []byte("ab"), {}, {}, []byte("c"), {}},
		"200":        many,
	}
	for name, bufs := range tests {
		t.Run(name, func(t *testing.T) {
			f := create(t, OS(), filepath.Join(t.TempDir(), "f"))
			const off = 5
			want := bytes.Join(bufs, nil)
			n, err := f.WritevAt(bufs, off)
			if err != nil || n != int64(len(want)) {
				t.Fatalf("WritevAt = %d, %v; want %d", n, err, len(want))
			}
			got := make([]byte, len(want))
			if _, err := f.ReadAt(got, off); err != nil && len(want) > 0 || !bytes.Equal(got, want) {
				t.Errorf("read back %x, %v; want %x", got, err, want)
			}
			size, err := f.Size()
			if err != nil || len(want) > 0 && size != int64(off+len(want)) {
				t.Errorf("Size = %d, %v; want %d", size, err, off+len(want))
			}
			if err := f.Sync(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWritevAtAllocatesNothing(t *testing.T) {
	f := create(t, OS(), filepath.Join(t.TempDir(), "f"))
	bufs := [][]byte{make([]byte, 100), make([]byte, 1000), make([]byte, 10)}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := f.WritevAt(bufs, 0); err != nil {
			t.Error(err)
		}
	}); n != 0 && !raceEnabled {
		t.Errorf("%v allocations per WritevAt, want 0", n)
	}
}

func TestWriteErrorNamesFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	create(t, OS(), name)
	f, err := OS().OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = f.WritevAt([][]byte{{1}, {2}}, 0)
	var pathErr *fs.PathError
	if !errors.As(err, &pathErr) || pathErr.Path != name {
		t.Errorf("error %v does not name %s", err, name)
	}
	f.Close()
	if err := f.Sync(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Sync after Close: %v, want fs.ErrClosed", err)
	}
}

func TestOpenDirect(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	want := bytes.Repeat([]byte("0123456789"), 1000) // two blocks and a part
	if _, err := create(t, OS(), name).WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	f, err := OS().OpenDirect(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := AlignedBuffer(4 * DirectAlign)
	if n, err := f.ReadAt(buf, 0); n != len(want) || err != io.EOF || !bytes.Equal(buf[:n], want) {
		t.Errorf("whole: read %d bytes, %v; want %d and EOF", n, err, len(want))
	}
	if n, err := f.ReadAt(buf[:DirectAlign], DirectAlign); n != DirectAlign || err != nil ||
		!bytes.Equal(buf[:n], want[DirectAlign:2*DirectAlign]) {
		t.Errorf("second block: read %d bytes, %v", n, err)
	}
	if n, err := f.ReadAt(buf, 4*DirectAlign); n != 0 || err != io.EOF {
		t.Errorf("past the end: read %d bytes, %v; want 0, EOF", n, err)
	}
}

func TestAlignedBuffer(t *testing.T) {
	for _, n := range []int{0, 1, DirectAlign - 1, DirectAlign, DirectAlign + 1, 10 * DirectAlign} {
		b := AlignedBuffer(n)
		if len(b) < n || len(b)%DirectAlign != 0 || len(b) >= n+DirectAlign || cap(b) != len(b) {
			t.Errorf("AlignedBuffer(%d) has length %d, capacity %d", n, len(b), cap(b))
		}
		if n > 0 && uintptr(unsafe.Pointer(&b[0]))%DirectAlign != 0 {
			t.Errorf("AlignedBuffer(%d) starts at %p", n, &b[0])
		}
	}
}

func TestLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), ".lock")
	first, err := OS().Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = OS().Lock(name)
	var locked *LockedError
	if !errors.As(err, &locked) || locked.Name != name {
		t.Fatalf("second Lock: %v, want a LockedError", err)
	}
	if locked.PID != 0 && locked.PID != os.Getpid() {
		t.Errorf("holder %d, want this process, %d, or unknown", locked.PID, os.Getpid())
	}
	if info, err := os.Stat(name); err != nil || info.Size() != 0 {
		t.Errorf("the lock file must stay empty (rule 3.1.4): %v, %v", info, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OS().Lock(name)
	if err != nil {
		t.Fatalf("Lock after the holder closed: %v", err)
	}
	again.Close()
}

func TestSpaceAndSyncs(t *testing.T) {
	dir := t.TempDir()
	free, total, err := OS().Space(dir)
	if err != nil || total == 0 || free > total {
		t.Errorf("Space = %d, %d, %v", free, total, err)
	}
	if err := OS().SyncDir(dir); err != nil {
		t.Error(err)
	}
	if err := OS().SyncFS(dir); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if OS().OwnMount(dir) {
		t.Errorf("OwnMount(%s) = true for a directory just made", dir)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(t.TempDir(), link); err == nil && OS().OwnMount(link) {
		t.Error("OwnMount = true for a symbolic link to a directory just made")
	}
	if OS().OwnMount(filepath.Join(dir, "none")) {
		t.Error("OwnMount = true for what does not exist")
	}
}

// TestSyncFSOfLocked: the descriptor of a lock is used for as long as it is held. Only that it is another one than a newly
// opened one can be seen here: its directory has another name by then.
func TestSyncFSOfLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fsys := OS()
	if errors.Is(fsys.SyncFS(dir), errors.ErrUnsupported) {
		return // darwin, Windows
	}
	lock, err := fsys.Lock(filepath.Join(dir, ".lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+"-moved"); err != nil {
		t.Fatal(err)
	}
	if err := fsys.SyncFS(dir); err != nil {
		t.Error("with the lock:", err)
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
	if err := fsys.SyncFS(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("without the lock:", err)
	}
}

func TestCounting(t *testing.T) {
	dir := t.TempDir()
	c := Counting(OS())
	logFile, index := create(t, c, filepath.Join(dir, "0.log")), create(t, c, filepath.Join(dir, "0.index"))
	if _, ok := logFile.Fd(); ok {
		t.Error("a counted file has a descriptor: sendfile would read past the count")
	}
	c.Watch(func(file string) bool { return file == logFile.Name() })
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := logFile.WriteAt(make([]byte, 100), 0)
	check(err)
	_, err = logFile.WritevAt([][]byte{make([]byte, 10), make([]byte, 20)}, 100)
	check(err)
	_, err = index.WriteAt(make([]byte, 8), 0)
	check(err)
	if n, err := logFile.ReadAt(make([]byte, 1000), 50); n != 80 || err != io.EOF {
		t.Fatalf("read %d, %v", n, err)
	}
	check(logFile.Sync())
	check(index.Sync())
	check(index.Sync())
	check(c.SyncDir(dir))
	if got, want := c.Suffix(".log"), (Tally{Reads: 1, BytesRead: 80, Writes: 2, BytesWritten: 130, Syncs: 1}); got != want {
		t.Errorf(".log: %+v, want %+v", got, want)
	}
	if got, want := c.Suffix(".index"), (Tally{Writes: 1, BytesWritten: 8, Syncs: 2}); got != want {
		t.Errorf(".index: %+v, want %+v", got, want)
	}
	if got, want := c.Total(), (Tally{Reads: 1, BytesRead: 80, Writes: 3, BytesWritten: 138, Syncs: 3}); got != want {
		t.Errorf("total: %+v, want %+v", got, want)
	}
	if c.Watched() != 1 || c.SyncDirCalls() != 1 || c.SyncFSCalls() != 0 {
		t.Errorf("watched %d, syncdir %d, syncfs %d; want 1, 1, 0", c.Watched(), c.SyncDirCalls(), c.SyncFSCalls())
	}
	c.Reset()
	if c.Total() != (Tally{}) || c.Watched() != 0 || c.SyncDirCalls() != 0 {
		t.Error("Reset left counts behind")
	}
}

func TestIsNoSpace(t *testing.T) {
	for err, want := range map[error]bool{
		&fs.PathError{Op: "write", Err: syscall.ENOSPC}: true,
		fmt.Errorf("append: %w", syscall.EDQUOT):        true,
		syscall.EIO:                                     false,
		nil:                                             false,
	} {
		if got := IsNoSpace(err); got != want {
			t.Errorf("IsNoSpace(%v) = %v, want %v", err, got, want)
		}
	}
}
