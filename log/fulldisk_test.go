package log

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/simfs"
)

// TestRollsThatFail: a roll for which the disk has no room leaves nothing behind, however often it is tried.
func TestRollsThatFail(t *testing.T) {
	disk, cfg := simfs.New(), smallSegments()
	m := openManager(t, disk, cfg, "/data")
	defer m.Close(1)
	l := createLog(t, m, "t", 0, cfg)
	mustAppend(t, l, makeBatch(batchSpec{n: 1, value: 3000, timestamp: 1}), 0)
	disk.Inject(simfs.Rule{Ops: simfs.OpOpen, Pattern: "*1.log", Err: syscall.ENOSPC})
	for range 20 {
		if _, err := tryAppend(l, 3000, OriginCoordinator); err == nil {
			t.Fatal("it was rolled")
		}
	}
	l.mu.Lock()
	n := len(l.checkpoint.snapshots)
	l.mu.Unlock()
	if n > 0 {
		t.Error(n, "snapshots are to be written, for no segment")
	}
	disk.ClearRules()
}

// TestCloseWhileCleanerWaits: the end of the Manager does not wait for a cleaner that waits for a log, whose holder may be
// waiting for room on the disk until the Manager ends.
func TestCloseWhileCleanerWaits(t *testing.T) {
	k, m := crashScenario(t, simfs.New())
	k.l.token <- struct{}{}
	o := DefaultCleanerOptions()
	m.SetCleaner(o)
	waitFor(t, "the cleaner to have an output", func() bool {
		_, err := m.fs.Stat(segmentPath(k.l.path, 0, logSuffix) + cleanedSuffix)
		return err == nil
	})
	stopped := make(chan struct{})
	go func() { m.cleaner.stop(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(10 * time.Second):
		t.Error("the cleaner does not stop")
	}
	<-k.l.token
	if err := m.Close(1); err != nil {
		t.Error(err)
	}
}

// TestTruncationWithoutRoomForMarks: the marks of another log that find no room hold up a truncation, and do not leave it
// half done: the old log start must not stay on the disk.
func TestTruncationWithoutRoomForMarks(t *testing.T) {
	disk, cfg := simfs.New(), DefaultConfig()
	m := openManager(t, disk, cfg, "/data")
	l := createLog(t, m, "t", 0, cfg)
	for range 20 {
		mustAppend(t, l, makeBatch(batchSpec{n: 5, timestamp: 1}), 0)
	}
	waitDurable(t, l, 100)
	if err := l.RaiseStart(50); err != nil {
		t.Fatal(err)
	}
	if err := m.dirs[0].KeepStarts(); err != nil {
		t.Fatal(err)
	}
	disk.Inject(simfs.Rule{Ops: simfs.OpTruncate, Pattern: "0*.log", Times: 1, Before: func() { // a new log's first round
		m.dirs[0].marks.slot(markKey(9, 0))
		disk.Inject(simfs.Rule{Ops: simfs.OpWrite, Pattern: MarksFile, Times: 3, Err: syscall.ENOSPC})
	}})
	if err := l.TruncateTo(10); err != nil {
		t.Error(err)
	}
	mustAppend(t, l, makeBatch(batchSpec{n: 1, timestamp: 1}), 0)
	waitDurable(t, l, 11)
	disk = disk.Kill()
	m.kill()
	m = openManager(t, disk, cfg, "/data")
	defer m.Close(1)
	if l = m.Get(l.tp); l.StartOffset() != 10 || l.End().Offset != 11 {
		t.Errorf("the log has offsets [%d, %d)", l.StartOffset(), l.End().Offset)
	}
}

// TestCloseWithoutRoom: a stop is not clean when a checkpoint could not be written.
func TestCloseWithoutRoom(t *testing.T) {
	disk, cfg := simfs.New(), DefaultConfig()
	m := openManager(t, disk, cfg, "/data")
	l := createLog(t, m, "t", 0, cfg)
	mustAppend(t, l, makeBatch(batchSpec{n: 5, timestamp: 1}), 0)
	waitDurable(t, l, 5)
	disk.Inject(simfs.Rule{Ops: simfs.OpWrite, Pattern: RecoveryPointCheckpoint + "*", Err: syscall.ENOSPC})
	if err := m.Close(1); err == nil {
		t.Error("it was closed well")
	}
	if _, err := ReadCleanShutdown(disk, "/data"); !isNotExist(err) {
		t.Error("the stop counts as clean:", err)
	}
}

// TestUnopenedLog: a log whose files could not be opened is not made anew beside them.
func TestUnopenedLog(t *testing.T) {
	c := crashedLog(t, 60, 50)
	c.forget(t)
	c.disk.Inject(simfs.Rule{Ops: simfs.OpOpen, Pattern: EpochsFile, Times: 1, Err: syscall.EMFILE})
	m, err := tryOpenManager(c.disk, c.cfg, "/data")
	if err == nil {
		t.Fatal("it was opened")
	}
	if l, err := m.Create(TopicPartition{"t", 0}, testTopicID, &c.cfg); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("%v, %v", l, err)
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	m, l := c.open(t)
	defer m.Close(1)
	c.check(t, l, len(c.batches))
}
