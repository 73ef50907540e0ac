package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/metadata"
)

// ISRProposal is what the leader of a partition wants its ISR to be (rule 9.4).
type ISRProposal struct {
	Topic     metadata.UUID
	Partition int32
	// LeaderEpoch and PartitionEpoch are those that the leader knows: it proposes a change of exactly that state.
	LeaderEpoch    metadata.LeaderEpoch
	PartitionEpoch metadata.PartitionEpoch
	ISR            []ISRMember
}

// ISRMember is a member of a proposed ISR, with the epoch under which it fetched. A broker that has restarted since is
// another one, and what it has is not known.
type ISRMember struct {
	ID    metadata.BrokerID
	Epoch int64
}

// ISROutcome is what became of an ISRProposal.
type ISROutcome struct {
	Err error
	// Partition is the state that the proposal led to, nil with an Err. It must not be changed.
	Partition *metadata.PartitionRegistration
}

// alterPartitions is AlterPartition, the leaders' request.
type alterPartitions struct {
	broker    metadata.BrokerID
	epoch     int64
	proposals []ISRProposal

	outcomes []ISROutcome
}

func (a *alterPartitions) decide(d *decision) error {
	if _, err := registered(d.head, a.broker, a.epoch); err != nil {
		return err
	}
	if len(a.proposals) > maxRecords {
		return errTooManyRecords()
	}
	a.outcomes = make([]ISROutcome, len(a.proposals))
	for i := range a.proposals {
		a.outcomes[i].Partition, a.outcomes[i].Err = a.proposals[i].decide(d, a.broker)
	}
	return nil
}

// decide checks a proposal of a leader, and writes the change. The order of the checks says what the leader learns: that
// it knows more than this controller, that it is deposed, that it knows an old state, or that a member is not fit.
func (p *ISRProposal) decide(d *decision, leader metadata.BrokerID) (*metadata.PartitionRegistration, error) {
	topic := d.head.TopicByID(p.Topic)
	if topic == nil {
		return nil, refuse(kerr.UnknownTopicID, "there is no topic with id %v", p.Topic)
	}
	if p.Partition < 0 || int(p.Partition) >= len(topic.Partitions) {
		return nil, refuse(kerr.UnknownTopicOrPartition, "topic %q has no partition %d", topic.Name, p.Partition)
	}
	reg := topic.Partitions[p.Partition]
	switch {
	case p.LeaderEpoch > reg.LeaderEpoch || p.PartitionEpoch > reg.PartitionEpoch:
		return nil, refuse(kerr.NotController, "%s-%d: the leader knows of a newer state than this controller", topic.Name, p.Partition)
	case p.LeaderEpoch < reg.LeaderEpoch:
		return nil, refuse(kerr.FencedLeaderEpoch, "%s-%d: leader epoch %d is over, it is %d", topic.Name, p.Partition, p.LeaderEpoch, reg.LeaderEpoch)
	case leader != reg.Leader:
		return nil, refuse(kerr.InvalidRequest, "%s-%d: broker %d is not the leader", topic.Name, p.Partition, leader)
	case p.PartitionEpoch < reg.PartitionEpoch:
		return nil, refuse(kerr.InvalidUpdateVersion, "%s-%d: partition epoch %d is over, it is %d", topic.Name, p.Partition, p.PartitionEpoch, reg.PartitionEpoch)
	}
	isr, err := p.members(d.head, topic, reg)
	if err != nil {
		return nil, err
	}
	if slices.Equal(isr, reg.ISR) {
		return reg, nil
	}
	change := &metadata.PartitionChangeRecord{Topic: p.Topic, Partition: p.Partition, ISR: isr}
	d.settle(reg, change) // it may be what the end of a move waited for
	if err := d.write(change); err != nil {
		return nil, err
	}
	return d.head.TopicByID(p.Topic).Partitions[p.Partition], nil
}

// members returns the proposed ISR, in the order of the replicas.
func (p *ISRProposal) members(im *metadata.Image, topic *metadata.Topic, reg *metadata.PartitionRegistration) ([]metadata.BrokerID, error) {
	isr := make([]metadata.BrokerID, 0, len(p.ISR))
	for _, m := range p.ISR {
		if !slices.Contains(reg.Replicas, m.ID) || slices.Contains(isr, m.ID) {
			return nil, refuse(kerr.InvalidRequest, "%s-%d: broker %d is no replica, or is named twice", topic.Name, p.Partition, m.ID)
		}
		isr = append(isr, m.ID)
	}
	if !slices.Contains(isr, reg.Leader) {
		return nil, refuse(kerr.InvalidRequest, "%s-%d: the leader %d is not in the ISR", topic.Name, p.Partition, reg.Leader)
	}
	for _, m := range p.ISR {
		if b := im.Broker(m.ID); !canLead(b) || b.Epoch != m.Epoch {
			return nil, refuse(kerr.IneligibleReplica, "%s-%d: broker %d is fenced, is stopping or has restarted", topic.Name, p.Partition, m.ID)
		}
	}
	slices.SortFunc(isr, func(a, b metadata.BrokerID) int {
		return slices.Index(reg.Replicas, a) - slices.Index(reg.Replicas, b)
	})
	return isr, nil
}
