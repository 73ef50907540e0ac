package log

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
)

// openDirs opens all directories and checks that they belong together.
func (m *Manager) openDirs(o *Options) error {
	metas := make([]MetaProperties, 0, len(o.Dirs))
	known := make([]string, 0, len(o.Dirs))
	for _, name := range o.Dirs {
		d, err := m.lockDir(path.Clean(name))
		if err != nil {
			return err
		}
		m.dirs = append(m.dirs, d)
		meta, err := ReadMetaProperties(m.fs, d.path)
		if isNotExist(err) {
			d.isNew = true
			continue
		}
		if err != nil {
			return err
		}
		metas, known = append(metas, meta), append(known, d.path)
		d.meta = meta
	}
	if err := CheckMetaProperties(known, metas, o.ClusterID, o.NodeID); err != nil {
		return err
	}
	for _, d := range m.dirs {
		if err := d.claim(o); err != nil {
			return fmt.Errorf("data directory %s: %w", d.path, err)
		}
	}
	return nil
}

// lockDir makes the directory if it is not there, and locks it (rule 3.1.4).
func (m *Manager) lockDir(name string) (*Dir, error) {
	if err := m.fs.MkdirAll(name, 0o755); err != nil {
		return nil, fmt.Errorf("data directory %s can't be made; check its path and permissions, or set log.dirs: %w", name, err)
	}
	lock, err := m.fs.Lock(path.Join(name, lockFile))
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("data directory %s can't be written by this user; change its owner or permissions, or set log.dirs: %w", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("data directory %s is in use or can't be locked; stop the other process, or set log.dirs: %w", name, err)
	}
	d := &Dir{m: m, path: name, lock: lock, brokerEpoch: -1, ownMount: m.fs.OwnMount(name), down: make(chan struct{})}
	d.committer = newCommitter(d)
	d.keeper = newKeeper(d)
	return d, nil
}

// lockFile is held while the broker runs, and removed at a clean stop.
const lockFile = ".lock"

// claim writes what a new directory lacks, and reads what the last run left.
func (d *Dir) claim(o *Options) error {
	fsys := d.m.fs
	d.meta.ClusterID, d.meta.NodeID = o.ClusterID, o.NodeID
	if d.meta.DirectoryID == ([16]byte{}) {
		d.meta.DirectoryID = newDirectoryID()
		if d.isNew {
			d.meta.Format = FormatVersion
		}
		if err := WriteMetaProperties(fsys, d.path, d.meta); err != nil {
			return err
		}
		if err := fsys.SyncDir(path.Dir(d.path)); err != nil { // the directory may be new itself
			return err
		}
	}
	epoch, err := ReadCleanShutdown(fsys, d.path)
	switch {
	case err == nil:
		d.brokerEpoch = epoch
		// Before any log is opened: a crash from now on is a crash (KAFKA-10471).
		if err := RemoveCleanShutdown(fsys, d.path); err != nil {
			return err
		}
	case isNotExist(err):
		d.unclean = true
	default:
		return err
	}
	if d.marks, err = openDurableMarks(fsys, d.path); err != nil {
		return err
	}
	if d.recoveryPoints, err = d.readCheckpoint(RecoveryPointCheckpoint); err != nil {
		return err
	}
	if d.starts, err = d.readCheckpoint(LogStartCheckpoint); err != nil {
		return err
	}
	if d.highWatermarks, err = d.readCheckpoint(HighWatermarkCheckpoint); err != nil {
		return err
	}
	if d.cleaned, err = d.readCheckpoint(CleanerCheckpoint); err != nil {
		return err
	}
	d.keeper.cleaned.offsets = maps.Clone(d.cleaned)
	d.keeper.recovery.offsets, d.keeper.starts.offsets = maps.Clone(d.recoveryPoints), maps.Clone(d.starts)
	return nil
}

// adopt makes a directory that Kafka wrote one of kbroker's, unless a log could not be opened: from then on a log in it is
// known to be whole, or has a durable mark.
func (d *Dir) adopt() error {
	if d.meta.Format > 0 || d.suspect.Load() {
		return nil
	}
	if err := d.committer.do(nil, true); err != nil { // the marks first
		return err
	}
	meta := d.meta
	meta.Format = FormatVersion
	return WriteMetaProperties(d.m.fs, d.path, meta)
}

// readCheckpoint reads an offset checkpoint. A damaged one is as none, since each is only a lower bound.
func (d *Dir) readCheckpoint(name string) (map[TopicPartition]int64, error) {
	offsets, err := ReadCheckpoint(d.m.fs, d.path, name)
	if errors.Is(err, ErrCorrupt) {
		d.m.logger.Warn("a checkpoint is damaged and is not used", "dir", d.path, "error", err)
		return map[TopicPartition]int64{}, nil
	}
	return offsets, err
}

// newDirectoryID returns a random id: a version 4 UUID, never one of the reserved low numbers (rule 0.4.1).
func newDirectoryID() (id [16]byte) {
	rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// unlock gives the directory back after a failed start: the lock file stays, as after a crash.
func (d *Dir) unlock() {
	if d.marks != nil {
		_ = d.marks.close()
	}
	_ = d.lock.Close()
}

// WriteHighWatermarks replaces the checkpoint of high watermarks of each directory (rule 3.5.2). hw returns a log's high
// watermark, negative for one that has none. It waits for the disk.
func (m *Manager) WriteHighWatermarks(hw func(*Log) int64) error {
	var errs []error
	for _, d := range m.dirs {
		if d.State() == DirFailed {
			continue
		}
		offsets := make(map[TopicPartition]int64)
		for _, l := range m.logsIn(d) {
			if at := hw(l); at >= 0 && l.active() != nil {
				offsets[l.tp] = at
			}
		}
		if err := WriteCheckpoint(m.fs, d.path, HighWatermarkCheckpoint, offsets); err != nil {
			errs = append(errs, d.writeFailed(TopicPartition{}, err))
		}
	}
	return errors.Join(errs...)
}

// HighWatermark returns the high watermark that the checkpoint has for the log, clamped to what the log holds (rule
// 3.9.5): it may be low, it is never invented higher.
func (l *Log) HighWatermark() int64 {
	return min(max(l.dir.highWatermarks[l.tp], l.start.Load()), l.End().Offset)
}
