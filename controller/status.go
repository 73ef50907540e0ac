package controller

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.etcd.io/raft/v3"

	"github.com/kbroker/kbroker/metadata"
)

// QuorumStatus is what the active controller knows of the quorum. Offsets are Kafka's: one above the last index.
type QuorumStatus struct {
	Leader        metadata.BrokerID
	Term          uint64
	HighWatermark int64 // of what is committed
	Voters        []Voter
}

// Voter is a member of the quorum.
type Voter struct {
	Node         metadata.BrokerID // NoBroker while no broker has registered with the member's directory
	Directory    metadata.UUID
	LogEndOffset int64
	Leads        bool
}

// statusRequest asks run for the state of the quorum.
type statusRequest chan *QuorumStatus // of capacity one; nil is answered while this member does not lead

// QuorumStatus returns the state of the quorum. Only the active controller knows it.
func (c *Client) QuorumStatus(ctx context.Context) (*QuorumStatus, error) {
	answer := make(statusRequest, 1)
	select {
	case c.controller.status <- answer:
	case <-c.controller.done:
		return nil, c.controller.stopped()
	case <-ctx.Done():
		return nil, timedOut(ctx)
	}
	if s := <-answer; s != nil {
		return s, nil
	}
	return nil, refuse(kerr.NotLeaderForPartition, "this node is not the active controller")
}

// quorumStatus answers on the controller's goroutine.
func (c *Controller) quorumStatus() *QuorumStatus {
	s := c.raw.Status()
	if s.RaftState != raft.StateLeader {
		return nil
	}
	q := &QuorumStatus{Leader: c.cfg.NodeID, Term: s.GetTerm(), HighWatermark: int64(s.GetCommit()) + 1}
	for _, id := range c.log.conf.GetVoters() {
		v := Voter{Node: metadata.NoBroker, LogEndOffset: int64(s.Progress[id].Match) + 1}
		if id == c.raftID {
			v.Node, v.Directory, v.Leads, v.LogEndOffset = c.cfg.NodeID, c.cfg.DirectoryID, true, int64(c.log.last())+1
		}
		for _, b := range c.applied.Brokers() {
			for _, dir := range b.Directories {
				if RaftID(dir) == id {
					v.Node, v.Directory = b.ID, dir
				}
			}
		}
		q.Voters = append(q.Voters, v)
	}
	return q
}
