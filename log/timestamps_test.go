package log

import (
	"math/rand/v2"
	"testing"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/record"
)

// timedRecord is a record as the naive search knows it.
type timedRecord struct{ timestamp, offset int64 }

// timeWalk appends batches with timestamps in no order to a log, and keeps the records beside it.
type timeWalk struct {
	t       *testing.T
	r       *rand.Rand
	l       *Log
	codecs  *record.Codecs
	records []timedRecord
}

const walkTimes = 40 // timestamps are drawn from so few that many are equal

func (w *timeWalk) append() {
	o := record.BuilderOptions{Codec: record.Codec(w.r.IntN(5))}
	if w.r.IntN(4) == 0 {
		o.LogAppendTime = 1 + w.r.Int64N(walkTimes)
	}
	b, base := record.NewBuilder(w.codecs, o), w.l.End().Offset
	for i := range 1 + w.r.Int64N(6) {
		r := record.Record{Timestamp: w.r.Int64N(walkTimes), Value: make([]byte, w.r.IntN(200))}
		b.Append(r)
		if o.LogAppendTime > 0 {
			r.Timestamp = o.LogAppendTime
		}
		w.records = append(w.records, timedRecord{r.Timestamp, base + i})
	}
	batch, err := b.Build()
	if err != nil {
		w.t.Fatal(err)
	}
	mustAppend(w.t, w.l, batch, 0)
}

// compare searches for every timestamp there can be.
func (w *timeWalk) compare() {
	start := w.l.StartOffset()
	for ts := int64(-1); ts <= walkTimes; ts++ {
		var want timedRecord
		found := false
		for _, r := range w.records {
			if r.offset >= start && r.timestamp >= ts {
				want, found = r, true
				break
			}
		}
		got, ok, err := w.l.OffsetForTimestamp(ts)
		if err != nil || ok != found || ok && (got.Offset != want.offset || got.Timestamp != want.timestamp || got.LeaderEpoch != 0) {
			w.t.Fatalf("timestamp %d from %d: %+v %v %v, not %+v %v", ts, start, got, ok, err, want, found)
		}
	}
	want := timedRecord{-1, -1}
	for _, r := range w.records {
		if r.offset >= start && r.timestamp > want.timestamp {
			want = r
		}
	}
	got, ok, err := w.l.MaxTimestamp()
	if err != nil || ok != (want.offset >= 0) || ok && (got.Offset != want.offset || got.Timestamp != want.timestamp) {
		w.t.Fatalf("the largest timestamp: %+v %v %v, not %+v", got, ok, err, want)
	}
}

// TestTimeSearch compares searches by timestamp with a look at every record (rules 6.7.2 and 6.7.11): in active and
// sealed segments, after a restart, and after the log start moved.
func TestTimeSearch(t *testing.T) {
	for seed := range uint64(6) {
		cfg := smallSegments()
		disk := simfs.New()
		m := openManager(t, disk, cfg, "/data")
		w := &timeWalk{t: t, r: rand.New(rand.NewPCG(seed, 5)), codecs: record.NewCodecs(), l: createLog(t, m, "times", 0, cfg)}
		if _, ok, err := w.l.OffsetForTimestamp(0); ok || err != nil {
			t.Fatalf("an empty log: %v %v", ok, err)
		}
		if _, ok, err := w.l.MaxTimestamp(); ok || err != nil {
			t.Fatalf("an empty log: %v %v", ok, err)
		}
		for i := range 60 {
			w.append()
			if i%7 == 0 {
				w.compare()
			}
		}
		if err := m.Close(1); err != nil {
			t.Fatal(err)
		}
		m = openManager(t, disk, cfg, "/data")
		w.l = m.Get(TopicPartition{"times", 0})
		w.compare()
		waitDurable(t, w.l, w.l.End().Offset)
		if err := w.l.RaiseStart(w.l.End().Offset / 2); err != nil {
			t.Fatal(err)
		}
		w.compare()
		if err := w.l.RaiseStart(w.l.End().Offset); err != nil {
			t.Fatal(err)
		}
		w.compare()
		if err := m.Close(2); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTimeSearchInKafkasLogs searches in a log that the cleaner has emptied in part (rule 6.7.12), without its time
// index too (T153).
func TestTimeSearchInKafkasLogs(t *testing.T) {
	dir := kafkaTree(t, "clean-shutdown")
	var records []timedRecord
	codecs := record.NewCodecs()
	for _, name := range glob(t, dir, "compacted-0/*.log") {
		for _, b := range readBatches(readTestFile(t, name)) {
			for r, err := range record.Batch(b.Bytes).Records(codecs) {
				if err != nil {
					t.Fatal(err)
				}
				records = append(records, timedRecord{r.Timestamp, r.Offset})
			}
		}
	}
	damage := glob(t, dir, "compacted-0/00000000000000000320.timeindex")
	for _, what := range []string{"as Kafka left it", "damaged"} {
		m, l := openKafkaLog(t, dir, TopicPartition{"compacted", 0})
		for _, probe := range records {
			for _, ts := range []int64{probe.timestamp, probe.timestamp + 1} {
				want, found := timedRecord{}, false
				for _, r := range records {
					if r.timestamp >= ts {
						want, found = r, true
						break
					}
				}
				got, ok, err := l.OffsetForTimestamp(ts)
				if err != nil || ok != found || ok && (got.Offset != want.offset || got.Timestamp != want.timestamp) {
					t.Fatalf("%s: timestamp %d: %+v %v %v, not %+v %v", what, ts, got, ok, err, want, found)
				}
			}
		}
		if err := m.Close(1); err != nil {
			t.Fatal(err)
		}
		data := readTestFile(t, damage[0])
		data[3] ^= 0x40
		writeTestFile(t, m.fs, damage[0], data)
	}
}

// openKafkaLog opens a data directory that Kafka wrote, and returns one of its logs.
func openKafkaLog(t *testing.T, dir string, tp TopicPartition) (*Manager, *Log) {
	t.Helper()
	manifest := readManifest(t, "clean-shutdown")
	m, err := Open(Options{FS: vfs.OS(), Dirs: []string{dir}, Logger: quiet(), ClusterID: manifest.ClusterID, NodeID: manifest.NodeID})
	if err != nil {
		t.Fatal(err)
	}
	cfg := smallSegments()
	if err := m.Load(t.Context(), func(TopicPartition, [16]byte) (*Config, bool) { return &cfg, true }); err != nil {
		t.Fatal(err)
	}
	l := m.Get(tp)
	if l == nil {
		t.Fatalf("%s was not loaded", tp)
	}
	return m, l
}
