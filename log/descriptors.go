package log

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/kbroker/kbroker/internal/vfs"
)

// defaultOpenSegments bounds the segments that are open at a time, each with up to four descriptors. A process may have
// 20,000 here and on many systems.
const defaultOpenSegments = 4000

// openFile is an open log file of a segment, counted: descriptors has one reference while the file is in its ring, and
// each user one. The last one closes it.
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
// failed write-back only to descriptors that were open at the time.
type descriptors struct {
	fs    vfs.FS
	limit int

	mu   sync.Mutex // guards what follows; never held across I/O
	ring []*segment // those with an open file
	hand int
}

// acquire returns the segment's open file with a reference for the caller. It allocates only when it has to open.
func (d *descriptors) acquire(s *segment) (*openFile, error) {
	if f := s.open.Load(); f != nil && f.pin() {
		if !f.used.Load() {
			f.used.Store(true)
		}
		return f, nil
	}
	file, err := d.fs.OpenFile(s.path(logSuffix), os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	f := d.adopt(s, file)
	return f, nil
}

// adopt takes over a file that was just opened, and returns it with a reference for the caller.
func (d *descriptors) adopt(s *segment, file vfs.File) *openFile {
	f := &openFile{File: file}
	f.refs.Store(2)
	f.used.Store(true)
	d.mu.Lock()
	if other := s.open.Load(); other != nil && other.pin() { // another goroutine was first
		d.mu.Unlock()
		_ = file.Close()
		return other
	}
	s.open.Store(f)
	d.ring = append(d.ring, s)
	victims := d.sweep()
	d.mu.Unlock()
	for _, v := range victims {
		v.close()
	}
	return f
}

// victim is a segment whose descriptors are given up.
type victim struct {
	s *segment
	f *openFile
}

func (v victim) close() {
	_ = v.f.File.Close() // everything is synced
	v.s.closeIndexes()
}

// sweep takes segments out of the ring until it is small enough, or all have had a second chance; mu is held.
func (d *descriptors) sweep() []victim {
	var victims []victim
	for tries := 2 * len(d.ring); tries > 0 && len(d.ring) > d.limit; tries-- {
		if d.hand >= len(d.ring) {
			d.hand = 0
		}
		s := d.ring[d.hand]
		f := s.open.Load()
		if f.used.Swap(false) || s.unsynced.Load() || s.indexDirty.Load() || !f.refs.CompareAndSwap(1, 0) {
			d.hand++
			continue
		}
		if s.unsynced.Load() { // written since it was looked at; nobody can be writing now
			f.refs.Store(1)
			d.hand++
			continue
		}
		d.unring(d.hand)
		s.open.Store(nil)
		victims = append(victims, victim{s, f})
	}
	return victims
}

func (d *descriptors) unring(i int) {
	last := len(d.ring) - 1
	d.ring[i] = d.ring[last]
	d.ring[last] = nil
	d.ring = d.ring[:last]
}

// forget closes the segment's descriptors as soon as nobody uses them.
func (d *descriptors) forget(s *segment) {
	d.mu.Lock()
	f := s.open.Swap(nil)
	if f != nil {
		for i := range d.ring {
			if d.ring[i] == s {
				d.unring(i)
				break
			}
		}
	}
	d.mu.Unlock()
	if f != nil {
		f.release()
	}
	s.closeIndexes()
}

// retryClosed calls fn again when it met an index file that was closed by sweep at that moment; it opens it anew.
func retryClosed(fn func() error) error {
	err := fn()
	for tries := 0; tries < 8 && errors.Is(err, fs.ErrClosed); tries++ {
		err = fn()
	}
	return err
}
