// Package raftwal keeps what Raft must not forget: its HardState and its entries in a write-ahead log, and snapshots of
// the state machine, in one directory.
//
// It guarantees that what Append, Install or SaveSnapshot returned nil for is there when the directory is opened again,
// whatever happened to the machine in between; that a record is there whole or not at all; and that what is damaged is
// told from what was never finished, as far as that can be known: the first is an error, the second is cut off. At most
// two snapshots and the segments since the older one are kept. FORMAT.md describes the bytes.
package raftwal

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/kbroker/kbroker/internal/vfs"
)

// DirName is the directory below a data directory that this package's files are kept in. It is not that of Kafka's
// metadata log, whose format is another one.
const DirName = "kbroker-raft"

const (
	// defaultSegmentBytes is when a new segment begins: small enough that what a snapshot makes superfluous goes soon.
	defaultSegmentBytes = 1 << 20
	// reserveBytes is what is kept back for when the disk is full: deleting topics, which is how room is made, must
	// still be possible then. It is thousands of records.
	reserveBytes = 1 << 20
	reserveName  = "reserve"
)

// Options say where a WAL is kept.
type Options struct {
	FS vfs.FS
	// DataDir is the data directory. It must exist, and its name must be durable.
	DataDir string
	// RaftID is the member that this is. Files of another member are refused.
	RaftID uint64
	// SegmentBytes is when a new segment begins; 0 means 1 MiB.
	SegmentBytes int64
	Logger       *slog.Logger
}

// State is what was found when a WAL was opened.
type State struct {
	Snapshot  *Snapshot
	HardState *raftpb.HardState
	Entries   []*raftpb.Entry // those behind the snapshot
}

// WAL is an open write-ahead log. It belongs to one goroutine.
type WAL struct {
	o   Options
	dir string

	segments []segment // in order; the last is the one that is written
	file     vfs.File  // the last segment; nil before the first record is written
	size     int64     // of file
	// unproven is the last record of file, with the header in front of the first, when the process before this one wrote
	// it: whether it is on the disk is not known.
	unproven []byte
	next     uint64 // number of the next record
	buf      []byte

	hardState *raftpb.HardState // the last one written
	snapshots []uint64          // indexes of the snapshots that are kept, in order
	since     int64             // bytes written since the last snapshot
	replaced  bool              // whether the next record has to say that the log before it is gone
	reserved  bool              // whether the reserve file is there
	failed    error             // what broke it
}

// segment is one file of records.
type segment struct {
	first     uint64 // number of its first record; names the file
	lastIndex uint64 // highest index of an entry in it
}

func (w *WAL) segmentPath(first uint64) string { return path.Join(w.dir, segmentName(first)) }

// Open opens the WAL below a data directory. A nil State says that there is none yet: Bootstrap makes it.
func Open(o Options) (*WAL, *State, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
	w := &WAL{o: o, dir: path.Join(o.DataDir, DirName), next: 1}
	state, err := w.recover()
	if err != nil {
		return nil, nil, fmt.Errorf("open the controller's log in %s: %w", w.dir, err)
	}
	return w, state, nil
}

// Exists reports whether a data directory has a WAL that is not blank.
func Exists(fsys vfs.FS, dataDir string) (bool, error) {
	listing, err := fsys.ReadDir(path.Join(dataDir, DirName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	for _, e := range listing {
		for _, suffix := range []string{snapshotSuffix, segmentSuffix} {
			if _, ok := numbered(e, suffix); ok {
				return true, nil
			}
		}
	}
	return false, nil
}

// Bootstrap makes the first snapshot of a WAL that has none. Until it returned the directory counts as blank.
func (w *WAL) Bootstrap(s *Snapshot) error {
	if len(w.snapshots) > 0 {
		return fmt.Errorf("bootstrap %s: it has a snapshot already", w.dir)
	}
	if err := w.o.FS.MkdirAll(w.dir, 0o755); err != nil {
		return err
	}
	if err := w.o.FS.SyncDir(w.o.DataDir); err != nil {
		return err
	}
	return w.SaveSnapshot(s)
}

// Append writes a record and returns when it is durable. hs is nil when it is as before.
//
// After an error for which IsNoSpace holds nothing was written and the call may be made again. Any other error is for
// good: what is on the disk is not known any more.
func (w *WAL) Append(hs *raftpb.HardState, entries []*raftpb.Entry) error {
	return w.append(&change{hardState: hs, entries: entries})
}

// Install replaces state and log by a snapshot that another member sent.
func (w *WAL) Install(s *Snapshot, hs *raftpb.HardState, entries []*raftpb.Entry) error {
	// The order matters: a record that forgets the log must not be there without what the log is replaced by.
	if err := w.SaveSnapshot(s); err != nil {
		return err
	}
	return w.append(&change{reset: true, hardState: hs, entries: entries})
}

// IsNoSpace reports whether an error of Append says that the disk is full.
func IsNoSpace(err error) bool { return vfs.IsNoSpace(err) }

// SinceSnapshot is the number of bytes written since the last snapshot.
func (w *WAL) SinceSnapshot() int64 { return w.since }

func (w *WAL) append(c *change) error {
	if w.failed != nil {
		return w.failed
	}
	size := 0
	for _, e := range c.entries {
		size += len(e.GetData())
	}
	if size > MaxEntries {
		return fmt.Errorf("a record of %d bytes is more than the controller's log takes (%d)", size, MaxEntries)
	}
	c.reset = c.reset || w.replaced
	err := w.write(c)
	if vfs.IsNoSpace(err) && w.reserved && w.failed == nil {
		w.o.Logger.Warn("the disk is full: the controller's log goes on in its reserve", "dir", w.dir)
		w.reserved = false
		if err := w.o.FS.Remove(path.Join(w.dir, reserveName)); err != nil {
			return w.fail(err)
		}
		err = w.write(c)
	}
	switch {
	case err == nil:
		return nil
	case vfs.IsNoSpace(err) && w.failed == nil:
		return fmt.Errorf("write the controller's log in %s: %w", w.dir, err)
	default:
		return w.fail(err)
	}
}

// fail ends the WAL: after an error other than a full disk, and after any failed sync, it cannot be known what the disk
// holds, and trying again could take what is lost for written.
func (w *WAL) fail(err error) error {
	if w.failed == nil {
		w.failed = fmt.Errorf("write the controller's log in %s: %w", w.dir, err)
	}
	return w.failed
}

// write writes and syncs one record. When the disk is full it leaves things as they were.
func (w *WAL) write(c *change) error {
	if w.file == nil || w.size >= w.o.SegmentBytes {
		return w.writeSegment(c)
	}
	if err := w.prove(); err != nil {
		return err
	}
	w.buf = appendRecord(w.buf[:0], w.next, c)
	if _, err := w.file.WriteAt(w.buf, w.size); err != nil {
		if undo := w.file.Truncate(w.size); undo != nil {
			return w.fail(errors.Join(err, undo))
		}
		return err
	}
	if err := w.file.Sync(); err != nil {
		return w.fail(err)
	}
	w.written(c, int64(len(w.buf)))
	return nil
}

// prove makes durable what is unproven. It comes before the next record, since one that is whole behind one that is not
// would look like damage, and it writes again what is there: if a sync has failed in the process before, the kernel may
// have dropped the pages and still show them, and a sync alone would have nothing to write. Older records need none of
// this: each was written when those before it were durable.
func (w *WAL) prove() error {
	if w.unproven == nil {
		return nil
	}
	if _, err := w.file.WriteAt(w.unproven, w.size-int64(len(w.unproven))); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return w.fail(err)
	}
	w.unproven = nil
	return nil
}

// writeSegment writes a record as the first of a new segment.
func (w *WAL) writeSegment(c *change) error {
	if c.hardState == nil {
		// Each segment has the HardState, so that those before it can go.
		c = &change{reset: c.reset, hardState: w.hardState, entries: c.entries}
	}
	if err := w.prove(); err != nil {
		return err
	}
	w.buf = appendRecord(appendSegmentHeader(w.buf[:0], w.o.RaftID, w.next), w.next, c)
	name := w.segmentPath(w.next)
	file, err := w.o.FS.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if _, err := file.WriteAt(w.buf, 0); err != nil {
		if undo := errors.Join(file.Close(), w.o.FS.Remove(name)); undo != nil {
			return w.fail(errors.Join(err, undo))
		}
		return err
	}
	if err := errors.Join(file.Sync(), w.o.FS.SyncDir(w.dir)); err != nil {
		return w.fail(errors.Join(err, file.Close()))
	}
	if w.file != nil {
		if err := w.file.Close(); err != nil {
			return w.fail(err)
		}
	}
	w.file, w.size = file, 0
	w.segments = append(w.segments, segment{first: w.next})
	w.written(c, int64(len(w.buf)))
	return nil
}

// written notes that a record is durable.
func (w *WAL) written(c *change, n int64) {
	w.next++
	w.replaced = false
	w.size += n
	w.since += n
	w.note(c)
	if cap(w.buf) > 2*int(w.o.SegmentBytes) {
		w.buf = nil // a record of that size is rare
	}
}

// note takes notice of a record of the last segment.
func (w *WAL) note(c *change) {
	if c.hardState != nil {
		w.hardState = c.hardState
	}
	s := &w.segments[len(w.segments)-1]
	for _, e := range c.entries {
		s.lastIndex = max(s.lastIndex, e.GetIndex())
	}
}

// SaveSnapshot writes a snapshot and removes what is not needed any more.
func (w *WAL) SaveSnapshot(s *Snapshot) error {
	if w.failed != nil {
		return w.failed
	}
	if n := len(w.snapshots); n > 0 && s.Index <= w.snapshots[n-1] {
		return nil // there is one at least as new
	}
	if err := writeSnapshot(w.o.FS, w.dir, w.o.RaftID, s); err != nil {
		if vfs.IsNoSpace(err) {
			return err
		}
		return w.fail(err)
	}
	w.snapshots = append(w.snapshots, s.Index)
	w.since = 0
	if err := w.prune(); err != nil {
		return w.fail(err)
	}
	return nil
}

// prune removes all snapshots but the newest ones, and the segments that the oldest of those makes superfluous.
func (w *WAL) prune() error {
	for len(w.snapshots) > keepSnapshots {
		if err := w.o.FS.Remove(path.Join(w.dir, snapshotName(w.snapshots[0]))); err != nil {
			return err
		}
		w.snapshots = slices.Delete(w.snapshots, 0, 1)
	}
	for len(w.segments) > 1 && w.segments[0].lastIndex <= w.snapshots[0] {
		if err := w.o.FS.Remove(w.segmentPath(w.segments[0].first)); err != nil {
			return err
		}
		w.segments = slices.Delete(w.segments, 0, 1)
	}
	return nil
}

// Reserve makes sure that there is room for records when the disk is full. It may be called at any time, and should be
// from time to time, since the reserve is given up when it is needed; a disk that is full already is not an error.
func (w *WAL) Reserve() error {
	if w.reserved || w.failed != nil {
		return nil
	}
	name := path.Join(w.dir, reserveName)
	if info, err := w.o.FS.Stat(name); err == nil && info.Size() == reserveBytes {
		w.reserved = true
		return nil
	}
	if free, _, err := w.o.FS.Space(w.dir); err == nil && free < reserveBytes {
		return nil // to try would only take for a moment what others have use for
	}
	if err := writeFile(w.o.FS, name, make([]byte, reserveBytes)); err != nil {
		if err := w.o.FS.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("make room for the controller's log: %w", err)
		}
		if !vfs.IsNoSpace(err) {
			return fmt.Errorf("make room for the controller's log: %w", err)
		}
		return nil
	}
	w.reserved = true
	return nil
}

// Close closes the files. Everything that was written is durable already.
func (w *WAL) Close() error {
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file, w.failed = nil, fs.ErrClosed
	return err
}
