package log

import (
	"errors"
	"fmt"
	"slices"
)

// errCleaningAborted says that a log changed while it was cleaned, so that what was made of it is of no use (rule 3.10.10).
var errCleaningAborted = errors.New("the log was truncated, shortened or closed while it was cleaned")

// swap puts the output in the place of the segments old, which follow one another in the log. A crash at any point
// leaves the old segments or the new ones (rules 3.9.1 and 3.10.9):
//
//  1. The new files, whose content is synced, change their suffix from .cleaned to .swap, those of the first segment
//     last, and the directory is synced. Before that the next start removes them, afterwards it finishes the swap.
//  2. Readers get the new segments, by descriptors that are open already; those of the old ones are never opened again.
//  3. The old files are removed, and the directory synced: no name of theirs may be left when a .swap is gone that covers
//     it.
//  4. The new files get their names, the log files first, and the directory is synced.
//
// An error before the second step leaves the log as it was; one after it is the end of the data directory, which a
// restart finds in a good state.
func (l *Log) swap(old []*segment, out *cleanOutput, cuts uint64) error {
	if err := l.cleanerToken(); err != nil {
		return err
	}
	defer func() { <-l.token }()
	if !l.unchanged(old, cuts) {
		return errCleaningAborted
	}
	// The recovery point lies above, but the marks on the disk may still have an older one, whose place in bytes would be
	// the middle of a batch in a file that replaces it: recovery would take what follows for a torn tail.
	if err := l.dir.committer.do(nil, true); err != nil {
		return err
	}
	if err := l.commitSwap(out); err != nil {
		return err
	}
	pins, err := l.publishSwap(old, out)
	if err == nil {
		err = l.finishSwap(old, out)
	}
	for _, p := range pins {
		p.release()
	}
	if err != nil {
		return l.dir.fail(fmt.Errorf("swap cleaned segments of %s: %w", l.tp, err))
	}
	return nil
}

// unchanged reports whether the log still has the segments old, and was not truncated since it had made cuts
// truncations.
func (l *Log) unchanged(old []*segment, cuts uint64) bool {
	l.mu.Lock()
	same := l.closed == nil && l.cuts == cuts && !l.cutting
	l.mu.Unlock()
	return same && l.dir.failure() == nil && findRun(l.segmentList(), old) >= 0
}

// findRun returns where run begins in segs, or -1.
func findRun(segs, run []*segment) int {
	i := slices.Index(segs, run[0])
	if i < 0 || len(segs) < i+len(run) || !slices.Equal(segs[i:i+len(run)], run) {
		return -1
	}
	return i
}

// commitSwap is the first step.
func (l *Log) commitSwap(out *cleanOutput) error {
	for _, c := range slices.Backward(out.done) {
		for _, suffix := range slices.Backward(segmentSuffixes[:]) { // the log file last
			err := l.m.fs.Rename(cleanedPath(c.seg, suffix), c.seg.path(suffix)+swapSuffix)
			if err != nil && !(suffix == txnIndexSuffix && isNotExist(err)) {
				return out.note(err)
			}
		}
	}
	if err := l.m.fs.SyncDir(l.path); err != nil {
		return l.dir.fail(err)
	}
	return nil
}

// publishSwap is the second step. The new segments stay pinned until they have their names.
func (l *Log) publishSwap(old []*segment, out *cleanOutput) (pins []*openFile, err error) {
	fresh := make([]*segment, len(out.done))
	for i, c := range out.done {
		fresh[i] = c.seg
		pin, err := l.m.files.adopt(c.seg, c.file)
		if err != nil {
			return pins, err
		}
		pins = append(pins, pin)
	}
	l.appendMu.Lock()
	segs := l.segmentList() // a roll may have added one
	i := findRun(segs, old)
	next := slices.Concat(segs[:i], fresh, segs[i+len(old):])
	// Places below are no longer what they were. It is told before the list is, so that whoever has the new list knows.
	l.rewritten.Store(max(l.rewritten.Load(), segs[i+len(old)].base))
	l.segments.Store(&next)
	l.appendMu.Unlock()
	for _, s := range old {
		l.m.files.retire(s)
	}
	return pins, nil
}

// finishSwap is the third and the fourth step.
func (l *Log) finishSwap(old []*segment, out *cleanOutput) error {
	for _, s := range old {
		for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix, snapshotSuffix} {
			if s.base == out.done[0].seg.base && (suffix == logSuffix || suffix == snapshotSuffix) {
				continue // replaced by the rename; still right
			}
			if err := l.m.fs.Remove(s.path(suffix)); err != nil && !isNotExist(err) {
				return err
			}
		}
	}
	if err := l.m.fs.SyncDir(l.path); err != nil {
		return err
	}
	for _, suffix := range segmentSuffixes {
		for _, c := range out.done {
			err := l.m.fs.Rename(c.seg.path(suffix)+swapSuffix, c.seg.path(suffix))
			if err != nil && !(suffix == txnIndexSuffix && isNotExist(err)) {
				return err
			}
		}
	}
	return l.m.fs.SyncDir(l.path)
}
