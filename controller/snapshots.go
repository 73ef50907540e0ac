package controller

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kbroker/kbroker/metadata"
)

// maybeSnapshot has a snapshot written when the log has grown long.
func (c *Controller) maybeSnapshot() {
	if c.snapshotting || c.sinceSnapshot < c.snapshotDue || c.index <= c.log.base {
		return
	}
	c.snapshotting = true
	c.disk.jobs.put(diskJob{snapshot: &snapshotJob{image: c.applied, index: c.index, term: c.term, conf: c.log.conf}})
}

// lastSnapshot takes a snapshot after all goroutines have ended, if that makes the next start quicker. That start needs
// none, so an error is only told.
func (c *Controller) lastSnapshot() {
	if c.err != nil || c.snapshotting || c.sinceSnapshot < closingBytes || c.index <= c.log.base {
		return
	}
	if _, err := c.disk.save(&snapshotJob{image: c.applied, index: c.index, term: c.term, conf: c.log.conf}); err != nil {
		c.logger.Warn("no snapshot of the cluster's metadata was taken at the end", "err", err)
	}
}

// raftSnapshot is what is applied, for a member whose next entry is not in the log any more.
func (c *Controller) raftSnapshot() (*raftpb.Snapshot, error) {
	return &raftpb.Snapshot{
		Data:     metadata.EncodeImage(nil, c.applied),
		Metadata: &raftpb.SnapshotMetadata{ConfState: c.log.conf, Index: new(c.index), Term: new(c.term)},
	}, nil
}

// install replaces the state by a snapshot that another member sent, and that the disk has.
func (c *Controller) install(s *raftpb.Snapshot) error {
	image, err := metadata.DecodeImage(s.GetData())
	if err != nil {
		return fmt.Errorf("read the snapshot that the active controller sent: %w", err)
	}
	m := s.GetMetadata()
	c.applied, c.index, c.term = image, m.GetIndex(), m.GetTerm()
	c.log.conf = m.GetConfState()
	c.log.install(c.index, c.term)
	if c.public {
		c.publisher.show(c.applied, nil)
	}
	return nil
}

// unmarshal reads a change of the quorum.
func unmarshal(e *raftpb.Entry, change proto.Message) error {
	if err := proto.Unmarshal(e.GetData(), change); err != nil {
		return fmt.Errorf("read the change of voters in entry %d of the controller's log: %w", e.GetIndex(), err)
	}
	return nil
}
