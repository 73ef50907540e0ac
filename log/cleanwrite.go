package log

import (
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/record"
)

// cleanOutput writes the segments that take the place of a group of others: their files have the suffix .cleaned (rule
// 3.10.9). It is one segment, unless what stays takes more room than what was there: a delete horizon makes records
// longer, and a codec may pack less tightly than the producer did.
type cleanOutput struct {
	m   *Manager
	l   *Log
	cfg Config // of the log, with what one of these segments may hold
	now int64

	done []*cleanedSegment
	cur  *cleanedSegment // nil before the first batch
	buf  []byte          // of cur, not in the file yet
	size int             // of buf that makes a write
	paid func(n int) error
	err  error // of the disk, the first
}

// cleanedSegment is a segment that is being written, or complete and not in the log yet.
type cleanedSegment struct {
	seg  *segment
	file vfs.File
	t    tail
	at   int64 // bytes in the file
}

func newCleanOutput(l *Log, sourceBytes int64, now int64, buf []byte, paid func(int) error) *cleanOutput {
	o := &cleanOutput{m: l.m, l: l, cfg: *l.cfg.Load(), now: now, buf: buf[:0], size: cap(buf), paid: paid}
	o.cfg.SegmentBytes = int32(min(max(int64(o.cfg.SegmentBytes), sourceBytes), math.MaxInt32))
	o.cfg.SegmentMs, o.cfg.MaxCompactionLagMs = NoLimit, NoLimit
	return o
}

// cleanedPath names a file of a segment that is being written.
func cleanedPath(s *segment, suffix string) string { return s.path(suffix) + cleanedSuffix }

// note keeps an error of the disk, to be told from others.
func (o *cleanOutput) note(err error) error {
	if o.err == nil {
		o.err = err
	}
	return err
}

// begin starts a segment at base.
func (o *cleanOutput) begin(base int64) error {
	seg := newSegment(o.m.fs, o.l.path, base, &o.cfg)
	c := &cleanedSegment{seg: seg, t: newTail(base, o.now)}
	var err error
	if c.file, err = createCleaned(o.m.fs, seg, logSuffix); err != nil {
		return o.note(err)
	}
	o.cur = c
	o.done = append(o.done, c) // abort removes its files
	for suffix, x := range map[string]*entryFile{indexSuffix: &seg.index.entryFile, timeIndexSuffix: &seg.times.entryFile} {
		if err := x.create(cleanedPath(seg, suffix)); err != nil {
			return o.note(err)
		}
	}
	return nil
}

func createCleaned(fsys vfs.FS, s *segment, suffix string) (vfs.File, error) {
	return fsys.OpenFile(cleanedPath(s, suffix), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
}

// append writes the batch, which ends an aborted transaction if txn says so.
func (o *cleanOutput) append(b record.Batch, txn *AbortedTxn) error {
	size, last := int64(b.Size()), b.LastOffset()
	if o.cur != nil && o.cur.t.mustRoll(&o.cfg, size, last, b.MaxTimestamp(), o.now, 0) {
		if err := o.end(); err != nil {
			return err
		}
		if err := o.begin(b.BaseOffset()); err != nil {
			return err
		}
	}
	c := o.cur
	position := c.t.size
	if c.t.add(size, last, b.MaxTimestamp(), int64(o.cfg.IndexIntervalBytes)) {
		c.seg.addEntries(&c.t, last, position)
	}
	if txn != nil {
		if c.seg.txns.count() == 0 {
			if err := c.seg.txns.create(cleanedPath(c.seg, txnIndexSuffix)); err != nil {
				return o.note(err)
			}
		}
		c.seg.txns.append(*txn)
	}
	if len(o.buf)+len(b) > o.size {
		if err := o.flush(); err != nil {
			return err
		}
	}
	if len(b) > o.size {
		return o.write(b)
	}
	o.buf = append(o.buf, b...)
	return nil
}

func (o *cleanOutput) flush() error {
	err := o.write(o.buf)
	o.buf = o.buf[:0]
	return err
}

func (o *cleanOutput) write(p []byte) error {
	c := o.cur
	if len(p) == 0 {
		return nil
	}
	if _, err := c.file.WriteAt(p, c.at); err != nil {
		return o.note(fmt.Errorf("write %s: %w", c.file.Name(), err))
	}
	c.at += int64(len(p))
	if c.seg.index.wantsFlush() || c.seg.times.wantsFlush() {
		if err := c.seg.flushIndexes(); err != nil {
			return o.note(err)
		}
	}
	return o.paid(len(p))
}

// end completes the current segment and makes its content durable, not yet its names.
func (o *cleanOutput) end() error {
	if err := o.flush(); err != nil {
		return err
	}
	c := o.cur
	o.cur = nil
	c.seg.finish(&c.t)
	err := c.seg.sealIndexes()
	if err == nil {
		err = c.file.Sync()
	}
	if err == nil {
		err = c.seg.syncIndexes()
	}
	c.seg.size.Store(c.t.size)
	c.seg.largest.Store(&timeEntry{Timestamp: c.t.maxTimestamp, Offset: c.t.maxTimestampAt})
	return o.note(err)
}

// abort closes and removes what was written. Names that are part of an interrupted swap go first: without a .cleaned file
// beside them, the next start would take them for complete.
func (o *cleanOutput) abort() error {
	var errs []error
	remove := func(suffix string) (any bool) {
		for _, c := range o.done {
			for _, s := range segmentSuffixes {
				err := o.m.fs.Remove(c.seg.path(s) + suffix)
				if err != nil && !isNotExist(err) {
					errs = append(errs, err)
				}
				any = any || err == nil
			}
		}
		return any
	}
	for _, c := range o.done {
		c.seg.retireIndexes()
		errs = append(errs, c.file.Close())
	}
	if remove(swapSuffix) {
		errs = append(errs, o.m.fs.SyncDir(o.l.path))
	}
	remove(cleanedSuffix)
	o.done, o.cur = nil, nil
	return errors.Join(errs...)
}
