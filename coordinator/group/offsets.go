package group

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/kbroker/kbroker/coordinator"
)

// offsets are the committed offsets of a group. They change by replay alone.
type offsets struct {
	topics map[string]map[int32]offset
	// pending has, by producer id, what transactions have committed whose end is not known yet (rule 8.4.12).
	pending map[int64]map[string]map[int32]offset
}

// get returns the committed offset of a partition.
func (o *offsets) get(topic string, partition int32) (offset, bool) {
	x, ok := o.topics[topic][partition]
	return x, ok
}

// empty reports whether there are none, pending ones included.
func (o *offsets) empty() bool { return len(o.topics) == 0 && len(o.pending) == 0 }

// hasPending reports whether an open transaction has committed an offset of the partition.
func (o *offsets) hasPending(topic string, partition int32) bool {
	for _, topics := range o.pending {
		if _, ok := topics[topic][partition]; ok {
			return true
		}
	}
	return false
}

// all calls yield for every partition that has an offset, committed or pending, once each.
func (o *offsets) all(yield func(topic string, partition int32)) {
	for topic, partitions := range o.topics {
		for partition := range partitions {
			yield(topic, partition)
		}
	}
	seen := map[string]map[int32]bool{}
	for _, topics := range o.pending {
		for topic, partitions := range topics {
			for partition := range partitions {
				if _, ok := o.get(topic, partition); ok || seen[topic][partition] {
					continue
				}
				if seen[topic] == nil {
					seen[topic] = map[int32]bool{}
				}
				seen[topic][partition] = true
				yield(topic, partition)
			}
		}
	}
}

// put sets an offset in topics, whose strings it owns.
func put(topics *map[string]map[int32]offset, topic string, partition int32, x offset) {
	partitions := (*topics)[topic]
	if partitions == nil {
		partitions = map[int32]offset{}
		if *topics == nil {
			*topics = map[string]map[int32]offset{}
		}
		(*topics)[strings.Clone(topic)] = partitions
	}
	partitions[partition] = x
}

// remove deletes an offset from topics.
func remove(topics map[string]map[int32]offset, topic string, partition int32) {
	if partitions := topics[topic]; partitions != nil {
		delete(partitions, partition)
		if len(partitions) == 0 {
			delete(topics, topic)
		}
	}
}

// replayOffset applies a committed offset, or its tombstone.
func (m *Machine) replayOffset(key *kbin.Reader, r *coordinator.Replayed) error {
	id, topic, partition := key.UnsafeString(), key.UnsafeString(), key.Int32()
	if !key.Ok() {
		return errRecord
	}
	if r.Value == nil {
		if g := m.groups[id]; g != nil {
			g.offsets.tombstone(topic, partition)
		}
		return nil
	}
	x, err := readOffsetValue(r.Value)
	if err != nil {
		return err
	}
	x.at, x.metadata = r.Offset, strings.Clone(x.metadata)
	g := m.group(id)
	if r.ProducerID < 0 {
		put(&g.offsets.topics, topic, partition, x)
		return nil
	}
	if g.offsets.pending == nil {
		g.offsets.pending = map[int64]map[string]map[int32]offset{}
	}
	topics := g.offsets.pending[r.ProducerID]
	put(&topics, topic, partition, x)
	g.offsets.pending[r.ProducerID] = topics
	m.open(r.ProducerID, g)
	return nil
}

// tombstone deletes an offset, the pending ones of all transactions included, as Kafka does.
func (o *offsets) tombstone(topic string, partition int32) {
	remove(o.topics, topic, partition)
	for id, topics := range o.pending {
		remove(topics, topic, partition)
		if len(topics) == 0 {
			delete(o.pending, id)
		}
	}
}

// open notes that a transaction has offsets pending in g.
func (m *Machine) open(producerID int64, g *Group) {
	groups := m.transactions[producerID]
	if groups == nil {
		groups = map[*Group]bool{}
		m.transactions[producerID] = groups
	}
	groups[g] = true
}

// ReplayMarker implements coordinator.Machine (rule 8.4.12).
func (m *Machine) ReplayMarker(producerID int64, _ int16, commit bool) {
	for g := range m.transactions[producerID] {
		g.offsets.end(producerID, commit)
	}
	delete(m.transactions, producerID)
}

// end makes the pending offsets of a transaction current, where no later commit has been, or drops them.
func (o *offsets) end(producerID int64, commit bool) {
	if commit {
		for topic, partitions := range o.pending[producerID] {
			for partition, x := range partitions {
				if now, ok := o.get(topic, partition); !ok || x.at > now.at {
					put(&o.topics, topic, partition, x)
				}
			}
		}
	}
	delete(o.pending, producerID)
}

// group returns the group called id, making a simple one if there is none. id may alias a record.
func (m *Machine) group(id string) *Group {
	g := m.groups[id]
	if g == nil {
		g = &Group{ID: strings.Clone(id)}
		m.groups[g.ID] = g
	}
	return g
}

// forget drops a group of which nothing is left, if there is one called id. It is called when the group itself was
// deleted: one whose last offset went is still there, like in Kafka, until it expires.
func (m *Machine) forget(id string) {
	if g := m.groups[id]; g != nil && g.members == nil && g.offsets.empty() {
		delete(m.groups, id)
	}
}
