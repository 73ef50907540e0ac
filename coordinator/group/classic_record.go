package group

import (
	"bytes"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
)

const (
	groupMetadataType = 2 // the key's type (rule 8.6.1)
	// groupMetadataVersion is what Kafka 4.3.1 writes, and every tool reads (rule 8.6.2).
	groupMetadataVersion = 3
	// newestGroupMetadata is the newest version that is read: flexible, and otherwise the same.
	newestGroupMetadata = 4
	// emptyRecordSize is the size of the value without members and names, in bytes, and some.
	emptyRecordSize = 64
	// emptyRowSize is the size of a member's part of the value without its texts, in bytes.
	emptyRowSize = 24
)

func groupMetadataKey(id string) []byte {
	return (&kmsg.GroupMetadataKey{Version: groupMetadataType, Group: id}).AppendTo(nil)
}

// recordEmpty writes the record of a group that has just been made.
func (g *classicGroup) recordEmpty(e *coordinator.Effects) {
	v := kmsg.NewGroupMetadataValue()
	v.Version, v.CurrentStateTimestamp = groupMetadataVersion, g.since.UnixMilli()
	e.Append(groupMetadataKey(g.id), v.AppendTo(nil))
}

// record writes the group's durable part (rule 8.3.13).
func (g *classicGroup) record(e *coordinator.Effects) { g.append(g.encode(), e) }

// recordUnsettled writes it in the middle of a rebalance, which Kafka does not. If a batch has no room for it then the
// group goes on without, as in Kafka: nobody could be told that it may not.
func (g *classicGroup) recordUnsettled(e *coordinator.Effects) {
	value := g.encode()
	if !e.Fits(2, 2*len(groupMetadataKey(g.id))+emptyRecordSize+len(value)) { // one that makes the group may stand before it
		g.settleDepartures(e)
		return
	}
	g.append(value, e)
}

func (g *classicGroup) append(value []byte, e *coordinator.Effects) {
	e.Append(groupMetadataKey(g.id), value)
	for m := range g.all {
		m.recorded = m.recorded || !m.fresh
	}
	g.settleDepartures(e)
}

// encode returns the group's record: it has all members but those that have not been told of a generation yet. In the
// middle of a rebalance it names no leader. Kafka always names one, and can do without when it loads; here it says that
// the members have to come together, or nobody would get what others had.
func (g *classicGroup) encode() []byte {
	v := kmsg.NewGroupMetadataValue()
	v.Version, v.ProtocolType, v.Generation, v.Protocol = groupMetadataVersion, g.typ, g.generation, g.protocol
	v.CurrentStateTimestamp = g.since.UnixMilli()
	if g.leader != "" && g.status == classicStable {
		v.Leader = &g.leader
	}
	v.Members = make([]kmsg.GroupMetadataValueMember, 0, g.len())
	size := emptyRecordSize + len(g.typ)
	for m := range g.all {
		if m.fresh {
			continue
		}
		row := kmsg.NewGroupMetadataValueMember()
		row.MemberID, row.InstanceID, row.ClientID, row.ClientHost = m.id, m.instanceID, m.clientID, m.clientHost
		row.RebalanceTimeoutMillis = int32(m.rebalanceTimeout.Milliseconds())
		row.SessionTimeoutMillis = int32(m.sessionTimeout.Milliseconds())
		row.Subscription, row.Assignment = m.metadata(*g.protocol), m.assignment
		v.Members = append(v.Members, row)
		size += emptyRowSize + len(m.id) + len(m.clientID) + len(m.clientHost) + len(row.Subscription) + len(m.assignment)
		if m.instanceID != nil {
			size += len(*m.instanceID)
		}
	}
	if len(v.Members) == 0 {
		v.Protocol = nil
	}
	return v.AppendTo(make([]byte, 0, size))
}

// replayGroupMetadata applies a record of key type 2. While the machine is being loaded it says what the group is. Later
// it is one that the group itself has decided, and holds already.
func (m *Machine) replayGroupMetadata(id string, value []byte, loading bool) error {
	g := m.groups[id]
	if value == nil {
		if g != nil {
			if classic, ok := g.members.(*classicGroup); ok {
				classic.stopTimers()
				g.seat(nil, m)
			}
		}
		return nil
	}
	if !loading {
		return nil
	}
	members, err := m.readClassic(id, value)
	if err != nil {
		return err
	}
	if g == nil {
		g = &Group{ID: id}
		m.groups[id] = g
	}
	g.seat(members, m)
	return nil
}

// readClassic makes a group of its record. It is Stable if it has members, whatever it was when its coordinator stopped;
// without a leader it was rebalancing (see record).
func (m *Machine) readClassic(id string, value []byte) (*classicGroup, error) {
	v := kmsg.NewGroupMetadataValue()
	if err := v.ReadFrom(value); err != nil {
		return nil, fmt.Errorf("group %q: its metadata record: %w", id, err)
	}
	if v.Version < 0 || v.Version > newestGroupMetadata {
		return nil, fmt.Errorf("group %q: its metadata record has version %d, and this release reads up to %d", id, v.Version, newestGroupMetadata)
	}
	g := m.newClassicGroup(id, time.Time{})
	if v.CurrentStateTimestamp >= 0 {
		g.since = time.UnixMilli(v.CurrentStateTimestamp)
	}
	g.generation, g.typ, g.protocol = v.Generation, v.ProtocolType, v.Protocol
	if len(v.Members) > 0 && g.protocol == nil {
		g.protocol = new(string)
	}
	for i := range v.Members {
		m := readMember(&v.Members[i], *g.protocol)
		if m.id == "" { // it stands for no member everywhere
			return nil, fmt.Errorf("group %q: its metadata record has a member without an id", id)
		}
		if g.byID[m.id] != nil || m.instanceID != nil && g.static[*m.instanceID] != nil {
			return nil, fmt.Errorf("group %q: its metadata record has the member %q twice", id, m.id)
		}
		g.adopt(m)
	}
	switch {
	case g.len() == 0:
	case v.Leader == nil:
		g.status = classicPreparing
	default:
		g.status = classicStable
	}
	if v.Leader != nil && g.byID[*v.Leader] != nil {
		g.leader = *v.Leader
	}
	return g, nil
}

// readMember makes a member of its part of a record. Of what it offered only the selected protocol was kept.
func readMember(row *kmsg.GroupMetadataValueMember, selected string) *classicMember {
	m := &classicMember{
		id: row.MemberID, instanceID: row.InstanceID, clientID: row.ClientID, clientHost: row.ClientHost,
		sessionTimeout: millis(row.SessionTimeoutMillis), rebalanceTimeout: millis(row.RebalanceTimeoutMillis),
		protocols:  []protocol{{selected, bytes.Clone(row.Subscription)}},
		assignment: bytes.Clone(row.Assignment),
		recorded:   true,
	}
	if row.RebalanceTimeoutMillis < 0 {
		m.rebalanceTimeout = m.sessionTimeout
	}
	return m
}
