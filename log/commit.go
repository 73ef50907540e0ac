package log

// prepareCommit fills j with what the log has that is not synced, and pins the files. It reports false when everything
// is durable.
func (l *Log) prepareCommit(j *commitJob) bool {
	j.l, j.err, j.files = l, nil, j.files[:0]
	l.mu.Lock()
	j.target, j.cuts, j.names = l.end, l.cuts, l.names
	behind := l.durable != l.end || l.names != (unsyncedNames{})
	l.names = unsyncedNames{}
	l.flush.messages, l.flush.since = 0, 0
	segs, from := l.segmentList(), l.durable.SegmentBase
	var unsynced [4]*segment // more than one or two take a burst of rolls
	dirty := unsynced[:0]
	for i := len(segs) - 1; i >= 0 && segs[i].base >= from; i-- {
		if segs[i].unsynced.Swap(false) {
			dirty = append(dirty, segs[i])
		}
	}
	l.mu.Unlock()
	for _, s := range dirty {
		f, err := l.m.files.acquire(s)
		if isNotExist(err) { // truncated away meanwhile: nothing of it will be published
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
