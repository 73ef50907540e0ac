package controller

import (
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/metadata"
)

// placeReplicas chooses replicas for partitions first, first+1, … of a topic (rule 7.4.12).
func placeReplicas(d *decision, first, count, factor int) ([]metadata.PartitionRegistration, error) {
	var live, fenced []*metadata.Broker
	for _, b := range d.head.Brokers() {
		switch {
		case b.ShuttingDown:
		case b.Fenced:
			fenced = append(fenced, b)
		default:
			live = append(live, b)
		}
	}
	if len(live) == 0 {
		return nil, refuse(kerr.InvalidReplicationFactor, "replication factor %d cannot be had: no broker is alive", factor)
	}
	if n := len(live) + len(fenced); factor > n {
		return nil, refuse(kerr.InvalidReplicationFactor, "replication factor %d cannot be had: the number of registered brokers is %d", factor, n)
	}
	row := placementRow{live: byRack(live, d.chance), spare: byRack(fenced, d.chance)}
	start := d.chance.IntN(len(live))
	placed := make([]metadata.PartitionRegistration, count)
	for i := range placed {
		placed[i] = newPartition(d.head, row.replicas(start+first+i, factor))
	}
	return placed, nil
}

// placementRow has the brokers in an order in which the racks take turns.
//
// A partition is led by the broker whose turn it is, which spreads leaders over brokers; where the first partition of a
// topic begins is left to chance, so that topics with one partition do not all land on one broker.
type placementRow struct {
	live  []*metadata.Broker
	spare []*metadata.Broker // fenced: followers, where the live ones do not suffice
}

// replicas returns the replicas of the partition whose turn is turn.
func (r *placementRow) replicas(turn, factor int) []metadata.BrokerID {
	n := len(r.live)
	leader := r.live[turn%n]
	replicas := append(make([]metadata.BrokerID, 0, factor), leader.ID)
	racks := map[string]int{leader.Rack: 1} // replicas in each rack
	others := make([]*metadata.Broker, 0, n-1)
	for i := range n - 1 {
		// The gap between leader and followers grows with each round, so that the partitions that one broker leads do
		// not all have the same follower.
		others = append(others, r.live[(turn+1+(turn/n+i)%(n-1))%n])
	}
	replicas = pick(replicas, others, racks, factor)
	return pick(replicas, r.spare, racks, factor)
}

// pick adds brokers from a row until there are factor replicas: always the first from a rack that has the fewest.
func pick(replicas []metadata.BrokerID, row []*metadata.Broker, racks map[string]int, factor int) []metadata.BrokerID {
	row = slices.Clone(row)
	for len(replicas) < factor && len(row) > 0 {
		best := 0
		for i, b := range row {
			if racks[b.Rack] < racks[row[best].Rack] {
				best = i
			}
		}
		replicas = append(replicas, row[best].ID)
		racks[row[best].Rack]++
		row = slices.Delete(row, best, best+1)
	}
	return replicas
}

// byRack puts brokers in a row in which racks take turns; within a rack the order is left to chance.
func byRack(brokers []*metadata.Broker, chance *rand.Rand) []*metadata.Broker {
	racks := map[string][]*metadata.Broker{}
	for _, b := range brokers {
		racks[b.Rack] = append(racks[b.Rack], b)
	}
	names := slices.Sorted(maps.Keys(racks))
	for _, name := range names {
		rack := racks[name]
		chance.Shuffle(len(rack), func(i, j int) { rack[i], rack[j] = rack[j], rack[i] })
	}
	row := make([]*metadata.Broker, 0, len(brokers))
	for len(row) < len(brokers) {
		for _, name := range names {
			if rack := racks[name]; len(rack) > 0 {
				row, racks[name] = append(row, rack[0]), rack[1:]
			}
		}
	}
	return row
}

// partitionByHand checks an assignment (rule 7.4.3) and returns the partition that it makes.
func partitionByHand(im *metadata.Image, partition int32, replicas []metadata.BrokerID, factor int) (metadata.PartitionRegistration, error) {
	none := metadata.PartitionRegistration{}
	if len(replicas) == 0 {
		return none, refuse(kerr.InvalidReplicaAssignment, "no replica is assigned to partition %d", partition)
	}
	for i, id := range replicas {
		if im.Broker(id) == nil {
			return none, refuse(kerr.InvalidReplicaAssignment, "partition %d is assigned to broker %d, which is not registered", partition, id)
		}
		if slices.Contains(replicas[:i], id) {
			return none, refuse(kerr.InvalidReplicaAssignment, "partition %d is assigned to broker %d twice", partition, id)
		}
	}
	if len(replicas) != factor {
		return none, refuse(kerr.InvalidReplicaAssignment, "%d replicas are assigned to partition %d, and %d to others", len(replicas), partition, factor)
	}
	p := newPartition(im, slices.Clone(replicas))
	if len(p.ISR) == 0 {
		return none, refuse(kerr.InvalidReplicaAssignment, "none of the brokers that partition %d is assigned to is alive", partition)
	}
	return p, nil
}

// newPartition is a partition at the beginning of its life: the brokers that are alive are in sync, and the first of
// them leads (rule 7.4.11).
func newPartition(im *metadata.Image, replicas []metadata.BrokerID) metadata.PartitionRegistration {
	p := metadata.PartitionRegistration{Replicas: replicas, Leader: metadata.NoBroker}
	p.Directories = make([]metadata.UUID, len(replicas))
	live := 0
	for i, id := range replicas {
		b := im.Broker(id)
		if len(b.Directories) > 0 {
			p.Directories[i] = b.Directories[0]
		}
		if canLead(b) {
			live++
		}
	}
	if live == len(replicas) {
		p.ISR = replicas // the usual case; lists in an image are never changed, so they may be one
	} else {
		p.ISR = slices.DeleteFunc(slices.Clone(replicas), func(id metadata.BrokerID) bool { return !canLead(im.Broker(id)) })
	}
	if len(p.ISR) > 0 {
		p.Leader = p.ISR[0]
	}
	return p
}

// canLead reports whether a broker may lead partitions.
func canLead(b *metadata.Broker) bool { return b != nil && !b.Fenced && !b.ShuttingDown }
