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
	for _, name := range []string{marksFile, RecoveryPointCheckpoint} {
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
				base, _ := segmentBase(active)
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
	base, _ := segmentBase(logs[1])
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
	for _, suffix := range []string{indexSuffix, timeIndexSuffix, snapshotSuffix, epochsFile, "everything"} {
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
					for _, s := range []string{indexSuffix, timeIndexSuffix, snapshotSuffix, epochsFile} {
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
			base, _ := segmentBase(logs[1])
			return int(base/2) + 4
		},
		"the active segment gone": func(t *testing.T, c *crashed) int {
			logs := c.files(t, logSuffix)
			if err := c.disk.Remove(logs[len(logs)-1]); err != nil {
				t.Fatal(err)
			}
			base, _ := segmentBase(logs[len(logs)-1])
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
	if got := string(readSim(t, c.disk, c.dir+"/"+epochsFile)); got != "0\n4\n0 0\n1 20\n2 40\n8 50\n" {
		t.Errorf("%q", got)
	}
}

// TestOrphansAndLeftovers checks rule 3.9.1: what an interrupted deletion or cleaning left is removed or finished.
func TestOrphansAndLeftovers(t *testing.T) {
	c := crashedLog(t, 60, 60)
	logs := c.files(t, logSuffix)
	// A complete replacement of segments 1 and 2 by one file: the cleaner's swap was interrupted before its renames.
	merged := append(bytes.Clone(readSim(t, c.disk, logs[1])), readSim(t, c.disk, logs[2])...)
	base, _ := segmentBase(logs[1])
	writeTestFile(t, c.disk, segmentPath(c.dir, base, logSuffix+swapSuffix), merged)
	for _, name := range []string{
		segmentPath(c.dir, 900, logSuffix+deletedSuffix), segmentPath(c.dir, 900, indexSuffix+deletedSuffix),
		segmentPath(c.dir, 901, indexSuffix), segmentPath(c.dir, 902, timeIndexSuffix), epochsFile + ".tmp",
	} {
		if !strings.HasPrefix(name, "/") {
			name = path.Join(c.dir, name)
		}
		writeTestFile(t, c.disk, name, []byte("12345678"))
	}
	m, l := c.open(t)
	defer m.Close(1)
	c.check(t, l, len(c.batches))
	if got := len(c.files(t, logSuffix)); got != len(logs)-1 {
		t.Errorf("%d log files, there were %d and two became one", got, len(logs))
	}
	for _, suffix := range []string{deletedSuffix, swapSuffix, ".tmp"} {
		if got := c.files(t, suffix); got != nil {
			t.Error("left:", got)
		}
	}
	for _, base := range []int64{901, 902} {
		for _, suffix := range []string{indexSuffix, timeIndexSuffix} {
			if _, err := c.disk.Stat(segmentPath(c.dir, base, suffix)); !isNotExist(err) {
				t.Error("an index without a log is left:", base, suffix, err)
			}
		}
	}
}

// TestUnfinishedClean is the other half of rule 3.9.1: a replacement at or above the lowest .cleaned file is dropped.
func TestUnfinishedClean(t *testing.T) {
	c := crashedLog(t, 60, 60)
	logs := c.files(t, logSuffix)
	base, _ := segmentBase(logs[1])
	writeTestFile(t, c.disk, segmentPath(c.dir, base, logSuffix+cleanedSuffix), []byte("half"))
	writeTestFile(t, c.disk, segmentPath(c.dir, base+2, logSuffix+swapSuffix), []byte("of the same pass"))
	m, l := c.open(t)
	defer m.Close(1)
	c.check(t, l, len(c.batches))
	if got := len(c.files(t, "")); got == 0 || len(c.files(t, cleanedSuffix))+len(c.files(t, swapSuffix)) > 0 {
		t.Error(c.files(t, ""))
	}
}

// TestStray checks rule 3.9.7: a log that is not assigned is renamed and not served, and the name is free.
func TestStray(t *testing.T) {
	c := crashedLog(t, 10, -1)
	m, err := Open(Options{FS: c.disk, Dirs: []string{"/data"}, Logger: quiet(), ClusterID: "test-cluster", NodeID: 1})
	if err != nil {
		t.Fatal(err)
	}
	err = m.Load(t.Context(), func(tp TopicPartition, id [16]byte) (*Config, bool) {
		return nil, id != testTopicID
	})
	if err != nil || m.Len() != 0 {
		t.Fatal(err, m.Len())
	}
	other := [16]byte{8}
	l, err := m.Create(TopicPartition{"t", 0}, other, &c.cfg)
	if err != nil || l.Loss() != nil {
		t.Fatal(err, l.Loss())
	}
	waitDurable(t, l, mustAppend(t, l, makeBatch(batchSpec{n: 1, timestamp: 1}), 0).LastOffset+1)
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	entries, _ := c.disk.ReadDir("/data")
	strays := 0
	for _, e := range entries {
		if d, err := ParseDirName(e.Name()); err == nil && d.Kind == DirStray && d.Topic == "t" {
			strays++
		}
	}
	if end, ok := m.dirs[0].marks.get(MarkKey{TopicID: testTopicID}); ok {
		t.Error("the stray log keeps its durable mark", end)
	}
	if id, err := ReadPartitionMetadata(c.disk, "/data/t-0"); strays != 1 || id != other || err != nil {
		t.Error(strays, id, err)
	}
}

// TestDeletedDirectory checks rule 3.6.5: the directory is renamed at once and removed later, after a restart as well.
func TestDeletedDirectory(t *testing.T) {
	c := crashedLog(t, 10, -1)
	m, l := c.open(t)
	s, err := l.Read(0, 1000, true, l.End())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Delete(l.TopicPartition()); err != nil || m.Get(l.TopicPartition()) != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(0, 1000, true, l.End()); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Error("read of a deleted log:", err)
	}
	if err := l.Stage(newAppend(makeBatch(batchSpec{n: 1, timestamp: 1}), 9)); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Error("append to a deleted log:", err)
	}
	buf := make([]byte, s.N)
	if _, err := s.File.ReadAt(buf, s.Off); err != nil || !bytes.HasPrefix(buf, c.batches[0]) {
		t.Error("a slice read before the deletion:", err)
	}
	s.Release()
	again := createLog(t, m, "t", 0, c.cfg)
	if again.End().Offset != 0 || again.Loss() != nil {
		t.Error(again.End(), again.Loss())
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	m, l = c.open(t)
	defer m.Close(1)
	if l.End().Offset != 0 || m.Len() != 1 {
		t.Error(l.End(), m.Len())
	}
	k := m.dirs[0].keeper
	k.mu.Lock()
	waiting := len(k.removal)
	k.mu.Unlock()
	if waiting != 1 {
		t.Error("directories that wait for their removal:", waiting)
	}
}

// TestDirectoriesBelongTogether checks the errors of Open: they name the directory and what to change.
func TestDirectoriesBelongTogether(t *testing.T) {
	disk := simfs.New()
	open := func(cluster string, node int32, dirs ...string) error {
		m, err := Open(Options{FS: disk, Dirs: dirs, Logger: quiet(), ClusterID: cluster, NodeID: node})
		if err == nil {
			err = m.Close(1)
		}
		return err
	}
	if err := open("one", 1, "/a", "/b"); err != nil {
		t.Fatal(err)
	}
	held, err := disk.Lock("/b/.lock")
	if err != nil {
		t.Fatal(err)
	}
	if err := open("one", 1, "/a", "/b"); err == nil || !strings.Contains(err.Error(), "/b is in use") {
		t.Error(err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open("two", 1, "/a"); err == nil || !strings.Contains(err.Error(), "cluster.id=one") {
		t.Error(err)
	}
	if err := open("one", 2, "/a"); err == nil || !strings.Contains(err.Error(), "node.id=1") {
		t.Error(err)
	}
	if err := open("one", 1, "/a", "/b", "/c"); err != nil {
		t.Error("a third directory:", err)
	}
	if _, err := disk.Stat("/a/.lock"); !isNotExist(err) {
		t.Error("the lock file is left after a clean stop:", err)
	}
}
