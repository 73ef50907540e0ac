package log

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kbroker/kbroker/internal/vfs"
)

// defaultOpenSegments bounds the segments that are open at a time, each with up to four descriptors. A process may have
// 20,000 here and on many systems.
const defaultOpenSegments = 4000

// errRetired is the answer to whoever comes to a segment that has left its log meanwhile: what it held lies below the log
// start now, or in another segment. The log's list of segments is to be looked at again. It never leaves the package.
var errRetired = errors.New("the segment is no longer part of its log")

// openFile is an open file, counted: its owner has one reference, and each user one. The last one closes it, so that
// nobody ever meets a file that was closed between being looked up and used.
type openFile struct {
	vfs.File
	refs atomic.Int32
	used atomic.Bool // since the last sweep
}

// pin takes a reference and reports false when the file is closed already.
func (f *openFile) pin() bool {
	for {
		n := f.refs.Load()
		if n == 0 {
			return false
		}
		if f.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release gives a reference back.
func (f *openFile) release() {
	if f.refs.Add(-1) == 0 {
		_ = f.File.Close() // what had to be durable was synced before; nothing is left that this could report
	}
}

// descriptors opens segments' files when they are needed, and closes those not used for longest (in the approximation
// of the clock algorithm) when there are more than limit. A file with unsynced data stays open: the kernel reports a
// failed write-back only to descriptors that were open at the time. Who uses a segment's indexes has its log file pinned,
// so that those of a segment outside of the ring are closed; only checkpoints and recovery, which close them themselves,
// do without.
type descriptors struct {
	fs    vfs.FS
	limit int

	mu   sync.Mutex // guards what follows, and segment.ringAt; never held across I/O
	ring []*segment // those with an open file
	hand int
	// idleFrom is when closeUnused last looked at all of them.
	idleFrom time.Time
}

// idleAfter is how long a segment stays open that nobody uses: twice as long at most.
const idleAfter = time.Minute

// acquire returns the segment's open file with a reference for the caller. It allocates only when it has to open. The
// error is errRetired for a segment that left its log.
func (d *descriptors) acquire(s *segment) (*openFile, error) {
	if f := s.open.Load(); f != nil && f.pin() {
		if !f.used.Load() {
			f.used.Store(true)
		}
		return f, nil
	}
	if s.retired.Load() {
		return nil, errRetired
	}
	file, err := d.fs.OpenFile(s.path(logSuffix), os.O_RDWR, 0o644)
	if isTooManyFiles(err) && d.relieve() {
		file, err = d.fs.OpenFile(s.path(logSuffix), os.O_RDWR, 0o644)
	}
	if err != nil {
		if s.retired.Load() {
			err = errRetired
		}
		return nil, err
	}
	return d.adopt(s, file)
}

// adopt takes over a file that was just opened, and returns it with a reference for the caller. It closes the file when
// the segment left its log: by now the name may be that of another segment.
func (d *descriptors) adopt(s *segment, file vfs.File) (*openFile, error) {
	f := &openFile{File: file}
	f.refs.Store(2)
	f.used.Store(true)
	d.mu.Lock()
	if s.retired.Load() {
		d.mu.Unlock()
		_ = file.Close()
		return nil, errRetired
	}
	if other := s.open.Load(); other != nil && other.pin() { // another goroutine was first
		d.mu.Unlock()
		_ = file.Close()
		return other, nil
	}
	s.open.Store(f)
	s.ringAt = len(d.ring)
	d.ring = append(d.ring, s)
	victims := d.sweep(d.limit)
	d.mu.Unlock()
	closeAll(victims)
	return f, nil
}

// victim is a segment whose descriptors are given up.
type victim struct {
	s *segment
	f *openFile
}

func closeAll(victims []victim) {
	for _, v := range victims {
		_ = v.f.File.Close() // everything is synced
		v.s.closeIndexes()
	}
}

// sweep takes segments out of the ring until no more than limit are left, or all have had a second chance; mu is held.
// The caller closes the victims when it has given mu back.
func (d *descriptors) sweep(limit int) []victim {
	var victims []victim
	for tries := 2 * len(d.ring); tries > 0 && len(d.ring) > limit; tries-- {
		if d.hand >= len(d.ring) {
			d.hand = 0
		}
		s := d.ring[d.hand]
		f := s.open.Load()
		if f.used.Swap(false) || !d.detach(s, f) {
			d.hand++
			continue
		}
		victims = append(victims, victim{s, f})
	}
	return victims
}

// detach takes the file away from a segment that nobody uses and whose data is synced, and reports whether it did; mu is
// held, and the caller closes the file.
func (d *descriptors) detach(s *segment, f *openFile) bool {
	if s.unsynced.Load() || s.indexDirty.Load() || !f.refs.CompareAndSwap(1, 0) {
		return false
	}
	if s.unsynced.Load() { // written since it was looked at; nobody can be writing now
		f.refs.Store(1)
		return false
	}
	d.unring(s)
	s.open.Store(nil)
	return true
}

func (d *descriptors) unring(s *segment) {
	last := d.ring[len(d.ring)-1]
	d.ring[s.ringAt], last.ringAt = last, s.ringAt
	d.ring[len(d.ring)-1] = nil
	d.ring = d.ring[:len(d.ring)-1]
}

// trim closes what is above the limit: it could not be closed when it was opened, because the others were in use.
func (d *descriptors) trim() {
	d.mu.Lock()
	victims := d.sweep(d.limit)
	d.mu.Unlock()
	closeAll(victims)
}

// closeUnused closes every idleAfter what was not used since the last time.
func (d *descriptors) closeUnused(now time.Time) {
	var victims []victim
	d.mu.Lock()
	if now.Sub(d.idleFrom) >= idleAfter {
		d.idleFrom = now
		for i := len(d.ring) - 1; i >= 0; i-- { // detach fills the gap with the last one, which was looked at
			s := d.ring[i]
			if f := s.open.Load(); !f.used.Swap(false) && d.detach(s, f) {
				victims = append(victims, victim{s, f})
			}
		}
	}
	d.mu.Unlock()
	closeAll(victims)
}

// relieve closes half of the segments, as far as nobody uses them, when the process has no descriptor left. It reports
// whether there was one.
func (d *descriptors) relieve() bool {
	d.mu.Lock()
	victims := d.sweep(len(d.ring) / 2)
	d.mu.Unlock()
	closeAll(victims)
	return len(victims) > 0
}

// closeIdle closes the segment's descriptors if nobody uses them and everything is synced.
func (d *descriptors) closeIdle(s *segment) {
	d.mu.Lock()
	f := s.open.Load()
	idle := f != nil && d.detach(s, f)
	d.mu.Unlock()
	if idle {
		_ = f.File.Close() // everything is synced
	}
	if !s.indexDirty.Load() {
		s.closeIndexes()
	}
}

// retire closes the descriptors of a segment that leaves its log, as soon as nobody uses them, and lets nobody open them
// anew: what its names mean from now on is another's business.
func (d *descriptors) retire(s *segment) {
	d.mu.Lock()
	s.retired.Store(true)
	f := s.open.Swap(nil)
	if f != nil {
		d.unring(s)
	}
	d.mu.Unlock()
	if f != nil {
		f.release()
	}
	s.retireIndexes()
}
