package log

// prepareCommit fills j with what the log has that is not synced, and pins the files. It reports false when everything
// is durable.
func (l *Log) prepareCommit(j *commitJob) bool {
	j.l, j.err, j.files, j.segments = l, nil, j.files[:0], j.segments[:0]
	l.mu.Lock()
	if l.deleted { // whoever made it dirty was late; its files have other names now
		l.mu.Unlock()
		return false
	}
	j.target, j.cuts, j.names = l.end, l.cuts, l.names
	behind := l.durable != l.end || l.names != (unsyncedNames{})
	l.names = unsyncedNames{}
	l.flush.messages, l.flush.since = 0, 0
	segs, from := l.segmentList(), l.durable.SegmentBase
	for i := len(segs) - 1; i >= 0 && segs[i].base >= from; i-- {
		if segs[i].unsynced.Swap(false) {
			j.segments = append(j.segments, segs[i])
		}
	}
	l.mu.Unlock()
	for _, s := range j.segments {
		f, err := l.m.files.acquire(s)
		if err == errRetired { // truncated away or deleted meanwhile: nothing of it will be published
			continue
		}
		if err != nil {
			j.err = err
			return true
		}
		j.files = append(j.files, f)
	}
	return behind || len(j.files) > 0
}

// putBack makes the log as dirty as it was before the round, which could not open a file.
func (l *Log) putBack(j *commitJob) {
	l.mu.Lock()
	l.names.segment = l.names.segment || j.names.segment
	l.names.directory = l.names.directory || j.names.directory
	l.mu.Unlock()
	for _, s := range j.segments {
		s.unsynced.Store(true)
	}
	l.dir.committer.add(l)
}

// stillValid reports whether what the round synced is still what the log consists of.
func (l *Log) stillValid(j *commitJob) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cuts == j.cuts && !l.cutting
}

// publishDurable moves DurableEnd to where the log stood when the round began, and reports whether it moved.
func (l *Log) publishDurable(j *commitJob) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cuts != j.cuts || l.cutting || l.durable == j.target {
		return false
	}
	l.durable = j.target
	return true
}
