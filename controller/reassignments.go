package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/metadata"
)

// Reassignment moves a partition to other brokers, or with nil Replicas calls off a move that is under way.
type Reassignment struct {
	PartitionName
	Replicas []metadata.BrokerID
}

// reassign is AlterPartitionReassignments (rule 7.8.2).
//
// A partition that moves has the replicas that it shall have and, behind them, those that it shall lose. When all that
// were added are in sync, which the leader tells by its proposals of the ISR, the others go.
type reassign struct {
	moves []Reassignment
	// sameFactor refuses moves that change the number of replicas.
	sameFactor bool

	errs []error
}

func (r *reassign) decide(d *decision) error {
	r.errs = make([]error, len(r.moves))
	var records []metadata.Record
	for i := range r.moves {
		record, err := r.moves[i].decide(d, r.sameFactor)
		if r.errs[i] = err; err == nil && record != nil {
			records = append(records, record)
		}
	}
	if len(records) > maxRecords {
		return errTooManyRecords()
	}
	return d.write(records...)
}

// decide returns the record that begins, replaces or calls off a move; nil when there is nothing to change.
func (m *Reassignment) decide(d *decision, sameFactor bool) (metadata.Record, error) {
	topic, reg, err := m.find(d.head)
	if err != nil {
		return nil, err
	}
	moving := len(reg.AddingReplicas) > 0 || len(reg.RemovingReplicas) > 0
	had := without(reg.Replicas, reg.AddingReplicas) // before a move that is under way, which ends in either case
	change := &metadata.PartitionChangeRecord{Topic: topic.ID, Partition: m.Partition, Replicas: had,
		AddingReplicas: []metadata.BrokerID{}, RemovingReplicas: []metadata.BrokerID{}}
	switch {
	case m.Replicas == nil && !moving:
		return nil, refuse(kerr.NoReassignmentInProgress, "no move of %s-%d is under way", m.Topic, m.Partition)
	case m.Replicas != nil:
		if err := m.check(d.head, len(had), sameFactor); err != nil {
			return nil, err
		}
		change.AddingReplicas, change.RemovingReplicas = without(m.Replicas, had), without(had, m.Replicas)
		change.Replicas = slices.Concat(m.Replicas, change.RemovingReplicas)
	}
	// Without those that a move before this one has added in vain.
	change.ISR = without(reg.ISR, without(reg.ISR, change.Replicas))
	if len(change.ISR) == 0 {
		return nil, refuse(kerr.InvalidReplicaAssignment, "%s-%d: none of the replicas that are left is in sync", m.Topic, m.Partition)
	}
	d.settle(reg, change)
	if change.Replicas == nil && change.ISR == nil && change.Leader == nil && slices.Equal(change.AddingReplicas, reg.AddingReplicas) &&
		slices.Equal(change.RemovingReplicas, reg.RemovingReplicas) {
		return nil, nil
	}
	return change, nil
}

// check checks the brokers of a move of a partition that had a number of replicas.
func (m *Reassignment) check(im *metadata.Image, had int, sameFactor bool) error {
	if len(m.Replicas) == 0 {
		return refuse(kerr.InvalidReplicaAssignment, "no broker is given for %s-%d", m.Topic, m.Partition)
	}
	for i, id := range m.Replicas {
		if im.Broker(id) == nil {
			return refuse(kerr.InvalidReplicaAssignment, "%s-%d: broker %d is not registered", m.Topic, m.Partition, id)
		}
		if slices.Contains(m.Replicas[:i], id) {
			return refuse(kerr.InvalidReplicaAssignment, "%s-%d: broker %d is given twice", m.Topic, m.Partition, id)
		}
	}
	if sameFactor && len(m.Replicas) != had {
		return refuse(kerr.InvalidReplicationFactor, "%s-%d has %d replicas, and %d are given: the request does not allow that to change",
			m.Topic, m.Partition, had, len(m.Replicas))
	}
	return nil
}

// without returns the brokers of list that are not among gone, never nil.
func without(list, gone []metadata.BrokerID) []metadata.BrokerID {
	left := make([]metadata.BrokerID, 0, len(list))
	for _, id := range list {
		if !slices.Contains(gone, id) {
			left = append(left, id)
		}
	}
	return left
}

// settle completes a change of a partition that has the state reg: a move whose new replicas are all in sync ends, a
// leader that is no replica in sync any more is replaced, and every replica gets a directory.
func (d *decision) settle(reg *metadata.PartitionRegistration, change *metadata.PartitionChangeRecord) {
	pick := func(changed, now []metadata.BrokerID) []metadata.BrokerID {
		if changed != nil {
			return changed
		}
		return now
	}
	replicas, isr := pick(change.Replicas, reg.Replicas), pick(change.ISR, reg.ISR)
	adding, removing := pick(change.AddingReplicas, reg.AddingReplicas), pick(change.RemovingReplicas, reg.RemovingReplicas)
	stay := without(isr, removing)
	if len(adding)+len(removing) > 0 && len(stay) > 0 && len(without(adding, isr)) == 0 {
		replicas, isr = without(replicas, removing), stay
		change.Replicas, change.ISR = replicas, isr
		change.AddingReplicas, change.RemovingReplicas = []metadata.BrokerID{}, []metadata.BrokerID{}
	}
	if slices.Equal(isr, reg.ISR) {
		change.ISR = nil
	}
	if slices.Equal(replicas, reg.Replicas) {
		change.Replicas = nil
	} else {
		change.Directories = d.directories(reg, replicas)
	}
	if reg.Leader != metadata.NoBroker && !slices.Contains(isr, reg.Leader) {
		change.Leader = new(d.electFrom(replicas, isr, metadata.NoBroker))
	}
}

// directories returns the directories of replicas: those they have, and the first of its broker for a new one.
func (d *decision) directories(reg *metadata.PartitionRegistration, replicas []metadata.BrokerID) []metadata.UUID {
	dirs := make([]metadata.UUID, len(replicas))
	for i, id := range replicas {
		if j := slices.Index(reg.Replicas, id); j >= 0 && j < len(reg.Directories) {
			dirs[i] = reg.Directories[j]
		} else if b := d.head.Broker(id); b != nil && len(b.Directories) > 0 {
			dirs[i] = b.Directories[0]
		}
	}
	return dirs
}
