package controller

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/kbroker/kbroker/controller/raftwal"
	"github.com/kbroker/kbroker/metadata"
)

const (
	// noSpaceRetry is how often a write to a full disk is tried again.
	noSpaceRetry = 500 * time.Millisecond
	// reserveDelay is how long after the start the WAL's reserve is made: the start itself has better things to do.
	reserveDelay = time.Second
	// reserveAgain is how often it is seen to that there is one: it is given up when the disk is full.
	reserveAgain = 10 * time.Second
)

// disk owns the WAL and does all writing, on a goroutine of its own: Raft goes on while a write is under way.
//
// jobs is bounded by what Raft lets be outstanding: one proposal at a time on the leader, the leader's in-flight window
// on the others, and one snapshot. results has one value per job.
type disk struct {
	wal     *raftwal.WAL
	logger  *slog.Logger
	jobs    mailbox[diskJob]
	results mailbox[diskResult]
	stop    <-chan struct{}
	done    chan struct{} // closed when run has returned
	full    atomic.Bool   // whether a write waits for room

	// Of run:
	written raftpb.HardState  // what the WAL has
	pending *raftpb.HardState // what it does not have yet: a commit index, which need not be durable
}

// diskJob is a MsgStorageAppend, or a snapshot to save.
type diskJob struct {
	append   *raftpb.Message
	snapshot *snapshotJob
}

// snapshotJob saves the state of the machine. The image is immutable, so encoding it needs no copy and no lock.
type snapshotJob struct {
	image       *metadata.Image
	index, term uint64
	conf        *raftpb.ConfState
}

// diskResult says that a job is done.
type diskResult struct {
	diskJob
	size  int   // bytes of the snapshot; 0: it was not written, since the disk is full
	since int64 // bytes in the WAL since its last snapshot
	err   error // the disk cannot be written any more
}

// run does the jobs in order, until stop is closed.
func (d *disk) run() {
	defer close(d.done)
	reserve := time.NewTimer(reserveDelay)
	defer reserve.Stop()
	for {
		select {
		case <-d.jobs.wake:
		case <-reserve.C:
			if err := d.wal.Reserve(); err != nil {
				d.logger.Warn("the controller's log has no reserve for a full disk", "err", err)
			}
			reserve.Reset(reserveAgain)
			continue
		case <-d.stop:
			return
		}
		jobs := d.jobs.take()
		for len(jobs) > 0 {
			n := together(jobs)
			size, err := d.do(jobs[:n])
			for _, job := range jobs[:n] {
				d.results.put(diskResult{diskJob: job, size: size, since: d.wal.SinceSnapshot(), err: err})
			}
			if err != nil {
				return
			}
			jobs = jobs[n:]
		}
	}
}

// together returns how many jobs at the front can be one record: appends that nothing else comes between, and that are
// not large.
func together(jobs []diskJob) int {
	n, size := 0, 0
	for n < len(jobs) && jobs[n].append != nil && raft.IsEmptySnap(jobs[n].append.GetSnapshot()) {
		for _, e := range jobs[n].append.GetEntries() {
			size += len(e.GetData())
		}
		if n > 0 && size > maxAppendSize {
			break
		}
		n++
	}
	return max(n, 1)
}

// do does jobs that belong together.
func (d *disk) do(jobs []diskJob) (size int, err error) {
	if s := jobs[0].snapshot; s != nil {
		return d.save(s)
	}
	hs, entries := d.pending, []*raftpb.Entry(nil)
	for _, job := range jobs {
		if m := job.append; m.Term != nil {
			hs = &raftpb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}
		}
		entries = append(entries, job.append.GetEntries()...)
	}
	if s := jobs[0].append.GetSnapshot(); !raft.IsEmptySnap(s) {
		install := &raftwal.Snapshot{Index: s.GetMetadata().GetIndex(), Term: s.GetMetadata().GetTerm(),
			Conf: s.GetMetadata().GetConfState(), Data: s.GetData()}
		return 0, d.write(hs, func() error { return d.wal.Install(install, hs, entries) })
	}
	if len(entries) == 0 && (hs == nil || hs.GetTerm() == d.written.GetTerm() && hs.GetVote() == d.written.GetVote()) {
		d.pending = hs
		return 0, nil
	}
	return 0, d.write(hs, func() error { return d.wal.Append(hs, entries) })
}

// write calls fn, which writes hs among other things, until the disk is not full.
func (d *disk) write(hs *raftpb.HardState, fn func() error) error {
	defer d.full.Store(false)
	for {
		err := fn()
		if err == nil {
			if d.full.Load() {
				d.logger.Info("the disk has room again: the cluster's metadata can be changed")
			}
			if d.pending = nil; hs != nil {
				d.written = raftpb.HardState{Term: hs.Term, Vote: hs.Vote}
			}
			return nil
		}
		if !raftwal.IsNoSpace(err) {
			return err
		}
		if !d.full.Swap(true) { // said once: the messages may go to the same disk
			d.logger.Warn("the cluster's metadata cannot be changed: the disk is full; delete topics or other files", "err", err)
		}
		select {
		case <-time.After(noSpaceRetry):
		case <-d.stop:
			return err
		}
	}
}

// save writes a snapshot. A full disk is no reason to fail: the log is there, and a later snapshot will do.
func (d *disk) save(s *snapshotJob) (int, error) {
	data := metadata.EncodeImage(nil, s.image)
	err := d.wal.SaveSnapshot(&raftwal.Snapshot{Index: s.index, Term: s.term, Conf: s.conf, Data: data})
	if raftwal.IsNoSpace(err) {
		d.logger.Warn("a snapshot of the cluster's metadata was not written: the disk is full", "err", err)
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("save a snapshot of the cluster's metadata: %w", err)
	}
	if err := d.wal.Reserve(); err != nil {
		d.logger.Warn("the controller's log has no reserve for a full disk", "err", err)
	}
	return len(data), nil
}
