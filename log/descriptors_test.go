package log

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/internal/vfs"
)

// TestOpenDescriptors writes many segments and counts what is open: the active segment's log file after a checkpoint,
// nothing after a load, and a bounded number however much is read.
func TestOpenDescriptors(t *testing.T) {
	const limit = 5
	cfg := smallSegments()
	disk := simfs.New()
	disk.SetCapacity(16 << 20)
	m := openManager(t, disk, cfg, "/data")
	idle := disk.OpenFiles() // the durable marks
	l := createLog(t, m, "t", 0, cfg)
	fill := func() {
		for range 400 {
			mustAppend(t, l, makeBatch(batchSpec{n: 2, value: 100, timestamp: 1, pid: 6, seq: l.nextSeq(6)}), 0)
		}
		waitDurable(t, l, l.End().Offset)
	}
	fill()
	if n := l.SegmentCount(); n < 20 {
		t.Fatal(n)
	}
	m.Checkpoint()
	// Those stay open that are in use at that moment: the Committer closes what it syncs in parallel a little later.
	if got := disk.OpenFiles() - idle; got > 5+parallelSyncs {
		t.Errorf("after a checkpoint %d files are open", got)
	}
	later := time.Now()
	waitFor(t, "what nobody uses to be closed", func() bool {
		later = later.Add(time.Hour) // the first look notes what is used
		m.files.closeUnused(later)
		return disk.OpenFiles() == idle
	})
	for _, how := range []string{"clean", "killed"} {
		if how == "clean" {
			if err := m.Close(1); err != nil {
				t.Fatal(err)
			}
			if got := disk.OpenFiles(); got != 0 {
				t.Errorf("after a stop %d files are open", got)
			}
		} else {
			fill()
			disk = disk.Kill()
			m.kill()
		}
		var err error
		if m, err = openWith(Options{FS: disk, Dirs: []string{"/data"}, OpenSegments: limit}, cfg); err != nil {
			t.Fatal(err)
		}
		l = m.Get(TopicPartition{"t", 0})
		if got := disk.OpenFiles() - idle; got != 0 {
			t.Errorf("%s: after the load %d files are open", how, got)
		}
		readAll(t, l)
		for offset := range l.End().Offset {
			if _, _, err := l.OffsetForTimestamp(offset % 3); err != nil {
				t.Fatal(err)
			}
			if _, err := l.PositionOf(offset); err != nil {
				t.Fatal(err)
			}
		}
		if got := disk.OpenFiles() - idle; got > 4*limit {
			t.Errorf("%s: %d files are open for at most %d segments", how, got, limit)
		}
	}
	m.kill()
}

// TestSettledClose checks that the stop of logs with nothing to do syncs nothing of them.
func TestSettledClose(t *testing.T) {
	counting := vfs.Counting(simfs.New())
	cfg := DefaultConfig()
	m := openManager(t, counting, cfg, "/data")
	for p := range int32(50) {
		mustAppend(t, createLog(t, m, "t", p, cfg), makeBatch(batchSpec{n: 1, timestamp: 1}), 0)
	}
	for l := range m.Logs() {
		waitDurable(t, l, 1)
	}
	m.Checkpoint()
	counting.Reset()
	before := m.dirs[0].committer.rounds.Load()
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	if got := m.dirs[0].committer.rounds.Load() - before; got != 0 || counting.Suffix(logSuffix).Syncs != 0 {
		t.Errorf("the stop took %d rounds and %d syncs of log files", got, counting.Suffix(logSuffix).Syncs)
	}
	m = openManager(t, counting, cfg, "/data")
	if got := counting.Suffix(logSuffix).BytesRead; got != 0 {
		t.Errorf("the start after it read %d bytes of log files", got)
	}
	m.kill()
}

// TestTooManyFiles has every opening of a file fail for a while: appends, syncs and checkpoints wait or are refused, the
// directory does not fail, and nothing is acknowledged that is not on the disk.
func TestTooManyFiles(t *testing.T) {
	cfg := smallSegments()
	disk := simfs.New()
	disk.SetCapacity(16 << 20)
	m := openManager(t, disk, cfg, "/data")
	l := createLog(t, m, "t", 0, cfg)
	for i := range 300 {
		if i%10 == 0 {
			disk.Inject(simfs.Rule{Ops: simfs.OpOpen | simfs.OpSyncDir, Pattern: "*", Skip: i / 10 % 4, Times: 3, Err: syscall.EMFILE})
		}
		_, err := tryAppend(l, 100, OriginClient)
		if err != nil && !errors.Is(err, kerr.KafkaStorageError) {
			t.Fatal(err)
		}
		if i%30 == 0 {
			m.Checkpoint()
		}
	}
	disk.ClearRules()
	if m.dirs[0].State() != DirOK || l.End().Offset < 100 {
		t.Fatal(m.dirs[0].State(), m.dirs[0].failure(), l.End())
	}
	want := readAll(t, l)
	waitDurable(t, l, l.End().Offset)
	disk = disk.CrashWorst()
	m.kill()
	m = openManager(t, disk, cfg, "/data")
	defer m.Close(1)
	if got := readAll(t, m.Get(l.TopicPartition())); string(got) != string(want) {
		t.Errorf("after a power cut there are %d bytes of %d", len(got), len(want))
	}
}

// TestDeleteBesideFirstAppend deletes logs at the moment of their first append, and makes them anew: the old one must not
// make its directory again, nor sync what is another's, nor fail the data directory.
func TestDeleteBesideFirstAppend(t *testing.T) {
	cfg := DefaultConfig()
	disk := simfs.New()
	m := openManager(t, disk, cfg, "/data")
	defer m.Close(1)
	for i := range 300 {
		var id [16]byte
		id[0], id[1], id[15] = byte(i), byte(i>>8), 1
		l, err := m.Create(TopicPartition{"t", 0}, id, &cfg)
		if err != nil {
			t.Fatal(err)
		}
		var writers sync.WaitGroup
		for range 3 {
			writers.Go(func() {
				for range 3 {
					a := newAppend(makeBatch(batchSpec{n: 1, timestamp: 1}), 0)
					if err := errors.Join(l.Stage(a), l.Flush(), a.Err); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
						t.Error(err)
					}
				}
			})
		}
		writers.Go(func() {
			if s, err := l.Read(0, 100, true, At(1)); err == nil {
				s.Release()
			} else if !errors.Is(err, kerr.UnknownTopicOrPartition) && !errors.Is(err, kerr.OffsetOutOfRange) {
				t.Error(err)
			}
		})
		time.Sleep(time.Duration(i%10) * 3 * time.Microsecond)
		if err := m.Delete(l.TopicPartition()); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			writers.Wait()
		}
		if _, err := disk.Stat(l.path); !isNotExist(err) {
			t.Fatal("the directory of a deleted log is there:", err)
		}
		writers.Wait()
	}
	if m.dirs[0].State() != DirOK {
		t.Error(m.dirs[0].failure())
	}
}

// TestDescriptorsUnderPressure appends, rolls, reads, searches, checkpoints, trims and drops segments at once, on the real
// file system and with next to no descriptors allowed: no reader may meet a file that was closed, removed or made anew
// under its hands, and no index may be found damaged. Reads are served, or refused because the offset was just deleted.
func TestDescriptorsUnderPressure(t *testing.T) {
	for _, tc := range []struct {
		name string
		fs   vfs.FS
		dir  string
	}{{"simulated", simfs.New(), "/data"}, {"real", vfs.OS(), t.TempDir()}} {
		t.Run(tc.name, func(t *testing.T) { descriptorsUnderPressure(t, tc.fs, tc.dir) })
	}
}

func descriptorsUnderPressure(t *testing.T, fsys vfs.FS, dir string) {
	cfg := smallSegments()
	warnings := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	m, err := openWith(Options{FS: fsys, Dirs: []string{dir}, Logger: warnings, OpenSegments: 2}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	logs := []*Log{createLog(t, m, "t", 0, cfg), createLog(t, m, "t", 1, cfg)}
	var stop atomic.Bool
	var writers, others sync.WaitGroup
	for w, l := range logs {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 3))
			for i := range 700 {
				a := newAppend(makeBatch(batchSpec{n: 1 + r.Int32N(3), value: r.IntN(200), timestamp: int64(i)}), 0)
				if err := errors.Join(l.Stage(a), l.Flush(), a.Err); err != nil {
					t.Error(err)
					return
				}
			}
		})
		for k := range 2 {
			others.Go(func() {
				r := rand.New(rand.NewPCG(uint64(k), 4))
				for !stop.Load() && !t.Failed() {
					readSome(t, l, r)
					if _, _, err := l.OffsetForTimestamp(r.Int64N(700)); err != nil && !errors.Is(err, kerr.OffsetOutOfRange) {
						t.Error(err)
					}
					if _, err := l.AbortedTransactions(l.StartOffset(), l.End().Offset); err != nil && !errors.Is(err, kerr.OffsetOutOfRange) {
						t.Error(err)
					}
				}
			})
		}
		others.Go(func() {
			for !stop.Load() {
				if end := l.DurableEnd(); end.Offset > 300 {
					if err := l.RaiseStart(end.Offset - 300); err != nil {
						t.Error(err)
					}
				}
				for _, s := range l.segmentList() {
					m.files.closeIdle(s)
				}
				m.files.trim()
			}
		})
	}
	others.Go(func() {
		for !stop.Load() {
			m.Checkpoint()
		}
	})
	writers.Wait()
	stop.Store(true)
	others.Wait()
	for _, l := range logs {
		for _, s := range l.segmentList() {
			if s.broken.Load() {
				t.Errorf("%s: the indexes of segment %d were found damaged", l.tp, s.base)
			}
		}
	}
	if err := m.Close(1); err != nil {
		t.Error(err)
	}
	if disk, ok := fsys.(*simfs.FS); ok && disk.OpenFiles() != 0 {
		t.Errorf("%d files are open after the stop", disk.OpenFiles())
	}
}

// TestRollsAndFlushes is T157's part on rolls, and flush.messages: records' timestamps roll a segment, not the clock, and a
// log whose acknowledgements do not wait for the disk is synced after so many messages.
func TestRollsAndFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.SegmentMs, cfg.Durability, cfg.FlushMessages = 1000, Replicated, 5
		m := openManager(t, simfs.New(), cfg, "/data")
		defer m.Close(1)
		l := createLog(t, m, "t", 0, cfg)
		bases := func() (b []int64) {
			for _, s := range l.segmentList() {
				b = append(b, s.base)
			}
			return b
		}
		put := func(timestamp int64) { mustAppend(t, l, makeBatch(batchSpec{n: 1, timestamp: timestamp}), 0) }
		put(5000)
		waitDurable(t, l, 1) // a new log is synced once, so that its name is found after a crash
		put(6000)
		time.Sleep(5 * time.Second) // of the clock, which does not count
		put(6000)
		if got := fmt.Sprint(bases()); got != "[0]" {
			t.Error("segments", got)
		}
		put(6001)
		if got := fmt.Sprint(bases()); got != "[0 3]" {
			t.Error("segments", got)
		}
		put(1) // older than the first of its segment
		put(7001)
		put(7002)
		if got := fmt.Sprint(bases()); got != "[0 3 6]" {
			t.Error("segments", got)
		}
		synctest.Wait()
		end := l.DurableEnd().Offset
		for i := range 5 {
			if put(7002); i == 0 {
				end = l.DurableEnd().Offset
			}
		}
		synctest.Wait()
		if got := l.DurableEnd().Offset; got <= end {
			t.Errorf("five messages after %d, the log is durable up to %d", end, got)
		}
	})
}
