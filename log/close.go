package log

import (
	"errors"
	"fmt"
	"path"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Delete removes a log whose partition was deleted or moved away. It is not served from this moment on; its directory
// is renamed, and removed after file.delete.delay.ms, at once when the disk is full (rule 3.6.5). Slices that were read before
// stay readable. It waits for the disk.
func (m *Manager) Delete(tp TopicPartition) error {
	m.mu.Lock()
	l := m.logs[tp]
	delete(m.logs, tp)
	m.mu.Unlock()
	if l == nil {
		return nil
	}
	l.dir.logs.Add(-1)
	l.token <- struct{}{}
	defer func() { <-l.token }()
	l.shut(fmt.Errorf("log %s was deleted: %w", tp, kerr.UnknownTopicOrPartition))
	l.notify()
	if err := l.dir.failure(); err != nil {
		return err
	}
	// Without the promise first: a crash in between would leave a promise that nobody keeps. A full disk hinders no
	// deletion, since that makes room: what could not be written follows then.
	if err := l.dir.committer.do(func() { l.dir.marks.release(l.key()) }, true); err != nil && !isNoSpace(err) {
		return err
	}
	m.cleaner.forget(l)
	if l.start.Load() == 0 && l.cleaned.Load() < 0 {
		l.dir.keeper.forget(tp)
	} else if err := l.dir.keeper.forgetNow(tp); err != nil {
		return err
	}
	if l.active() == nil {
		if _, err := m.fs.Stat(l.path); isNotExist(err) {
			return nil
		}
	}
	name := DirName{TopicPartition: tp, Kind: DirDelete, Unique: newDirectoryID()}
	to := path.Join(l.dir.path, name.String())
	err := m.fs.Rename(l.path, to)
	if err == nil {
		err = m.fs.SyncDir(l.dir.path)
	}
	if err != nil {
		return l.dir.writeFailed(tp, err)
	}
	l.dir.keeper.removeLater(to, time.Duration(l.cfg.Load().FileDeleteDelayMs)*time.Millisecond)
	return nil
}

// shut ends the use of the log, for the reason why; what is queued is written first. The token is held.
func (l *Log) shut(why error) {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.lockQuiet(); err != nil { // the batches failed, or more and more came; then those fail
		l.mu.Lock()
	}
	l.closed, l.deleted = why, true
	for a := l.pending.head; a != nil; {
		next := a.next
		a.next, a.Err = nil, why
		a = next
	}
	l.pending = appendQueue{}
	l.doneSeq = l.stagedSeq
	l.mu.Unlock()
	l.retireAll()
}

// retireAll closes all descriptors of the log for good.
func (l *Log) retireAll() {
	for _, s := range l.segmentList() {
		l.m.files.retire(s)
	}
}

// Close stops the Manager: every log is written, synced and checkpointed, and then each directory gets its clean
// shutdown file with brokerEpoch, last of all (rule 3.3.5), and its lock file goes. Logs refuse everything from then on.
// A directory that failed, or that fails now, or whose logs were not all looked at by Load, gets no such file and is
// recovered at the next start.
func (m *Manager) Close(brokerEpoch int64) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	m.mu.Unlock()
	m.cleaner.stop()
	errs := make([]error, len(m.dirs))
	var wg sync.WaitGroup
	for i, d := range m.dirs {
		wg.Go(func() { errs[i] = d.close(brokerEpoch) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// closers is how many logs of a directory are closed at a time: they wait for syncs.
const closers = parallelSyncs

func (d *Dir) close(brokerEpoch int64) error {
	d.keeper.stop()
	logs := d.m.logsIn(d)
	var mu sync.Mutex // guards the keeper's checkpoints, which belong to this function now
	var wg sync.WaitGroup
	work := make(chan *Log)
	var errs []error
	for range min(closers, len(logs)) {
		wg.Go(func() {
			for l := range work {
				c, err := l.close()
				mu.Lock()
				if err != nil {
					errs = append(errs, fmt.Errorf("close log %s: %w", l.tp, err))
				} else if c.l != nil {
					d.keeper.recovery.set(l.tp, c.at.Offset)
					d.keeper.noteStart(l)
				}
				mu.Unlock()
			}
		})
	}
	for _, l := range logs {
		work <- l
	}
	close(work)
	wg.Wait()
	err := errors.Join(errs...)
	if err == nil {
		err = d.finishClose(brokerEpoch)
	}
	d.committer.stop()
	for _, l := range logs {
		l.retireAll()
	}
	if failure := d.failure(); failure != nil {
		err = failure
	}
	if err == nil && d.m.whole.Load() && !d.suspect.Load() { // a recovery that was broken off is none
		err = WriteCleanShutdown(d.m.fs, d.path, brokerEpoch)
	}
	if err == nil {
		err = d.m.fs.Remove(path.Join(d.path, lockFile))
	}
	return errors.Join(err, d.marks.close(), d.lock.Close())
}

// finishClose writes the directory's checkpoints and marks. The logs are closed: nobody uses their files.
func (d *Dir) finishClose(brokerEpoch int64) error {
	d.keeper.takeNoted()
	if err := d.keeper.rewrite(time.Now(), true); err != nil {
		return err
	}
	stale := d.keeper.stale.take()
	if err := d.committer.do(nil, true); err != nil {
		return err
	}
	var errs []error
	for _, s := range stale {
		if d.m.Get(s.l.tp) == s.l { // not deleted, and perhaps made anew under its name
			errs = append(errs, s.l.dropSnapshot(s.offset))
		}
	}
	return errors.Join(errs...)
}

// close syncs and checkpoints the log; it takes nothing any more. A log without a segment has nothing to checkpoint.
func (l *Log) close() (capture, error) {
	l.token <- struct{}{}
	defer func() { <-l.token }()
	if err := l.dir.failure(); err != nil {
		return capture{}, err
	}
	l.mu.Lock()
	abandoned := l.closed != nil
	l.mu.Unlock()
	if abandoned { // the directory gets no clean shutdown file
		return capture{}, nil
	}
	stopped := fmt.Errorf("log %s: %w: %w", l.tp, errStopped, kerr.KafkaStorageError)
	if l.active() == nil || l.Loss() != nil {
		l.mu.Lock()
		l.closed = stopped
		l.mu.Unlock()
		return capture{}, nil
	}
	if l.closeSettled(stopped) {
		return capture{}, nil
	}
	c, err := l.capture(stopped)
	if err != nil {
		return capture{}, err
	}
	l.dir.committer.add(l)
	if err := l.dir.committer.barrier(); err != nil {
		return capture{}, err
	}
	moved, err := l.finishCheckpoint(&c)
	if err == nil && !moved {
		err = fmt.Errorf("the log is not durable up to %d", c.at.Offset)
	}
	return c, err
}

// closeSettled ends the use of a log that has nothing to write, to sync or to checkpoint, and reports whether it was one.
// Most of ten thousand logs are such, and each round of the Committer waits for the disk. The token is held.
func (l *Log) closeSettled(why error) bool {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	for _, s := range l.segmentList() {
		if s.unsynced.Load() || s.indexDirty.Load() {
			return false
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending.head != nil || l.durable != l.end || l.checkpoint.recovery != l.end || len(l.checkpoint.snapshots) > 0 ||
		l.names != (unsyncedNames{}) || l.epochs.Dirty() {
		return false
	}
	l.closed = why
	return true
}
