package log

import (
	"bytes"
	"errors"
	"path"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/simfs"
)

// TestOrphansAndLeftovers checks rule 3.9.1: what an interrupted deletion or cleaning left is removed or finished.
func TestOrphansAndLeftovers(t *testing.T) {
	c := crashedLog(t, 60, 60)
	logs := c.files(t, logSuffix)
	// A complete replacement of segments 1 and 2 by one file: the cleaner's swap was interrupted before its renames.
	merged := append(bytes.Clone(readSim(t, c.disk, logs[1])), readSim(t, c.disk, logs[2])...)
	base := baseOf(t, logs[1])
	writeTestFile(t, c.disk, segmentPath(c.dir, base, logSuffix+swapSuffix), merged)
	for _, name := range []string{
		segmentPath(c.dir, 900, logSuffix+deletedSuffix), segmentPath(c.dir, 900, indexSuffix+deletedSuffix),
		segmentPath(c.dir, 901, indexSuffix), segmentPath(c.dir, 902, timeIndexSuffix), EpochsFile + ".tmp",
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
	base := baseOf(t, logs[1])
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
