package log

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/record"
)

// quiet is a logger for tests that provoke warnings.
func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// batchSpec describes a batch for a test.
type batchSpec struct {
	base      int64
	n         int32 // records
	value     int   // bytes of each record's value
	timestamp int64
	pid       int64
	epoch     int16
	seq       int32
	txn       bool
	leader    int32
	fill      byte
}

// makeBatch builds a batch of plain records.
func makeBatch(s batchSpec) record.Batch {
	var recs []byte
	for i := range s.n {
		var body []byte
		body = append(body, 0)                           // attributes
		body = binary.AppendVarint(body, 0)              // timestamp delta
		body = binary.AppendVarint(body, int64(i))       // offset delta
		body = binary.AppendVarint(body, -1)             // no key
		body = binary.AppendVarint(body, int64(s.value)) // value
		for range s.value {
			body = append(body, s.fill+byte(i))
		}
		body = binary.AppendVarint(body, 0) // headers
		recs = binary.AppendVarint(recs, int64(len(body)))
		recs = append(recs, body...)
	}
	b := make([]byte, record.HeaderSize+len(recs))
	binary.BigEndian.PutUint64(b, uint64(s.base))
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-record.Overhead))
	binary.BigEndian.PutUint32(b[12:], uint32(s.leader))
	b[16] = record.Magic2
	if s.txn {
		b[22] |= 0x10
	}
	binary.BigEndian.PutUint32(b[23:], uint32(s.n-1))
	binary.BigEndian.PutUint64(b[27:], uint64(s.timestamp))
	binary.BigEndian.PutUint64(b[35:], uint64(s.timestamp))
	pid, epoch, seq := s.pid, s.epoch, s.seq
	if pid <= 0 { // the zero value is no producer
		pid, epoch, seq = -1, -1, -1
	}
	binary.BigEndian.PutUint64(b[43:], uint64(pid))
	binary.BigEndian.PutUint16(b[51:], uint16(epoch))
	binary.BigEndian.PutUint32(b[53:], uint32(seq))
	binary.BigEndian.PutUint32(b[57:], uint32(s.n))
	copy(b[record.HeaderSize:], recs)
	record.Batch(b).Reseal()
	return b
}

// newAppend wraps a batch as a client's append.
func newAppend(b record.Batch, leaderEpoch int32) *Append {
	return &Append{Batch: b, Info: b.Info(), LeaderEpoch: leaderEpoch}
}

// openManager opens and loads a data directory; every log on disk is known with cfg.
func openManager(t testing.TB, fsys vfs.FS, cfg Config, dirs ...string) *Manager {
	t.Helper()
	m, err := tryOpenManager(fsys, cfg, dirs...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func tryOpenManager(fsys vfs.FS, cfg Config, dirs ...string) (*Manager, error) {
	return openWith(Options{FS: fsys, Dirs: dirs}, cfg)
}

// openWith is openManager with options of the test's own.
func openWith(o Options, cfg Config) (*Manager, error) {
	if o.Logger == nil {
		o.Logger = quiet()
	}
	o.ClusterID, o.NodeID, o.Codecs = "test-cluster", 1, record.NewCodecs()
	m, err := Open(o)
	if err != nil {
		return nil, err
	}
	return m, m.Load(context.Background(), func(TopicPartition, [16]byte) (*Config, bool) { return &cfg, true })
}

var testTopicID = [16]byte{7}

func createLog(t testing.TB, m *Manager, topic string, partition int32, cfg Config) *Log {
	t.Helper()
	l, err := m.Create(TopicPartition{topic, partition}, testTopicID, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// mustAppend appends one batch and waits until it is durable.
func mustAppend(t testing.TB, l *Log, b record.Batch, leaderEpoch int32) *Append {
	t.Helper()
	a := newAppend(b, leaderEpoch)
	if err := l.Stage(a); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(); err != nil || a.Err != nil {
		t.Fatal(err, a.Err)
	}
	return a
}

// waitDurable waits until everything below offset is durable.
func waitDurable(t testing.TB, l *Log, offset int64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); l.DurableEnd().Offset < offset; time.Sleep(100 * time.Microsecond) {
		if err := l.Err(); err != nil || time.Now().After(deadline) {
			t.Fatalf("%s: durable up to %d, not %d: %v", l.tp, l.DurableEnd().Offset, offset, err)
		}
	}
}

// readAll returns the bytes of the log from its start to its end.
func readAll(t testing.TB, l *Log) []byte {
	t.Helper()
	all, err := tryReadAll(l)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func tryReadAll(l *Log) ([]byte, error) {
	var all []byte
	for at := l.StartOffset(); ; {
		s, err := l.Read(at, 1<<20, true, l.End())
		if err != nil || s.N == 0 {
			return all, err
		}
		buf := make([]byte, s.N)
		_, err = s.File.ReadAt(buf, s.Off)
		s.Release()
		if err != nil {
			return nil, err
		}
		for len(buf) > 0 {
			b, rest, err := record.Next(buf)
			if err != nil {
				break // cut by maxBytes
			}
			if !b.VerifyCRC() {
				return nil, fmt.Errorf("%s: the batch at %d has a wrong CRC", l.tp, b.BaseOffset())
			}
			all = append(all, b...)
			at = b.LastOffset() + 1
			buf = rest
		}
	}
}

// dropBelow raises the log start, and returns when the segments below are gone.
func dropBelow(l *Log, offset int64) error {
	if err := l.RaiseStart(offset); err != nil {
		return err
	}
	l.token <- struct{}{}
	defer func() { <-l.token }()
	return l.dropBelowStart()
}
