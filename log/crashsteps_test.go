package log

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log/record"
)

// appendSome stages a few batches and flushes them.
func (w *powerWalk) appendSome(g *walkLog) {
	if w.r.IntN(5) == 0 {
		g.leader++
		if err := g.l.BecomeLeader(g.leader); err != nil {
			panic(err)
		}
	}
	n := 1 + w.r.IntN(4)
	appends := make([]*Append, 0, n)
	for range n {
		b := makeBatch(batchSpec{n: 1 + w.r.Int32N(4), value: w.r.IntN(300), timestamp: w.r.Int64N(1000), pid: 1 + int64(g.partition), seq: g.seq, fill: byte(w.r.Uint32())})
		a := newAppend(b, g.leader)
		if err := g.l.Stage(a); err != nil {
			w.note("stage: %v", err)
			break
		}
		g.seq = record.AddSequence(b.LastSequence(), 1)
		appends = append(appends, a)
		// What is staged may be written from now on, by a roll.
		g.batches = append(g.batches, walkBatch{a.BaseOffset, a.LastOffset, g.leader, a.Batch})
	}
	g.written = false
	if err := g.l.Flush(); err != nil {
		w.note("flush: %v", err)
	}
	failed := 0
	for _, a := range appends {
		if a.Err != nil {
			failed++
		}
	}
	w.note("append %d of %d to %d, %d failed", len(appends), n, g.partition, failed)
	if w.m.dirs[0].State() == DirFailed {
		return
	}
	kept := len(g.batches) - failed // the others are taken back, and nothing else
	g.ghosts = append(g.ghosts, g.batches[kept:]...)
	g.batches = g.batches[:kept:kept]
	if end := g.l.End().Offset; end != g.end() && w.crashed.Load() == nil {
		w.broken = fmt.Errorf("log %d ends at %d after %d of %d appends failed, not at %d", g.partition, end, failed, len(appends), g.end())
	}
	g.resume()
	g.written = true
}

// resume lets the producer go on with what is in the log.
func (g *walkLog) resume() {
	g.seq = 0
	if n := len(g.batches); n > 0 {
		g.seq = record.AddSequence(record.Batch(g.batches[n-1].bytes).LastSequence(), 1)
	}
}

// fault has a coming operation fail.
func (w *powerWalk) fault() {
	err := syscall.ENOSPC
	if w.r.IntN(4) == 0 {
		err = syscall.EIO
	}
	ops := simfs.OpWrite | simfs.OpOpen | simfs.OpMkdir
	if w.r.IntN(3) == 0 {
		ops |= simfs.OpSync | simfs.OpSyncDir | simfs.OpSyncFS | simfs.OpRename | simfs.OpTruncate | simfs.OpRead | simfs.OpRemove
	}
	w.note("fault %v", err)
	w.disk.Inject(simfs.Rule{Ops: ops, Pattern: "*", Skip: w.r.IntN(20), Times: 1 + w.r.IntN(3), Err: err, Partial: w.r.Int64N(700)})
}

// mend ends all faults, and waits until a full directory has room.
func (w *powerWalk) mend() {
	w.disk.ClearRules()
	d := w.m.dirs[0]
	for i := 0; d.State() == DirFull && i < 100_000; i++ {
		d.keeper.poke()
		time.Sleep(100 * time.Microsecond)
	}
	if d.State() == DirFull {
		w.broken = fmt.Errorf("the directory stays full")
	}
}

func (w *powerWalk) truncate(g *walkLog) {
	target := int64(0)
	if g.end() > 0 {
		target = w.r.Int64N(g.end() + 1)
	}
	cut := len(g.batches)
	for cut > 0 && g.batches[cut-1].last >= target {
		cut--
	}
	g.durable = min(g.durable, target)
	if cut < len(g.batches) {
		g.durable = min(g.durable, g.batches[cut].base)
	}
	starts := g.starts
	if cut == 0 {
		g.durable, g.starts = 0, append(slices.Clone(starts), 0, target)
	}
	g.written = false
	w.note("truncate %d to %d", g.partition, target)
	if err := g.l.TruncateTo(target); err != nil {
		w.note("truncate: %v", err)
		if w.m.dirs[0].State() != DirFailed { // nothing was cut
			g.written, g.starts = true, starts
		}
		return
	}
	g.batches = g.batches[:cut]
	g.written = true
	if got := g.l.End().Offset; got != g.end() && cut > 0 && w.crashed.Load() == nil {
		w.broken = fmt.Errorf("log %d ends at %d after a truncation to %d, not at %d", g.partition, got, target, g.end())
	}
	if g.resume(); cut == 0 {
		g.starts = []int64{g.l.StartOffset()}
	}
}

func (w *powerWalk) restart(g *walkLog) {
	at := g.end() + w.r.Int64N(50)
	g.durable, g.written = 0, false
	w.note("restart %d at %d", g.partition, at)
	starts := g.starts
	g.starts = append(slices.Clone(starts), 0, at) // 0: no segment is left
	if err := g.l.TruncateFullyAndStartAt(at); err != nil {
		w.note("restart: %v", err)
		if w.m.dirs[0].State() != DirFailed { // nothing was cut
			g.written, g.starts = true, starts
		}
		return
	}
	g.batches, g.starts, g.seq, g.written = nil, []int64{at}, 0, true
}

// observe takes note of what was promised until now.
func (w *powerWalk) observe() {
	for _, g := range w.logs {
		if g.l != nil {
			g.durable = max(g.durable, g.l.DurableEnd().Offset)
		}
	}
}

// crashLater cuts the power, or kills the process, in the middle of some coming operation.
func (w *powerWalk) crashLater() {
	seed, kill := w.r.Uint64(), w.r.IntN(4) == 0
	w.mu.Lock()
	disk, process := w.disk, w.process
	w.mu.Unlock()
	w.disk.Inject(simfs.Rule{Ops: ^simfs.Op(0), Pattern: "*", Skip: w.r.IntN(60), Times: 1, Before: func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.process != process {
			return
		}
		w.process++
		if kill {
			w.crashed.Store(disk.Kill())
		} else {
			w.crashed.Store(disk.Crash(seed))
		}
	}})
}

// settle lets the Committer finish.
func (w *powerWalk) settle(g *walkLog) {
	for i := 0; i < 200 && g.l.DurableEnd() != g.l.End() && g.l.Err() == nil && g.cfg.AckDurable(); i++ {
		time.Sleep(20 * time.Microsecond)
	}
}

// distrust notes that a failed sync may have lost what is still in the page cache.
func (w *powerWalk) distrust() {
	for _, g := range w.logs {
		g.written = false
	}
}

func (w *powerWalk) stopCleanly() error {
	w.note("close")
	err := w.m.Close(7)
	if w.crashed.Load() != nil {
		return nil
	}
	if err != nil { // a fault
		w.note("close: %v", err)
		w.distrust()
		return w.crash()
	}
	w.disk.ClearRules()
	return w.open(true)
}

func (w *powerWalk) crash() error {
	w.mu.Lock()
	crashed := w.crashed.Load() != nil
	w.process++
	w.mu.Unlock()
	if crashed {
		return nil
	}
	w.observe()
	old := w.m
	var killed bool
	switch w.r.IntN(3) {
	case 0:
		w.note("kill")
		before := w.disk
		w.disk, killed = before.Kill(), true
		if before.LostSyncs() > 0 { // the Committer's, a moment ago
			w.distrust()
		}
	case 1:
		w.note("power cut, worst case")
		w.disk = w.disk.CrashWorst()
	default:
		w.note("power cut")
		w.disk = w.disk.Crash(w.r.Uint64())
	}
	old.kill()
	return w.open(killed)
}

// afterCrash goes on after a crash in the middle of something.
func (w *powerWalk) afterCrash() error {
	w.note("crash within an operation")
	w.m.kill()
	w.observe()
	w.disk = w.crashed.Load()
	return w.open(false)
}
