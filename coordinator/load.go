package coordinator

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
)

const (
	// loadBuffer is how much of a log is read at a time, in bytes; a larger batch is read alone (rule 8.6.5).
	loadBuffer = 256 << 10
	// firstPause and lastPause are how long a partition is left alone after a failure, doubling from one to the next: the
	// disk that is full now will be full in a millisecond.
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
)

// errStopped ends a loading whose shard was stopped.
var errStopped = errors.New("stopped")

// load makes the machine, replays the partition's log to it and puts it into service.
func (s *shard[M]) load() error {
	s.r.loads <- struct{}{} // bounded: those who load look whether they are to stop
	defer func() { <-s.r.loads }()
	began := time.Now()
	if err := s.partition.CheckLeader(s.epoch); err != nil {
		return err
	}
	// What an earlier shard staged is to be read.
	if err := s.partition.Flush(); err != nil {
		return err
	}
	end := s.partition.Log().End()
	s.m = s.r.o.New(s.partition.Index)
	s.end = end.Offset
	var records int64
	var err error
	if p := s.guard("a loading", func() { records, err = s.replay(end) }); p != nil {
		err = p
	}
	if err != nil {
		return err
	}
	s.loaded = true
	err = s.decide(began, func(m M, _ time.Time, e *Effects) { m.Loaded(time.Now(), e) }, nil)
	// Also after an error: the log holds the memory of what is staged.
	if flushErr := s.flush(); err == nil {
		err = flushErr
	}
	if err != nil {
		s.unload(bystanderError(err))
		return err
	}
	if records > 0 {
		s.r.o.Logger.Info("a coordinator's partition is loaded", "partition", s.partition.String(), "epoch", s.epoch, "records", records, "end", end.Offset, "took", time.Since(began).String())
	}
	s.mu.Lock()
	if s.phase == loading {
		s.phase = active
	}
	s.mu.Unlock()
	return nil
}

// replay reads the log up to end to the machine.
func (s *shard[M]) replay(end log.Position) (records int64, err error) {
	l := s.partition.Log()
	var buf []byte
	for offset := l.StartOffset(); offset < end.Offset; {
		if s.stopping() {
			return records, errStopped
		}
		slice, err := l.Read(offset, loadBuffer, true, end)
		if err != nil {
			return records, err
		}
		if slice.N == 0 {
			break // compaction left nothing more
		}
		buf, err = readSlice(&slice, buf)
		if err != nil {
			return records, fmt.Errorf("load %s from offset %d: %w", s.partition, offset, err)
		}
		before := offset
		for rest := buf; len(rest) > 0; {
			var b record.Batch
			if b, rest, err = record.Next(rest); b == nil {
				break // the last batch may be cut: it is the first of the next read then
			}
			n, err := s.replayBatch(b)
			records += n
			if err != nil {
				return records, fmt.Errorf("load %s, the batch at offset %d: %w", s.partition, b.BaseOffset(), err)
			}
			offset = b.LastOffset() + 1
		}
		if offset == before {
			return records, fmt.Errorf("load %s: no batch at offset %d: %w", s.partition, offset, err)
		}
	}
	return records, nil
}

// readSlice reads a slice into buf, and releases it.
func readSlice(s *log.Slice, buf []byte) ([]byte, error) {
	defer s.Release()
	if int64(cap(buf)) < s.N {
		buf = make([]byte, s.N)
	}
	buf = buf[:s.N]
	if n, err := s.File.ReadAt(buf, s.Off); err != nil && !(err == io.EOF && int64(n) == s.N) {
		return buf, err
	}
	return buf, nil
}

// replayBatch replays one batch.
func (s *shard[M]) replayBatch(b record.Batch) (records int64, err error) {
	if !b.VerifyCRC() {
		return 0, log.ErrCorrupt
	}
	if b.IsControl() {
		if m, ok, err := b.EndTxnMarker(); err == nil && ok {
			s.m.ReplayMarker(b.ProducerID(), b.ProducerEpoch(), m.Commit)
		}
		return 0, nil
	}
	r := Replayed{ProducerID: -1, ProducerEpoch: -1}
	if b.IsTransactional() {
		r.ProducerID, r.ProducerEpoch = b.ProducerID(), b.ProducerEpoch()
	}
	for rec, err := range b.Records(s.r.o.Codecs) {
		if err != nil {
			return records, err
		}
		r.Key, r.Value, r.Offset, r.Timestamp = rec.Key, rec.Value, rec.Offset, rec.Timestamp
		if err := s.m.Replay(&r); err != nil {
			// Others are served without it. It stays in the log, for a version that can read it.
			s.r.o.Logger.Error("a coordinator's record can't be read and is passed over", "partition", s.partition.String(), "offset", r.Offset, "err", err)
		}
		records++
	}
	return records, nil
}

// retry decides what a failed loading means: the shard is given up when the partition is led or served elsewhere, which an
// image will tell, and else tries again after a pause.
func (s *shard[M]) retry(err error) {
	var none M
	s.m = none
	if err == errStopped {
		return
	}
	if gone := s.partition.CheckLeader(s.epoch); gone != nil {
		s.mu.Lock()
		if s.phase != stopped {
			s.phase, s.stopErr = stopped, ClientError(gone)
		}
		s.mu.Unlock()
		return
	}
	s.r.o.Logger.Error("a coordinator's partition can't be loaded; its groups are not served meanwhile", "partition", s.partition.String(), "epoch", s.epoch, "err", err)
	s.pause()
}

// pause waits after a failure, or until the shard is stopped. The first failure costs no pause.
func (s *shard[M]) pause() {
	s.failures++
	if s.failures < 2 {
		return
	}
	d := min(firstPause<<min(s.failures-2, 16), lastPause)
	t := time.NewTimer(d)
	defer t.Stop()
	for !s.stopping() {
		select {
		case <-t.C:
			return
		case <-s.wake:
		}
	}
}
