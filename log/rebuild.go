package log

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/record"
)

// scanHeaders calls fn with each batch header of a segment's file between two positions; the scan gives the whole batch,
// for control batches.
func (m *Manager) scanHeaders(name string, from, to int64, fn func(b record.Batch, position int64, s *headerScan) error) error {
	file, err := m.fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	return m.scanFile(file, from, to, fn)
}

// scanFile is scanHeaders of a file that is open.
func (m *Manager) scanFile(file vfs.File, from, to int64, fn func(b record.Batch, position int64, s *headerScan) error) error {
	s := &headerScan{file: file, pos: from, limit: to, chunk: m.chunks.get()}
	defer m.chunks.put(s.chunk)
	for {
		b, position, err := s.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := fn(b, position, s); err != nil {
			return err
		}
	}
}

// rebuildIndexes makes the indexes of a sealed segment anew from its batch headers (rule 3.2.7). Searches may run
// meanwhile: with fewer entries they scan more of the log. The transaction index is left alone if it is good, since a reader
// that misses an entry shows aborted records; a bad one is found when the log is opened, before anybody reads.
func (l *Log) rebuildIndexes(s *segment) error {
	l.m.logger.Info("making the indexes of a segment anew", "segment", s.path(logSuffix))
	withTxns := !s.txns.verified.Load()
	err := errors.Join(s.index.reset(), s.times.reset())
	producers := newProducerState(producerLimits(l.cfg.Load()))
	if withTxns {
		entries, snapErr := ReadSnapshot(l.m.fs, s.path(snapshotSuffix))
		if snapErr != nil && !isNotExist(snapErr) && !errors.Is(snapErr, ErrCorrupt) {
			return snapErr
		}
		producers.load(entries, 0)
		err = errors.Join(err, s.txns.reset())
	}
	if err != nil {
		return err
	}
	t, interval := newTail(s.base, 0), int64(l.cfg.Load().IndexIntervalBytes)
	err = l.m.scanHeaders(s.path(logSuffix), 0, s.size.Load(), func(b record.Batch, position int64, scan *headerScan) error {
		if err := s.checkOffsets(b, t.next); err != nil {
			return fmt.Errorf("%w: %w", err, ErrCorrupt)
		}
		info := b.Info()
		if t.add(int64(info.Size), b.LastOffset(), info.MaxTimestamp, interval) {
			s.addEntries(&t, b.LastOffset(), position)
		}
		if !withTxns {
			return nil
		}
		txn, aborted, err := replayProducer(producers, b, position, scan, 0)
		if aborted {
			s.txns.append(txn)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.finish(&t)
	s.broken.Store(false)
	if err := s.sealIndexes(); err != nil {
		return err
	}
	if err := s.syncIndexes(); err != nil && !isTooManyFiles(err) { // a second sync would succeed without the entries
		return l.dir.fail(err)
	}
	return nil
}

// replayProducer updates a producer state with the batch that scan is at.
func replayProducer(producers *producerState, b record.Batch, position int64, scan *headerScan, now int64) (AbortedTxn, bool, error) {
	info, base := b.Info(), b.BaseOffset()
	if info.ProducerID < 0 {
		return AbortedTxn{}, false, nil
	}
	pb := newProducerBatch(&info)
	if info.Control && info.Size <= chunkBytes { // b is not valid after this
		whole, err := scan.bytes(position, int(info.Size))
		if err == nil {
			pb.Marker, pb.CoordinatorEpoch, err = markerOf(whole)
		}
		if err != nil {
			return AbortedTxn{}, false, err
		}
	}
	var undo producerUndo
	txn, aborted := producers.update(&pb, base, now, &undo)
	return txn, aborted, nil
}

// endOfFile returns the offset behind the last batch of a segment's file that starts at base.
func (l *Log) endOfFile(name string, base int64) (int64, error) {
	info, err := l.m.fs.Stat(name)
	if err != nil {
		return 0, err
	}
	end := base
	err = l.m.scanHeaders(name, 0, info.Size(), func(b record.Batch, _ int64, _ *headerScan) error {
		end = b.LastOffset() + 1
		return nil
	})
	return end, err
}

// rereadEpochs reads the leader epochs below p.at from the batch headers, after their file was damaged.
func (r *recovery) rereadEpochs(l *Log, p *plan) error {
	for i, s := range l.segmentList()[:p.i+1] {
		size := s.size.Load()
		if i == p.i {
			size = p.at.Bytes
		}
		err := r.m.scanHeaders(s.path(logSuffix), 0, size, func(b record.Batch, _ int64, _ *headerScan) error {
			fitEpoch(l.epochs, b.PartitionLeaderEpoch(), b.BaseOffset())
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
