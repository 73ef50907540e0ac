package log

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/simfs"
)

// tryAppend appends one batch of the log's producer 1 with the next sequence.
func tryAppend(l *Log, value int, origin Origin) (*Append, error) {
	a := newAppend(makeBatch(batchSpec{n: 1, value: value, timestamp: 1, pid: 1, seq: l.nextSeq(1)}), 0)
	a.Origin = origin
	if err := l.Stage(a); err != nil {
		return a, err
	}
	if err := l.Flush(); err != nil {
		return a, err
	}
	return a, a.Err
}

// TestDiskFull fills a disk: produce is refused with an error that says what to do; reads, coordinators' appends and
// deletes go on; after the deletion of a topic produce goes on, without a restart, and nothing acknowledged is lost.
func TestDiskFull(t *testing.T) {
	disk := simfs.New()
	disk.SetCapacity(8 << 20)
	cfg := DefaultConfig()
	cfg.SegmentBytes = 1 << 20
	m := openManager(t, disk, cfg, "/data")
	victim, kept, group := createLog(t, m, "victim", 0, cfg), createLog(t, m, "kept", 0, cfg), createLog(t, m, "group", 0, cfg)
	m.dirs[0].keeper.force() // takes the reserve
	if m.dirs[0].reserve.held != 128<<10 {
		t.Fatal(m.dirs[0].reserve.held)
	}
	for range 10 {
		if _, err := tryAppend(group, 1000, OriginCoordinator); err != nil {
			t.Fatal(err)
		}
	}
	var want []byte
	var refused error
	for i := 0; refused == nil && i < 1000; i++ {
		l := []*Log{victim, kept}[i%2]
		a, err := tryAppend(l, 20_000, OriginClient)
		if refused = err; err == nil && l == kept {
			want = append(want, a.Batch...)
		}
	}
	if !errors.Is(refused, kerr.KafkaStorageError) || !strings.Contains(refused.Error(), "data directory /data is full") {
		t.Fatal(refused)
	}
	if m.dirs[0].State() != DirFull || kept.Err() != nil {
		t.Fatal(m.dirs[0].State(), kept.Err())
	}
	if _, err := tryAppend(kept, 10, OriginClient); !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatal("an append to the full directory:", err)
	}
	if got := readAll(t, kept); !bytes.Equal(got, want) {
		t.Fatal("what is served by the full directory is not what was appended")
	}
	waitFor(t, "the reserve to be given up", func() bool {
		_, err := tryAppend(group, 1000, OriginCoordinator)
		return err == nil
	})
	end := kept.End()
	if err := m.Delete(victim.TopicPartition()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the directory to have room", func() bool { return m.dirs[0].State() == DirOK })
	a, err := tryAppend(kept, 20_000, OriginClient)
	if err != nil || a.BaseOffset != end.Offset {
		t.Fatal(a.BaseOffset, end, err)
	}
	want = append(want, a.Batch...)
	waitDurable(t, kept, a.LastOffset+1)
	disk = disk.CrashWorst()
	m.kill()
	m = openManager(t, disk, cfg, "/data")
	defer m.Close(1)
	if got := readAll(t, m.Get(kept.TopicPartition())); !bytes.Equal(got, want) {
		t.Fatal("after a power cut the log is not what was acknowledged")
	}
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain for", what)
		}
	}
}

// TestFailedWrite checks a write that fails for lack of space after a part was written: nothing of it is left, offsets
// and producer state are as before, and the same batch is appended when there is room (rule 4.2.11).
func TestFailedWrite(t *testing.T) {
	disk := simfs.New()
	cfg := DefaultConfig()
	m := openManager(t, disk, cfg, "/data")
	defer m.Close(1)
	l := createLog(t, m, "t", 0, cfg)
	first := mustAppend(t, l, makeBatch(batchSpec{n: 3, value: 10, timestamp: 1, pid: 1}), 4)
	before := l.End()
	disk.Inject(simfs.Rule{Ops: simfs.OpWrite, Pattern: "*.log", Times: 1, Err: syscall.ENOSPC, Partial: 50})
	batches := []*Append{
		newAppend(makeBatch(batchSpec{n: 2, value: 10, timestamp: 2, pid: 1, seq: 3}), 4),
		newAppend(makeBatch(batchSpec{n: 2, value: 10, timestamp: 2, pid: 1, seq: 5}), 5), // a new leader epoch
		newAppend(makeBatch(batchSpec{n: 2, value: 10, timestamp: 2, pid: 1, seq: 5}), 5), // a duplicate of one that is queued
		newAppend(makeBatch(batchSpec{n: 2, value: 10, timestamp: 2, pid: 2}), 5),
	}
	for _, a := range batches {
		if err := l.Stage(a); err != nil {
			t.Fatal(err)
		}
	}
	if !batches[2].Duplicate || batches[2].BaseOffset != batches[1].BaseOffset {
		t.Fatal(batches[2])
	}
	if err := l.Flush(); !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatal(err)
	}
	for i, a := range batches {
		if !errors.Is(a.Err, kerr.KafkaStorageError) {
			t.Errorf("batch %d: %v", i, a.Err)
		}
	}
	if l.End() != before || l.Size() != before.Bytes || !bytes.Equal(readAll(t, l), first.Batch) {
		t.Errorf("the log ends at %+v, not at %+v", l.End(), before)
	}
	if p := l.ActiveProducers(nil); len(p) != 1 || p[0].LastSequence != 2 {
		t.Errorf("%+v", p)
	}
	if got := l.EpochForOffset(before.Offset); got != 4 {
		t.Errorf("the epoch at the end is %d", got)
	}
	waitFor(t, "the directory to have room", func() bool {
		m.dirs[0].keeper.poke()
		return m.dirs[0].State() == DirOK
	})
	for i, a := range batches {
		again := newAppend(a.Batch, a.LeaderEpoch)
		again.Batch.SetBaseOffset(0)
		if err := l.Stage(again); err != nil || again.Duplicate != (i == 2) {
			t.Fatal(i, err)
		}
	}
	if err := l.Flush(); err != nil || l.End().Offset != 9 || l.EpochForOffset(5) != 5 {
		t.Error(err, l.End(), l.epochs.Entries())
	}
	checkIndexes(t, l)
}

// TestFailedDirectory checks that an I/O error of a write, or any failed sync, ends the directory for good, and that
// another directory goes on.
func TestFailedDirectory(t *testing.T) {
	for _, tc := range []struct {
		name string
		rule simfs.Rule
	}{
		{"write", simfs.Rule{Ops: simfs.OpWrite, Pattern: "/a/t-0/*.log", Err: syscall.EIO}},
		{"sync", simfs.Rule{Ops: simfs.OpSync, Pattern: "/a/t-0/*.log", Err: syscall.EIO}},
		{"sync of a full disk", simfs.Rule{Ops: simfs.OpSync, Pattern: "/a/t-0/*.log", Err: syscall.ENOSPC}},
		{"marks", simfs.Rule{Ops: simfs.OpWrite, Pattern: "/a/" + MarksFile, Err: syscall.EIO}},
		{"sync of the directory", simfs.Rule{Ops: simfs.OpSyncDir, Pattern: "/a/t-0", Err: syscall.EIO}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			disk := simfs.New()
			cfg := DefaultConfig()
			m := openManager(t, disk, cfg, "/a", "/b")
			bad, good := createLog(t, m, "t", 0, cfg), createLog(t, m, "t", 1, cfg)
			if bad.Dir().Path() != "/a" || good.Dir().Path() != "/b" {
				t.Fatal(bad.Dir().Path(), good.Dir().Path())
			}
			told := make(chan struct{}, 100)
			bad.SetListener(func() { told <- struct{}{} })
			tc.rule.Times = 1
			disk.Inject(tc.rule)
			_, _ = tryAppend(bad, 100, OriginClient)
			waitFor(t, "the failure", func() bool { return bad.Err() != nil })
			<-told
			if bad.DurableEnd().Offset != 0 {
				t.Error("durable up to", bad.DurableEnd())
			}
			if _, err := tryAppend(bad, 100, OriginCoordinator); !errors.Is(err, kerr.KafkaStorageError) || !strings.Contains(err.Error(), "/a failed") {
				t.Error("append:", err)
			}
			if _, err := bad.Read(0, 100, true, At(1)); !errors.Is(err, kerr.KafkaStorageError) {
				t.Error("read:", err)
			}
			if a, err := tryAppend(good, 100, OriginClient); err != nil {
				t.Error(err)
			} else {
				waitDurable(t, good, a.LastOffset+1)
			}
			if l := createLog(t, m, "t", 2, cfg); l.Dir().Path() != "/b" {
				t.Error("a new log is put into", l.Dir().Path())
			}
			if err := m.Close(9); !errors.Is(err, kerr.KafkaStorageError) {
				t.Error("close:", err)
			}
			if _, err := ReadCleanShutdown(disk, "/a"); !isNotExist(err) {
				t.Error("the failed directory was stopped cleanly:", err)
			}
			if epoch, err := ReadCleanShutdown(disk, "/b"); epoch != 9 || err != nil {
				t.Error(epoch, err)
			}
		})
	}
}

// TestStartOnFullDisk kills a broker whose disk is full, with the reserve in place and given up, and starts it again on the
// disk without a byte to spare: everything acknowledged is served, produce is refused, and goes on when there is room.
func TestStartOnFullDisk(t *testing.T) {
	for _, spent := range []bool{false, true} {
		t.Run(fmt.Sprint("reserve spent: ", spent), func(t *testing.T) {
			disk := simfs.New()
			disk.SetCapacity(8 << 20)
			cfg := DefaultConfig()
			cfg.SegmentBytes, cfg.FileDeleteDelayMs = 1<<20, 0
			m := openManager(t, disk, cfg, "/data")
			logs := []*Log{createLog(t, m, "t", 0, cfg), createLog(t, m, "t", 1, cfg), createLog(t, m, "t", 2, cfg)}
			m.dirs[0].keeper.force() // takes the reserve
			var want [3][]byte
			fill := func(l *Log, value int) (err error) {
				for i := 0; err == nil && i < 1000; i++ {
					var a *Append
					if a, err = tryAppend(l, value, OriginCoordinator); err == nil {
						want[l.tp.Partition] = append(want[l.tp.Partition], a.Batch...)
						waitDurable(t, l, a.LastOffset+1)
					}
				}
				return err
			}
			for _, l := range logs[:2] {
				for range 40 {
					a := mustAppend(t, l, makeBatch(batchSpec{n: 1, value: 20_000, timestamp: 1, pid: 1, seq: l.nextSeq(1)}), 0)
					want[l.tp.Partition] = append(want[l.tp.Partition], a.Batch...)
				}
				waitDurable(t, l, l.End().Offset)
			}
			if spent {
				if err := fill(logs[2], 20_000); !errors.Is(err, kerr.KafkaStorageError) {
					t.Fatal(err)
				}
				waitFor(t, "the reserve to be given up", func() bool { _, err := disk.Stat("/data/" + reserveFile); return isNotExist(err) })
				for value := 20_000; value > 100; value /= 2 {
					if err := fill(logs[2], value); !errors.Is(err, kerr.KafkaStorageError) {
						t.Fatal(err)
					}
				}
			}
			disk = disk.Kill()
			m.kill()
			if free, total, _ := disk.Space("/data"); !spent {
				disk.SetCapacity(int64(total - free))
			}
			m = openManager(t, disk, cfg, "/data")
			defer m.Close(1)
			for p := range int32(3) {
				if l := m.Get(TopicPartition{"t", p}); l == nil && len(want[p]) > 0 {
					t.Errorf("log %d is not served", p)
				} else if l != nil && !bytes.Equal(readAll(t, l), want[p]) {
					t.Errorf("log %d is not what was acknowledged", p)
				}
			}
			if t.Failed() {
				return
			}
			l := m.Get(TopicPartition{"t", 0})
			if _, err := tryAppend(l, 200_000, OriginClient); !errors.Is(err, kerr.KafkaStorageError) {
				t.Error("an append to the full disk:", err)
			}
			if err := m.Delete(TopicPartition{"t", 1}); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "room", func() bool { m.dirs[0].keeper.poke(); return m.dirs[0].State() == DirOK })
			if _, err := tryAppend(l, 20_000, OriginClient); err != nil {
				t.Error(err)
			}
		})
	}
}
