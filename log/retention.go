package log

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// RemovedFor says why retention removed a segment.
type RemovedFor int

const (
	RemovedByTime  RemovedFor = iota // retention.ms
	RemovedBySize                    // retention.bytes
	RemovedByStart                   // all of it lies below the log start (DeleteRecords, or the leader's log start)
)

// String returns a word for logs and metrics.
func (r RemovedFor) String() string { return [...]string{"time", "size", "start"}[r] }

// removedCounters count what retention removed from all logs.
type removedCounters [RemovedByStart + 1]struct{ segments, bytes atomic.Int64 }

// Removed returns how many segments, and bytes of log files, retention has removed since the Manager was opened.
func (m *Manager) Removed(why RemovedFor) (segments, bytes int64) {
	c := &m.removed[why]
	return c.segments.Load(), c.bytes.Load()
}

// tokenPatience is how long retention waits for a log that a checkpoint, a truncation or the cleaner is working on. Then it
// leaves the log to the next round, so that one log does not hold up the others.
const tokenPatience = time.Second

// patientToken takes the log's token unless its holder takes long.
func (l *Log) patientToken() bool {
	timer := time.NewTimer(tokenPatience)
	defer timer.Stop()
	select {
	case l.token <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}

// Retain removes the segments that the settings want gone (rule 3.6.1): always from the oldest on, and never what lies at
// or above highWatermark. If all go, a new, empty one stays (rule 3.6.2). The log start follows. It waits for the disk.
//
// What is removed lies below the recovery point: otherwise a crash would take the only trace of a producer's last batch.
func (l *Log) Retain(now time.Time, highWatermark int64) error {
	if !l.patientToken() {
		return nil
	}
	defer func() { <-l.token }()
	if l.Err() != nil || l.Loss() != nil {
		return nil
	}
	segs := l.segmentList()
	if len(segs) == 0 {
		return nil
	}
	p := l.planRetention(segs, now, highWatermark)
	if p.err != nil {
		return fmt.Errorf("retention of %s: %w", l.tp, p.err)
	}
	if len(p.reasons) == len(segs) {
		rolled, err := l.rollAt(p.end)
		if err != nil {
			return err
		}
		if !rolled { // something was appended since
			p.reasons = p.reasons[:len(segs)-1]
		}
	}
	return l.removeOldest(p.reasons)
}

// retentionPlan says which segments are to go, from the oldest on, and why.
type retentionPlan struct {
	reasons []RemovedFor
	end     int64 // the log's end that the plan knows
	err     error
}

func (l *Log) planRetention(segs []*segment, now time.Time, highWatermark int64) retentionPlan {
	cfg := l.cfg.Load()
	l.mu.Lock()
	p := retentionPlan{end: l.end.Offset}
	youngest := l.written.maxTimestamp
	l.mu.Unlock()
	var excess int64 = -1
	if cfg.Delete && cfg.RetentionBytes != NoLimit {
		excess = l.Size() - cfg.RetentionBytes
	}
	for i, s := range segs {
		active, end := i == len(segs)-1, p.end
		if !active {
			end = segs[i+1].base
		}
		if end > highWatermark || active && s.size.Load() == 0 {
			return p
		}
		size := s.size.Load()
		switch {
		case !active && end <= l.start.Load():
			p.reasons = append(p.reasons, RemovedByStart)
		case excess >= size: // never with no limit
			p.reasons = append(p.reasons, RemovedBySize)
		case !cfg.Delete || cfg.RetentionMs == NoLimit:
			return p
		default:
			var largest int64
			if largest, p.err = l.retentionTime(s, active, youngest); p.err != nil || now.UnixMilli()-largest <= cfg.RetentionMs {
				return p
			}
			p.reasons = append(p.reasons, RemovedByTime)
		}
		excess -= size
	}
	return p
}

// retentionTime is the time from which a segment's age counts: its largest timestamp, or the time of its file when it has
// none. Timestamps in the future keep it (rule 3.6.6).
func (l *Log) retentionTime(s *segment, active bool, youngest int64) (int64, error) {
	largest := youngest
	if !active {
		var err error
		if largest, err = l.largestTimestamp(s); err != nil {
			return 0, err
		}
	}
	if largest >= 0 {
		return largest, nil
	}
	info, err := l.m.fs.Stat(s.path(logSuffix))
	if err != nil {
		return 0, err
	}
	return info.ModTime().UnixMilli(), nil
}

// rollAt ends the active segment, so that all that there is can go. It reports false when the log has grown beyond end.
// The token is held.
func (l *Log) rollAt(end int64) (bool, error) {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	l.mu.Lock()
	if l.closed != nil || l.cutting || l.pending.head != nil || l.end.Offset != end {
		l.mu.Unlock()
		return false, nil
	}
	l.rolling = true // appends come to the append lock from here on
	l.mu.Unlock()
	err := l.roll(end, time.Now().UnixMilli(), l.cfg.Load())
	l.mu.Lock()
	l.rolling = false
	l.mu.Unlock()
	if err != nil {
		return false, l.dir.writeFailed(l.tp, err)
	}
	return true, nil
}

// checkpointTo moves the recovery point to at least offset; the token is held. It waits for the disk.
func (l *Log) checkpointTo(offset int64) error {
	l.mu.Lock()
	recovery := l.checkpoint.recovery.Offset
	l.mu.Unlock()
	if recovery >= offset {
		return nil
	}
	c, err := l.capture(nil)
	if err != nil {
		return err
	}
	l.dir.committer.add(l)
	if err := l.dir.committer.barrier(); err != nil {
		return err
	}
	moved, err := l.finishCheckpoint(&c)
	if err != nil {
		return l.dir.writeFailed(l.tp, err)
	}
	if !moved || c.at.Offset < offset {
		return errBusy
	}
	l.dir.keeper.note(l.tp, c.at.Offset)
	return nil
}

// removeOldest takes the oldest segments off the log and removes their files (rules 3.6.4 and 3.6.5). Readers who have
// them open finish. The token is held.
func (l *Log) removeOldest(reasons []RemovedFor) error {
	n := len(reasons)
	if n == 0 {
		return nil
	}
	start := l.segmentList()[n].base
	if err := l.checkpointTo(start); err != nil {
		if errors.Is(err, errBusy) || errors.Is(err, errStopped) {
			return nil // the next round finds it again
		}
		return err
	}
	l.raiseStart(start) // first: what is not in the list any more is not to be looked for
	l.appendMu.Lock()
	segs := l.segmentList() // a roll may have added one
	kept := slices.Clone(segs[n:])
	l.segments.Store(&kept)
	l.appendMu.Unlock()
	for i, s := range segs[:n] {
		if err := l.discard(s); err != nil {
			return l.dir.writeFailed(l.tp, err)
		}
		c := &l.m.removed[reasons[i]]
		c.segments.Add(1)
		c.bytes.Add(s.size.Load())
	}
	// Before the checkpoint of log starts forgets this one: the segments must not come back and be served again.
	if err := l.m.fs.SyncDir(l.path); err != nil {
		return l.dir.fail(err)
	}
	l.dir.keeper.touch(l)
	l.m.logger.Info("retention removed segments", "log", l.tp.String(), "segments", n, "reason", reasons[n-1].String(), "log_start", start)
	return nil
}

// discard renames the files of a segment that is in no list any more, and has them removed after file.delete.delay.ms.
func (l *Log) discard(s *segment) error {
	l.m.files.retire(s)
	delay := time.Duration(l.cfg.Load().FileDeleteDelayMs) * time.Millisecond
	for _, suffix := range [...]string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix, snapshotSuffix} {
		name := s.path(suffix)
		err := l.m.fs.Rename(name, name+deletedSuffix)
		if isNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		l.dir.keeper.removeLater(name+deletedSuffix, delay)
	}
	return nil
}

// raiseStart raises the log start in memory and reports whether it moved; the epochs follow.
func (l *Log) raiseStart(offset int64) bool {
	for {
		old := l.start.Load()
		if offset <= old {
			return false
		}
		if l.start.CompareAndSwap(old, offset) {
			break
		}
	}
	l.epochs.TruncateFromStart(offset)
	l.m.changed(l)
	return true
}

// RaiseStart raises the log start to offset, which is at most the high watermark (rules 3.7.1 and 3.7.3). Offsets below
// are not served from now on; the segments that lie below entirely are removed in the background. An offset at or below
// the log start changes nothing; one above the end is an error that wraps kerr.OffsetOutOfRange.
//
// The new start is on the disk with KeepStarts, or within a second or so.
func (l *Log) RaiseStart(offset int64) error {
	if err := l.Err(); err != nil {
		return err
	}
	if end := l.End().Offset; offset > end {
		return fmt.Errorf("%s: the log start can't be %d, the log ends at %d: %w", l.tp, offset, end, kerr.OffsetOutOfRange)
	}
	if l.raiseStart(offset) {
		l.dir.keeper.touch(l)
		l.dir.keeper.poke()
	}
	return nil
}

// KeepStarts returns when the starts of all logs of the directory, as they are now, are on the disk. It waits for the disk.
func (d *Dir) KeepStarts() error {
	if err := d.failure(); err != nil {
		return err
	}
	err := errStopped
	d.keeper.do(func() {
		d.keeper.takeNoted()
		if err = d.keeper.starts.write(d); err != nil {
			err = d.writeFailed(TopicPartition{}, fmt.Errorf("write %s: %w", path.Join(d.path, LogStartCheckpoint), err))
		}
	})
	return err
}

// dropBelowStart removes the segments that lie below the log start entirely; the token is held.
func (l *Log) dropBelowStart() error {
	segs, start := l.segmentList(), l.start.Load()
	var reasons []RemovedFor
	for i := 0; i+1 < len(segs) && segs[i+1].base <= start; i++ {
		reasons = append(reasons, RemovedByStart)
	}
	return l.removeOldest(reasons)
}
