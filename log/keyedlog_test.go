package log

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kbroker/kbroker/log/record"
)

// keyedLog writes batches of keyed records and knows what a reader of the log has to come to.
type keyedLog struct {
	t      testing.TB
	l      *Log
	codecs *record.Codecs
	view   map[string]string // what read_committed readers end with: the newest value of each key
	seq    map[int64]int32
	// pending are the records of open transactions, by producer id.
	pending map[int64][]string
	next    int // makes values differ
}

func newKeyedLog(t testing.TB, l *Log, codecs *record.Codecs) *keyedLog {
	return &keyedLog{t: t, l: l, codecs: codecs, view: map[string]string{}, seq: map[int64]int32{}, pending: map[int64][]string{}}
}

// put appends one batch. A record is a key for a tombstone, or KEY= for a new value. Producer 0 is none; with txn the
// records wait for the end of the transaction.
func (k *keyedLog) put(pid int64, txn bool, codec record.Codec, records ...string) {
	k.t.Helper()
	o := record.BuilderOptions{Codec: codec, Transactional: txn}
	if pid > 0 {
		o.Producer = &record.Producer{ID: pid, BaseSequence: k.seq[pid]}
		k.seq[pid] = record.AddSequence(k.seq[pid], int32(len(records)))
	}
	b := record.NewBuilder(k.codecs, o)
	for _, r := range records {
		key, _, set := strings.Cut(r, "=")
		rec := record.Record{Timestamp: time.Now().UnixMilli(), Key: []byte(key)}
		entry := key
		if set {
			k.next++
			rec.Value = fmt.Appendf(nil, "value-%d", k.next)
			entry += "=" + string(rec.Value)
		}
		b.Append(rec)
		if txn {
			k.pending[pid] = append(k.pending[pid], entry)
		} else {
			k.apply(entry)
		}
	}
	batch, err := b.Build()
	if err != nil {
		k.t.Fatal(err)
	}
	mustAppend(k.t, k.l, batch, 0)
}

func (k *keyedLog) apply(entry string) {
	if key, value, set := strings.Cut(entry, "="); set {
		k.view[key] = value
	} else {
		delete(k.view, key)
	}
}

// end appends a marker.
func (k *keyedLog) end(pid int64, commit bool) {
	k.t.Helper()
	m := record.AppendEndTxnMarker(nil, record.EndTxnMarker{Commit: commit, ProducerID: pid, CoordinatorEpoch: 1, Timestamp: time.Now().UnixMilli()})
	a := newAppend(m, 0)
	a.Origin = OriginCoordinator
	if err := k.l.Stage(a); err != nil {
		k.t.Fatal(err)
	}
	if err := k.l.Flush(); err != nil || a.Err != nil {
		k.t.Fatal(err, a.Err)
	}
	if commit {
		for _, e := range k.pending[pid] {
			k.apply(e)
		}
	}
	delete(k.pending, pid)
}

// settle makes everything below the active segment fit for cleaning.
func (k *keyedLog) settle() {
	k.t.Helper()
	waitDurable(k.t, k.l, k.l.End().Offset)
	k.l.HighWatermarkMoved(k.l.End().Offset)
	k.l.m.Checkpoint()
}

// cleanLog runs the cleaner until nothing is due, in the calling goroutine.
func cleanLog(t testing.TB, m *Manager, change ...func(*CleanerOptions)) int {
	t.Helper()
	o := DefaultCleanerOptions()
	for _, fn := range change {
		fn(&o)
	}
	m.cleaner.options.Store(&o)
	w := &cleanWorker{c: m.cleaner, sieve: record.NewSieve(m.codecs)}
	n := 0
	for w.cleanDirtiest() {
		n++
	}
	return n
}

// readCommitted reads the log as a read_committed consumer does, and calls see with the records that it gets.
func readCommitted(l *Log, codecs *record.Codecs, see func(r record.Record)) error {
	at := l.StartOffset()
	aborted := map[int64]bool{}
	for {
		upper := l.End()
		if u, ok := l.FirstUnstable(); ok && u.Offset < upper.Offset {
			upper = u
		}
		s, err := l.Read(at, 4096, true, upper)
		if err != nil || s.N == 0 {
			return err
		}
		txns, err := l.AbortedTransactions(at, l.UpperBound(&s, upper))
		current := l.Current(&s)
		data := make([]byte, s.N)
		if err == nil {
			_, err = s.File.ReadAt(data, s.Off)
		}
		s.Release()
		if err != nil {
			return err
		}
		if !current {
			continue
		}
		for {
			b, rest, err := record.Next(data)
			if err != nil || b == nil {
				break
			}
			data = rest
			if !b.VerifyCRC() {
				return fmt.Errorf("the batch at %d has a wrong CRC", b.BaseOffset())
			}
			for len(txns) > 0 && slices.ContainsFunc(txns, func(t AbortedTxn) bool { return t.FirstOffset <= b.LastOffset() }) {
				txns = slices.DeleteFunc(txns, func(t AbortedTxn) bool {
					if t.FirstOffset <= b.LastOffset() {
						aborted[t.ProducerID] = true
						return true
					}
					return false
				})
			}
			if b.BaseOffset() < at && b.LastOffset() < at {
				return fmt.Errorf("reading at %d gave the batch %d to %d", at, b.BaseOffset(), b.LastOffset())
			}
			at = b.LastOffset() + 1
			if b.IsControl() {
				if m, ok, err := b.EndTxnMarker(); err != nil {
					return err
				} else if ok && !m.Commit {
					delete(aborted, m.ProducerID)
				}
				continue
			}
			if b.IsTransactional() && aborted[b.ProducerID()] {
				continue
			}
			for r, err := range b.Records(codecs) {
				if err != nil {
					return err
				}
				see(r)
			}
		}
	}
}

// viewOf is what a reader of the whole log ends with.
func viewOf(l *Log, codecs *record.Codecs) (map[string]string, error) {
	view := map[string]string{}
	err := readCommitted(l, codecs, func(r record.Record) {
		if r.Value == nil {
			delete(view, string(r.Key))
		} else {
			view[string(r.Key)] = string(r.Value)
		}
	})
	return view, err
}

// checkCleaned compares a log with what was written to it.
func checkCleaned(l *Log, codecs *record.Codecs, want map[string]string, end int64) error {
	if loss := l.Loss(); loss != nil {
		return fmt.Errorf("it reports a loss: %s", loss)
	}
	if l.End().Offset != end {
		return fmt.Errorf("it ends at %d, not at %d", l.End().Offset, end)
	}
	got, err := viewOf(l, codecs)
	if err != nil {
		return err
	}
	for key, value := range want {
		if got[key] != value {
			return fmt.Errorf("key %s has %q, not %q", key, got[key], value)
		}
	}
	for key, value := range got {
		if _, ok := want[key]; !ok {
			return fmt.Errorf("key %s, which was deleted, has %q", key, value)
		}
	}
	return checkSegments(l)
}

// checkSegments checks that segments reach up to the next one, that their indexes fit, and that nothing is left over.
func checkSegments(l *Log) error {
	segs := l.segmentList()
	known := map[string]bool{}
	for i, s := range segs {
		for _, suffix := range append([]string{snapshotSuffix}, segmentSuffixes[:]...) {
			known[s.path(suffix)] = true
		}
		next := l.End().Offset
		if i < len(segs)-1 {
			next = segs[i+1].base
		}
		end := s.base
		err := l.m.scanHeaders(s.path(logSuffix), 0, s.size.Load(), func(b record.Batch, position int64, _ *headerScan) error {
			if b.BaseOffset() < end {
				return fmt.Errorf("offset %d follows %d", b.BaseOffset(), end-1)
			}
			e, err := s.index.lookupPosition(position)
			if err == nil && e.Position == position && position > 0 && e.Offset != b.LastOffset() {
				err = fmt.Errorf("the index says offset %d at %d, and there is %d", e.Offset, position, b.LastOffset())
			}
			end = b.LastOffset() + 1
			return err
		})
		if err != nil {
			return fmt.Errorf("segment %d: %w", s.base, err)
		}
		if end != next {
			return fmt.Errorf("segment %d ends at %d, the next begins at %d", s.base, end, next)
		}
		for _, x := range []*entryFile{&s.index.entryFile, &s.times.entryFile, &s.txns.entryFile} {
			if err := x.verify(); err != nil {
				return err
			}
		}
	}
	entries, err := l.m.fs.ReadDir(l.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := l.path + "/" + e.Name()
		if !known[name] && strings.HasPrefix(e.Name(), "000") && !strings.HasSuffix(name, snapshotSuffix) {
			return fmt.Errorf("%s is left over", name)
		}
	}
	return nil
}

func compactConfig() Config {
	cfg := DefaultConfig()
	cfg.Compact, cfg.Delete = true, false
	cfg.MinCleanableDirtyRatio, cfg.DeleteRetentionMs = 0, 0
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 700, 60
	return cfg
}
