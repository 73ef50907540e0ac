package log

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/internal/vfs"
)

// watchedLog lets goroutines wait for a log's DurableEnd.
type watchedLog struct {
	*Log
	mu    sync.Mutex // guards moved
	moved chan struct{}
}

func watch(l *Log) *watchedLog {
	w := &watchedLog{Log: l, moved: make(chan struct{})}
	l.SetListener(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		close(w.moved)
		w.moved = make(chan struct{})
	})
	return w
}

// await returns when the record at offset is durable, or the log failed.
func (w *watchedLog) await(offset int64) {
	for {
		w.mu.Lock()
		moved := w.moved
		w.mu.Unlock()
		if w.DurableEnd().Offset > offset || w.Err() != nil {
			return
		}
		<-moved
	}
}

// lockHeld reports whether some lock of a log is held at this moment.
func (m *Manager) lockHeld() bool {
	for l := range m.Logs() {
		for _, mu := range []*sync.Mutex{&l.appendMu, &l.mu} {
			if !mu.TryLock() {
				return true
			}
			mu.Unlock()
		}
	}
	return false
}

// commitCount is what a run of groupCommit took.
type commitCount struct {
	rounds, syncs, acks int64
	underLock           int64
}

// groupCommit has writers append batches, with so many outstanding, and wait until they are durable, again and again.
// Every sync takes a millisecond of the bubble's time, and nothing else takes any.
func groupCommit(t *testing.T, ownMount bool, writers, outstanding, partitions, each int) (n commitCount) {
	synctest.Test(t, func(t *testing.T) {
		disk := simfs.New()
		disk.SetOwnMount("/data", ownMount)
		counting := vfs.Counting(disk)
		cfg := DefaultConfig()
		m := openManager(t, counting, cfg, "/data")
		logs := make([]*watchedLog, partitions)
		for p := range logs {
			logs[p] = watch(createLog(t, m, "t", int32(p), cfg))
			logs[p].await(mustAppend(t, logs[p].Log, makeBatch(batchSpec{n: 1, value: 10, timestamp: 1}), 0).LastOffset)
		}
		synctest.Wait()
		counting.Reset()
		// Somebody else may hold a lock for a moment when a sync begins. But time passes only while everybody waits, and this
		// sync does not go on: whoever holds a lock three times in a row holds it across the sync.
		counting.Watch(func(string) bool {
			time.Sleep(time.Millisecond)
			for range 3 {
				if !m.lockHeld() {
					return false
				}
				time.Sleep(time.Microsecond)
			}
			return true
		})
		before := m.dirs[0].committer.rounds.Load()
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				l := logs[w%partitions]
				var sent []int64
				for range each {
					sent = append(sent, mustAppend(t, l.Log, makeBatch(batchSpec{n: 1, value: 10, timestamp: 1}), 0).LastOffset)
					if len(sent) == outstanding {
						l.await(sent[0])
						sent = sent[1:]
					}
				}
				if len(sent) > 0 {
					l.await(sent[len(sent)-1])
				}
			})
		}
		wg.Wait()
		n.rounds = m.dirs[0].committer.rounds.Load() - before
		n.syncs = counting.Suffix(logSuffix).Syncs + counting.SyncFSCalls()
		n.acks = int64(writers * each)
		n.underLock = counting.Watched()
		if err := m.Close(1); err != nil {
			t.Error(err)
		}
	})
	return n
}

// TestGroupCommit counts at the vfs seam how many syncs the acknowledgements of concurrent writers need, and that none
// of them happens under a lock of a log.
func TestGroupCommit(t *testing.T) {
	if n := groupCommit(t, false, 1, 1, 1, 100); n.rounds != 100 || n.syncs != 100 || n.underLock != 0 {
		t.Errorf("one writer, 100 acknowledgements: %+v", n)
	}
	if n := groupCommit(t, true, 64, 1, 16, 50); n.syncs*8 >= n.acks || n.underLock != 0 {
		t.Errorf("64 writers on 16 partitions of an own mount: %+v, more than 1 sync per 8 acknowledgements", n)
	}
	// Producers have five requests on their way (max.in.flight.requests.per.connection).
	n := groupCommit(t, false, 64, 5, 16, 200)
	if n.syncs*8 >= n.acks || n.underLock != 0 {
		t.Errorf("64 writers with 5 requests each on 16 partitions: %+v, more than 1 sync per 8 acknowledgements", n)
	}
	t.Logf("64 writers with 5 requests each on 16 partitions, file by file: %d syncs in %d rounds for %d acknowledgements", n.syncs, n.rounds, n.acks)
	// Without a mount of its own each file needs its sync, which the four writers of a partition share at best when each
	// waits for its answer. How many of them a round finds is the scheduler's business, but no file is synced twice in a
	// round.
	n = groupCommit(t, false, 64, 1, 16, 50)
	if n.syncs*2 > n.acks || n.syncs > 16*n.rounds || n.underLock != 0 {
		t.Errorf("64 writers on 16 partitions: %+v, more than 1 sync per 2 acknowledgements, or per file and round", n)
	}
	t.Logf("64 writers on 16 partitions, file by file: %d syncs in %d rounds for %d acknowledgements", n.syncs, n.rounds, n.acks)
}

// TestLockWatchNotices is the negative control of the check for locks.
func TestLockWatchNotices(t *testing.T) {
	counting := vfs.Counting(simfs.New())
	cfg := DefaultConfig()
	m := openManager(t, counting, cfg, "/data")
	defer m.Close(1)
	l := createLog(t, m, "t", 0, cfg)
	mustAppend(t, l, makeBatch(batchSpec{n: 1, value: 10, timestamp: 1}), 0)
	waitDurable(t, l, 1)
	counting.Watch(func(file string) bool { return strings.HasSuffix(file, logSuffix) && m.lockHeld() })
	file, err := m.files.acquire(l.active())
	if err != nil {
		t.Fatal(err)
	}
	defer file.release()
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := file.Sync(); err != nil || counting.Watched() != 1 {
		t.Errorf("%d syncs under a lock were noticed, %v", counting.Watched(), err)
	}
}

// TestRecoveryReads counts the bytes of log files that a start reads: none after a clean stop; after a kill what lies above
// the recovery points, plus less than one index interval per log because direct reads are aligned.
func TestRecoveryReads(t *testing.T) {
	disk := simfs.New()
	cfg := DefaultConfig()
	cfg.SegmentBytes = 300_000
	const partitions = 8
	m := openManager(t, disk, cfg, "/data")
	var logs []*Log
	fill := func(n int) {
		for i := range n * partitions {
			mustAppend(t, logs[i%partitions], makeBatch(batchSpec{n: 1, value: 1000 + i%777, timestamp: int64(i), pid: 3, seq: logs[i%partitions].nextSeq(3)}), 1)
		}
		for _, l := range logs {
			waitDurable(t, l, l.End().Offset)
		}
	}
	for p := range int32(partitions) {
		logs = append(logs, createLog(t, m, "t", p, cfg))
	}
	fill(1000)
	m.Checkpoint()
	sizes := make([]int64, partitions)
	for p, l := range logs {
		sizes[p] = l.Size()
		if l.SegmentCount() < 3 {
			t.Fatal(l.SegmentCount())
		}
	}
	fill(130)
	above := int64(0)
	for p, l := range logs {
		above += l.Size() - sizes[p]
	}
	disk = disk.Kill()
	m.kill()
	counting := vfs.Counting(disk)
	m = openManager(t, counting, cfg, "/data")
	read := counting.Suffix(logSuffix).BytesRead
	// The keeper may have raised recovery points after m.Checkpoint: then less has to be read.
	if limit := above + partitions*int64(cfg.IndexIntervalBytes); read == 0 || read > limit {
		t.Errorf("after a kill %d bytes were read; %d lie above the recovery points, and %d may be read", read, above, limit)
	}
	t.Logf("%d bytes above the recovery points, %d read", above, read)
	for p := range int32(partitions) {
		if l := m.Get(TopicPartition{"t", p}); l.End().Offset != 1130 {
			t.Errorf("log %d ends at %d", p, l.End().Offset)
		}
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	counting.Reset()
	m = openManager(t, counting, cfg, "/data")
	if read := counting.Suffix(logSuffix).BytesRead; read != 0 {
		t.Errorf("after a clean stop %d bytes of log files were read", read)
	}
	if l := m.Get(TopicPartition{"t", 0}); l.End().Offset != 1130 {
		t.Errorf("ends at %d", l.End().Offset)
	}
	m.kill()
}

// TestRecoveryReadsWithinCheckpoint kills the process when a checkpoint is about to write the durable marks. Recovery then
// starts at the point that the marks still say, and does not read the segment from its beginning: the producer snapshot
// at that point must be there.
func TestRecoveryReadsWithinCheckpoint(t *testing.T) {
	disk := simfs.New()
	cfg := DefaultConfig()
	m := openManager(t, disk, cfg, "/data")
	l := createLog(t, m, "t", 0, cfg)
	for range 2 {
		for i := range 300 {
			mustAppend(t, l, makeBatch(batchSpec{n: 1, value: 1000, timestamp: int64(i), pid: 3, seq: l.nextSeq(3)}), 1)
		}
		waitDurable(t, l, l.End().Offset)
		m.Checkpoint()
	}
	mustAppend(t, l, makeBatch(batchSpec{n: 1, value: 1000, timestamp: 1, pid: 3, seq: l.nextSeq(3)}), 1)
	waitDurable(t, l, l.End().Offset)
	var after *simfs.FS
	disk.Inject(simfs.Rule{Ops: simfs.OpWrite, Pattern: MarksFile, Times: 1, Before: func() { after = disk.Kill() }})
	m.Checkpoint()
	m.kill()
	if after == nil {
		t.Fatal("the checkpoint did not write the marks")
	}
	above, _ := bytesAboveRecoveryPoints(t, after, "/data", 1)
	counting := vfs.Counting(after)
	m = openManager(t, counting, cfg, "/data")
	if read := counting.Suffix(logSuffix).BytesRead; read > above+int64(cfg.IndexIntervalBytes) {
		t.Errorf("%d bytes were read, %d lie above the recovery point", read, above)
	}
	if l := m.Get(TopicPartition{"t", 0}); l.End().Offset != 601 {
		t.Error("the log ends at", l.End().Offset)
	}
	m.kill()
}

// TestRecoveryReadsWithinRecovery kills the process again when a start has recovered a log and is about to write the marks:
// the start after that reads no more than the first one.
func TestRecoveryReadsWithinRecovery(t *testing.T) {
	disk := simfs.New()
	cfg := DefaultConfig()
	m := openManager(t, disk, cfg, "/data")
	l := createLog(t, m, "t", 0, cfg)
	for i := range 600 {
		a := mustAppend(t, l, makeBatch(batchSpec{n: 1, value: 1000, timestamp: int64(i), pid: 1, seq: l.nextSeq(1)}), 0)
		waitDurable(t, l, a.LastOffset+1)
		if i == 300 {
			m.Checkpoint()
		}
	}
	disk = disk.Kill()
	m.kill()
	var once sync.Once
	var after *simfs.FS
	disk.Inject(simfs.Rule{Ops: simfs.OpWrite, Pattern: MarksFile, Before: func() { once.Do(func() { after = disk.Kill() }) }})
	m, _ = tryOpenManager(disk, cfg, "/data")
	m.Checkpoint()
	m.kill()
	if after == nil {
		t.Fatal("the start did not write the marks")
	}
	above, _ := bytesAboveRecoveryPoints(t, after, "/data", 1)
	counting := vfs.Counting(after)
	m = openManager(t, counting, cfg, "/data")
	defer m.kill()
	if read := counting.Suffix(logSuffix).BytesRead; read > above+int64(cfg.IndexIntervalBytes) {
		t.Errorf("%d bytes were read, %d lie above the recovery point", read, above)
	}
}
