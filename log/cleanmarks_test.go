package log

import (
	"fmt"
	"testing"
	"time"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log/record"
)

// TestCleanBeforeMarksAreSynced cuts the power when a segment was cleaned whose recovery point had moved on in memory, and not
// yet on the disk: recovery must not begin at a position in a file that the cleaner has replaced.
func TestCleanBeforeMarksAreSynced(t *testing.T) {
	disk := simfs.New()
	cfg := compactConfig()
	cfg.SegmentBytes = 1 << 20
	m := openManager(t, disk, cfg, "/data")
	k := newKeyedLog(t, createLog(t, m, "t", 0, cfg), record.NewCodecs())
	for i := range 40 {
		k.put(1, false, record.None, fmt.Sprintf("key-%d=", i%30))
		if i == 3 {
			k.settle() // the marks say: begin in the first segment, behind these batches
		}
	}
	rollNow(t, k.l)
	k.put(1, false, record.None, "active=")
	waitDurable(t, k.l, k.l.End().Offset)
	k.l.HighWatermarkMoved(k.l.End().Offset)
	var left *simfs.FS
	disk.Inject(simfs.Rule{Ops: simfs.OpOpen, Pattern: RecoveryPointCheckpoint + "*", Times: 1, Before: func() {
		work, ok := m.cleaner.choose(time.Now())
		if !ok {
			t.Error("there is nothing to clean")
		}
		w, o := newCleanWorker(k.l), DefaultCleanerOptions()
		p := &cleaning{c: m.cleaner, l: k.l, work: work, cfg: &cfg, o: &o, now: time.Now().UnixMilli(), sieve: w.sieve, offsets: &w.offsets, out: make([]byte, 0, 4096)}
		p.in.buf = make([]byte, 4096)
		if _, err := p.run(); err != nil { // without the cleaner's checkpoint, which the keeper writes
			t.Error(err)
		}
		left = disk.CrashWorst()
	}})
	m.dirs[0].keeper.force()
	m.kill()
	if left == nil {
		t.Fatal("the checkpoint was not written")
	}
	m = openManager(t, left, cfg, "/data")
	defer m.Close(1)
	l := m.Get(TopicPartition{"t", 0})
	if l.Loss() != nil {
		t.Fatal(l.Loss())
	}
	if err := checkCleaned(l, k.codecs, k.view, k.l.End().Offset); err != nil {
		t.Error(err)
	}
}
