package simfs

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/kbroker/kbroker/internal/vfs"
)

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
