package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/metadata"
)

// PartitionName is a partition as requests name it, which need not exist.
type PartitionName struct {
	Topic     string
	Partition int32
}

// electLeaders is ElectLeaders (rule 7.8.1).
type electLeaders struct {
	unclean    bool
	partitions []PartitionName

	errs []error
}

func (e *electLeaders) decide(d *decision) error {
	e.errs = make([]error, len(e.partitions))
	var records []metadata.Record
	for i, p := range e.partitions {
		record, err := p.elect(d, e.unclean)
		if e.errs[i] = err; err == nil {
			records = append(records, record)
		}
	}
	if len(records) > maxRecords {
		return errTooManyRecords()
	}
	return d.write(records...)
}

// find returns the partition's topic and registration.
func (p PartitionName) find(im *metadata.Image) (*metadata.Topic, *metadata.PartitionRegistration, error) {
	topic := im.Topic(p.Topic)
	if topic == nil {
		return nil, nil, errUnknownTopic(p.Topic)
	}
	if p.Partition < 0 || int(p.Partition) >= len(topic.Partitions) {
		return nil, nil, refuse(kerr.UnknownTopicOrPartition, "topic %q has no partition %d", p.Topic, p.Partition)
	}
	return topic, topic.Partitions[p.Partition], nil
}

// elect returns the record that gives the partition the leader that was asked for: the first of its replicas, or, where
// there is none, whoever is alive.
func (p PartitionName) elect(d *decision, unclean bool) (metadata.Record, error) {
	topic, reg, err := p.find(d.head)
	if err != nil {
		return nil, err
	}
	change := &metadata.PartitionChangeRecord{Topic: topic.ID, Partition: p.Partition}
	if !unclean {
		preferred := reg.Replicas[0]
		switch {
		case reg.Leader == preferred:
			return nil, refuse(kerr.ElectionNotNeeded, "%s-%d: the preferred replica, broker %d, leads", p.Topic, p.Partition, preferred)
		case !slices.Contains(reg.ISR, preferred) || !canLead(d.head.Broker(preferred)):
			return nil, refuse(kerr.PreferredLeaderNotAvailable, "%s-%d: broker %d is not alive or not in sync", p.Topic, p.Partition, preferred)
		}
		change.Leader = &preferred
		return change, nil
	}
	if reg.Leader != metadata.NoBroker {
		return nil, refuse(kerr.ElectionNotNeeded, "%s-%d has a leader, broker %d", p.Topic, p.Partition, reg.Leader)
	}
	leader := d.electFrom(reg.Replicas, reg.ISR, metadata.NoBroker)
	if leader == metadata.NoBroker {
		// What the ISR has and the new leader has not is lost: that is what was asked for.
		if leader = d.electFrom(reg.Replicas, reg.Replicas, metadata.NoBroker); leader == metadata.NoBroker {
			return nil, refuse(kerr.EligibleLeadersNotAvailable, "%s-%d: no replica is alive", p.Topic, p.Partition)
		}
		change.ISR = []metadata.BrokerID{leader}
	}
	change.Leader = &leader
	return change, nil
}
