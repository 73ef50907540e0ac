package log

import (
	"time"

	"github.com/kbroker/kbroker/log/record"
)

// dirtyLog is a log as the cleaner sees it: which segments may be cleaned, and how much of them is dirty (rules 3.10.1
// and 3.10.2). The bounds are those of whole segments.
type dirtyLog struct {
	l          *Log
	segs       []*segment // of the log; the last one is active
	first, n   int        // segs[first:n] are dirty, those before are clean, and those from n on not to be touched
	firstDirty int64
	cleanBytes int64
	dirtyBytes int64
	// delay is how many ms the oldest dirty record is older than max.compaction.lag.ms lets it; 0: it is not.
	delay int64
}

// end returns the offset behind what may be cleaned.
func (w *dirtyLog) end() int64 { return w.segs[w.n].base }

// dirty returns the segments whose keys enter the map.
func (w *dirtyLog) dirty() []*segment { return w.segs[w.first:w.n] }

// after returns the offset behind a segment, which is not the active one.
func (w *dirtyLog) after(s *segment) int64 { return w.segs[floorSegment(w.segs, s.base)+1].base }

// ratio is the dirty part of the bytes.
func (w *dirtyLog) ratio() float64 {
	if w.dirtyBytes == 0 {
		return 0
	}
	return float64(w.dirtyBytes) / float64(w.cleanBytes+w.dirtyBytes)
}

// due reports whether it is time to clean the log.
func (w *dirtyLog) due(cfg *Config) bool {
	return w.dirtyBytes > 0 && (w.delay > 0 || w.ratio() > cfg.MinCleanableDirtyRatio)
}

// inspect looks at a log with compact in its policy; ok is false when there is nothing in it to clean.
//
// Beyond what the rules say, nothing at or above the segment of the recovery point is touched: what lies below is durable
// with its indexes, and no recovery begins there by a position in bytes, which cleaning changes, once the marks are
// synced (swap).
func (l *Log) inspect(now time.Time) (w dirtyLog, ok bool, err error) {
	cfg := l.cfg.Load()
	l.mu.Lock()
	bound := min(l.committed, l.checkpoint.recovery.SegmentBase)
	if first, unstable := l.producers.firstUnstable(); unstable {
		bound = min(bound, first)
	}
	usable := l.closed == nil && l.loss == nil
	l.mu.Unlock()
	w = dirtyLog{l: l, segs: l.segmentList()}
	if !usable || len(w.segs) < 2 {
		return w, false, nil
	}
	for w.n < len(w.segs)-1 && w.segs[w.n+1].base <= bound {
		w.n++
	}
	w.firstDirty = l.firstDirty()
	w.first = min(max(floorSegment(w.segs, w.firstDirty), 0), w.n)
	if err := w.lag(cfg, now.UnixMilli()); err != nil {
		return w, false, err
	}
	for i, s := range w.segs[:w.n] {
		if i < w.first {
			w.cleanBytes += s.size.Load()
		} else {
			w.dirtyBytes += s.size.Load()
		}
	}
	return w, w.first < w.n, nil
}

// firstDirty returns where the dirty part of the log begins: at the cleaner's checkpoint, or at the log start when that
// says nothing of use (rule 3.10.2).
func (l *Log) firstDirty() int64 {
	start, clean := l.start.Load(), l.cleaned.Load()
	if clean < start || clean > l.End().Offset {
		return start
	}
	return clean
}

// lag holds back the segments that have records younger than min.compaction.lag.ms, and notes how late the oldest dirty
// ones are.
func (w *dirtyLog) lag(cfg *Config, now int64) error {
	if cfg.MinCompactionLagMs > 0 {
		for i := w.first; i < w.n; i++ {
			newest, err := w.l.newest(w.segs[i])
			if err != nil {
				return err
			}
			if newest > now-cfg.MinCompactionLagMs {
				w.n = i
				break
			}
		}
	}
	if cfg.MaxCompactionLagMs == NoLimit {
		return nil
	}
	for _, s := range w.segs[w.first : len(w.segs)-1] {
		first, err := w.l.firstTimestamp(s)
		if err != nil {
			return err
		}
		if first > 0 {
			w.delay = max(w.delay, now-cfg.MaxCompactionLagMs-first)
		}
	}
	return nil
}

// newest returns the largest timestamp of a sealed segment, or the time of its last write when its records have none.
func (l *Log) newest(s *segment) (int64, error) {
	largest, err := l.largestTimestamp(s)
	if err != nil || largest >= 0 {
		return largest, err
	}
	info, err := l.m.fs.Stat(s.path(logSuffix))
	if err != nil {
		return 0, err
	}
	return info.ModTime().UnixMilli(), nil
}

// firstTimestamp returns the largest timestamp of the segment's first batch, from which its age counts.
func (l *Log) firstTimestamp(s *segment) (int64, error) {
	if s.size.Load() == 0 {
		return noTimestamp, nil
	}
	file, err := l.m.files.acquire(s)
	if err != nil {
		return 0, err
	}
	defer file.release()
	var hdr [record.HeaderSize]byte
	if n, err := file.ReadAt(hdr[:], 0); n < len(hdr) {
		return 0, err
	}
	return record.Batch(hdr[:]).MaxTimestamp(), nil
}

// rollIdle ends the active segment when its first record is older than max.compaction.lag.ms, so that it is compacted in
// time even if nothing is appended any more.
func (l *Log) rollIdle(now time.Time) error {
	cfg := l.cfg.Load()
	if cfg.MaxCompactionLagMs == NoLimit || l.active() == nil {
		return nil
	}
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if l.written.size == 0 {
		return nil
	}
	if l.written.firstTimestamp == unreadTimestamp {
		if err := l.readFirstTimestamp(); err != nil {
			return err
		}
	}
	ms := now.UnixMilli()
	if l.written.age(ms, ms) <= cfg.MaxCompactionLagMs {
		return nil
	}
	if err := l.lockQuiet(); err != nil {
		return nil // so busy that an append rolls it
	}
	if l.closed != nil || l.cutting || l.loss != nil {
		l.mu.Unlock()
		return nil
	}
	l.rolling = true
	l.mu.Unlock()
	err := l.roll(l.written.next, ms, cfg)
	l.mu.Lock()
	l.rolling = false
	l.mu.Unlock()
	if err != nil {
		return l.dir.writeFailed(l.tp, err)
	}
	l.m.changed(l)
	return nil
}
