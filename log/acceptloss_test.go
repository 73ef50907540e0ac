package log

import (
	"path"
	"testing"

	"github.com/kbroker/kbroker/internal/simfs"
)

// TestAcceptedLossSurvives: what was cut off with a loss does not come back after a power cut, not even behind a hole that
// a compacted log may have.
func TestAcceptedLossSurvives(t *testing.T) {
	c := crashedLog(t, 60, 40)
	logs := c.files(t, logSuffix)
	name := logs[len(logs)-2]
	c.change(t, name, func(b []byte) []byte { b[4*len(c.batches[0])-5] ^= 4; return b })
	c.cfg.Compact = true
	m, l := c.open(t)
	loss := l.Loss()
	if base, _ := parseSegmentBase(path.Base(name)[:20]); loss == nil || loss.Offset != base+6 {
		t.Fatal(loss)
	}
	if err := l.AcceptLoss(); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, makeBatch(batchSpec{n: 1, timestamp: 1}), 9)
	waitDurable(t, l, loss.Offset+1)
	c.disk = c.disk.CrashWorst()
	m.kill()
	m, l = c.open(t)
	defer m.Close(1)
	if l.Loss() != nil || l.End().Offset != loss.Offset+1 {
		t.Errorf("the log ends at %d, not at %d: %v", l.End().Offset, loss.Offset+1, l.Loss())
	}
}

// TestAcceptedLossBelowStart: a log that has lost more than what lay below its start goes on at its start, and keeps what
// is appended then.
func TestAcceptedLossBelowStart(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, disk *simfs.FS){
		"a file emptied": func(t *testing.T, disk *simfs.FS) {
			writeTestFile(t, disk, segmentPath("/data/t-0", 0, logSuffix), nil)
		},
		"the directory gone": func(t *testing.T, disk *simfs.FS) { _ = disk.RemoveAll("/data/t-0"); _ = disk.SyncDir("/data") },
	} {
		t.Run(name, func(t *testing.T) {
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
			if err := m.Close(1); err != nil {
				t.Fatal(err)
			}
			damage(t, disk)
			m = openManager(t, disk, cfg, "/data")
			l = createLog(t, m, "t", 0, cfg)
			if l.Loss() == nil {
				t.Fatal("no loss")
			}
			if err := l.AcceptLoss(); err != nil {
				t.Fatal(err)
			}
			a := mustAppend(t, l, makeBatch(batchSpec{n: 2, timestamp: 1}), 9)
			waitDurable(t, l, a.LastOffset+1)
			if a.BaseOffset < l.StartOffset() {
				t.Errorf("offset %d was given, the log starts at %d", a.BaseOffset, l.StartOffset())
			}
			disk = disk.Kill()
			m.kill()
			m = openManager(t, disk, cfg, "/data")
			defer m.Close(1)
			l = createLog(t, m, "t", 0, cfg)
			if l.Loss() != nil || l.End().Offset != a.LastOffset+1 || l.StartOffset() > a.BaseOffset {
				t.Errorf("the log has offsets [%d, %d), not up to %d: %v", l.StartOffset(), l.End().Offset, a.LastOffset, l.Loss())
			}
		})
	}
}
