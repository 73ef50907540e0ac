package controller

import (
	"cmp"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/kbroker/kbroker/metadata"
)

// run is the controller's goroutine. It ends when stop is closed, or with an error.
func (c *Controller) run() {
	defer close(c.done)
	if err := c.loop(); err != nil {
		c.err = err
		c.logger.Error("the controller has failed", "err", err)
	}
	c.stopOnce.Do(func() { close(c.stop) })
}

func (c *Controller) loop() error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	if err := c.work(); err != nil {
		return err
	}
	if alone(c.log.conf, c.raftID) {
		// There is nobody to wait for. What is committed had to be applied first: Raft does not let a member campaign
		// that has changes of voters ahead of it.
		if err := c.raw.Campaign(); err != nil {
			return err
		}
	}
	for {
		if err := c.work(); err != nil {
			return err
		}
		calls := c.calls
		if len(c.queue) >= maxQueue {
			calls = nil
		}
		select {
		case <-ticker.C:
			c.raw.Tick()
		case m := <-c.messages:
			// An error says that the message is of no use here, which is the sender's business.
			if err := c.raw.Step(m); err != nil {
				c.logger.Debug("a raft message was not taken", "type", m.GetType(), "from", m.GetFrom(), "err", err)
			}
		case <-c.disk.results.wake:
			for _, r := range c.disk.results.take() {
				if err := c.onDisk(r); err != nil {
					return err
				}
			}
		case answer := <-c.status:
			answer <- c.quorumStatus()
		case call := <-calls:
			c.queue = append(c.queue, call)
			c.queueMore()
		case <-c.stop:
			return nil
		}
	}
}

// queueMore queues the calls that are waiting already, so that they are decided together.
func (c *Controller) queueMore() {
	for len(c.queue) < maxQueue {
		select {
		case call := <-c.calls:
			c.queue = append(c.queue, call)
		default:
			return
		}
	}
}

// work does what there is to do: for Raft, and then for those who called.
func (c *Controller) work() error {
	for {
		for c.raw.HasReady() {
			if err := c.handle(c.raw.Ready()); err != nil {
				return err
			}
		}
		if c.leader != raft.None && c.leader != c.raftID {
			c.dropQueue()
		}
		if !c.mayDecide() {
			break
		}
		if err := c.decide(); err != nil {
			return err
		}
	}
	c.maybeSnapshot()
	return nil
}

// handle does what Raft wants done.
func (c *Controller) handle(rd raft.Ready) error {
	c.leads(rd.Entries)
	var others []*raftpb.Message
	for _, m := range rd.Messages {
		switch m.GetTo() {
		case raft.LocalAppendThread:
			c.disk.jobs.put(diskJob{append: m})
		case raft.LocalApplyThread:
			if err := c.apply(m.GetEntries()); err != nil {
				return err
			}
			if err := c.respond(m.GetResponses()); err != nil {
				return err
			}
		default:
			others = append(others, m)
		}
	}
	c.send(others)
	if !c.public && c.leader != raft.None && c.caughtUp() {
		c.public = true
		c.publisher.show(c.applied, nil)
	}
	return nil
}

// leads takes notice of who leads. entries are those that were appended since it was asked last.
func (c *Controller) leads(entries []*raftpb.Entry) {
	status := c.raw.BasicStatus()
	leads, term := status.RaftState == raft.StateLeader, status.GetTerm()
	c.leader = status.Lead
	if c.decisive > 0 && (!leads || term != c.leadTerm) {
		c.decisive = 0
		if c.inflight != nil {
			c.inflight.fail(refuse(kerr.NotController, "this node has ceased to be the active controller; it may still happen"))
			c.inflight = nil
		}
	}
	if !leads || c.decisive > 0 {
		return
	}
	// The first thing that a leader appends is an empty entry of its term. What is before that is from others.
	c.leadTerm, c.decisive = term, entries[0].GetIndex()-1
	for _, e := range entries {
		if e.GetTerm() == term {
			break
		}
		c.decisive = e.GetIndex()
	}
	c.logger.Info("this node is the active controller", "term", term, "index", c.decisive)
}

// caughtUp reports whether everything is applied that this member knows to be committed, or that it will commit as the
// leader it is.
func (c *Controller) caughtUp() bool {
	return c.index >= max(c.raw.BasicStatus().GetCommit(), c.decisive)
}

// mayDecide reports whether there is a batch to decide and this member may.
func (c *Controller) mayDecide() bool {
	return len(c.queue) > 0 && c.inflight == nil && c.public && c.decisive > 0 && c.index >= c.decisive
}

// decide decides a batch, and proposes what comes of it.
func (c *Controller) decide() error {
	// The entry comes behind all that is applied, and behind the empty one that this leader has begun with.
	index := max(c.index, c.decisive+1) + 1
	d := newDecision(c.applied, index, c.cfg.Rules, c.chance, metadata.NewUUID)
	n := d.decide(c.queue)
	b := &batch{calls: c.queue[:n:n], index: index, head: d.head}
	if c.queue = c.queue[n:]; len(c.queue) == 0 {
		c.queue = nil
	}
	if len(d.records) == 0 {
		c.publisher.show(nil, b)
		return nil
	}
	if err := c.raw.Propose(d.data); err != nil {
		b.fail(refuse(kerr.NotController, "the change could not be proposed: %v", err))
		return nil
	}
	c.inflight = b
	return nil
}

// dropQueue refuses the calls that wait: somebody else decides.
func (c *Controller) dropQueue() {
	b := batch{calls: c.queue}
	b.fail(refuse(kerr.NotController, "this node is not the active controller"))
	c.queue = nil
}

// apply applies committed entries.
func (c *Controller) apply(entries []*raftpb.Entry) error {
	before := c.applied
	var done *batch
	for _, e := range entries {
		switch {
		case e.GetType() == raftpb.EntryConfChange:
			var change raftpb.ConfChange
			if err := unmarshal(e, &change); err != nil {
				return err
			}
			c.log.conf = c.raw.ApplyConfChange(&change)
		case e.GetType() == raftpb.EntryConfChangeV2:
			var change raftpb.ConfChangeV2
			if err := unmarshal(e, &change); err != nil {
				return err
			}
			c.log.conf = c.raw.ApplyConfChange(&change)
		case len(e.GetData()) > 0:
			var mine *batch
			// Nobody else proposes while this member leads, and it proposes one entry at a time.
			if c.decisive > 0 && e.GetIndex() > c.decisive {
				mine, c.inflight = c.inflight, nil
			}
			var err error
			if c.applied, err = applyEntry(c.applied, e, mine); err != nil {
				return err
			}
			done = cmp.Or(mine, done)
		}
		c.index, c.term = e.GetIndex(), e.GetTerm()
	}
	if c.public && (c.applied != before || done != nil) {
		c.publisher.show(c.applied, done)
	}
	return nil
}

// applyEntry returns the image that follows from an entry. That of the batch which this member has proposed need not be
// worked out again: the head that it was decided on is the image, if the entry got the index that was expected.
func applyEntry(im *metadata.Image, e *raftpb.Entry, mine *batch) (*metadata.Image, error) {
	if mine != nil && mine.index == e.GetIndex() {
		return mine.head, nil
	}
	records, err := metadata.DecodeRecords(e.GetData())
	if err == nil {
		im, err = im.Apply(e.GetIndex(), records...)
	}
	if err != nil {
		return nil, fmt.Errorf("apply entry %d of the controller's log: %w", e.GetIndex(), err)
	}
	return im, nil
}

// onDisk goes on with what the disk has done.
func (c *Controller) onDisk(r diskResult) error {
	if r.err != nil {
		return r.err
	}
	c.sinceSnapshot = r.since
	if s := r.snapshot; s != nil {
		c.snapshotting = false
		if r.size == 0 { // the disk is full, and need not be asked again with every entry
			c.snapshotDue = r.since + snapshotBytes
			return nil
		}
		// Up to the snapshot before this one: another voter that is a few entries behind shall not need a whole snapshot
		// because one was taken here.
		c.log.compact(c.snapshotIndex)
		c.snapshotIndex, c.snapshotDue = s.index, max(snapshotBytes, int64(r.size))
		return nil
	}
	if s := r.append.GetSnapshot(); !raft.IsEmptySnap(s) {
		if err := c.install(s); err != nil {
			return err
		}
	}
	c.log.append(r.append.GetEntries())
	return c.respond(r.append.GetResponses())
}

// respond delivers the answers to something that was done for Raft.
func (c *Controller) respond(responses []*raftpb.Message) error {
	var others []*raftpb.Message
	for _, m := range responses {
		if m.GetTo() != c.raftID {
			others = append(others, m)
		} else if err := c.raw.Step(m); err != nil {
			return fmt.Errorf("step raft: %w", err)
		}
	}
	c.send(others)
	return nil
}

// send hands messages to the other voters.
func (c *Controller) send(messages []*raftpb.Message) {
	if len(messages) > 0 && c.cfg.Send != nil {
		c.cfg.Send(messages)
	}
}
