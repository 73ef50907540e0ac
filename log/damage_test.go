package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/kbroker/kbroker/internal/simfs"
)

// TestImpossibleOffsets flips bits of a batch's base offset, which no checksum covers, so that it does not fit the
// segment's indexes: recovery takes the batch for damage, and so does whoever makes an index anew.
func TestImpossibleOffsets(t *testing.T) {
	for _, offset := range []int64{1 << 40, 1<<63 - 1} {
		t.Run(fmt.Sprint(offset), func(t *testing.T) {
			c := crashedLog(t, 60, -1)
			c.forget(t)
			logs := c.files(t, logSuffix)
			first := logs[0]
			size := len(c.batches[0])
			c.change(t, first, func(b []byte) []byte {
				for i := 3; i < 8; i++ { // one of them gets an index entry
					binary.BigEndian.PutUint64(b[i*size:], uint64(offset))
				}
				return b
			})
			m, l := c.open(t)
			c.check(t, l, 3)
			m.kill()
		})
	}
	t.Run("sealed", func(t *testing.T) {
		c := crashedLog(t, 60, 50)
		logs := c.files(t, logSuffix)
		size := len(c.batches[0])
		c.change(t, logs[0], func(b []byte) []byte {
			for i := 3; i < 8; i++ {
				binary.BigEndian.PutUint64(b[i*size:], 1<<40)
			}
			return b
		})
		c.change(t, c.files(t, indexSuffix)[0], func([]byte) []byte { return []byte{1} })
		m, l := c.open(t)
		if l.End().Offset != 120 {
			t.Error("the log ends at", l.End().Offset)
		}
		m.Checkpoint()
		m.kill()
	})
}

// TestLoadKeepsFewFilesOpen: a log of many segments is opened with few descriptors.
func TestLoadKeepsFewFilesOpen(t *testing.T) {
	disk, cfg := simfs.New(), DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 500, 50
	m := openManager(t, disk, cfg, "/data")
	l := createLog(t, m, "t", 0, cfg)
	for i := range 400 {
		mustAppend(t, l, makeBatch(batchSpec{n: 1, value: 100, timestamp: int64(i)}), 0)
	}
	if n := l.SegmentCount(); n < 100 {
		t.Fatal(n, "segments")
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	var most atomic.Int64
	disk.Inject(simfs.Rule{Ops: simfs.OpOpen, Pattern: "*", Before: func() { most.Store(max(most.Load(), int64(disk.OpenFiles()))) }})
	m = openManager(t, disk, cfg, "/data")
	defer m.Close(1)
	if most.Load() > 20 {
		t.Errorf("%d files were open at a time", most.Load())
	}
}

// TestIndexRebuiltOnFullDisk starts on a disk without room when an index of an old segment is missing: the log is served,
// with the index in memory.
func TestIndexRebuiltOnFullDisk(t *testing.T) {
	c := crashedLog(t, 60, 50)
	if err := c.disk.Remove(c.files(t, indexSuffix)[0]); err != nil {
		t.Fatal(err)
	}
	c.disk.Inject(simfs.Rule{Ops: simfs.OpWrite, Pattern: "0*", Err: syscall.ENOSPC})
	m, l := c.open(t)
	defer m.Close(1)
	c.check(t, l, len(c.batches))
	c.disk.ClearRules()
}

// TestFailedSyncOfRebuiltIndex: an index that was made anew and could not be synced ends the directory, as each failed
// sync does: a second one would succeed, and the disk would not have the entries.
func TestFailedSyncOfRebuiltIndex(t *testing.T) {
	c := crashedLog(t, 60, 50)
	m, l := c.open(t)
	defer m.Close(1)
	c.disk.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "*.index", Times: 1, Err: syscall.EIO})
	l.distrust(l.segmentList()[0], errors.New("a test"))
	m.Checkpoint()
	if m.dirs[0].State() != DirFailed {
		t.Error("the directory is", m.dirs[0].State())
	}
}

// TestUnknownEpochs: batches that tell no leader epoch say nothing against those that are known.
func TestUnknownEpochs(t *testing.T) {
	c := &EpochCache{}
	c.Assign(2, 0)
	c.Assign(5, 10)
	fitEpoch(c, -1, 20)
	if got := fmt.Sprint(c.Entries()); got != "[{2 0} {5 10}]" {
		t.Error(got)
	}
}
