package log

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/log/record"
)

// maxWriteBytes bounds what one write takes from the queue beyond its first batch, and with that what a goroutine writes
// for others before it comes to its own; a larger write is no faster per byte.
const maxWriteBytes = 1 << 20

// flushState is what waits for a sync under flush.messages and flush.ms; guarded by Log.mu.
type flushState struct {
	messages int64 // appended since the last sync was asked for
	since    int64 // time of the oldest of them in ms, 0: none
}

func (f *flushState) add(info *record.Info, now int64) {
	f.messages += int64(info.LastOffsetDelta) + 1
	if f.since == 0 {
		f.since = now
	}
}

// Flush writes what is queued, with one write for many batches, and publishes the new LogEndOffset. When it returns,
// every batch that was staged before the call is written, or has its Err set; it may have been written by another
// goroutine's Flush. The error is that of the last write that failed here.
//
// If a write fails the file is cut back, all that is queued fails, and offsets and producer state are what they were
// (rules 3.1.5 and 4.2.11).
func (l *Log) Flush() error {
	l.mu.Lock()
	target := l.stagedSeq
	done := l.doneSeq >= target
	l.mu.Unlock()
	if done {
		return nil
	}
	defer l.wrote()
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	return l.writePending(target)
}

// wrote hands the log to the background work that follows a write.
func (l *Log) wrote() {
	if l.wantsSync() {
		l.dir.committer.add(l)
	}
	l.m.changed(l)
}

// wantsSync reports whether what was written has to be synced now.
func (l *Log) wantsSync() bool {
	cfg := l.cfg.Load()
	if cfg.AckDurable() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.flush.messages < cfg.FlushMessages && !l.names.directory { // a new log is to be found by its topic id after a crash
		return false
	}
	l.flush = flushState{}
	return true
}

// flushInTime has the log synced when its oldest unsynced append is older than flush.ms.
func (l *Log) flushInTime(now time.Time) {
	limit := l.cfg.Load().FlushMs
	if limit == NoLimit {
		return
	}
	l.mu.Lock()
	late := l.flush.since > 0 && now.UnixMilli()-l.flush.since >= limit
	l.mu.Unlock()
	if late {
		l.dir.committer.add(l)
	}
}

// writePending writes what is queued until append number target is done; appendMu is held.
func (l *Log) writePending(target uint64) error {
	var first *Append // what was taken from the queue and is not done
	defer func() {
		if p := recover(); p != nil {
			l.abandon(first, p)
			panic(p) // the connection ends; whoever else waits was answered
		}
	}()
	for {
		l.mu.Lock()
		if l.doneSeq >= target {
			l.mu.Unlock()
			return nil
		}
		var n int
		first, n = l.pending.take(maxWriteBytes)
		l.mu.Unlock()
		if err := l.writeBatches(first); err != nil {
			return l.failPending(first, err)
		}
		l.published(first, n)
		first = nil
	}
}

// abandon ends the use of a log in the middle of whose write the program panicked: nobody knows how far it came. What is
// queued fails, also that of other connections, and the next start recovers the log from its file. appendMu is held.
func (l *Log) abandon(first *Append, cause any) {
	err := fmt.Errorf("log %s is not used any more until a restart, after a fault in the program: %v: %w", l.tp, cause, kerr.KafkaStorageError)
	l.m.logger.Error("a write to a log panicked: its partition is offline until a restart", "log", l.tp.String(), "panic", cause)
	l.dir.suspect.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = err
	for _, queue := range [...]*Append{first, l.pending.head} {
		for a := queue; a != nil; {
			next := a.next
			a.next, a.Err = nil, err
			a = next
		}
	}
	l.pending = appendQueue{}
	l.doneSeq = l.stagedSeq
}

// writeBatches appends batches to the active segment's file in one write; appendMu is held.
func (l *Log) writeBatches(first *Append) error {
	l.iov = l.iov[:0]
	for a := first; a != nil; a = a.next {
		if !a.Duplicate {
			l.iov = append(l.iov, a.Batch)
		}
	}
	if len(l.iov) == 0 {
		return nil
	}
	err := l.write(l.iov)
	clear(l.iov)
	return err
}

// write appends bufs to the active segment's file; appendMu is held. On an error some bytes may be in the file.
func (l *Log) write(bufs [][]byte) error {
	seg := l.active()
	file, err := l.m.files.acquire(seg)
	if err != nil {
		return err
	}
	defer file.release()
	seg.unsynced.Store(true) // before the write, too: the descriptor must be open when the kernel writes back
	if len(bufs) == 1 {
		_, err = file.WriteAt(bufs[0], l.written.size)
	} else {
		_, err = file.WritevAt(bufs, l.written.size)
	}
	return err
}

// published makes batches that are in the file visible: index entries first, then the end; appendMu is held.
func (l *Log) published(first *Append, n int) {
	seg, cfg := l.active(), l.cfg.Load()
	interval := int64(cfg.IndexIntervalBytes)
	t := l.written // only the holder of appendMu changes it
	for a := first; a != nil; a = a.next {
		if a.Duplicate {
			continue
		}
		position := t.size
		if t.add(int64(a.Info.Size), a.LastOffset, a.Info.MaxTimestamp, interval) {
			seg.addEntries(&t, a.LastOffset, position)
		}
		if a.aborted {
			seg.txns.append(a.abortedAt)
			seg.indexDirty.Store(true)
		}
	}
	l.publishBatches(seg, t, first, n)
	l.flushEntries(seg)
}

// publishBatches is the part of published that readers see.
func (l *Log) publishBatches(seg *segment, t tail, first *Append, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	position := l.written.size
	for a := first; a != nil; {
		next := a.next // once doneSeq has moved, a is its owner's again
		if !a.Duplicate {
			l.recent.add(a.BaseOffset, a.LastOffset, position)
			position += int64(a.Info.Size)
			l.flush.add(&a.Info, a.Now)
			if a.LeaderEpoch > l.lastEpoch {
				l.assignEpoch(a.LeaderEpoch, a.BaseOffset)
			}
		}
		a.next = nil
		a = next
	}
	l.publish(seg, t)
	l.doneSeq += uint64(n)
}

// publish moves the end; mu and appendMu are held.
func (l *Log) publish(seg *segment, t tail) {
	l.written = t
	l.end = t.end()
	seg.size.Store(t.size)
	seg.unsynced.Store(true)
}

// failPending fails everything that is queued, the batches from first on included, and takes it back; appendMu is held.
func (l *Log) failPending(first *Append, cause error) error {
	err := l.failWrite(cause)
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*Append
	for a := first; a != nil; a = a.next {
		all = append(all, a)
	}
	for a := l.pending.head; a != nil; a = a.next {
		all = append(all, a)
	}
	l.pending = appendQueue{}
	for i := len(all) - 1; i >= 0; i-- {
		a := all[i]
		if !a.Duplicate {
			l.producers.undo(&a.undo)
		}
		a.next, a.Err = nil, err
	}
	l.staged, l.doneSeq = l.written, l.stagedSeq
	if e, ok := l.epochs.Latest(); ok && e.StartOffset > l.written.next {
		l.epochs.Assign(e.Epoch, l.written.next)
	}
	return err
}

// failWrite cuts a failed write back and returns the client's error; appendMu is held.
func (l *Log) failWrite(cause error) error {
	err := l.dir.writeFailed(l.tp, cause)
	if isTooManyFiles(cause) { // the file was not even opened
		return err
	}
	if cutErr := l.cutBack(); cutErr != nil {
		return l.dir.fail(fmt.Errorf("%s: take a failed write back: %w", l.tp, cutErr))
	}
	l.active().unsynced.Store(true) // or a power cut brings back what was refused
	l.dir.committer.add(l)
	return err
}

// cutBack removes the part of a failed write that is in the file.
func (l *Log) cutBack() error {
	file, err := l.m.files.acquire(l.active())
	if err != nil {
		return err
	}
	defer file.release()
	return file.Truncate(l.written.size)
}
