package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/metadata"
)

// Heartbeat is the state that a broker wants to be in. The zero Heartbeat of a registered broker asks for its fence to
// be taken down: it is ready to lead and to be shown to clients.
type Heartbeat struct {
	// WantFence keeps the broker fenced, or fences it.
	WantFence bool
	// WantShutdown asks for its leaderships to be moved away before it stops.
	WantShutdown bool
}

// BrokerState is what a broker is in the metadata.
type BrokerState struct {
	Fenced bool
	// MayShutDown says that nothing is left that a broker which wants to stop has to wait for.
	MayShutDown bool
}

// registered returns a broker that registered with the given epoch.
func registered(im *metadata.Image, id metadata.BrokerID, epoch int64) (*metadata.Broker, error) {
	b := im.Broker(id)
	if b == nil {
		return nil, refuse(kerr.BrokerIDNotRegistered, "broker %d is not registered", id)
	}
	if b.Epoch != epoch {
		return nil, refuse(kerr.StaleBrokerEpoch, "broker %d is registered with epoch %d, and this asks with epoch %d: "+
			"another process has taken its place", id, b.Epoch, epoch)
	}
	return b, nil
}

// registerBroker makes or renews a registration.
type registerBroker struct {
	broker metadata.Broker
}

func (r *registerBroker) decide(d *decision) error {
	b := r.broker
	if len(b.Listeners) == 0 || len(b.Directories) == 0 {
		return refuse(kerr.InvalidRegistration, "broker %d registers with %d listeners and %d directories: it needs one of each",
			b.ID, len(b.Listeners), len(b.Directories))
	}
	old := d.head.Broker(b.ID)
	if old != nil && old.Incarnation == b.Incarnation {
		return nil // a retry of a request whose answer was lost
	}
	// Another process may take the place of an old one at once if it holds the same disks: the lock on its data
	// directories says that the old one is gone. Kafka makes it wait until the old session has expired.
	if old != nil && !old.Fenced && !sameDirectory(old.Directories, b.Directories) {
		return refuse(kerr.DuplicateBrokerRegistration, "broker %d is alive and has other data directories: "+
			"give this one another node.id", b.ID)
	}
	if old != nil && !old.Fenced {
		if err := d.write(d.fence(old)...); err != nil {
			return err
		}
	}
	b.Epoch, b.Fenced, b.ShuttingDown = 0, true, false
	return d.write(&metadata.RegisterBrokerRecord{Broker: b})
}

// unregisterBroker forgets a broker that has stopped for good.
type unregisterBroker struct {
	broker metadata.BrokerID
}

func (u *unregisterBroker) decide(d *decision) error {
	b := d.head.Broker(u.broker)
	if b == nil {
		return refuse(kerr.BrokerIDNotRegistered, "broker %d is not registered", u.broker)
	}
	// Kafka forgets a live broker too, which then serves on without being in the cluster until somebody restarts it.
	if !b.Fenced {
		return refuse(kerr.InvalidRequest, "broker %d is alive: stop it first", u.broker)
	}
	return d.write(&metadata.UnregisterBrokerRecord{ID: b.ID, Epoch: b.Epoch})
}

// sameDirectory reports whether two brokers have a data directory in common.
func sameDirectory(a, b []metadata.UUID) bool {
	return slices.ContainsFunc(a, func(id metadata.UUID) bool { return slices.Contains(b, id) })
}

// heartbeat changes the state of a broker to the one it wants.
type heartbeat struct {
	broker metadata.BrokerID
	epoch  int64
	want   Heartbeat

	state BrokerState
}

func (h *heartbeat) decide(d *decision) error {
	b, err := registered(d.head, h.broker, h.epoch)
	if err != nil {
		return err
	}
	next := *b
	switch {
	case h.want.WantFence:
		next.Fenced = true
	case h.want.WantShutdown:
		next.ShuttingDown = true
	default:
		next.Fenced, next.ShuttingDown = false, false
	}
	h.state = BrokerState{Fenced: next.Fenced, MayShutDown: next.ShuttingDown || next.Fenced}
	switch {
	case canLead(b) && !canLead(&next):
		return d.write(d.retire(&next)...)
	case !canLead(b) && canLead(&next):
		return d.write(d.revive(&next)...)
	case b.Fenced != next.Fenced || b.ShuttingDown != next.ShuttingDown:
		return d.write(brokerChange(&next))
	}
	return nil
}

// fence returns the records that fence a broker.
func (d *decision) fence(b *metadata.Broker) []metadata.Record {
	next := *b
	next.Fenced = true
	return d.retire(&next)
}

func brokerChange(b *metadata.Broker) *metadata.BrokerChangeRecord {
	return &metadata.BrokerChangeRecord{ID: b.ID, Epoch: b.Epoch, Fenced: b.Fenced, ShuttingDown: b.ShuttingDown}
}

// retire returns the records that give broker b the state it has here, in which it cannot lead: it leaves every ISR
// that has others, and others lead where there are any.
func (d *decision) retire(b *metadata.Broker) []metadata.Record {
	records := []metadata.Record{brokerChange(b)}
	d.partitionsOf(b.ID, func(t *metadata.Topic, i int32, p *metadata.PartitionRegistration) {
		c := metadata.PartitionChangeRecord{Topic: t.ID, Partition: i}
		isr := p.ISR
		if len(isr) > 1 && slices.Contains(isr, b.ID) {
			isr = slices.DeleteFunc(slices.Clone(isr), func(id metadata.BrokerID) bool { return id == b.ID })
			c.ISR = isr
		}
		if p.Leader == b.ID {
			c.Leader = new(d.electFrom(p.Replicas, isr, b.ID))
		}
		if c.ISR != nil || c.Leader != nil {
			records = append(records, &c)
		}
	})
	return records
}

// revive returns the records that give broker b the state it has here, in which it can lead: it leads where it is in
// sync and nobody else leads.
func (d *decision) revive(b *metadata.Broker) []metadata.Record {
	records := []metadata.Record{brokerChange(b)}
	d.partitionsOf(b.ID, func(t *metadata.Topic, i int32, p *metadata.PartitionRegistration) {
		if p.Leader == metadata.NoBroker && slices.Contains(p.ISR, b.ID) {
			records = append(records, &metadata.PartitionChangeRecord{Topic: t.ID, Partition: i, Leader: new(b.ID)})
		}
	})
	return records
}

// electFrom returns the first replica that is in sync and can lead, without the one that is leaving.
func (d *decision) electFrom(replicas, isr []metadata.BrokerID, leaving metadata.BrokerID) metadata.BrokerID {
	for _, id := range replicas {
		if id != leaving && slices.Contains(isr, id) && canLead(d.head.Broker(id)) {
			return id
		}
	}
	return metadata.NoBroker
}

// partitionsOf calls yield for each partition that has a replica on broker id.
func (d *decision) partitionsOf(id metadata.BrokerID, yield func(*metadata.Topic, int32, *metadata.PartitionRegistration)) {
	for t := range d.head.Topics {
		for i, p := range t.Partitions {
			if slices.Contains(p.Replicas, id) {
				yield(t, int32(i), p)
			}
		}
	}
}
