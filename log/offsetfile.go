package log

import "time"

// offsetFile is the content of an offset checkpoint.
type offsetFile struct {
	name    string
	offsets map[TopicPartition]int64
	changed bool
}

func (f *offsetFile) set(tp TopicPartition, offset int64) {
	if old, ok := f.offsets[tp]; !ok || old != offset {
		f.offsets[tp], f.changed = offset, true
	}
}

func (f *offsetFile) remove(tp TopicPartition) {
	if _, ok := f.offsets[tp]; ok {
		delete(f.offsets, tp)
		f.changed = true
	}
}

func (f *offsetFile) write(d *Dir) error {
	if !f.changed {
		return nil
	}
	if err := WriteCheckpoint(d.m.fs, d.path, f.name, f.offsets); err != nil {
		return err
	}
	f.changed = false
	return nil
}

// notedPoint is a recovery point that was found or lowered outside of the keeper's goroutine. gone: the log is.
type notedPoint struct {
	tp     TopicPartition
	offset int64
	gone   bool
}

// note has the recovery point checkpoint say offset for a log.
func (k *keeper) note(tp TopicPartition, offset int64) {
	k.mu.Lock()
	k.noted = append(k.noted, notedPoint{tp: tp, offset: offset})
	k.mu.Unlock()
}

// forget removes a log from the checkpoints, with the next rewrite.
func (k *keeper) forget(tp TopicPartition) {
	k.mu.Lock()
	k.noted = append(k.noted, notedPoint{tp: tp, gone: true})
	k.mu.Unlock()
}

// forgetNow is forget, and returns when the rows are gone from the disk with which a crash would do harm to a log that is
// made anew under the name: its records would lie below the old log start, or be taken for clean. On a full disk they go
// when there is room, since a deletion is what makes some. It waits: no lock may be held. The log's token may.
func (k *keeper) forgetNow(tp TopicPartition) error {
	k.forget(tp)
	err := errStopped
	k.do(func() {
		k.takeNoted()
		for _, f := range []*offsetFile{&k.starts, &k.cleaned} {
			if err = f.write(k.dir); err != nil {
				err = k.dir.writeFailed(tp, err)
				return
			}
		}
	})
	if isNoSpace(err) {
		return nil
	}
	return err
}

// notedStart is a log start that changed, as the checkpoint is to have it.
type notedStart struct {
	l     *Log
	start int64
	above bool // it lies above the first segment's base, so that it has a row (rule 3.3.2)
}

// startOf is the row of a log in the checkpoint of log starts.
func startOf(l *Log) notedStart {
	segs, start := l.segmentList(), l.start.Load()
	return notedStart{l, start, len(segs) > 0 && start > segs[0].base}
}

// touch has the checkpoint of log starts follow a log, though nothing was appended. The row is that of this moment: a later
// one may know of segments that are gone, but not yet on the disk.
func (k *keeper) touch(l *Log) {
	k.mu.Lock()
	k.touched = append(k.touched, startOf(l))
	k.mu.Unlock()
}

// takeNoted brings the checkpoints up to what was noted.
func (k *keeper) takeNoted() (any bool) {
	k.mu.Lock()
	noted, touched := k.noted, k.touched
	k.noted, k.touched = nil, nil
	k.mu.Unlock()
	for _, s := range touched {
		k.setStart(s)
		k.trim = append(k.trim, s.l)
	}
	for _, n := range noted {
		if n.gone {
			k.recovery.remove(n.tp)
			k.starts.remove(n.tp)
			k.cleaned.remove(n.tp)
		} else {
			k.recovery.set(n.tp, n.offset)
		}
	}
	return len(noted)+len(touched) > 0
}

// lowerStart has the log start checkpoint follow a log whose start went down, and returns when that is on the disk:
// otherwise the old start would hide new records after a crash. It waits: no lock may be held. The log's token may.
func (k *keeper) lowerStart(l *Log) error {
	err := errStopped
	k.do(func() {
		k.noteStart(l)
		if err = k.starts.write(k.dir); err != nil {
			err = k.dir.writeFailed(l.tp, err)
		}
	})
	return err
}

// writeCleaned has the cleaner's checkpoint follow a log, and returns when that is on the disk. It waits: no lock may be
// held. The log's token may.
func (k *keeper) writeCleaned(l *Log) error {
	err := errStopped
	k.do(func() {
		if at := l.cleaned.Load(); at >= 0 {
			k.cleaned.set(l.tp, at)
		} else {
			k.cleaned.remove(l.tp)
		}
		if err = k.cleaned.write(k.dir); err != nil {
			err = k.dir.writeFailed(l.tp, err)
		}
	})
	return err
}

// noteStart keeps the checkpoint of log starts. The log's token is held.
func (k *keeper) noteStart(l *Log) { k.setStart(startOf(l)) }

func (k *keeper) setStart(s notedStart) {
	s.l.mu.Lock()
	deleted := s.l.deleted
	s.l.mu.Unlock()
	if deleted { // a row would be another log's of that name; what there is goes with forget
		return
	}
	if s.above {
		k.starts.set(s.l.tp, s.start)
	} else {
		k.starts.remove(s.l.tp)
	}
}

// trimStarts removes the segments that lie below log starts which were raised. The starts are on the disk.
func (k *keeper) trimStarts() {
	logs := k.trim
	k.trim = nil
	for _, l := range logs {
		if !l.tryToken() {
			k.trim = append(k.trim, l)
			continue
		}
		var err error
		if l.Err() == nil && l.Loss() == nil {
			err = l.dropBelowStart()
		}
		<-l.token
		if err != nil {
			k.dir.m.logger.Warn("segments below the log start can't be removed; the next retention check tries again", "log", l.tp.String(), "error", err)
		}
	}
}

// rewrite writes the offset checkpoints that changed. Without force it does so rarely when they are large.
func (k *keeper) rewrite(now time.Time, force bool) error {
	if !force && now.Before(k.nextRewrite) {
		return nil
	}
	began := time.Now()
	for _, f := range []*offsetFile{&k.recovery, &k.starts, &k.cleaned} {
		if err := f.write(k.dir); err != nil {
			return k.dir.writeFailed(TopicPartition{}, err)
		}
	}
	k.nextRewrite = now.Add(time.Since(began) * checkpointShare)
	return nil
}
