package log

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Known says whether a log found on disk is assigned to this broker, and with which settings (rule 3.9.7).
type Known func(tp TopicPartition, topicID [16]byte) (*Config, bool)

// Load opens the logs found in the data directories, a few at a time, and recovers those of directories that were not
// stopped cleanly (rule 3.9.2). A log that is not known is set aside: its directory is renamed to -stray and not served.
// Progress tells how far it is. What is wrong with one log fails its directory only if the disk does; the error is the
// first of those that kept a log from being served.
func (m *Manager) Load(ctx context.Context, known Known) error {
	type found struct {
		d    *Dir
		name DirName
	}
	var all []found
	for _, d := range m.dirs {
		names, err := d.scan()
		if err != nil {
			return fmt.Errorf("data directory %s: %w", d.path, err)
		}
		for _, n := range names {
			all = append(all, found{d, n})
		}
	}
	m.progress.logs.Store(int64(len(all)))
	work := make(chan found)
	var firstErr error
	var once sync.Once
	var wg sync.WaitGroup
	for range min(m.workers, len(all)) {
		wg.Go(func() {
			r := newRecovery(m)
			for f := range work {
				if err := m.loadOne(r, f.d, f.name, known); err != nil {
					m.logger.Error("a log can't be opened", "log", f.name.TopicPartition.String(), "dir", f.d.path, "error", err)
					m.mu.Lock()
					m.unopened[f.name.TopicPartition] = err
					m.mu.Unlock()
					f.d.suspect.Store(true)
					once.Do(func() { firstErr = fmt.Errorf("open log %s in %s: %w", f.name.TopicPartition, f.d.path, err) })
				}
				m.progress.logsDone.Add(1)
			}
		})
	}
feed:
	for _, f := range all {
		select {
		case work <- f:
		case <-ctx.Done():
			break feed
		}
	}
	close(work)
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	m.whole.Store(true)
	return errors.Join(firstErr, m.loaded())
}

// loaded ends Load: what was recovered is now what the next crash starts from.
func (m *Manager) loaded() error {
	var errs []error
	for _, d := range m.dirs {
		if d.State() == DirFailed {
			errs = append(errs, d.failure())
			continue
		}
		if err := d.adopt(); err != nil {
			errs = append(errs, d.writeFailed(TopicPartition{}, err))
		}
		d.keeper.poke()
	}
	return errors.Join(errs...)
}

// scan returns the logs of the directory. Directories that were deleted before the last stop are to be removed after
// their delay again (rule 3.6.5).
func (d *Dir) scan() ([]DirName, error) {
	entries, err := d.m.fs.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	var logs []DirName
	for _, e := range entries {
		if !e.IsDir() || e.Name() == "lost+found" { // that of ext4, when the directory is a mount
			continue
		}
		name, err := ParseDirName(e.Name())
		switch {
		case err != nil && strings.HasPrefix(e.Name(), "kbroker-"): // of other parts of kbroker, such as the controller's
		case err != nil || name.Topic == clusterMetadataTopic:
			d.m.logger.Warn("a directory in the data directory is not that of a log, and is left alone", "dir", d.path, "name", e.Name())
		case name.Kind == DirDelete:
			cfg := DefaultConfig()
			d.keeper.removeLater(path.Join(d.path, e.Name()), time.Duration(cfg.FileDeleteDelayMs)*time.Millisecond)
		case name.Kind == DirLog:
			logs = append(logs, name)
		default:
			d.m.logger.Warn("a directory of a log that is not in service is left alone", "dir", d.path, "name", e.Name())
		}
	}
	return logs, nil
}

// clusterMetadataTopic is Kafka's metadata log, which is not one of ours.
const clusterMetadataTopic = "__cluster_metadata"

// loadOne opens one log and registers it.
func (m *Manager) loadOne(r *recovery, d *Dir, name DirName, known Known) error {
	if err := d.failure(); err != nil {
		return err
	}
	tp := name.TopicPartition
	dir := path.Join(d.path, name.String())
	topicID, err := ReadPartitionMetadata(m.fs, dir)
	if isNotExist(err) || errors.Is(err, ErrCorrupt) {
		return d.setAsideUnnamed(name, err)
	}
	if err != nil {
		return d.fail(err)
	}
	cfg, ok := known(tp, topicID)
	if !ok {
		m.logger.Warn("a log on disk is not assigned to this broker: it is set aside and not served", "log", tp.String(), "topic_id", formatUUID(topicID), "dir", d.path)
		return d.setAsideStray(name, MarkKey{TopicID: topicID, Partition: tp.Partition})
	}
	l := newLog(m, d, tp, topicID, cfg)
	err = r.open(l)
	if err != nil && isNoSpace(err) { // recovery writes indexes and snapshots: the reserve is for that, too
		d.keeper.do(d.giveReserve)
		l.retireAll()
		l = newLog(m, d, tp, topicID, cfg)
		r.patient = true
		err = r.open(l)
		r.patient = false
	}
	if err != nil {
		l.retireAll()
	}
	if errors.Is(err, ErrCorrupt) || isNotExist(err) {
		return err
	}
	if err != nil {
		return d.writeFailed(tp, err)
	}
	if clean, ok := d.cleaned[tp]; ok && clean <= l.end.Offset {
		l.cleaned.Store(clean)
	}
	m.mu.Lock()
	other := m.logs[tp]
	if other == nil {
		m.logs[tp] = l
	}
	m.mu.Unlock()
	if other != nil {
		l.retireAll()
		return fmt.Errorf("the log is in %s as well; move one of the two directories away", other.dir.path)
	}
	d.logs.Add(1)
	for _, s := range l.segmentList() {
		m.files.closeIdle(s) // what recovery looked at; most logs are not used at once, nor are all segments
	}
	d.committer.add(l) // nothing, unless recovery made it start anew
	m.changed(l)
	return nil
}

// setAsideUnnamed sets a log aside whose partition.metadata does not tell its topic id, for the reason why. A crash right
// after its directory was made leaves that, before anything was acknowledged; then nothing or little is in it.
func (d *Dir) setAsideUnnamed(name DirName, why error) error {
	dir := path.Join(d.path, name.String())
	entries, err := d.m.fs.ReadDir(dir)
	if err != nil {
		return d.fail(err)
	}
	var bytes int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), logSuffix) {
			bytes += info.Size()
		}
	}
	d.m.logger.Warn("a directory does not say which topic id its log has: it is set aside", "dir", dir, "bytes", bytes, "error", why)
	if bytes > 0 {
		return d.setAside(name, DirStray)
	}
	if err := d.m.fs.RemoveAll(dir); err != nil {
		return d.fail(err)
	}
	return nil
}

// setAsideStray sets a log aside that is not assigned to this broker, and releases its durable mark: the slots are for
// logs in service, and the same partition would count as lost when it is assigned again. The directory goes first: a
// crash in between leaves a mark too many, where the other order could leave a log without its promise in service.
func (d *Dir) setAsideStray(name DirName, key MarkKey) error {
	if err := d.setAside(name, DirStray); err != nil {
		return d.writeFailed(name.TopicPartition, err)
	}
	if err := d.committer.do(func() { d.marks.release(key) }, true); err != nil {
		return err
	}
	return d.keeper.forgetNow(name.TopicPartition)
}

// setAside renames a log's directory to another kind, under a unique name.
func (d *Dir) setAside(name DirName, kind DirKind) error {
	old := path.Join(d.path, name.String())
	name.Kind, name.Unique = kind, newDirectoryID()
	if err := d.m.fs.Rename(old, path.Join(d.path, name.String())); err != nil {
		return err
	}
	return d.m.fs.SyncDir(d.path)
}

// parseSegmentBase reads the 20 digits that a segment's files are named by.
func parseSegmentBase(digits string) (int64, error) {
	base, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || len(digits) != 20 || base < 0 {
		return 0, fmt.Errorf("%q is no segment's base offset", digits)
	}
	return base, nil
}

// logFiles are the files of a log's directory.
type logFiles struct {
	segments  map[int64]int64 // size of .log by base offset
	snapshots []int64         // offsets, ascending
	indexes   []string        // names of index files
}

// listFiles lists the files of the log and finishes what was interrupted (rule 3.9.1): leftovers are removed, complete
// replacements of the cleaner put in place.
func (l *Log) listFiles() (*logFiles, error) {
	entries, err := l.m.fs.ReadDir(l.path)
	if err != nil {
		return nil, err
	}
	f := &logFiles{segments: make(map[int64]int64)}
	var clean unfinished
	var leftovers []string
	for _, e := range entries {
		name := e.Name()
		stem, suffix, _ := strings.Cut(name, ".")
		base, err := parseSegmentBase(stem)
		switch {
		case strings.HasSuffix(name, ".tmp"), err == nil && strings.HasSuffix(name, deletedSuffix):
			leftovers = append(leftovers, name)
		case err != nil:
		case strings.HasSuffix(name, cleanedSuffix), strings.HasSuffix(name, swapSuffix):
			clean.add(name, base)
		case suffix == "log":
			info, err := e.Info()
			if err != nil {
				return nil, err
			}
			f.segments[base] = info.Size()
		case suffix == "snapshot":
			f.snapshots = append(f.snapshots, base)
		case suffix == "index" || suffix == "timeindex" || suffix == "txnindex":
			f.indexes = append(f.indexes, name)
		}
	}
	if len(leftovers) == 0 && !clean.any() {
		return f, l.dropOrphans(f)
	}
	for _, name := range leftovers {
		if err := l.m.fs.Remove(path.Join(l.path, name)); err != nil {
			return nil, err
		}
	}
	if err := clean.resolve(l, f); err != nil {
		return nil, err
	}
	return l.listFiles()
}

// dropOrphans removes index files without a log file (rule 3.9.1).
func (l *Log) dropOrphans(f *logFiles) error {
	for _, name := range f.indexes {
		base, _ := parseSegmentBase(name[:20])
		if _, ok := f.segments[base]; ok {
			continue
		}
		if err := l.m.fs.Remove(path.Join(l.path, name)); err != nil {
			return err
		}
	}
	return nil
}
