package log

import (
	"syscall"
	"testing"

	"github.com/kbroker/kbroker/internal/simfs"
)

// TestMadeAnewAfterDelete deletes a log and makes another one under its name, whose records are acknowledged. A crash
// before the keeper's next pass must not measure the new log by the checkpoints of the old one.
func TestMadeAnewAfterDelete(t *testing.T) {
	for name, crash := range map[string]func(*simfs.FS) *simfs.FS{"kill": (*simfs.FS).Kill, "power cut": (*simfs.FS).CrashWorst} {
		for _, raised := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				disk, cfg := simfs.New(), DefaultConfig()
				m := openManager(t, disk, cfg, "/data")
				old := createLog(t, m, "t", 0, cfg)
				for range 20 {
					mustAppend(t, old, makeBatch(batchSpec{n: 5, timestamp: 1}), 0)
				}
				waitDurable(t, old, 100)
				m.Checkpoint()
				if raised {
					if err := old.RaiseStart(50); err != nil {
						t.Fatal(err)
					}
					if err := m.dirs[0].KeepStarts(); err != nil {
						t.Fatal(err)
					}
				}
				if err := m.Delete(old.TopicPartition()); err != nil {
					t.Fatal(err)
				}
				l, err := m.Create(old.TopicPartition(), [16]byte{8}, &cfg)
				if err != nil {
					t.Fatal(err)
				}
				mustAppend(t, l, makeBatch(batchSpec{n: 3, timestamp: 1}), 0)
				waitDurable(t, l, 3)
				disk = crash(disk)
				m.kill()
				m = openManager(t, disk, cfg, "/data")
				defer m.Close(1)
				l = m.Get(old.TopicPartition())
				if l.Loss() != nil || l.StartOffset() != 0 || l.End().Offset != 3 {
					t.Errorf("the log has offsets [%d, %d): %v", l.StartOffset(), l.End().Offset, l.Loss())
				}
			})
		}
	}
}

// TestDeleteOnFullDisk deletes a compacted log while nothing can be written: deleting is what makes room.
func TestDeleteOnFullDisk(t *testing.T) {
	disk, cfg := simfs.New(), DefaultConfig()
	cfg.Compact, cfg.FileDeleteDelayMs = true, 0
	m := openManager(t, disk, cfg, "/data")
	defer m.Close(1)
	l := createLog(t, m, "t", 0, cfg)
	mustAppend(t, l, makeBatch(batchSpec{n: 3, timestamp: 1}), 0)
	waitDurable(t, l, 3)
	if err := l.setCleaned(2); err != nil {
		t.Fatal(err)
	}
	disk.Inject(simfs.Rule{Ops: simfs.OpWrite, Pattern: "*", Err: syscall.ENOSPC})
	if err := m.Delete(l.TopicPartition()); err != nil {
		t.Error(err)
	}
	if _, err := disk.Stat("/data/t-0"); !isNotExist(err) {
		t.Error("the directory is there:", err)
	}
	disk.ClearRules()
}
