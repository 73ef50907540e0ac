package log

import (
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log/record"
)

// crashScenario writes a log whose next cleaning joins segments, drops aborted data, tombstones and whole segments.
func crashScenario(t *testing.T, disk *simfs.FS) (*keyedLog, *Manager) {
	cfg := compactConfig()
	m := openManager(t, disk, cfg, "/data")
	k := newKeyedLog(t, createLog(t, m, "t", 0, cfg), record.NewCodecs())
	k.put(0, false, record.None, "dead=", "kept=", "a=")
	rollNow(t, k.l)
	k.put(0, false, record.Gzip, "a=", "b=", "dead")
	k.put(1, true, record.None, "b=", "x=")
	k.end(1, false)
	rollNow(t, k.l)
	k.settle()
	cleanLog(t, m) // gives the tombstone a horizon that has passed
	for i := range 3 {
		k.put(2, true, record.Zstd, "b=", "c=")
		k.put(3, false, record.None, "a=", "d=", "dead=")
		k.end(2, i != 1)
		k.put(0, false, record.None, "dead", "e=")
		rollNow(t, k.l)
	}
	k.put(3, false, record.None, "a=", "b=", "c=", "d=", "e=", "dead")
	rollNow(t, k.l)
	k.put(0, false, record.None, "active=")
	k.settle()
	return k, m
}

// TestCrashWhileCleaning ends the process, or cuts the power, at every operation on the disk that a cleaning does, and
// again during the start after it. Whatever is left shows the same records, and cleans well.
func TestCrashWhileCleaning(t *testing.T) {
	kinds := map[string]func(*simfs.FS) *simfs.FS{
		"kill":  func(fs *simfs.FS) *simfs.FS { return fs.Kill() },
		"worst": func(fs *simfs.FS) *simfs.FS { return fs.CrashWorst() },
		"cut-1": func(fs *simfs.FS) *simfs.FS { return fs.Crash(1) },
		"cut-2": func(fs *simfs.FS) *simfs.FS { return fs.Crash(2) },
	}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			swapping := 0
			for n := 0; ; n++ {
				w := cleanCrash{t: t, crash: kinds[name], first: n, second: n % 7}
				if w.run(); !w.crashed {
					if n < 60 || name == "kill" && swapping < 3 {
						t.Errorf("a cleaning takes %d operations, %d of them leave a swap that is not complete", n, swapping)
					}
					return
				}
				if !w.partial {
					continue
				}
				swapping++ // here the order in which the start cleans up matters
				for w.second = 0; w.crashedAgain || w.second == 0; w.second++ {
					w.run()
				}
			}
		})
	}
}

// changes are the operations after which a disk is another one.
const changes = simfs.OpOpen | simfs.OpWrite | simfs.OpSync | simfs.OpTruncate | simfs.OpRemove | simfs.OpRename | simfs.OpSyncDir

// cleanCrash crashes before operation number first of a cleaning, and before operation number second of the start after
// it.
type cleanCrash struct {
	t                              *testing.T
	crash                          func(*simfs.FS) *simfs.FS
	first, second                  int
	crashed, crashedAgain, partial bool // partial: a swap was not complete
}

func (w *cleanCrash) run() {
	disk := simfs.New()
	disk.SetCapacity(8 << 20) // a small disk has a small reserve, and is quick to copy
	k, m := crashScenario(w.t, disk)
	end, cfg := k.l.End().Offset, *k.l.Config()
	left := w.crashIn(disk, w.first, func() { cleanLog(w.t, m) })
	if w.crashed = left != nil; !w.crashed {
		if err := checkCleaned(k.l, k.codecs, k.view, end); err != nil {
			w.t.Fatal("without a crash:", err)
		}
		left = disk.Kill()
	}
	_ = m.Close(1) // the process that crashed
	w.partial = w.halfSwapped(left)
	again := w.crashIn(left, w.second, func() {
		if m, _ := tryOpenManager(left, cfg, "/data"); m != nil { // the error is that of the crash
			_ = m.Close(1)
		}
	})
	if w.crashedAgain = again != nil; w.crashedAgain {
		left = again
	}
	m = openManager(w.t, left, cfg, "/data")
	defer m.Close(1)
	l := m.Get(TopicPartition{"t", 0})
	if err := checkCleaned(l, k.codecs, k.view, end); err != nil {
		w.t.Fatalf("crash at operations %d and %d: %v", w.first, w.second, err)
	}
	l.HighWatermarkMoved(end)
	m.Checkpoint()
	cleanLog(w.t, m)
	if err := checkCleaned(l, k.codecs, k.view, end); err != nil {
		w.t.Fatalf("crash at operations %d and %d, cleaned after it: %v", w.first, w.second, err)
	}
}

// crashIn runs fn and crashes before its operation number n; nil means that there are not so many.
func (w *cleanCrash) crashIn(disk *simfs.FS, n int, fn func()) (left *simfs.FS) {
	disk.Inject(simfs.Rule{Ops: changes, Pattern: "/data/t-0/*", Skip: n, Times: 1, Before: func() { left = w.crash(disk) }})
	fn()
	disk.ClearRules()
	return left
}

// halfSwapped reports whether both kinds of the cleaner's files are there.
func (w *cleanCrash) halfSwapped(disk *simfs.FS) bool {
	entries, err := disk.ReadDir("/data/t-0")
	if err != nil {
		w.t.Fatal(err)
	}
	has := func(suffix string) bool {
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return strings.HasSuffix(e.Name(), suffix) })
	}
	return has(cleanedSuffix) && has(swapSuffix)
}

// TestFaultWhileCleaning fails one operation on the disk after the other while a log is cleaned. A full disk leaves the log
// as it was, and everything else fails the directory; either way no record is lost.
func TestFaultWhileCleaning(t *testing.T) {
	for _, rule := range []simfs.Rule{
		{Ops: changes &^ simfs.OpRemove, Pattern: "/data/t-0/*" + cleanedSuffix, Err: syscall.ENOSPC},
		{Ops: changes, Pattern: "/data/t-0/*", Err: syscall.EIO},
	} {
		t.Run(rule.Err.Error(), func(t *testing.T) {
			t.Parallel()
			n := 0
			for ; faultAt(t, n, rule); n++ {
			}
			if n < 20 {
				t.Errorf("a cleaning takes %d operations", n)
			}
		})
	}
}

// faultAt reports whether there were n operations before the one that fails.
func faultAt(t *testing.T, n int, rule simfs.Rule) bool {
	disk := simfs.New()
	disk.SetCapacity(8 << 20)
	k, m := crashScenario(t, disk)
	end, cfg := k.l.End().Offset, *k.l.Config()
	failed := false
	rule.Skip, rule.Times, rule.Before = n, 1, func() { failed = true }
	cause := rule.Err
	disk.Inject(rule)
	cleanLog(t, m)
	disk.ClearRules()
	if state := k.l.dir.State(); state != DirFailed {
		if len(m.cleaner.uncleanable) > 0 && cause == syscall.ENOSPC {
			t.Fatalf("%v at operation %d: set aside for good", cause, n)
		}
		if err := checkCleaned(k.l, k.codecs, k.view, end); err != nil {
			t.Fatalf("%v at operation %d: %v", cause, n, err)
		}
		cleanLog(t, m)
	} else if !failed {
		t.Fatal("the directory failed without a fault")
	}
	_ = m.Close(1)
	m = openManager(t, disk, cfg, "/data")
	defer m.Close(1)
	if err := checkCleaned(m.Get(TopicPartition{"t", 0}), k.codecs, k.view, end); err != nil {
		t.Fatalf("%v at operation %d, after a restart: %v", cause, n, err)
	}
	return failed
}
