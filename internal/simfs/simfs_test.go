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

// TestPowerCutKeepsOnlyWhatWasSynced says for each way to write a file what the worst power cut and a kill leave.
func TestPowerCutKeepsOnlyWhatWasSynced(t *testing.T) {
	tests := map[string]struct {
		do            func(t *testing.T, s *FS)
		cut, killed   string
		lying, noDirs string // the cut again, with Sync a no-op, with SyncDir a no-op
	}{
		"nothing synced": {
			do:  func(t *testing.T, s *FS) { put(t, open(t, s, "/d/f"), "new", 0) },
			cut: "absent", killed: "new", lying: "absent", noDirs: "absent",
		},
		"only the file synced": {
			do: func(t *testing.T, s *FS) {
				f := open(t, s, "/d/f")
				put(t, f, "new", 0)
				must(t, f.Sync())
			},
			cut: "absent", killed: "new", lying: "absent", noDirs: "absent",
		},
		"only the directory synced": {
			do: func(t *testing.T, s *FS) {
				put(t, open(t, s, "/d/f"), "new", 0)
				must(t, s.SyncDir("/d"))
			},
			cut: "", killed: "new", lying: "", noDirs: "absent",
		},
		"both synced, then appended": {
			do: func(t *testing.T, s *FS) {
				f := open(t, s, "/d/f")
				put(t, f, "new", 0)
				must(t, f.Sync())
				must(t, s.SyncDir("/d"))
				put(t, f, "er", 3)
			},
			cut: "new", killed: "newer", lying: "", noDirs: "absent",
		},
		"synced, truncated, overwritten": {
			do: func(t *testing.T, s *FS) {
				f := open(t, s, "/d/f")
				put(t, f, "long text", 0)
				must(t, f.Sync())
				must(t, s.SyncDir("/d"))
				must(t, f.Truncate(4))
				put(t, f, "L", 0)
			},
			cut: "long text", killed: "Long", lying: "", noDirs: "absent",
		},
		"renamed without a directory sync": {
			do: func(t *testing.T, s *FS) {
				f := open(t, s, "/d/f.tmp")
				put(t, f, "new", 0)
				must(t, f.Sync())
				must(t, s.SyncDir("/d"))
				must(t, s.Rename("/d/f.tmp", "/d/f"))
			},
			cut: "absent", killed: "new", lying: "absent", noDirs: "absent",
		},
		"everything in one call": {
			do: func(t *testing.T, s *FS) {
				put(t, open(t, s, "/d/f"), "new", 0)
				must(t, s.SyncFS("/d"))
			},
			cut: "new", killed: "new", lying: "absent", noDirs: "new",
		},
	}
	for name, test := range tests {
		run := func(control string, set func(*FS), end func(*FS) *FS, want string) {
			t.Run(name+"/"+control, func(t *testing.T) {
				s := New()
				must(t, s.MkdirAll("/d", 0o755))
				must(t, s.SyncDir("/"))
				set(s)
				test.do(t, s)
				if got := content(t, end(s), "/d/f"); got != want {
					t.Errorf("found %q, want %q", got, want)
				}
			})
		}
		run("cut", func(*FS) {}, (*FS).CrashWorst, test.cut)
		run("kill", func(*FS) {}, (*FS).Kill, test.killed)
		run("kill, then cut", func(*FS) {}, func(s *FS) *FS { return s.Kill().CrashWorst() }, test.cut)
		run("sync is a no-op", func(s *FS) { s.SetSyncNoop(true) }, (*FS).CrashWorst, test.lying)
		run("syncdir is a no-op", func(s *FS) { s.SetSyncDirNoop(true) }, (*FS).CrashWorst, test.noDirs)
	}
}

func TestRemovalComesBackUnlessSynced(t *testing.T) {
	for _, synced := range []bool{false, true} {
		s := New()
		must(t, s.MkdirAll("/d/sub", 0o755))
		put(t, open(t, s, "/d/sub/f"), "x", 0)
		must(t, s.SyncFS("/"))
		must(t, s.RemoveAll("/d/sub"))
		want := "x"
		if synced {
			must(t, s.SyncDir("/d"))
			want = "absent"
		}
		if got := content(t, s.CrashWorst(), "/d/sub/f"); got != want {
			t.Errorf("synced %v: found %q, want %q", synced, got, want)
		}
	}
}

// TestSeededCrash draws many crashes of one history and checks that each is possible, that equal seeds agree, and
// that the interesting ones do come up: without them the tests built on Crash would show little.
func TestSeededCrash(t *testing.T) {
	const old, grown, sectors = 2 * sector, 8 * sector, 8
	history := func() *FS {
		s := New()
		f := open(t, s, "/f")
		put(t, f, strings.Repeat("a", old), 0)
		must(t, f.Sync())
		must(t, s.SyncDir("/"))
		put(t, f, strings.Repeat("b", grown), 0)           // overwrites two sectors, appends six
		put(t, f, strings.Repeat("c", sector), 3*sector/2) // halves of two sectors
		for _, name := range []string{"/1", "/2", "/3"} {
			open(t, s, name)
		}
		return s
	}
	seen := map[string]int{}
	for seed := range uint64(500) {
		s := history().Crash(seed)
		got := content(t, s, "/f")
		if again := content(t, history().Crash(seed), "/f"); got != again {
			t.Fatalf("seed %d gives two different disks", seed)
		}
		if len(got) < old || len(got) > grown {
			t.Fatalf("seed %d: %d bytes, which the file never had", seed, len(got))
		}
		for i := range sectors {
			if from := i * sector; from < len(got) {
				seen[kindOf(t, seed, i, got[from:min(from+sector, len(got))])]++
			}
		}
		entries, err := s.ReadDir("/")
		must(t, err)
		for i, want := range []string{"1", "2", "3", "f"}[:len(entries)-1] {
			if entries[i].Name() != want {
				t.Fatalf("seed %d: names %v are no prefix of what was created", seed, entries)
			}
		}
		seen["names "+string(rune('0'+len(entries)))]++
	}
	for _, kind := range []string{"old", "first", "second", "hole", "names 1", "names 2", "names 3", "names 4"} {
		if seen[kind] == 0 {
			t.Errorf("no crash of 500 left %q; seen: %v", kind, seen)
		}
	}
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

func TestFailedSyncLosesPages(t *testing.T) {
	s := New()
	f := open(t, s, "/f")
	put(t, f, strings.Repeat("a", 2*vfs.DirectAlign), 0)
	must(t, f.Sync())
	must(t, s.SyncDir("/"))
	s.Inject(Rule{Ops: OpSync, Pattern: "f", Times: 1, Err: syscall.EIO})
	put(t, f, "bb", 0)
	put(t, f, "bb", vfs.DirectAlign)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Sync: %v, want EIO", err)
	}
	must(t, f.Sync()) // it claims success, as Linux does
	if n := s.LostSyncs(); n != 1 {
		t.Errorf("%d syncs lost something, want 1", n)
	}
	if got := content(t, s, "/f")[:3]; got != "bba" {
		t.Errorf("a cached read sees %q, want the new bytes", got)
	}
	direct, err := s.OpenDirect("/f")
	must(t, err)
	buf := vfs.AlignedBuffer(vfs.DirectAlign)
	_, err = direct.ReadAt(buf, 0)
	must(t, err)
	if string(buf[:3]) != "aaa" {
		t.Errorf("a read past the cache sees %q, want what the disk has", buf[:3])
	}
	put(t, f, "c", 2) // makes the first sector dirty again, with all that is in it
	must(t, f.Sync())
	got := content(t, s.CrashWorst(), "/f")
	if got[:4] != "bbca" || got[vfs.DirectAlign:vfs.DirectAlign+3] != "aaa" {
		t.Errorf("after the cut: %q and %q, want bbca and aaa", got[:4], got[vfs.DirectAlign:vfs.DirectAlign+3])
	}
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
