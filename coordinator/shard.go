package coordinator

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/replica"
)

// task is a decision in a shard's queue.
type task[M Machine] struct {
	decide func(m M, now time.Time, e *Effects)
	fail   Reply
}

// keptTasks bounds the queue, in tasks, that a shard at rest keeps.
const keptTasks = 16

// phase is how far a shard is.
type phase uint8

const (
	loading phase = iota // the log is being replayed; decisions are refused
	active
	stopped // for good; decisions are refused with stopErr
)

// shard is one partition's machine under one leader epoch.
//
// Whoever runs it owns the machine and everything else that is not under mu. From newShard to the end of the loading, and
// later while there is work, that is the goroutine of run: the timer, stop and submit start it, and it ends when nothing is
// left to do. But a decision that finds the shard at rest is made by the goroutine that submits it, which most often is all
// there is to do: a heartbeat is then answered without one goroutine waking another, which would cost more than the answer.
type shard[M Machine] struct {
	r         *Runtime[M]
	partition *replica.Partition
	epoch     int32

	mu      sync.Mutex // guards what follows
	phase   phase
	stopErr error
	queue   []task[M]
	due     bool // the timer has fired
	running bool // somebody runs the shard

	// wake has a signal when something under mu changed while somebody ran the shard.
	wake chan struct{}

	m        M
	loaded   bool  // m is a machine in service
	end      int64 // of the log, with what is staged
	failures int   // loads and appends that failed in a row
	fault    error // why the machine is to be given up, which the next step does
	timer    *time.Timer
	armed    time.Time // when timer fires, zero when it does not
	commits  commits
	spare    []task[M] // the queue's other half
	work     *scratch  // nil while nobody runs the shard
}

// newShard makes a shard and starts to load it. r.mu is held.
func newShard[M Machine](r *Runtime[M], p *replica.Partition, epoch int32) *shard[M] {
	s := &shard[M]{r: r, partition: p, epoch: epoch, wake: make(chan struct{}, 1)}
	s.commits.waiter = replica.NewWaiter()
	s.running = true
	r.running.Add(1)
	go s.run()
	return s
}

// submit queues a decision, or refuses it at once. A shard at rest is run right here, for one round: what is left, or
// awaited, is the business of a goroutine.
func (s *shard[M]) submit(t task[M]) {
	s.mu.Lock()
	var err error
	var here bool
	switch {
	case s.phase == stopped:
		err = s.stopErr
	case s.phase == loading:
		err = kerr.CoordinatorLoadInProgress
	case len(s.queue) >= maxQueued:
		err = kerr.CoordinatorNotAvailable
	default:
		s.queue = append(s.queue, t)
		if here = !s.running; here {
			s.running = true
			s.r.running.Add(1)
		} else {
			s.startLocked()
		}
	}
	s.mu.Unlock()
	if err != nil {
		t.fail(err)
	}
	if !here {
		return
	}
	s.work = s.r.takeScratch()
	if s.step() == atRest {
		s.r.running.Done()
		return
	}
	go s.run()
}

// startLocked makes sure that run sees what changed; mu is held.
func (s *shard[M]) startLocked() {
	if s.running {
		select {
		case s.wake <- struct{}{}:
		default:
		}
		return
	}
	s.running = true
	s.r.running.Add(1)
	go s.run()
}

// stop ends the shard: what waits, and whoever comes, gets err. It does not wait.
func (s *shard[M]) stop(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == stopped {
		return
	}
	s.phase, s.stopErr = stopped, err
	s.startLocked()
}

// fired is the timer's.
func (s *shard[M]) fired() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == active {
		s.due = true
		s.startLocked()
	}
}

// rest is what a step leaves to be done.
type rest uint8

const (
	goesOn rest = iota
	waits       // for a reply to be committed, or for more to do
	atRest      // nobody runs the shard any more
)

// run works until there is nothing left to do.
func (s *shard[M]) run() {
	defer s.r.running.Done()
	if s.work == nil {
		s.work = s.r.takeScratch()
	}
	for {
		switch s.step() {
		case waits:
			select {
			case <-s.wake:
			case <-s.commits.waiter.C:
			}
		case atRest:
			return
		}
	}
}

// step does one thing. The first after a submit does not wait for anything but the write of a round.
func (s *shard[M]) step() rest {
	if err := s.fault; err != nil {
		s.fault = nil
		s.drop(err)
		return goesOn
	}
	if !s.loaded && !s.stopping() {
		if err := s.load(); err != nil {
			s.retry(err)
		}
		return goesOn
	}
	tasks, due, err := s.take()
	if err != nil { // stopped
		for _, t := range tasks {
			t.fail(err)
		}
		s.unload(err)
		return s.left()
	}
	if len(tasks) > 0 || due {
		err = s.round(tasks, due)
		clear(tasks)
		s.spare = tasks[:0]
	}
	if err == nil {
		err = s.commits.release(s.partition)
	}
	if err != nil {
		s.fault = err
		return goesOn
	}
	s.arm()
	return s.left()
}

// stopping reports whether the shard was stopped.
func (s *shard[M]) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase == stopped
}

// take takes what is queued, at most maxRound decisions. An error says that the shard has been stopped.
func (s *shard[M]) take() (tasks []task[M], due bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == stopped {
		tasks, s.queue = s.queue, nil
		s.due = false // or run would never end: nothing else takes it any more
		return tasks, false, s.stopErr
	}
	due, s.due = s.due, false
	if s.commits.len() >= maxAwaiting {
		return nil, due, nil
	}
	tasks, s.queue = s.queue, s.spare[:0]
	if len(tasks) > maxRound {
		s.queue = append(s.queue, tasks[maxRound:]...)
		clear(tasks[maxRound:])
		tasks = tasks[:maxRound]
	}
	s.spare = nil
	return tasks, due, nil
}

// left says what is left to be done. When it is nothing, the shard is given out of the caller's hands.
func (s *shard[M]) left() rest {
	s.mu.Lock()
	defer s.mu.Unlock()
	idle := len(s.queue) == 0 || s.commits.len() >= maxAwaiting
	if s.due || s.phase == stopped && s.loaded {
		idle = false
	}
	switch {
	case !idle:
		return goesOn
	case s.commits.len() > 0:
		return waits
	}
	s.running = false
	if cap(s.queue) > keptTasks || cap(s.spare) > keptTasks {
		s.queue, s.spare = nil, nil
	}
	s.r.scratch.Put(s.work)
	s.work = nil
	return atRest
}

// unload gives the machine up: everything that waits for it gets err, but for replies whose records are committed.
func (s *shard[M]) unload(err error) {
	if !s.loaded {
		return
	}
	s.loaded = false
	if s.timer != nil {
		s.timer.Stop()
		s.armed = time.Time{}
	}
	s.commits.fail(s.partition, err)
	s.guard("unload", func() { s.m.Unload(err) })
	var none M
	s.m = none
}

// drop gives the machine up because of an error, and has it loaded anew.
func (s *shard[M]) drop(cause error) {
	s.r.o.Logger.Warn("a coordinator's partition is loaded anew", "partition", s.partition.String(), "epoch", s.epoch, "err", cause)
	s.mu.Lock()
	if s.phase == active {
		s.phase = loading
	}
	tasks := s.queue
	s.queue, s.due = nil, false
	s.mu.Unlock()
	for _, t := range tasks {
		t.fail(kerr.CoordinatorLoadInProgress)
	}
	s.unload(bystanderError(cause))
	s.pause()
}

// guard calls fn and turns a panic into an error: a machine's fault costs a reload of its partition, never the node.
func (s *shard[M]) guard(what string, fn func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in %s: %v", what, p)
			s.r.o.Logger.Error("a coordinator's machine failed", "partition", s.partition.String(), "err", err, "stack", string(debug.Stack()))
		}
	}()
	fn()
	return nil
}

// arm sets the timer to the machine's deadline. A deadline that moved away leaves it: it fires in vain once, which is
// cheaper than setting it with every heartbeat.
func (s *shard[M]) arm() {
	if !s.loaded {
		return
	}
	at := s.m.Deadline()
	if at.IsZero() || !s.armed.IsZero() && !at.Before(s.armed) {
		return
	}
	s.armed = at
	if d := time.Until(at); s.timer == nil {
		s.timer = time.AfterFunc(d, s.fired)
	} else {
		s.timer.Reset(d)
	}
}
