package log

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log/record"
)

// TestCleaner runs the scripts in testdata/clean, one for each of the rules 3.10. A script drives one log on an in-memory
// disk, with a clock of its own:
//
//	config [compact] [delete] [KEY=VALUE ...]  settings from now on; durations as 5s
//	put [pid=P/EPOCH seq=N] [txn] [codec=C] [append-time] RECORD ...
//	                                            one batch; k=v, a tombstone k, or =v without a key
//	commit pid=P/EPOCH, abort pid=P/EPOCH       a marker, as a coordinator writes it
//	roll                                        end the active segment, and checkpoint
//	dirty                                       what the cleaner sees
//	clean [map=KEYS]                            clean while something is due
//	dump                                        segments, batches, records
//	newest                                      the record with the largest timestamp
//	retain                                      remove what retention wants gone
//	aborted FROM TO, producers, sleep D, restart, delete-records OFFSET, truncate OFFSET
func TestCleaner(t *testing.T) {
	datadriven.Walk(t, "testdata/clean", func(t *testing.T, path string) {
		synctest.Test(t, func(t *testing.T) {
			s := newCleanScript(t)
			defer s.close()
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				var out strings.Builder
				for line := range strings.Lines(d.Input) {
					out.WriteString(s.run(t, strings.Fields(line)))
				}
				return out.String()
			})
		})
	})
}

// cleanScript is the log that a script drives.
type cleanScript struct {
	fs     *simfs.FS
	cfg    Config
	m      *Manager
	l      *Log
	codecs *record.Codecs
	began  time.Time
}

func newCleanScript(t *testing.T) *cleanScript {
	s := &cleanScript{fs: simfs.New(), cfg: DefaultConfig(), codecs: record.NewCodecs(), began: time.Now()}
	s.cfg.Compact, s.cfg.Delete = true, false
	s.cfg.MinCleanableDirtyRatio = 0
	s.open(t)
	return s
}

func (s *cleanScript) open(t *testing.T) {
	s.m = openManager(t, s.fs, s.cfg, "/data")
	s.l = createLog(t, s.m, "t", 0, s.cfg)
	s.l.HighWatermarkMoved(s.l.End().Offset)
}

func (s *cleanScript) close() { _ = s.m.Close(1) }

// run carries out one line.
func (s *cleanScript) run(t *testing.T, words []string) string {
	t.Helper()
	args := words[1:]
	switch words[0] {
	case "config":
		s.configure(t, args)
	case "put":
		s.append(t, s.batch(t, args), OriginClient)
	case "commit", "abort":
		p := parseProducer(t, strings.TrimPrefix(args[0], "pid="))
		m := record.EndTxnMarker{Commit: words[0] == "commit", ProducerID: p.ID, ProducerEpoch: p.Epoch, CoordinatorEpoch: 3, Timestamp: s.now()}
		s.append(t, record.AppendEndTxnMarker(nil, m), OriginCoordinator)
	case "roll":
		s.roll(t)
	case "dirty":
		return s.dirty(t)
	case "clean":
		return s.clean(t, args)
	case "dump":
		return dumpSegments(t, s.l, s.codecs, s.began)
	case "aborted":
		return s.aborted(t, args)
	case "producers":
		return s.producers()
	case "retain":
		s.must(t, s.l.Retain(time.Now(), s.l.End().Offset))
		synctest.Wait()
	case "newest":
		at, ok, err := s.l.MaxTimestamp()
		s.must(t, err)
		return fmt.Sprintf("newest: offset %d, %v\n", at.Offset, ok)
	case "sleep":
		time.Sleep(mustDuration(t, args[0]))
	case "restart":
		s.close()
		s.open(t)
	case "delete-records":
		s.must(t, dropBelow(s.l, mustInt(t, args[0])))
	case "truncate":
		s.must(t, s.l.TruncateTo(mustInt(t, args[0])))
		s.m.Checkpoint()
	default:
		t.Fatalf("no command %s", words[0])
	}
	return ""
}

func (s *cleanScript) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *cleanScript) now() int64 { return time.Now().UnixMilli() }

func mustInt(t *testing.T, word string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func mustDuration(t *testing.T, word string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(word)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (s *cleanScript) configure(t *testing.T, args []string) {
	s.cfg.Compact, s.cfg.Delete = false, false
	for _, a := range args {
		key, value, _ := strings.Cut(a, "=")
		switch key {
		case "compact":
			s.cfg.Compact = true
		case "delete":
			s.cfg.Delete = true
		case "segment.bytes":
			s.cfg.SegmentBytes = int32(mustInt(t, value))
		case "ratio":
			ratio, err := strconv.ParseFloat(value, 64)
			s.must(t, err)
			s.cfg.MinCleanableDirtyRatio = ratio
		case "retention.ms":
			s.cfg.RetentionMs = mustDuration(t, value).Milliseconds()
		case "retention.bytes":
			s.cfg.RetentionBytes = mustInt(t, value)
		case "delete.retention":
			s.cfg.DeleteRetentionMs = mustDuration(t, value).Milliseconds()
		case "min.lag":
			s.cfg.MinCompactionLagMs = mustDuration(t, value).Milliseconds()
		case "max.lag":
			s.cfg.MaxCompactionLagMs = mustDuration(t, value).Milliseconds()
		default:
			t.Fatalf("no setting %s", key)
		}
	}
	cfg := s.cfg
	s.l.SetConfig(&cfg)
}

func parseProducer(t *testing.T, word string) record.Producer {
	t.Helper()
	id, epoch, _ := strings.Cut(word, "/")
	return record.Producer{ID: mustInt(t, id), Epoch: int16(mustInt(t, epoch))}
}

// batch builds what put says.
func (s *cleanScript) batch(t *testing.T, args []string) record.Batch {
	var o record.BuilderOptions
	var recs []record.Record
	now := s.now()
	for _, a := range args {
		key, value, set := strings.Cut(a, "=")
		switch {
		case key == "pid":
			p := parseProducer(t, value)
			o.Producer = &p
		case key == "seq":
			o.Producer.BaseSequence = int32(mustInt(t, value))
		case a == "txn":
			o.Transactional = true
		case a == "append-time":
			o.LogAppendTime = now
		case key == "codec":
			o.Codec = codecNamed(t, value)
		default:
			r := record.Record{Timestamp: now + int64(len(recs)), Key: []byte(key), Headers: []record.Header{{Key: "n", Value: []byte{byte(len(recs))}}}}
			if set {
				r.Value = []byte(value)
			}
			if key == "" {
				r.Key = nil
			}
			recs = append(recs, r)
		}
	}
	b := record.NewBuilder(s.codecs, o)
	for _, r := range recs {
		b.Append(r)
	}
	batch, err := b.Build()
	s.must(t, err)
	return batch
}

func (s *cleanScript) append(t *testing.T, b record.Batch, origin Origin) {
	a := newAppend(b, 0)
	a.Origin = origin
	s.must(t, s.l.Stage(a))
	s.must(t, s.l.Flush())
	s.must(t, a.Err)
	synctest.Wait() // lets no time pass, as polling would: scripts tell what is newest
	waitDurable(t, s.l, s.l.End().Offset)
	s.l.HighWatermarkMoved(s.l.End().Offset)
}

// roll ends the active segment.
func (s *cleanScript) roll(t *testing.T) {
	rollNow(t, s.l)
	s.m.Checkpoint()
}

func rollNow(t testing.TB, l *Log) {
	t.Helper()
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.roll(l.written.next, time.Now().UnixMilli(), l.cfg.Load()); err != nil {
		t.Fatal(err)
	}
	l.m.changed(l)
}

func (s *cleanScript) dirty(t *testing.T) string {
	w, ok, err := s.l.inspect(time.Now())
	s.must(t, err)
	if !ok {
		return "nothing\n"
	}
	return fmt.Sprintf("from %d to %d, ratio %.2f, late %v, due %v\n", w.firstDirty, w.end(), w.ratio(), time.Duration(w.delay)*time.Millisecond, w.due(s.l.cfg.Load()))
}

// clean cleans as one thread of the cleaner does, until nothing is due.
func (s *cleanScript) clean(t *testing.T, args []string) string {
	o := DefaultCleanerOptions()
	for _, a := range args {
		if keys, ok := strings.CutPrefix(a, "map="); ok {
			o.DedupeBytes = int64(math.Ceil(float64(mustInt(t, keys))/o.LoadFactor)) * mapSlotBytes
		}
	}
	s.m.cleaner.options.Store(&o)
	w := &cleanWorker{c: s.m.cleaner, sieve: record.NewSieve(s.codecs)}
	var out strings.Builder
	for range 10 {
		if s.cfg.Compact { // the cleaner does so too, but does not wait until what was ended is synced and checkpointed
			s.must(t, s.l.rollIdle(time.Now()))
			synctest.Wait()
			s.m.Checkpoint()
			synctest.Wait()
		}
		before := s.m.CleanerStats().Passes
		if !w.cleanDirtiest() {
			break
		}
		if s.m.CleanerStats().Passes > before {
			fmt.Fprintf(&out, "clean below %d\n", s.l.cleaned.Load())
		}
	}
	for l, why := range s.m.cleaner.uncleanable {
		fmt.Fprintf(&out, "uncleanable: %s: %s\n", l.tp, why)
	}
	if out.Len() == 0 {
		return "nothing is due\n"
	}
	return out.String()
}

func (s *cleanScript) aborted(t *testing.T, args []string) string {
	txns, err := s.l.AbortedTransactions(mustInt(t, args[0]), mustInt(t, args[1]))
	s.must(t, err)
	var out strings.Builder
	for _, a := range txns {
		fmt.Fprintf(&out, "%d: %d to %d\n", a.ProducerID, a.FirstOffset, a.LastOffset)
	}
	return out.String()
}

func (s *cleanScript) producers() string {
	var out strings.Builder
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	for _, e := range s.l.producers.snapshot() {
		fmt.Fprintf(&out, "%d/%d: sequence %d, offset %d\n", e.ProducerID, e.Epoch, e.LastSequence, e.LastOffset)
	}
	return out.String()
}

func codecNamed(t testing.TB, name string) record.Codec {
	t.Helper()
	for c := range record.Zstd + 1 {
		if c.String() == name {
			return c
		}
	}
	t.Fatalf("%q is no codec", name)
	return 0
}
