package log

import (
	"math"
	"path"
	"slices"
	"strings"
)

// unfinished are the files that a cleaner left behind (rule 3.9.1).
type unfinished struct {
	cleaned    []string // .cleaned: not complete
	swaps      []string // .swap
	minCleaned int64    // lowest base of cleaned
}

func (u *unfinished) add(name string, base int64) {
	if strings.HasSuffix(name, swapSuffix) {
		u.swaps = append(u.swaps, name)
		return
	}
	if len(u.cleaned) == 0 || base < u.minCleaned {
		u.minCleaned = base
	}
	u.cleaned = append(u.cleaned, name)
}

func (u *unfinished) any() bool { return len(u.cleaned)+len(u.swaps) > 0 }

// resolve removes what is not complete, and finishes the swap that is. A .swap with a base at or above that of a .cleaned
// file is not: it goes before the file that tells so. The directory is synced in between, so that a crash here starts
// over.
func (u *unfinished) resolve(l *Log, f *logFiles) error {
	var partial, complete []string
	for _, name := range u.swaps {
		if base, _ := parseSegmentBase(name[:20]); len(u.cleaned) > 0 && base >= u.minCleaned {
			partial = append(partial, name)
		} else {
			complete = append(complete, name)
		}
	}
	for _, names := range [][]string{partial, u.cleaned} {
		for _, name := range names {
			if err := l.m.fs.Remove(path.Join(l.path, name)); err != nil {
				return err
			}
		}
		if err := l.m.fs.SyncDir(l.path); err != nil {
			return err
		}
	}
	if err := l.dropCovered(f, complete); err != nil {
		return err
	}
	return l.nameSwaps(complete)
}

// dropCovered removes the segments whose offsets the complete replacements cover. One swap is under way at a time, so that
// they are one range. The log file that is replaced by name stays until then.
func (l *Log) dropCovered(f *logFiles, swaps []string) error {
	low, high := int64(math.MaxInt64), int64(-1)
	replaced := map[int64]bool{}
	for _, name := range swaps {
		if !strings.HasSuffix(name, logSuffix+swapSuffix) {
			continue
		}
		base, err := parseSegmentBase(name[:20])
		if err != nil {
			return err
		}
		end, err := l.endOfFile(path.Join(l.path, name), base)
		if err != nil {
			return err
		}
		low, high = min(low, base), max(high, end)
		replaced[base] = true
	}
	for base := range f.segments {
		if (base < low || base >= high) && !replaced[base] {
			continue
		}
		for _, suffix := range segmentSuffixes {
			if suffix == logSuffix && replaced[base] {
				continue
			}
			if err := l.m.fs.Remove(segmentPath(l.path, base, suffix)); err != nil && !isNotExist(err) {
				return err
			}
		}
	}
	return l.m.fs.SyncDir(l.path)
}

// nameSwaps gives the replacements their names, log files first.
func (l *Log) nameSwaps(swaps []string) error {
	for _, logs := range []bool{true, false} {
		for _, name := range slices.Sorted(slices.Values(swaps)) {
			if strings.HasSuffix(name, logSuffix+swapSuffix) != logs {
				continue
			}
			file := path.Join(l.path, name)
			if err := l.m.fs.Rename(file, strings.TrimSuffix(file, swapSuffix)); err != nil {
				return err
			}
		}
	}
	return l.m.fs.SyncDir(l.path)
}
