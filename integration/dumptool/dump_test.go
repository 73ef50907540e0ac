package dumptool

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kbroker/kbroker/integration/kafkapeer"
	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/dump"
	"github.com/kbroker/kbroker/log/record"
)

// writer fills logs in one data directory.
type writer struct {
	t       *testing.T
	manager *log.Manager
	codecs  *record.Codecs
	now     int64
	epoch   int16 // of producers, for the next fill
}

func newWriter(t *testing.T, dir string) *writer {
	t.Helper()
	codecs := record.NewCodecs()
	m, err := log.Open(log.Options{
		FS: vfs.OS(), Dirs: []string{dir}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), ClusterID: "dump", NodeID: 1, Codecs: codecs,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Load(t.Context(), func(log.TopicPartition, [16]byte) (*log.Config, bool) { return nil, false }); err != nil {
		t.Fatal(err)
	}
	return &writer{t: t, manager: m, codecs: codecs, now: 1_795_538_600_000}
}

// log makes a log with small segments and many index entries.
func (w *writer) log(topic string, id byte) *log.Log {
	w.t.Helper()
	cfg := log.DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes, cfg.SegmentIndexBytes = 16384, 1024, 8192
	l, err := w.manager.Create(log.TopicPartition{Topic: topic}, [16]byte{id}, &cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := l.BecomeLeader(3); err != nil {
		w.t.Fatal(err)
	}
	return l
}

// data appends a batch of n records, some without a key, a value or headers.
func (w *writer) data(l *log.Log, o record.BuilderOptions, n int) {
	w.t.Helper()
	b := record.NewBuilder(w.codecs, o)
	for i := range n {
		w.now += 7
		r := record.Record{Timestamp: w.now, Key: fmt.Appendf(nil, "key-%d", i), Value: bytes.Repeat([]byte("value"), i+1)}
		switch i % 5 {
		case 1:
			r.Key = nil
		case 2:
			r.Value = nil
		case 3:
			r.Key, r.Value = []byte{}, []byte{}
		case 4:
			r.Timestamp -= 100
			r.Headers = []record.Header{{Key: "h", Value: []byte("1")}, {Key: "null"}, {Key: ""}}
		}
		b.Append(r)
	}
	batch, err := b.Build()
	if err != nil {
		w.t.Fatal(err)
	}
	w.append(l, batch, log.OriginClient)
}

func (w *writer) append(l *log.Log, batch record.Batch, origin log.Origin) {
	w.t.Helper()
	a := &log.Append{Batch: batch, Info: batch.Info(), LeaderEpoch: 3, Origin: origin}
	if err := l.Stage(a); err != nil {
		w.t.Fatal(err)
	}
	if err := l.Flush(); err != nil || a.Err != nil {
		w.t.Fatal(err, a.Err)
	}
}

// fill writes plain, idempotent, compressed, LogAppendTime and transactional batches over several segments.
func (w *writer) fill() {
	plain, txn := w.log("plain", 1), w.log("txn", 2)
	next := map[int64]int32{}
	for i := range 300 {
		o := record.BuilderOptions{Codec: record.Codec(i / 60)}
		if i%3 > 0 {
			id := int64(100 + i%3)
			o.Producer = &record.Producer{ID: id, Epoch: w.epoch + 2, BaseSequence: next[id]}
			next[id] += int32(3 + i%9)
		}
		if i%10 == 9 {
			o.LogAppendTime = w.now
		}
		w.data(plain, o, 3+i%9)
	}
	for i := range 150 {
		for id := range int64(2) {
			epoch := w.epoch + int16(i)
			p := &record.Producer{ID: 7 + id, Epoch: epoch}
			w.data(txn, record.BuilderOptions{Producer: p, Transactional: true}, 5)
			p.BaseSequence = 5
			w.data(txn, record.BuilderOptions{Producer: p, Transactional: true}, 4)
		}
		for id := range int64(2) { // markers raise the epoch, as transaction version 2 has it
			m := record.EndTxnMarker{Commit: (i+int(id))%3 == 0, ProducerID: 7 + id, ProducerEpoch: w.epoch + int16(i+1), CoordinatorEpoch: 5, Timestamp: w.now}
			if i == 149 && id == 1 {
				continue // stays open
			}
			w.append(txn, record.AppendEndTxnMarker(nil, m), log.OriginCoordinator)
		}
	}
	w.epoch += 1000
}

// TestKafkasToolReadsOurs compares the output of Kafka's tool with ours, line by line, for every file of a data
// directory that was stopped cleanly.
func TestKafkasToolReadsOurs(t *testing.T) {
	jars, err := kafkapeer.Install(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w := newWriter(t, dir)
	w.fill()
	if err := w.manager.Close(1); err != nil {
		t.Fatal(err)
	}
	compareDumps(t, jars, dir, false, map[string]int{".log": 8, ".index": 8, ".timeindex": 8, ".txnindex": 2, ".snapshot": 4})
}

// emptyIndex is what Kafka's tool says of an index without entries, of which ours says nothing.
var emptyIndex = regexp.MustCompile(`(?m)^.* is empty\.\n`)

// compacted is what Kafka's tool says of its own compacted logs too: offsets are missing, and the time index names a batch
// that has no record any more.
var compacted = regexp.MustCompile(` is followed by |^Found timestamp mismatch in |, log timestamp: -1\s*$`)

// compareDumps compares what Kafka's tool and ours say of the files in dir; least is how many there are by suffix. With
// gaps offsets may be missing, as in Kafka's own compacted logs.
func compareDumps(t *testing.T, jars kafkapeer.Jars, dir string, gaps bool, least map[string]int) {
	t.Helper()
	var files []string
	for suffix, n := range least {
		found, err := filepath.Glob(filepath.Join(dir, "*", "*"+suffix))
		if err != nil || len(found) < n {
			t.Fatalf("%d files %s, %v", len(found), suffix, err)
		}
		files = append(files, found...)
	}
	start := time.Now()
	cmd := jars.Command(t.Context(), "org.apache.kafka.tools.DumpLogSegments", "--print-data-log", "--files", strings.Join(files, ","))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("Kafka's tool: %v\n%s", err, stderr.Bytes())
	}
	for line := range strings.Lines(stderr.String()) {
		// It says of any segment that does not start at 0, Kafka's own as well, that its first offset does not follow -1.
		if !strings.HasPrefix(line, "Non-consecutive offsets in ") && !strings.HasPrefix(line, "  -1 is followed by ") &&
			!(gaps && compacted.MatchString(line)) {
			t.Errorf("Kafka's tool complains: %s", line)
		}
	}
	var ours bytes.Buffer
	for _, file := range files {
		if err := dump.File(&ours, vfs.OS(), file, dump.Options{Records: true}); err != nil {
			t.Error(err)
		}
	}
	compare(t, emptyIndex.ReplaceAllString(string(out), ""), ours.String())
	t.Logf("%d files, %d lines, %v", len(files), strings.Count(ours.String(), "\n"), time.Since(start))
}

// compare reports the first line that differs.
func compare(t *testing.T, kafka, ours string) {
	t.Helper()
	k, o := strings.Split(kafka, "\n"), strings.Split(ours, "\n")
	for i := range min(len(k), len(o)) {
		if k[i] != o[i] {
			t.Fatalf("line %d: Kafka's tool prints\n%s\nwe print\n%s", i+1, k[i], o[i])
		}
	}
	if len(k) != len(o) {
		t.Errorf("Kafka's tool prints %d lines, we print %d", len(k), len(o))
	}
}
