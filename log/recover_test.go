package log

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log/record"
)

// crashed is a log that was killed, with what it held.
type crashed struct {
	disk    *simfs.FS
	cfg     Config
	batches []record.Batch
	dir     string // of the log
}

// crashedLog writes a log of several segments and kills the process. checkpointAt is the number of batches after which a
// checkpoint is made; what follows is durable all the same.
func crashedLog(t *testing.T, batches, checkpointAt int) *crashed {
	t.Helper()
	c := &crashed{disk: simfs.New(), cfg: smallSegments(), dir: "/data/t-0"}
	c.disk.SetCapacity(16 << 20) // a small disk has a small reserve
	m := openManager(t, c.disk, c.cfg, "/data")
	l := createLog(t, m, "t", 0, c.cfg)
	for i := range batches {
		if i == checkpointAt {
			waitDurable(t, l, l.End().Offset)
			m.Checkpoint()
		}
		a := mustAppend(t, l, makeBatch(batchSpec{n: 2, value: 100, timestamp: int64(1000 + i*7%50), pid: 6, seq: l.nextSeq(6)}), int32(i/10))
		c.batches = append(c.batches, a.Batch)
	}
	waitDurable(t, l, l.End().Offset)
	c.disk = c.disk.Kill()
	m.kill()
	return c
}

func (c *crashed) open(t *testing.T) (*Manager, *Log) {
	t.Helper()
	m := openManager(t, c.disk, c.cfg, "/data")
	return m, createLog(t, m, "t", 0, c.cfg)
}

// files returns the names of the log's files with a suffix, in order.
func (c *crashed) files(t *testing.T, suffix string) []string {
	t.Helper()
	entries, err := c.disk.ReadDir(c.dir)
	if err != nil && !isNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			names = append(names, path.Join(c.dir, e.Name()))
		}
	}
	return names
}

func (c *crashed) change(t *testing.T, name string, fn func([]byte) []byte) {
	t.Helper()
	data := fn(bytes.Clone(readSim(t, c.disk, name)))
	writeTestFile(t, c.disk, name, data)
}

// check compares the log with the first n batches.
func (c *crashed) check(t *testing.T, l *Log, n int) {
	t.Helper()
	if got := readAll(t, l); !bytes.Equal(got, bytes.Join(asBytes(c.batches[:n]), nil)) {
		t.Fatalf("the log holds %d bytes up to offset %d, not the first %d of %d batches", len(got), l.End().Offset, n, len(c.batches))
	}
	for i, b := range c.batches[:n] {
		if got := l.EpochForOffset(b.BaseOffset()); got != int32(i/10) {
			t.Errorf("offset %d has epoch %d", b.BaseOffset(), got)
		}
	}
	if n > 0 {
		if want := record.AddSequence(c.batches[n-1].LastSequence(), 1); l.nextSeq(6) != want {
			t.Errorf("the next sequence is %d, not %d", l.nextSeq(6), want)
		}
	}
}

func asBytes(batches []record.Batch) [][]byte {
	b := make([][]byte, len(batches))
	for i := range batches {
		b[i] = batches[i]
	}
	return b
}

// forget removes the durable marks and the recovery points, so that the log looks as one that acknowledged nothing: a torn
// tail is no loss then.
func (c *crashed) forget(t *testing.T) {
	t.Helper()
	for _, name := range []string{MarksFile, RecoveryPointCheckpoint} {
		if err := c.disk.Remove("/data/" + name); err != nil && !isNotExist(err) {
			t.Fatal(err)
		}
	}
}

// TestTornTail is T152: the active segment is cut 7 bytes short, or has garbage or zeros at its end, and is truncated to
// the last whole batch.
func TestTornTail(t *testing.T) {
	for name, tc := range map[string]struct {
		damage func([]byte) []byte
		lost   int
	}{
		"cut by 7 bytes": {func(b []byte) []byte { return b[:len(b)-7] }, 1},
		"zeros behind":   {func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, 0},
		"garbage behind": {func(b []byte) []byte { return append(b, bytes.Repeat([]byte{0xa5}, 333)...) }, 0},
		"a flipped bit":  {func(b []byte) []byte { b[len(b)-5] ^= 4; return b }, 1},
		"empty":          {func([]byte) []byte { return nil }, -1},
	} {
		t.Run(name, func(t *testing.T) {
			c := crashedLog(t, 60, 0)
			c.forget(t)
			logs := c.files(t, logSuffix)
			active := logs[len(logs)-1]
			kept := len(c.batches) - tc.lost
			if tc.lost < 0 {
				base := baseOf(t, active)
				for kept = 0; c.batches[kept].BaseOffset() < base; kept++ {
				}
			}
			c.change(t, active, tc.damage)
			for _, how := range []string{"at first", "again"} {
				m, l := c.open(t)
				if l.Loss() != nil {
					t.Fatal(how, l.Loss())
				}
				c.check(t, l, kept)
				checkIndexes(t, l)
				c.disk = c.disk.Kill()
				m.kill()
			}
		})
	}
}

// TestTornMiddle damages a batch of an older segment above the recovery point: the log ends there, and later segments go
// (rule 3.9.2).
func TestTornMiddle(t *testing.T) {
	c := crashedLog(t, 60, -1)
	c.forget(t)
	logs := c.files(t, logSuffix)
	base := baseOf(t, logs[1])
	kept := 0
	for c.batches[kept].BaseOffset() < base {
		kept++
	}
	kept += 3
	size := len(c.batches[0])
	c.change(t, logs[1], func(b []byte) []byte { clear(b[3*size+20 : 3*size+90]); return b })
	m, l := c.open(t)
	defer m.Close(1)
	c.check(t, l, kept)
	checkIndexes(t, l)
	if got := c.files(t, logSuffix); len(got) != 2 {
		t.Error("log files left:", got)
	}
	if a := mustAppend(t, l, makeBatch(batchSpec{n: 1, timestamp: 1}), 9); a.BaseOffset != c.batches[kept-1].LastOffset()+1 {
		t.Error("the log goes on at", a.BaseOffset)
	}
}

// TestDamagedFiles is T153 and T154: indexes, snapshots, epochs and checkpoints are damaged or gone. Everything is
// served as before, and the producer's last batch is known.
func TestDamagedFiles(t *testing.T) {
	damage := map[string]func(b []byte) []byte{
		"removed":     nil,
		"emptied":     func([]byte) []byte { return []byte{} },
		"cut":         func(b []byte) []byte { return b[:len(b)*2/3] },
		"flipped":     func(b []byte) []byte { b[len(b)/2] ^= 0x81; return b },
		"zeros":       func(b []byte) []byte { clear(b); return b },
		"garbage":     func(b []byte) []byte { return bytes.Repeat([]byte{0x7e}, len(b)) },
		"longer":      func(b []byte) []byte { return append(b, 1, 2, 3, 4, 5) },
		"zero padded": func(b []byte) []byte { return append(b, make([]byte, 240)...) },
	}
	for _, suffix := range []string{indexSuffix, timeIndexSuffix, snapshotSuffix, EpochsFile, "everything"} {
		for how, fn := range damage {
			for _, clean := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %s clean=%v", suffix, how, clean), func(t *testing.T) {
					c := crashedLog(t, 60, 30)
					if clean {
						m, _ := c.open(t)
						if err := m.Close(1); err != nil {
							t.Fatal(err)
						}
					}
					for _, s := range []string{indexSuffix, timeIndexSuffix, snapshotSuffix, EpochsFile} {
						if s != suffix && suffix != "everything" {
							continue
						}
						for _, name := range c.files(t, s) {
							if fn == nil {
								if err := c.disk.Remove(name); err != nil {
									t.Fatal(err)
								}
								continue
							}
							c.change(t, name, fn)
						}
					}
					m, l := c.open(t)
					m.Checkpoint() // repairs what reading finds
					for _, b := range c.batches {
						s, err := l.Read(b.BaseOffset(), 10, true, l.End())
						if err != nil || s.FirstOffset != b.BaseOffset() {
							t.Fatalf("read %d: %+v, %v", b.BaseOffset(), s, err)
						}
						s.Release()
						if at, ok, err := l.OffsetForTimestamp(b.MaxTimestamp()); err != nil || !ok || at.Timestamp < b.MaxTimestamp() {
							t.Fatalf("search for %d: %+v %v %v", b.MaxTimestamp(), at, ok, err)
						}
					}
					m.Checkpoint()
					c.check(t, l, len(c.batches))
					// A changed timestamp that still ascends is noticed only by a search that it would lead astray.
					if how != "flipped" && how != "zeros" || suffix != timeIndexSuffix && suffix != "everything" {
						checkIndexes(t, l)
					}
					if err := m.Close(1); err != nil {
						t.Fatal(err)
					}
				})
			}
		}
	}
}

// TestLoss damages what was durable: the log says so, serves what is intact, takes no appends and leaves the files as they
// are, start after start, until the loss is accepted.
func TestLoss(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, c *crashed) (kept int){
		"a flipped bit above the recovery point": func(t *testing.T, c *crashed) int {
			logs := c.files(t, logSuffix)
			c.change(t, logs[len(logs)-1], func(b []byte) []byte { b[len(b)-5] ^= 4; return b })
			return 59
		},
		"a file cut above the recovery point": func(t *testing.T, c *crashed) int {
			logs := c.files(t, logSuffix)
			size := len(c.batches[0])
			c.change(t, logs[len(logs)-1], func(b []byte) []byte { return b[:len(b)-2*size-1] })
			return 57
		},
		"a file cut below the recovery point": func(t *testing.T, c *crashed) int {
			logs := c.files(t, logSuffix)
			for _, name := range logs[2:] {
				if err := c.disk.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
			size := len(c.batches[0])
			c.change(t, logs[1], func(b []byte) []byte { return b[:4*size] })
			base := baseOf(t, logs[1])
			return int(base/2) + 4
		},
		"the active segment gone": func(t *testing.T, c *crashed) int {
			logs := c.files(t, logSuffix)
			if err := c.disk.Remove(logs[len(logs)-1]); err != nil {
				t.Fatal(err)
			}
			base := baseOf(t, logs[len(logs)-1])
			return int(base / 2)
		},
		"all segments gone": func(t *testing.T, c *crashed) int {
			for _, name := range c.files(t, logSuffix) {
				if err := c.disk.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
			return 0
		},
		"the directory gone": func(t *testing.T, c *crashed) int {
			if err := c.disk.RemoveAll(c.dir); err != nil {
				t.Fatal(err)
			}
			return 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := crashedLog(t, 60, 40)
			kept := damage(t, c)
			var sizes []int64
			for range 3 {
				m, l := c.open(t)
				loss := l.Loss()
				if loss == nil || loss.Offset != int64(2*kept) || loss.Promised != 120 {
					t.Fatalf("%+v, but %d batches are intact", loss, kept)
				}
				c.check(t, l, kept)
				if err := l.Stage(newAppend(makeBatch(batchSpec{n: 1, timestamp: 1}), 9)); !errors.Is(err, kerr.KafkaStorageError) || !strings.Contains(err.Error(), "missing") {
					t.Error("append:", err)
				}
				if _, err := l.AppendAsFollower(makeBatch(batchSpec{base: 1000, n: 1, timestamp: 1})); !errors.Is(err, kerr.KafkaStorageError) {
					t.Error("append as a follower:", err)
				}
				m.Checkpoint()
				var now []int64
				for _, name := range c.files(t, logSuffix) {
					now = append(now, int64(len(readSim(t, c.disk, name))))
				}
				if sizes != nil && fmt.Sprint(sizes) != fmt.Sprint(now) {
					t.Errorf("the sizes of the log files were %v and are %v", sizes, now)
				}
				sizes = now
				if err := m.Close(1); err != nil {
					t.Fatal(err)
				}
			}
			m, l := c.open(t)
			if err := l.AcceptLoss(); err != nil || l.Loss() != nil {
				t.Fatal(err, l.Loss())
			}
			a := mustAppend(t, l, makeBatch(batchSpec{n: 1, timestamp: 1, pid: 6, seq: l.nextSeq(6)}), 9)
			if a.BaseOffset != int64(2*kept) {
				t.Error("the log goes on at", a.BaseOffset)
			}
			waitDurable(t, l, a.LastOffset+1)
			c.disk = c.disk.CrashWorst()
			m.kill()
			m, l = c.open(t)
			defer m.Close(1)
			if l.Loss() != nil || l.End().Offset != a.LastOffset+1 {
				t.Error("after a power cut:", l.Loss(), l.End())
			}
		})
	}
}

// TestSnapshotsOnDisk is T151 and rule 3.2.11: after a clean stop there is a snapshot of each segment's start and one at
// the log's end, and no other.
func TestSnapshotsOnDisk(t *testing.T) {
	c := crashedLog(t, 60, 33)
	m, l := c.open(t)
	want := []string{}
	for _, s := range l.segmentList()[1:] {
		want = append(want, s.path(snapshotSuffix))
	}
	want = append(want, segmentPath(c.dir, l.End().Offset, snapshotSuffix))
	m.Checkpoint()
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	if got := c.files(t, snapshotSuffix); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("snapshots %v\nwant %v", got, want)
	}
	for _, name := range want {
		b := readSim(t, c.disk, name)
		entries, err := decodeSnapshot(b)
		if err != nil || len(b) != 10+46*len(entries) || len(entries) != 1 {
			t.Errorf("%s: %d entries in %d bytes, %v", name, len(entries), len(b), err)
		}
	}
}

// TestEpochsOnDisk is T155: the checkpoint after a clean stop is "0\nN\n…", with an entry for a leader that wrote nothing.
func TestEpochsOnDisk(t *testing.T) {
	c := crashedLog(t, 25, -1)
	m, l := c.open(t)
	if err := l.BecomeLeader(8); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	if got := string(readSim(t, c.disk, c.dir+"/"+EpochsFile)); got != "0\n4\n0 0\n1 20\n2 40\n8 50\n" {
		t.Errorf("%q", got)
	}
}
