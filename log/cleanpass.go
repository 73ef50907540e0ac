package log

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/kbroker/kbroker/log/record"
)

// CleanStats says what one pass over a log did.
type CleanStats struct {
	BytesRead, BytesWritten       int64 // of segments that were rewritten
	MapBytesRead                  int64 // of the dirty part, for the map of keys
	RecordsWithoutKey             int64 // dropped
	SegmentsBefore, SegmentsAfter int
	MapUtilization                float64 // 0 to 1
	Elapsed                       time.Duration
}

// cleaning is one pass over a log: it reads the newest offset of each key from the dirty part and rewrites everything
// below (rules 3.10.3 and 3.10.4). It holds no lock but for the swaps; what it reads does not change, and what is taken
// away meanwhile ends it.
type cleaning struct {
	c       *cleaner
	l       *Log
	work    dirtyLog
	cfg     *Config
	o       *CleanerOptions
	now     int64
	cuts    uint64 // truncations when it began
	in      batchReader
	out     []byte // buffer of the output
	one     []byte // of one batch
	sieve   *record.Sieve
	offsets *offsetMap
	stats   CleanStats
}

// run cleans the log, and returns the offset below which it is clean now.
func (p *cleaning) run() (clean int64, err error) {
	began := time.Now()
	p.l.mu.Lock()
	p.cuts = p.l.cuts
	p.l.mu.Unlock()
	p.in.paid = func(n int) error { return p.pay(n) }
	if err := p.mapDirty(); err != nil {
		return 0, err
	}
	p.stats.MapUtilization = p.offsets.utilization()
	clean = p.offsets.last + 1
	filter := newCleanFilter(p.offsets, p.sieve, p.l.lastRecords(), p.now, p.cfg.DeleteRetentionMs)
	for _, group := range p.work.groups(clean, p.cfg) {
		if err := p.rewrite(group, filter); err != nil {
			return 0, err
		}
	}
	p.stats.RecordsWithoutKey = filter.invalid
	p.stats.Elapsed = time.Since(began)
	return clean, nil
}

// pay accounts for bytes that were read or written, and ends the pass when it has become pointless.
func (p *cleaning) pay(n int) error {
	if err := p.c.throttle.wait(n, p.o.MaxBytesPerSecond, p.c.quit); err != nil {
		return err
	}
	p.l.mu.Lock()
	changed := p.l.closed != nil || p.l.cuts != p.cuts
	p.l.mu.Unlock()
	if changed {
		return errCleaningAborted
	}
	return p.l.dir.failure()
}

// most is the size of the largest batch that is taken into memory.
func (p *cleaning) most() int64 { return max(maxCleanBatch, int64(p.cfg.MaxMessageBytes)) }

// mapDirty reads the newest offset of each key from the dirty part, until the map is full.
func (p *cleaning) mapDirty() error {
	w := &p.work
	m := p.offsets
	m.reset(p.o.DedupeBytes/int64(max(p.o.Threads, 1)), p.o.LoadFactor, w.firstDirty, w.end())
	txns := newCleanTxns()
	aborted, err := p.l.AbortedTransactions(w.firstDirty, w.end())
	if err != nil {
		return err
	}
	txns.expect(aborted)
	for i, s := range w.dirty() {
		full, err := p.mapSegment(s, txns)
		if err != nil || full {
			return err
		}
		m.seen = max(m.seen, w.segs[w.first+i+1].base-1) // nothing is left of what lay before the next segment
	}
	m.settle() // full or not, what it has is of use
	return nil
}

// mapSegment adds the keys of one segment. Batches of aborted transactions and markers don't enter the map.
func (p *cleaning) mapSegment(s *segment, txns *cleanTxns) (full bool, err error) {
	file, err := p.l.m.files.acquire(s)
	if err != nil {
		return false, err
	}
	defer file.release()
	size := s.size.Load()
	p.in.open(file.File, 0, size, p.most())
	p.stats.MapBytesRead += size
	m := p.offsets
	put := func(e record.Entry) bool {
		full = e.Offset >= p.work.firstDirty && !m.note(e)
		return !full
	}
	for {
		b, err := p.in.next()
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if b.IsControl() {
			_, _, err = txns.control(b)
		} else if !txns.data(b) && b.LastOffset() >= p.work.firstDirty {
			err = p.sieve.Each(b, put)
		}
		if err != nil || full {
			return full, err
		}
		m.seen = max(m.seen, b.LastOffset())
	}
}

// rewrite makes one segment of a group, and puts it in its place.
func (p *cleaning) rewrite(group []*segment, filter *cleanFilter) error {
	var bytes int64
	last := -1 // the last one that is not empty
	for i, s := range group {
		n := s.size.Load()
		bytes += n
		if n > 0 {
			last = i
		}
	}
	if last < 0 { // Kafka may leave segments without a byte
		return nil
	}
	if free, _, err := p.l.dir.Space(); err == nil && free < uint64(bytes) {
		return fmt.Errorf("%w: cleaning %d bytes takes as much room, and %s has %d bytes left", errNoRoom, bytes, p.l.dir.path, free)
	}
	out := newCleanOutput(p.l, bytes, p.now, p.out, p.pay)
	err := out.begin(group[0].base)
	for i, s := range group {
		if err == nil {
			err = p.rewriteSegment(s, filter, out, i == last)
		}
	}
	if err == nil {
		err = out.end()
	}
	if err == nil {
		err = p.keepTime(group[last], out)
	}
	if err == nil {
		err = p.l.swap(group, out, p.cuts)
	}
	if err != nil {
		return p.writeFailed(err, out)
	}
	p.stats.SegmentsBefore += len(group)
	p.stats.SegmentsAfter += len(out.done)
	return nil
}

// errNoRoom says that the disk has no room for what a pass would write.
var errNoRoom = errors.New("no room for cleaning")

// writeFailed removes what was written, and decides what the error means: a full disk is waited out, without refusing
// appends as they may still fit.
func (p *cleaning) writeFailed(cause error, out *cleanOutput) error {
	if p.l.dir.State() == DirFailed { // what lies there is for the next start
		return cause
	}
	if err := out.abort(); err != nil {
		return p.l.dir.fail(fmt.Errorf("%s: remove what was cleaned: %w", p.l.tp, err))
	}
	switch {
	case isNoSpace(cause):
		return fmt.Errorf("%w: %w", errNoRoom, cause)
	case out.err == nil || isTooManyFiles(out.err):
		return cause
	}
	return p.l.dir.writeFailed(p.l.tp, cause)
}

// keepTime gives the new log files the time of the newest one that they replace: retention goes by it where records have
// no timestamps (rule 3.10.9).
func (p *cleaning) keepTime(newest *segment, out *cleanOutput) error {
	info, err := p.l.m.fs.Stat(newest.path(logSuffix))
	if err != nil {
		return out.note(err)
	}
	for _, c := range out.done {
		if err := p.l.m.fs.Chtimes(cleanedPath(c.seg, logSuffix), info.ModTime()); err != nil {
			return out.note(err)
		}
	}
	return nil
}

// rewriteSegment filters one segment into the output. last says that no other of its group has anything.
func (p *cleaning) rewriteSegment(s *segment, filter *cleanFilter, out *cleanOutput, last bool) error {
	file, err := p.l.m.files.acquire(s)
	if err != nil {
		return err
	}
	defer file.release()
	next := p.work.after(s)
	aborted, err := p.l.AbortedTransactions(s.base, next)
	if err != nil {
		return err
	}
	filter.txns.expect(aborted)
	size := s.size.Load()
	p.in.open(file.File, 0, size, p.most())
	p.stats.BytesRead += size
	for {
		b, err := p.in.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		kept, txn, err := filter.filter(p.one[:0], b, last && p.in.atEnd())
		if err != nil {
			return err
		}
		p.one = kept
		if len(kept) == 0 {
			continue
		}
		p.stats.BytesWritten += int64(len(kept))
		if err := out.append(kept, txn); err != nil {
			return err
		}
	}
}

// lastRecords returns what the log has last of each producer that it remembers (rule 3.10.8).
func (l *Log) lastRecords() map[int64]lastRecord {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := make(map[int64]lastRecord, l.producers.len())
	for id, i := range l.producers.index {
		e := &l.producers.entries[i]
		r := lastRecord{offset: -1, epoch: e.epoch}
		if m := e.newest(); m != nil {
			r.offset = m.LastOffset
		}
		last[id] = r
	}
	return last
}

// groups returns the segments that have to be rewritten so that the log is clean below offset, in runs that become one
// segment each (rule 3.10.9).
func (w *dirtyLog) groups(offset int64, cfg *Config) [][]*segment {
	var groups [][]*segment
	segs := w.segs[:w.n]
	indexBytes := int64(cfg.SegmentIndexBytes)
	for len(segs) > 0 && segs[0].base < offset {
		var size, index, times int64
		n := 0
		for n < len(segs) && segs[n].base < offset {
			s := segs[n]
			size, index, times = size+s.size.Load(), index+s.index.count()*offsetEntryBytes, times+s.times.count()*timeEntryBytes
			if n > 0 && (size > int64(cfg.SegmentBytes) || index > indexBytes || times > indexBytes ||
				w.after(s)-1-segs[0].base > math.MaxInt32) {
				break
			}
			n++
		}
		groups = append(groups, segs[:n])
		segs = segs[n:]
	}
	return groups
}
