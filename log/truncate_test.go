package log

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/simfs"
)

// TestTruncateOnFullDisk has every step of truncations meet a full disk: they wait until there is room and complete, the
// directory goes on, and neither a kill nor a power cut afterwards takes anything or brings anything back.
func TestTruncateOnFullDisk(t *testing.T) {
	cfg := smallSegments()
	for _, skip := range []int{0, 1, 2, 3, 5, 8, 13} {
		for _, target := range []int64{0, 1, 33, 70} {
			t.Run(fmt.Sprintf("%d operations, to %d", skip, target), func(t *testing.T) {
				disk := simfs.New()
				disk.SetCapacity(16 << 20)
				m := openManager(t, disk, cfg, "/data")
				l := createLog(t, m, "t", 0, cfg)
				for i := range 50 {
					mustAppend(t, l, makeBatch(batchSpec{n: 2, value: 300, timestamp: 1, pid: 1, seq: l.nextSeq(1)}), int32(i/10))
				}
				waitDurable(t, l, 100)
				m.Checkpoint()
				disk.Inject(simfs.Rule{Ops: simfs.OpWrite | simfs.OpMkdir | simfs.OpTruncate, Pattern: "*", Skip: skip, Times: 3, Err: syscall.ENOSPC})
				disk.Inject(simfs.Rule{Ops: simfs.OpOpen, Pattern: "*.tmp", Skip: skip / 2, Times: 2, Err: syscall.ENOSPC})
				disk.Inject(simfs.Rule{Ops: simfs.OpOpen, Pattern: "/data/t-0/*.log", Skip: skip / 2, Times: 2, Err: syscall.ENOSPC})
				var err error
				if target == 0 {
					err = l.TruncateFullyAndStartAt(500)
				} else {
					err = l.TruncateTo(target)
				}
				disk.ClearRules()
				if err != nil || m.dirs[0].State() == DirFailed {
					t.Fatal(err, m.dirs[0].failure())
				}
				waitFor(t, "room", func() bool { m.dirs[0].keeper.poke(); return m.dirs[0].State() == DirOK })
				if target > 0 && l.End().Offset != target&^1 { // a batch of two is not split
					t.Fatal(l.End())
				}
				if target == 0 && (l.End().Offset != 500 || l.StartOffset() != 500) {
					t.Fatal(l.StartOffset(), l.End())
				}
				a := mustAppend(t, l, makeBatch(batchSpec{n: 2, value: 300, timestamp: 1, pid: 1, seq: l.nextSeq(1)}), 7)
				waitDurable(t, l, a.LastOffset+1)
				want := readAll(t, l)
				disk = disk.CrashWorst()
				m.kill()
				m = openManager(t, disk, cfg, "/data")
				defer m.Close(1)
				l = m.Get(l.TopicPartition())
				if l.Loss() != nil || !bytes.Equal(readAll(t, l), want) {
					t.Error("after a power cut the log is not what it was:", l.Loss(), l.StartOffset(), l.End())
				}
				checkIndexes(t, l)
			})
		}
	}
}

// TestTruncateStops checks that a stop does not wait for a truncation that waits for room, and that the log is recovered
// afterwards.
func TestTruncateStops(t *testing.T) {
	cfg := smallSegments()
	disk := simfs.New()
	disk.SetCapacity(16 << 20)
	m := openManager(t, disk, cfg, "/data")
	l := createLog(t, m, "t", 0, cfg)
	for range 50 {
		mustAppend(t, l, makeBatch(batchSpec{n: 2, value: 300, timestamp: 1}), 0)
	}
	waitDurable(t, l, 100)
	// Nothing is left, so that the keeper finds no room either and the directory stays full.
	filler, err := disk.OpenFile("/filler", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := filler.WriteAt(make([]byte, 16<<20), 0); !isNoSpace(err) {
		t.Fatal(err)
	}
	disk.Inject(simfs.Rule{Ops: simfs.OpOpen, Pattern: "/data/t-0/*.log", Err: syscall.ENOSPC})
	done := make(chan error)
	go func() { done <- l.TruncateFullyAndStartAt(500) }()
	waitFor(t, "the truncation to wait", func() bool { return m.dirs[0].State() == DirFull })
	closed := m.Close(1)
	if err := <-done; err == nil || closed == nil {
		t.Fatal(err, closed)
	}
	disk.ClearRules()
	if err := errors.Join(filler.Close(), disk.Remove("/filler")); err != nil {
		t.Fatal(err)
	}
	m = openManager(t, disk.Kill(), cfg, "/data")
	defer m.Close(1)
	if l := m.Get(l.TopicPartition()); l.Loss() != nil || l.End().Offset > 100 && l.End().Offset != 500 {
		t.Error(l.Loss(), l.End())
	}
}

// TestPanicInFlush checks that a fault in the program in the middle of a write ends the use of that log and of nothing
// else: everybody who waits is answered, and the next start recovers what was acknowledged.
func TestPanicInFlush(t *testing.T) {
	cfg := DefaultConfig()
	disk := simfs.New()
	m := openManager(t, disk, cfg, "/data")
	bad, good := createLog(t, m, "t", 0, cfg), createLog(t, m, "t", 1, cfg)
	first := mustAppend(t, bad, makeBatch(batchSpec{n: 1, value: 10, timestamp: 1}), 0)
	waitDurable(t, bad, 1)
	var appends []*Append
	for range 5 {
		a := newAppend(makeBatch(batchSpec{n: 1, value: 10, timestamp: 1}), 0)
		if err := bad.Stage(a); err != nil {
			t.Fatal(err)
		}
		appends = append(appends, a)
	}
	disk.Inject(simfs.Rule{Ops: simfs.OpWrite, Pattern: "/data/t-0/*.log", Times: 1, Before: func() { panic("a fault") }})
	var wg sync.WaitGroup
	panics := make(chan any, len(appends))
	for range appends {
		wg.Go(func() {
			defer func() { panics <- recover() }()
			_ = bad.Flush()
		})
	}
	wg.Wait()
	close(panics)
	n := 0
	for p := range panics {
		if p != nil {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d of the flushes panicked", n)
	}
	for _, a := range appends {
		if !errors.Is(a.Err, kerr.KafkaStorageError) || !strings.Contains(a.Err.Error(), "a fault") {
			t.Error(a.Err)
		}
	}
	if err := bad.Stage(newAppend(makeBatch(batchSpec{n: 1, timestamp: 1}), 0)); !errors.Is(err, kerr.KafkaStorageError) {
		t.Error(err)
	}
	if a := mustAppend(t, good, makeBatch(batchSpec{n: 1, timestamp: 1}), 0); a.Err != nil {
		t.Error(a.Err)
	}
	m.Checkpoint()
	if err := m.Close(1); err != nil {
		t.Error(err)
	}
	if _, err := ReadCleanShutdown(disk, "/data"); !isNotExist(err) {
		t.Error("the directory was stopped cleanly:", err)
	}
	m = openManager(t, disk, cfg, "/data")
	defer m.Close(1)
	if got := readAll(t, m.Get(bad.tp)); !bytes.HasPrefix(got, first.Batch) {
		t.Error("the acknowledged batch is gone")
	}
}
