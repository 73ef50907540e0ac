package coordinator

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
)

// keptBytes bounds what a scratch keeps of the memory for batches.
const keptBytes = 256 << 10

// scratch is the memory of a shard that has work. It goes from one to the next.
type scratch struct {
	effects Effects
	builder *record.Builder
	bytes   []byte        // the batches of a round
	batches []int         // the sizes of a decision's batches, in bytes
	appends []*log.Append // of a round, and spare ones behind
	staged  int           // appends in use
}

// takeScratch returns memory for a shard that has work.
func (r *Runtime[M]) takeScratch() *scratch {
	if w, ok := r.scratch.Get().(*scratch); ok {
		return w
	}
	return &scratch{builder: record.NewBuilder(r.o.Codecs, record.BuilderOptions{})}
}

// append returns the next append of the round.
func (w *scratch) append() *log.Append {
	if w.staged == len(w.appends) {
		w.appends = append(w.appends, new(log.Append))
	}
	w.staged++
	return w.appends[w.staged-1]
}

// round decides what was queued and what the time has come for, and writes it at once. An error means that the machine
// holds what the log does not.
func (s *shard[M]) round(tasks []task[M], due bool) error {
	now := time.Now()
	var err error
	for _, t := range tasks {
		if err != nil {
			t.fail(kerr.CoordinatorLoadInProgress)
			continue
		}
		err = s.decide(now, t.decide, t.fail)
	}
	if due && err == nil {
		s.armed = time.Time{}
		if at := s.m.Deadline(); !at.IsZero() && !at.After(now) {
			err = s.decide(now, func(m M, now time.Time, e *Effects) { m.Tick(now, e) }, nil)
		}
	}
	// Also after an error: the log holds the memory of what is staged.
	if flushErr := s.flush(); err == nil {
		err = flushErr
	}
	return err
}

// decide makes one decision, stages its records and replays them. An error means that the machine can't be kept; the
// decision's own replies have it already.
func (s *shard[M]) decide(now time.Time, decide func(m M, now time.Time, e *Effects), fail Reply) error {
	e := &s.work.effects
	e.reset()
	config := s.partition.Log().Config()
	e.Most = min(int(config.MaxMessageBytes), int(config.SegmentBytes))
	err := s.guard("a decision", func() { decide(s.m, now, e) })
	broken := err != nil // nobody knows whom it would have answered
	if err == nil {
		err = s.stage(now, e)
	}
	if err == nil {
		for _, r := range e.Soft {
			r(nil)
		}
		for _, r := range e.Replies {
			s.commits.add(s.end, r)
		}
		return nil
	}
	refused := e.Refused
	told := ClientError(err)
	if TooLarge(err) {
		s.r.large.Add(1)
	}
	for _, r := range e.Soft {
		r(told)
	}
	for _, r := range e.Replies {
		r(told)
	}
	if refused != nil && TooLarge(err) {
		return s.decide(now, func(_ M, _ time.Time, e *Effects) { refused(told, e) }, nil)
	}
	if broken && fail != nil {
		fail(told)
	}
	return err
}

// stage gives the records of a decision their place in the log, and replays them to the machine. That a batch is too
// large is found before anything is staged.
func (s *shard[M]) stage(now time.Time, e *Effects) error {
	w, ms := s.work, now.UnixMilli()
	w.batches = w.batches[:0]
	from := len(w.bytes)
	for first := 0; first < len(e.Records); {
		n := e.fit(first)
		if err := s.encode(ms, e.Records[first:first+n], e.Most); err != nil {
			w.bytes = w.bytes[:from]
			return err
		}
		first += n
	}
	records := e.Records
	for _, size := range w.batches {
		batch := record.Batch(w.bytes[from : from+size])
		n := int(batch.RecordCount())
		if err := s.stageBatch(ms, batch, records[:n]); err != nil {
			return err
		}
		records, from = records[n:], from+size
	}
	return nil
}

// recordOverhead is more than a record takes in a batch beside its key and value, in bytes.
const recordOverhead = 40

// fit returns how many records from the first on become one batch: all if there is room for them, else as many as a cut
// leaves room for, and if there is none, those up to the first cut.
func (e *Effects) fit(first int) int {
	size, best := 0, 0
	cuts := e.cuts
	for i := first; i < len(e.Records); i++ {
		for len(cuts) > 0 && cuts[0] <= first {
			cuts = cuts[1:]
		}
		if len(cuts) > 0 && cuts[0] == i {
			best, cuts = i-first, cuts[1:]
		}
		size += len(e.Records[i].Key) + len(e.Records[i].Value)
		if best > 0 && !e.Fits(i-first+1, size) {
			return best
		}
	}
	return len(e.Records) - first
}

// maxSqueezed bounds the records that are compressed because they are too large for a batch, in bytes: that takes some 50 ms,
// in which the partition does nothing else.
const maxSqueezed = 16 << 20

// encode appends a batch to the bytes of the round. One that is too large is compressed, whatever the topic's codec, before
// its decision is refused: what must be written at once is most often about many members, who say much the same. Kafka
// refuses it, unless offsets.topic.compression.codec is set, which it has for that.
func (s *shard[M]) encode(ms int64, records []Record, most int) error {
	w, from, to := s.work, len(s.work.bytes), s.r.o.Compression()
	if err := w.build(ms, records, to); err != nil {
		return err
	}
	size := len(w.bytes) - from
	if size > most && size <= maxSqueezed && to.Codec == record.None {
		w.bytes = w.bytes[:from]
		if err := w.build(ms, records, record.Compression{Codec: record.Zstd}); err != nil {
			return err
		}
		size = len(w.bytes) - from
	}
	if size > most {
		return fmt.Errorf("records of %d bytes, max.message.bytes of %s is %d: %w", size, s.r.o.Topic, most, kerr.MessageTooLarge)
	}
	w.batches = append(w.batches, size)
	return nil
}

// build appends a batch of records to the bytes of the round.
func (w *scratch) build(ms int64, records []Record, to record.Compression) (err error) {
	w.builder.Reset(record.BuilderOptions{Codec: to.Codec, Level: to.Level})
	for i := range records {
		w.builder.Append(record.Record{Key: records[i].Key, Value: records[i].Value, Timestamp: ms})
	}
	w.bytes, err = w.builder.AppendTo(w.bytes)
	return err
}

// stageBatch stages one batch, and replays its records.
func (s *shard[M]) stageBatch(ms int64, batch record.Batch, records []Record) error {
	w := s.work
	a := w.append()
	*a = log.Append{Batch: batch, Info: batch.Info(), Origin: log.OriginCoordinator, Now: ms}
	if err := s.partition.StageUnder(a, -1, s.epoch); err != nil {
		w.staged--
		return err
	}
	s.end = a.LastOffset + 1
	r := Replayed{Timestamp: ms, ProducerID: -1, ProducerEpoch: -1}
	for i := range records {
		r.Key, r.Value, r.Offset = records[i].Key, records[i].Value, a.BaseOffset+int64(i)
		var err error
		if p := s.guard("a replay", func() { err = s.m.Replay(&r) }); p != nil {
			return p
		}
		if err != nil {
			return fmt.Errorf("replay offset %d of %s, which was just written: %w", r.Offset, s.partition, err)
		}
	}
	return nil
}

// flush writes what is staged.
func (s *shard[M]) flush() error {
	w := s.work
	if w.staged == 0 {
		return nil
	}
	err := s.partition.Flush()
	for _, a := range w.appends[:w.staged] {
		if a.Err != nil {
			err = a.Err
		} else {
			s.partition.Traffic().Appended(&a.Info)
		}
		a.Reset()
	}
	w.staged, w.bytes = 0, w.bytes[:0]
	if cap(w.bytes) > keptBytes {
		w.bytes = nil
	}
	if err == nil {
		s.failures = 0
	}
	return err
}
