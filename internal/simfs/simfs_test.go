package simfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kbroker/kbroker/internal/vfs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, s vfs.FS, name string) vfs.File {
	t.Helper()
	f, err := s.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	return f
}

func put(t testing.TB, f vfs.File, data string, off int64) {
	t.Helper()
	_, err := f.WriteAt([]byte(data), off)
	must(t, err)
}

// content returns the bytes of a file, or "absent".
func content(t testing.TB, s vfs.FS, name string) string {
	t.Helper()
	f, err := s.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "absent"
	}
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return string(b)
}

// kindOf says which of its versions sector i of TestSeededCrash's file has, and fails the test if none.
func kindOf(t *testing.T, seed uint64, i int, got string) string {
	t.Helper()
	half := strings.Repeat("b", sector/2) + strings.Repeat("c", sector/2)
	if i == 2 {
		half = strings.Repeat("c", sector/2) + strings.Repeat("b", sector/2)
	}
	versions := map[string]string{"first": strings.Repeat("b", sector)}
	if i < 2 {
		versions["old"] = strings.Repeat("a", sector)
	} else {
		versions["hole"] = strings.Repeat("\x00", sector)
	}
	if i == 1 || i == 2 {
		versions["second"] = half
	}
	for kind, want := range versions {
		if got == want[:len(got)] {
			return kind
		}
	}
	t.Fatalf("seed %d: sector %d holds %q, which was never written", seed, i, got)
	return ""
}

func TestDirectReadsMustBeAligned(t *testing.T) {
	s := New()
	put(t, open(t, s, "/f"), strings.Repeat("x", 5000), 0)
	f, err := s.OpenDirect("/f")
	must(t, err)
	buf := vfs.AlignedBuffer(2 * vfs.DirectAlign)
	if n, err := f.ReadAt(buf, 0); n != 5000 || err != io.EOF {
		t.Errorf("read %d, %v; want 5000, EOF", n, err)
	}
	for name, read := range map[string]func() (int, error){
		"offset": func() (int, error) { return f.ReadAt(buf, 512) },
		"length": func() (int, error) { return f.ReadAt(buf[:512], 0) },
		"buffer": func() (int, error) { return f.ReadAt(buf[1:vfs.DirectAlign+1], 0) },
	} {
		if _, err := read(); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("misaligned %s: %v, want EINVAL", name, err)
		}
	}
}

func TestRules(t *testing.T) {
	s := New()
	f := open(t, s, "/data/../a.log")
	s.Inject(Rule{Ops: OpWrite | OpTruncate, Pattern: "*.log", Skip: 1, Times: 2, Err: syscall.EDQUOT, Partial: 2})
	var got []string
	for range 4 {
		n, err := f.WritevAt([][]byte{[]byte("x"), []byte("yz")}, 0)
		got = append(got, string(rune('0'+n)))
		if errors.Is(err, syscall.EDQUOT) {
			got = append(got, "EDQUOT")
		}
	}
	if want := "3 2 EDQUOT 2 EDQUOT 3"; strings.Join(got, " ") != want {
		t.Errorf("writes gave %v, want %s", got, want)
	}
	s.Inject(Rule{Ops: OpRename, Pattern: "/a.*", Err: syscall.EROFS})
	err := s.Rename("a.log", "b.log")
	if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "a.log") {
		t.Errorf("Rename: %v, want EROFS and the name", err)
	}
	s.ClearRules()
	must(t, s.Rename("a.log", "b.log"))
}

// TestBefore shows that an operation can be held up in a bubble without holding up others.
func TestBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		f := open(t, s, "/slow")
		s.Inject(Rule{Ops: OpSync, Pattern: "slow", Before: func() { time.Sleep(time.Hour) }})
		var group sync.WaitGroup
		start := time.Now()
		group.Go(func() {
			if err := f.Sync(); err != nil || time.Since(start) < time.Hour {
				t.Errorf("Sync returned %v after %v", err, time.Since(start))
			}
		})
		synctest.Wait()
		put(t, open(t, s, "/other"), "x", 0)
		if time.Since(start) > 0 {
			t.Error("another file waited for the slow sync")
		}
		group.Wait()
	})
}

func TestSpace(t *testing.T) {
	s := New()
	s.SetCapacity(1000)
	f, g := open(t, s, "/f"), open(t, s, "/g")
	put(t, f, strings.Repeat("x", 600), 0)
	n, err := g.WritevAt([][]byte{make([]byte, 300), make([]byte, 300)}, 0)
	if n != 400 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("wrote %d, %v; want 400, ENOSPC", n, err)
	}
	space := func(want uint64) {
		t.Helper()
		if free, total, err := s.Space("/"); free != want || total != 1000 || err != nil {
			t.Errorf("Space = %d, %d, %v; want %d free of 1000", free, total, err, want)
		}
	}
	space(0)
	put(t, f, "overwriting needs no room", 0)
	must(t, g.Truncate(100))
	space(300)
	must(t, s.Remove("/f"))
	space(300) // still open
	must(t, f.Close())
	space(900)
	must(t, s.Rename("/g", "/h"))
	put(t, open(t, s, "/i"), strings.Repeat("x", 500), 0)
	must(t, s.SyncFS("/"))
	must(t, s.Rename("/i", "/h")) // g, still open, loses its name
	space(400)
	s = s.Kill() // which closes g
	space(500)
	if err := open(t, s, "/h").Truncate(1001); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Truncate beyond the disk: %v, want ENOSPC", err)
	}
}

func TestProcessEnds(t *testing.T) {
	s := New()
	f := open(t, s, "/f")
	put(t, f, "x", 0)
	lock, err := s.Lock("/.lock")
	must(t, err)
	_, err = s.Lock("/.lock")
	var locked *vfs.LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("second Lock: %v, want a LockedError naming this process", err)
	}
	next := s.Kill()
	if _, err := f.WriteAt([]byte("y"), 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("a write of the ended process: %v, want EIO", err)
	}
	if err := s.SyncDir("/"); !errors.Is(err, syscall.EIO) {
		t.Errorf("SyncDir of the ended process: %v, want EIO", err)
	}
	must(t, f.Close())
	held, err := next.Lock("/.lock")
	must(t, err)
	must(t, lock.Close()) // releases nothing of the next process
	if _, err := next.Lock("/.lock"); err == nil {
		t.Error("two holders of one lock")
	}
	must(t, held.Close())
	if err := held.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("closing twice: %v, want fs.ErrClosed", err)
	}
	if got := content(t, next, "/f"); got != "x" {
		t.Errorf("found %q, want x", got)
	}
}

func TestOwnMount(t *testing.T) {
	s := New()
	s.SetOwnMount("/data", true)
	if after := s.CrashWorst(); !after.OwnMount("/data/") || after.OwnMount("/") {
		t.Error("OwnMount does not say what SetOwnMount set")
	}
}

// TestConcurrent gives the race detector something to see.
func TestConcurrent(t *testing.T) {
	s := New()
	f := open(t, s, "/f")
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			mine := bytes.Repeat([]byte{byte('a' + i)}, 100)
			for range 50 {
				if _, err := f.WriteAt(mine, int64(i)*100); err != nil {
					t.Error(err)
				}
				if err := f.Sync(); err != nil {
					t.Error(err)
				}
				got := make([]byte, 100)
				if _, err := f.ReadAt(got, int64(i)*100); err != nil && err != io.EOF || !bytes.Equal(got, mine) {
					t.Errorf("read %q, %v", got, err)
				}
			}
		})
	}
	group.Wait()
	must(t, s.SyncDir("/"))
	if got := content(t, s.CrashWorst(), "/f"); len(got) != 800 {
		t.Errorf("%d bytes after the cut, want 800", len(got))
	}
}
