package log

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

const (
	// keeperInterval is how often a data directory's keeper looks at what changed.
	keeperInterval = time.Second
	// recoveryBudget is how many bytes above the recovery points of a directory the keeper tolerates: recovery reads
	// them after a crash, in about a tenth of a second. Logs that write more than that in a second get a checkpoint each second, others
	// share it.
	recoveryBudget = 64 << 20
	// maxCheckpointAge bounds how long a log with little traffic waits for its checkpoint; Kafka's checkpoint interval is
	// a minute (rule 3.5.2).
	maxCheckpointAge = 10 * time.Second
	// maxCheckpoints bounds the checkpoints of one pass: each costs about five syncs, which compete with those that
	// producers wait for.
	maxCheckpoints = 64
	// checkpointShare bounds the time spent on rewriting the offset checkpoints, whose size grows with the number of
	// logs: 1/20 of the time.
	checkpointShare = 20
)

// keeper does the background work of one data directory: it moves recovery points, writes the offset checkpoints, syncs the
// durable marks, watches the free space and removes what was deleted. Its goroutine runs from start to stop.
type keeper struct {
	dir *Dir

	mu      sync.Mutex // guards what follows; never held across I/O
	changed []*Log     // since the last pass
	removal []removal
	noted   []notedPoint
	touched []notedStart
	forced  []chan struct{} // answered after a pass that moves every recovery point
	calls   []keeperCall

	stale staleSnapshots // has its own lock

	wake chan struct{}
	quit chan struct{}
	done chan struct{}

	// What follows belongs to the goroutine.
	behind      []*Log // changed, and not checkpointed yet
	trim        []*Log // whose starts were raised
	recovery    offsetFile
	starts      offsetFile
	cleaned     offsetFile
	nextRewrite time.Time
}

// removal is a directory that is to be removed.
type removal struct {
	path string
	at   time.Time
}

func newKeeper(d *Dir) *keeper {
	return &keeper{
		dir: d, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		recovery: offsetFile{name: RecoveryPointCheckpoint}, starts: offsetFile{name: LogStartCheckpoint},
		cleaned: offsetFile{name: CleanerCheckpoint},
	}
}

func (k *keeper) start() { go k.run() }

// stop ends the goroutine after the pass that is under way.
func (k *keeper) stop() {
	close(k.quit)
	<-k.done
}

// poke asks for a pass now.
func (k *keeper) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// add notes that the log changed.
func (k *keeper) add(l *Log) {
	if !l.watched.CompareAndSwap(false, true) {
		return
	}
	k.mu.Lock()
	k.changed = append(k.changed, l)
	k.mu.Unlock()
}

// removeLater removes a directory, which no log uses any more, after delay. A full disk doesn't wait.
func (k *keeper) removeLater(path string, delay time.Duration) {
	k.mu.Lock()
	k.removal = append(k.removal, removal{path, time.Now().Add(delay)})
	k.mu.Unlock()
	if delay <= 0 || k.dir.State() == DirFull {
		k.poke()
	}
}

// keeperCall is something that is to happen on the keeper's goroutine.
type keeperCall struct {
	fn   func()
	done chan struct{}
}

// do runs fn on the keeper's goroutine, and returns when it has, or when the keeper has stopped. It waits: no lock may be
// held. The token of a log may.
func (k *keeper) do(fn func()) {
	c := keeperCall{fn, make(chan struct{})}
	k.mu.Lock()
	k.calls = append(k.calls, c)
	k.mu.Unlock()
	k.poke()
	select {
	case <-c.done:
	case <-k.done:
	}
}

// force has all recovery points moved now, and returns when that is done. It waits: no lock may be held.
func (k *keeper) force() {
	done := make(chan struct{})
	k.mu.Lock()
	k.forced = append(k.forced, done)
	k.mu.Unlock()
	k.poke()
	select {
	case <-done:
	case <-k.done:
	}
}

func (k *keeper) run() {
	defer close(k.done)
	ticker := time.NewTicker(keeperInterval)
	defer ticker.Stop()
	for {
		select {
		case <-k.quit:
			return
		case <-k.wake:
		case <-ticker.C:
		}
		k.mu.Lock()
		forced, calls := k.forced, k.calls
		k.forced, k.calls = nil, nil
		k.mu.Unlock()
		for _, c := range calls {
			c.fn()
			close(c.done)
		}
		if k.dir.State() != DirFailed {
			k.pass(time.Now(), len(forced) > 0)
		}
		for _, done := range forced {
			close(done)
		}
	}
}

// pass is one look at everything. With force every recovery point is moved.
func (k *keeper) pass(now time.Time, force bool) {
	k.remove(now)
	k.dir.checkSpace()
	k.dir.m.files.trim()
	k.dir.m.files.closeUnused(now)
	k.mu.Lock()
	k.behind = append(k.behind, k.changed...)
	k.changed = k.changed[:0]
	k.mu.Unlock()
	if noted := k.takeNoted(); len(k.behind) == 0 && len(k.trim) == 0 && !noted {
		return
	}
	k.repair()
	for {
		chosen := k.choose(now, force)
		k.checkpoint(chosen)
		if !force || len(chosen) < maxCheckpoints {
			break
		}
	}
	_ = k.rewrite(now, force || len(k.trim) > 0) // what it could not write is still changed
	if !k.starts.changed {
		k.trimStarts()
	}
	k.syncMarks()
}

// syncMarks makes the marks durable, and removes what only the old ones needed.
func (k *keeper) syncMarks() {
	stale := k.stale.take()
	if err := k.dir.committer.do(nil, false); err != nil { // writes the marks that changed
		k.stale.add(stale...) // the disk is full
		return
	}
	if err := k.dir.marks.sync(); err != nil {
		_ = k.dir.fail(err)
		return
	}
	k.stale.remove(stale)
}

// repair makes indexes anew that were found not to fit their log. Those of an active segment are written to: they have
// to wait until it is sealed, and reads do without until then.
func (k *keeper) repair() {
	for _, l := range k.behind {
		for _, s := range l.segmentList() {
			if !s.broken.Load() || s == l.active() {
				continue
			}
			if !l.tryToken() {
				continue
			}
			if l.Err() != nil { // its files are another's business
				<-l.token
				continue
			}
			if err := l.rebuildIndexes(s); err != nil {
				k.dir.m.logger.Warn("the indexes of a segment can't be made anew", "segment", s.path(logSuffix), "error", err)
			}
			<-l.token
		}
	}
}

// choose returns the logs that get a checkpoint in this pass, and keeps those that don't in k.behind. Logs with the most
// bytes above their recovery point come first.
func (k *keeper) choose(now time.Time, force bool) []*Log {
	type candidate struct {
		l        *Log
		distance int64
		due      bool
	}
	var all []candidate
	var total int64
	for _, l := range k.behind {
		l.flushInTime(now)
		distance, due, live := l.behind(now)
		if !live {
			l.watched.Store(false)
			if _, _, live = l.behind(now); live { // since it was looked at
				k.add(l)
			}
			continue
		}
		all = append(all, candidate{l, distance, due})
		total += distance
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.distance, a.distance) })
	clear(k.behind)
	k.behind = k.behind[:0]
	var chosen []*Log
	for _, c := range all {
		if len(chosen) < maxCheckpoints && (force || c.due || total > recoveryBudget) {
			total -= c.distance
			chosen = append(chosen, c.l)
			c.l.watched.Store(false) // what changes from now on counts anew
			continue
		}
		k.behind = append(k.behind, c.l)
	}
	return chosen
}

// checkpoint moves the recovery points of logs to their ends. One round of the committer serves all of them.
func (k *keeper) checkpoint(logs []*Log) {
	if len(logs) == 0 {
		return
	}
	captures := make([]capture, 0, len(logs))
	for _, l := range logs {
		if !l.tryToken() {
			k.add(l)
			continue
		}
		c, err := l.capture(nil)
		if err != nil {
			<-l.token
			k.add(l)
			continue
		}
		captures = append(captures, c)
		k.dir.committer.add(l)
	}
	barrierErr := k.dir.committer.barrier()
	for i := range captures {
		c := &captures[i]
		if barrierErr == nil {
			k.finish(c)
		} else {
			k.add(c.l)
		}
		<-c.l.token
	}
}

// tryToken takes the log's token if it is free. The keeper never waits for one: its holder may be waiting for the keeper.
func (l *Log) tryToken() bool {
	select {
	case l.token <- struct{}{}:
		return true
	default:
		return false
	}
}

// finish completes one checkpoint; the log's token is held.
func (k *keeper) finish(c *capture) {
	l := c.l
	moved, err := l.finishCheckpoint(c)
	switch {
	case err != nil:
		k.add(l)
		_ = k.dir.writeFailed(l.tp, err)
	case moved:
		k.recovery.set(l.tp, c.at.Offset)
	default:
		k.add(l)
	}
	k.noteStart(l)
}

// remove removes the directories whose time has come, all of them when the disk is full.
func (k *keeper) remove(now time.Time) {
	full := k.dir.State() == DirFull
	k.mu.Lock()
	var due []string
	k.removal = slices.DeleteFunc(k.removal, func(r removal) bool {
		ripe := full || !r.at.After(now)
		if ripe {
			due = append(due, r.path)
		}
		return ripe
	})
	k.mu.Unlock()
	for _, path := range due {
		if err := k.dir.m.fs.RemoveAll(path); err != nil {
			k.dir.m.logger.Warn("a deleted log can't be removed; it is tried again at the next start", "path", path, "error", err)
		}
	}
}
