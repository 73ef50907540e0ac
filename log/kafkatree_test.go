package log

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/record"
)

// topicConfigs are the settings of a tree's topics as far as a log cares.
func (m *kafkaManifest) topicConfigs(t testing.TB) map[string]*Config {
	configs := make(map[string]*Config)
	for _, topic := range m.Topics {
		cfg := DefaultConfig()
		cfg.Compact = strings.Contains(topic.Configs["cleanup.policy"], "compact")
		for _, key := range []string{"segment.bytes", "internal.segment.bytes"} {
			if v, ok := topic.Configs[key]; ok {
				n, err := strconv.ParseInt(v, 10, 32)
				if err != nil {
					t.Fatal(err)
				}
				cfg.SegmentBytes = int32(n)
			}
		}
		configs[topic.Name] = &cfg
	}
	return configs
}

func openKafkaTree(t testing.TB, fsys vfs.FS, dir string, manifest *kafkaManifest) *Manager {
	t.Helper()
	configs, fallback := manifest.topicConfigs(t), DefaultConfig()
	m, err := Open(Options{FS: fsys, Dirs: []string{dir}, Logger: quiet(), ClusterID: manifest.ClusterID, NodeID: manifest.NodeID, Codecs: record.NewCodecs()})
	if err != nil {
		t.Fatal(err)
	}
	err = m.Load(context.Background(), func(tp TopicPartition, _ [16]byte) (*Config, bool) {
		if cfg := configs[tp.Topic]; cfg != nil {
			return cfg, true
		}
		return &fallback, true
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// recordHash computes the two hashes of a manifest.
type recordHash struct {
	n            int
	values, full hash.Hash
}

func newRecordHash() *recordHash { return &recordHash{values: sha256.New(), full: sha256.New()} }

func hashField(h hash.Hash, b []byte) {
	if b == nil {
		h.Write([]byte{0xff, 0xff, 0xff, 0xff})
		return
	}
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b))))
	h.Write(b)
}

func (r *recordHash) add(rec record.Record) {
	r.n++
	hashField(r.values, rec.Value)
	r.full.Write(binary.BigEndian.AppendUint64(nil, uint64(rec.Offset)))
	r.full.Write(binary.BigEndian.AppendUint64(nil, uint64(rec.Timestamp)))
	hashField(r.full, rec.Key)
	hashField(r.full, rec.Value)
	r.full.Write(binary.BigEndian.AppendUint32(nil, uint32(len(rec.Headers))))
	for _, h := range rec.Headers {
		hashField(r.full, []byte(h.Key))
		hashField(r.full, h.Value)
	}
}

func (r *recordHash) result() manifestRecords {
	return manifestRecords{r.n, hex.EncodeToString(r.values.Sum(nil)), hex.EncodeToString(r.full.Sum(nil))}
}

// consume reads the log as consumers of both isolation levels do.
func consume(t testing.TB, l *Log) (uncommitted, committed manifestRecords, lastStable int64) {
	t.Helper()
	l.HighWatermarkMoved(l.End().Offset)
	lastStable = l.End().Offset
	if p, ok := l.FirstUnstable(); ok {
		lastStable = p.Offset
	}
	aborted, err := l.AbortedTransactions(l.StartOffset(), lastStable)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(aborted, func(a, b AbortedTxn) int { return int(a.FirstOffset - b.FirstOffset) })
	open := make(map[int64]bool) // producers in an aborted transaction
	all, stable := newRecordHash(), newRecordHash()
	for data := readAll(t, l); len(data) > 0; {
		b, rest, err := record.Next(data)
		if err != nil {
			t.Fatal(err)
		}
		data = rest
		for len(aborted) > 0 && aborted[0].FirstOffset <= b.LastOffset() {
			open[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
		if b.IsControl() {
			if m, ok, err := b.EndTxnMarker(); ok && !m.Commit {
				delete(open, b.ProducerID())
			} else if err != nil {
				t.Fatal(err)
			}
			continue
		}
		for rec, err := range b.Records(l.m.codecs) {
			if err != nil {
				t.Fatal(err)
			}
			if rec.Offset < l.StartOffset() {
				continue
			}
			all.add(rec)
			if rec.Offset < lastStable && !(b.IsTransactional() && open[b.ProducerID()]) {
				stable.add(rec)
			}
		}
	}
	return all.result(), stable.result(), lastStable
}

// TestKafkaTreesOpen opens data directories that a real Kafka 4.3.1 wrote: after a clean stop, after a kill, and with
// damage done to the latter. What is served is what Kafka served, and a torn tail is cut where Kafka cut it. It is
// still so after a clean stop and after a crash.
func TestKafkaTreesOpen(t *testing.T) {
	for _, name := range kafkaTrees {
		t.Run(name, func(t *testing.T) {
			dir, manifest := kafkaTree(t, name), readManifest(t, name)
			for _, how := range []string{"at first", "after a clean stop", "after a kill"} {
				counting := vfs.Counting(vfs.OS())
				m := openKafkaTree(t, counting, dir, &manifest)
				read := counting.Suffix(logSuffix).BytesRead
				if how != "at first" && read != 0 {
					t.Errorf("%s: %d bytes of log files were read", how, read)
				}
				for _, p := range manifest.Partitions {
					if p.Topic != clusterMetadataTopic {
						checkKafkaPartition(t, m, &p, how)
					}
				}
				if how == "at first" {
					if err := m.Close(1); err != nil {
						t.Fatal(err)
					}
				} else {
					m.kill()
				}
			}
		})
	}
}

// kill stops the goroutines and lets go of the directories, but writes nothing: what a killed process leaves.
func (m *Manager) kill() {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	if closed {
		return
	}
	for _, d := range m.dirs {
		d.keeper.stop()
		d.committer.stop()
		d.unlock()
	}
}

func checkKafkaPartition(t *testing.T, m *Manager, p *manifestPartition, how string) {
	t.Helper()
	l := m.Get(TopicPartition{p.Topic, p.Partition})
	if l == nil {
		t.Errorf("%s: %s-%d is not there", how, p.Topic, p.Partition)
		return
	}
	if formatUUID(l.TopicID()) != p.TopicID || l.StartOffset() != p.LogStart || l.End().Offset != p.LogEnd || l.DurableEnd() != l.End() || l.Loss() != nil {
		t.Errorf("%s: %s has id %s, offsets %d to %d, durable to %d, loss %v; the manifest says %s, %d to %d", how, l.tp,
			formatUUID(l.TopicID()), l.StartOffset(), l.End().Offset, l.DurableEnd().Offset, l.Loss(), p.TopicID, p.LogStart, p.LogEnd)
	}
	uncommitted, committed, lastStable := consume(t, l)
	if uncommitted != p.Uncommitted || committed != p.Committed || lastStable != p.LastStable {
		t.Errorf("%s: %s serves %+v\n%+v, stable to %d; the manifest says\n%+v\n%+v, stable to %d", how, l.tp,
			uncommitted, committed, lastStable, p.Uncommitted, p.Committed, p.LastStable)
	}
	var epochs [][2]int64
	for _, e := range l.epochs.Entries() {
		epochs = append(epochs, [2]int64{int64(e.Epoch), e.StartOffset})
	}
	if !slices.Equal(epochs, p.LeaderEpochs) {
		t.Errorf("%s: %s has epochs %v; the manifest says %v", how, l.tp, epochs, p.LeaderEpochs)
	}
	for _, s := range p.Segments {
		if i := floorSegment(l.segmentList(), s.BaseOffset); i < 0 || l.segmentList()[i].size.Load() != s.ValidLogBytes {
			t.Errorf("%s: segment %d of %s does not have %d bytes", how, s.BaseOffset, l.tp, s.ValidLogBytes)
		}
	}
	checkIndexes(t, l)
}

// checkIndexes is T150: every offset index entry leads to a batch that ends at its offset, time index entries ascend and
// hold the largest timestamp up to their offsets, and the last one that of the segment, unless it is active.
func checkIndexes(t testing.TB, l *Log) {
	t.Helper()
	segs := l.segmentList()
	for i, s := range segs {
		file, err := l.m.files.acquire(s)
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, s.size.Load())
		if _, err := file.ReadAt(data, 0); err != nil && len(data) > 0 {
			t.Fatal(err)
		}
		file.release()
		largest := map[int64]int64{} // last offset → largest timestamp so far
		lastAt := map[int64]int64{}  // position → last offset
		most := noTimestamp
		for pos := int64(0); pos < int64(len(data)); {
			b, _, err := record.Next(data[pos:])
			if err != nil {
				t.Fatalf("%s, position %d: %v", s.path(logSuffix), pos, err)
			}
			most = max(most, b.MaxTimestamp())
			largest[b.LastOffset()], lastAt[pos] = most, b.LastOffset()
			pos += int64(b.Size())
		}
		err = s.index.scan(0, func(n int64, e []byte) error {
			entry := s.index.decode(n, e)
			if last, ok := lastAt[entry.Position]; !ok || last != entry.Offset {
				t.Errorf("%s, entry %d: %+v, but the batch there ends at %d %v", s.index.path, n, entry, last, ok)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		newest := noTimestamp
		err = s.times.scan(0, func(n int64, e []byte) error {
			entry := s.times.decode(n, e)
			if entry.Timestamp <= newest || largest[entry.Offset] != entry.Timestamp {
				t.Errorf("%s, entry %d: %+v after %d, but the largest timestamp there is %d", s.times.path, n, entry, newest, largest[entry.Offset])
			}
			newest = entry.Timestamp
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if i < len(segs)-1 && newest != most {
			t.Errorf("%s ends with timestamp %d, the segment has %d", s.times.path, newest, most)
		}
	}
}
