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

// stage gives the records of a decision their place in the log, and replays them to the machine.
func (s *shard[M]) stage(now time.Time, e *Effects) error {
	most := int(s.partition.Log().Config().MaxMessageBytes)
	for records := e.Records; len(records) > 0; {
		n := len(records)
		if e.Loose {
			n = fit(records, most)
		}
		if err := s.stageBatch(now, records[:n], most); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// recordOverhead is more than a record takes in a batch beside its key and value, in bytes.
const recordOverhead = 40

// fit returns how many records a batch of at most size bytes has room for, one at least.
func fit(records []Record, size int) int {
	size -= record.HeaderSize
	for i := range records {
		size -= recordOverhead + len(records[i].Key) + len(records[i].Value)
		if size < 0 {
			return max(i, 1)
		}
	}
	return len(records)
}

// stageBatch stages one batch of at most so many bytes, and replays it.
func (s *shard[M]) stageBatch(now time.Time, records []Record, most int) error {
	w, ms := s.work, now.UnixMilli()
	to := s.r.o.Compression()
	w.builder.Reset(record.BuilderOptions{Codec: to.Codec, Level: to.Level})
	for i := range records {
		w.builder.Append(record.Record{Key: records[i].Key, Value: records[i].Value, Timestamp: ms})
	}
	from := len(w.bytes)
	var err error
	if w.bytes, err = w.builder.AppendTo(w.bytes); err != nil {
		return err
	}
	batch := record.Batch(w.bytes[from:])
	if len(batch) > most {
		w.bytes = w.bytes[:from]
		return fmt.Errorf("records of %d bytes, max.message.bytes of %s is %d: %w", len(batch), s.r.o.Topic, most, kerr.MessageTooLarge)
	}
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
