package log

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log/record"
)

// keyedLog writes batches of keyed records and knows what a reader of the log has to come to.
type keyedLog struct {
	t      testing.TB
	l      *Log
	codecs *record.Codecs
	view   map[string]string // what read_committed readers end with: the newest value of each key
	seq    map[int64]int32
	// pending are the records of open transactions, by producer id.
	pending map[int64][]string
	next    int // makes values differ
}

func newKeyedLog(t testing.TB, l *Log, codecs *record.Codecs) *keyedLog {
	return &keyedLog{t: t, l: l, codecs: codecs, view: map[string]string{}, seq: map[int64]int32{}, pending: map[int64][]string{}}
}

// put appends one batch. A record is a key for a tombstone, or KEY= for a new value. Producer 0 is none; with txn the
// records wait for the end of the transaction.
func (k *keyedLog) put(pid int64, txn bool, codec record.Codec, records ...string) {
	k.t.Helper()
	o := record.BuilderOptions{Codec: codec, Transactional: txn}
	if pid > 0 {
		o.Producer = &record.Producer{ID: pid, BaseSequence: k.seq[pid]}
		k.seq[pid] = record.AddSequence(k.seq[pid], int32(len(records)))
	}
	b := record.NewBuilder(k.codecs, o)
	for _, r := range records {
		key, _, set := strings.Cut(r, "=")
		rec := record.Record{Timestamp: time.Now().UnixMilli(), Key: []byte(key)}
		entry := key
		if set {
			k.next++
			rec.Value = fmt.Appendf(nil, "value-%d", k.next)
			entry += "=" + string(rec.Value)
		}
		b.Append(rec)
		if txn {
			k.pending[pid] = append(k.pending[pid], entry)
		} else {
			k.apply(entry)
		}
	}
	batch, err := b.Build()
	if err != nil {
		k.t.Fatal(err)
	}
	mustAppend(k.t, k.l, batch, 0)
}

func (k *keyedLog) apply(entry string) {
	if key, value, set := strings.Cut(entry, "="); set {
		k.view[key] = value
	} else {
		delete(k.view, key)
	}
}

// end appends a marker.
func (k *keyedLog) end(pid int64, commit bool) {
	k.t.Helper()
	m := record.AppendEndTxnMarker(nil, record.EndTxnMarker{Commit: commit, ProducerID: pid, CoordinatorEpoch: 1, Timestamp: time.Now().UnixMilli()})
	a := newAppend(m, 0)
	a.Origin = OriginCoordinator
	if err := k.l.Stage(a); err != nil {
		k.t.Fatal(err)
	}
	if err := k.l.Flush(); err != nil || a.Err != nil {
		k.t.Fatal(err, a.Err)
	}
	if commit {
		for _, e := range k.pending[pid] {
			k.apply(e)
		}
	}
	delete(k.pending, pid)
}

// settle makes everything below the active segment fit for cleaning.
func (k *keyedLog) settle() {
	k.t.Helper()
	waitDurable(k.t, k.l, k.l.End().Offset)
	k.l.HighWatermarkMoved(k.l.End().Offset)
	k.l.m.Checkpoint()
}

// cleanLog runs the cleaner until nothing is due, in the calling goroutine.
func cleanLog(t testing.TB, m *Manager, change ...func(*CleanerOptions)) int {
	t.Helper()
	o := DefaultCleanerOptions()
	for _, fn := range change {
		fn(&o)
	}
	m.cleaner.options.Store(&o)
	w := &cleanWorker{c: m.cleaner, sieve: record.NewSieve(m.codecs)}
	n := 0
	for w.cleanDirtiest() {
		n++
	}
	return n
}

// readCommitted reads the log as a read_committed consumer does, and calls see with the records that it gets.
func readCommitted(l *Log, codecs *record.Codecs, see func(r record.Record)) error {
	at := l.StartOffset()
	aborted := map[int64]bool{}
	for {
		upper := l.End()
		if u, ok := l.FirstUnstable(); ok && u.Offset < upper.Offset {
			upper = u
		}
		s, err := l.Read(at, 4096, true, upper)
		if err != nil || s.N == 0 {
			return err
		}
		txns, err := l.AbortedTransactions(at, l.UpperBound(&s, upper))
		current := l.Current(&s)
		data := make([]byte, s.N)
		if err == nil {
			_, err = s.File.ReadAt(data, s.Off)
		}
		s.Release()
		if err != nil {
			return err
		}
		if !current {
			continue
		}
		for {
			b, rest, err := record.Next(data)
			if err != nil || b == nil {
				break
			}
			data = rest
			if !b.VerifyCRC() {
				return fmt.Errorf("the batch at %d has a wrong CRC", b.BaseOffset())
			}
			for len(txns) > 0 && slices.ContainsFunc(txns, func(t AbortedTxn) bool { return t.FirstOffset <= b.LastOffset() }) {
				txns = slices.DeleteFunc(txns, func(t AbortedTxn) bool {
					if t.FirstOffset <= b.LastOffset() {
						aborted[t.ProducerID] = true
						return true
					}
					return false
				})
			}
			if b.BaseOffset() < at && b.LastOffset() < at {
				return fmt.Errorf("reading at %d gave the batch %d to %d", at, b.BaseOffset(), b.LastOffset())
			}
			at = b.LastOffset() + 1
			if b.IsControl() {
				if m, ok, err := b.EndTxnMarker(); err != nil {
					return err
				} else if ok && !m.Commit {
					delete(aborted, m.ProducerID)
				}
				continue
			}
			if b.IsTransactional() && aborted[b.ProducerID()] {
				continue
			}
			for r, err := range b.Records(codecs) {
				if err != nil {
					return err
				}
				see(r)
			}
		}
	}
}

// viewOf is what a reader of the whole log ends with.
func viewOf(l *Log, codecs *record.Codecs) (map[string]string, error) {
	view := map[string]string{}
	err := readCommitted(l, codecs, func(r record.Record) {
		if r.Value == nil {
			delete(view, string(r.Key))
		} else {
			view[string(r.Key)] = string(r.Value)
		}
	})
	return view, err
}

// checkCleaned compares a log with what was written to it.
func checkCleaned(l *Log, codecs *record.Codecs, want map[string]string, end int64) error {
	if loss := l.Loss(); loss != nil {
		return fmt.Errorf("it reports a loss: %s", loss)
	}
	if l.End().Offset != end {
		return fmt.Errorf("it ends at %d, not at %d", l.End().Offset, end)
	}
	got, err := viewOf(l, codecs)
	if err != nil {
		return err
	}
	for key, value := range want {
		if got[key] != value {
			return fmt.Errorf("key %s has %q, not %q", key, got[key], value)
		}
	}
	for key, value := range got {
		if _, ok := want[key]; !ok {
			return fmt.Errorf("key %s, which was deleted, has %q", key, value)
		}
	}
	return checkSegments(l)
}

// checkSegments checks that segments reach up to the next one, that their indexes fit, and that nothing is left over.
func checkSegments(l *Log) error {
	segs := l.segmentList()
	known := map[string]bool{}
	for i, s := range segs {
		for _, suffix := range append([]string{snapshotSuffix}, segmentSuffixes[:]...) {
			known[s.path(suffix)] = true
		}
		next := l.End().Offset
		if i < len(segs)-1 {
			next = segs[i+1].base
		}
		end := s.base
		err := l.m.scanHeaders(s.path(logSuffix), 0, s.size.Load(), func(b record.Batch, position int64, _ *headerScan) error {
			if b.BaseOffset() < end {
				return fmt.Errorf("offset %d follows %d", b.BaseOffset(), end-1)
			}
			e, err := s.index.lookupPosition(position)
			if err == nil && e.Position == position && position > 0 && e.Offset != b.LastOffset() {
				err = fmt.Errorf("the index says offset %d at %d, and there is %d", e.Offset, position, b.LastOffset())
			}
			end = b.LastOffset() + 1
			return err
		})
		if err != nil {
			return fmt.Errorf("segment %d: %w", s.base, err)
		}
		if end != next {
			return fmt.Errorf("segment %d ends at %d, the next begins at %d", s.base, end, next)
		}
		for _, x := range []*entryFile{&s.index.entryFile, &s.times.entryFile, &s.txns.entryFile} {
			if err := x.verify(); err != nil {
				return err
			}
		}
	}
	entries, err := l.m.fs.ReadDir(l.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := l.path + "/" + e.Name()
		if !known[name] && strings.HasPrefix(e.Name(), "000") && !strings.HasSuffix(name, snapshotSuffix) {
			return fmt.Errorf("%s is left over", name)
		}
	}
	return nil
}

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

func compactConfig() Config {
	cfg := DefaultConfig()
	cfg.Compact, cfg.Delete = true, false
	cfg.MinCleanableDirtyRatio, cfg.DeleteRetentionMs = 0, 0
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 700, 60
	return cfg
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
