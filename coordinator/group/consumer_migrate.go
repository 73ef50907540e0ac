package group

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group/assignor"
	"github.com/kbroker/kbroker/metadata"
)

// upgrade makes a classic group with members a consumer group, since somebody joins with the new protocol (rule 8.7.13).
// Its members keep what they have. What they have parked is answered with 27: they join again. Whatever may refuse the
// request does so before anything is changed: a group that nobody of the new protocol has entered would not find back.
//
// All of it is one batch, which the runtime compresses if need be: some 13,000 members fit, and more are refused with
// MESSAGE_TOO_LARGE. It cannot be parted. The classic group's record has to be deleted first, since Kafka does not load the
// records of a consumer group while a classic one has its id, and takes the deletion, if it comes later, for that of
// whatever group there is by then. But only that record knows the members who have not been written yet: a crash between
// two batches would forget them, and give to others what they go on to consume.
func (c *classicGroup) upgrade(h *heartbeat) (*consumerGroup, error) {
	config := &c.machine.config().Consumer
	switch {
	case !config.Upgrade:
		return nil, refuse(kerr.GroupIDNotFound, "group %s uses the classic protocol, and group.consumer.migration.policy does not let it become a consumer group", c.id)
	case c.typ != consumerProtocolType:
		return nil, refuse(kerr.GroupIDNotFound, "group %s has members of protocol type %q, which are no consumers", c.id, c.typ)
	case c.len() > config.MaxSize:
		return nil, refuse(kerr.GroupIDNotFound, "group %s has %d members, more than group.consumer.max.size allows", c.id, c.len())
	case c.len() == config.MaxSize && c.byID[h.req.MemberID] == nil:
		return nil, refuse(kerr.GroupMaxSizeReached, "group %s has %d members, which is as many as group.consumer.max.size allows", c.id, c.len())
	}
	im := c.machine.image()
	g := c.machine.newConsumerGroup(c.id)
	members, err := c.convert(im)
	if err == nil {
		err = h.checkRegex(nil, nil)
	}
	if err != nil {
		return nil, err
	}
	c.dissolve(kerr.RebalanceInProgress, h.e)
	c.tombstones(h.e)
	c.machine.host(g)
	for _, m := range members {
		g.write(h.e, memberRecord{m.id, m.memberInfo})
	}
	g.checkedIndex = im.Index
	g.write(h.e, epochRecord{epoch: c.generation, hash: g.topicsHash(im)})
	for _, m := range members {
		g.write(h.e, targetRecord{id: m.id, set: m.assigned.partitions})
	}
	g.write(h.e, targetEpochRecord{epoch: c.generation})
	for _, m := range members {
		g.write(h.e, currentRecord{m.id, m.memberCurrent})
		g.startSession(g.members[m.id], h.now)
	}
	return g, nil
}

// convert returns the members of a classic group as those of a consumer group. A partition that two of them were given
// stays with the first.
func (c *classicGroup) convert(im *metadata.Image) ([]*consumerMember, error) {
	taken := map[assignor.Partition]bool{}
	var list []*consumerMember
	for m := range c.all {
		md := m.protocols[0].metadata
		if c.protocol != nil && m.metadata(*c.protocol) != nil {
			md = m.metadata(*c.protocol)
		}
		sub, err := readSubscription(md)
		if err != nil {
			return nil, refuse(kerr.GroupIDNotFound, "group %s cannot become a consumer group: the metadata of member %s cannot be read", c.id, m.id)
		}
		has, err := readAssignment(im, m.assignment)
		if err != nil {
			return nil, refuse(kerr.GroupIDNotFound, "group %s cannot become a consumer group: the assignment of member %s cannot be read", c.id, m.id)
		}
		n := &consumerMember{id: m.id, memberInfo: &memberInfo{
			instance: m.instanceID, rack: sub.Rack, clientID: m.clientID, clientHost: m.clientHost,
			topics: sortedNames(sub.Topics), rebalanceTimeout: int32(m.rebalanceTimeout.Milliseconds()),
			classic: &classicPart{sessionTimeout: int32(m.sessionTimeout.Milliseconds()), protocols: m.protocols},
		}, memberCurrent: &memberCurrent{epoch: c.generation, previous: c.generation}}
		for _, p := range has {
			if !taken[p] {
				taken[p] = true
				n.assigned.add(p, c.generation)
			}
		}
		list = append(list, n)
	}
	return list, nil
}

// readAssignment reads what a classic leader gave a member. What does not exist is left out.
func readAssignment(im *metadata.Image, b []byte) (assignor.Partitions, error) {
	if len(b) == 0 {
		return nil, nil
	}
	a := kmsg.NewConsumerMemberAssignment()
	if err := a.ReadFrom(knownVersion(b)); err != nil {
		return nil, err
	}
	var set assignor.Partitions
	for _, row := range a.Topics {
		t := im.Topic(row.Topic)
		if t == nil {
			continue
		}
		for _, p := range row.Partitions {
			if p >= 0 && int(p) < len(t.Partitions) {
				set = append(set, assignor.Partition{Topic: t.ID, Index: p})
			}
		}
	}
	slices.SortFunc(set, assignor.Partition.Compare)
	return slices.Compact(set), nil
}

// downgradable reports whether the group can become a classic one when some members have gone: those that stay speak the
// classic protocol.
func (g *consumerGroup) downgradable(gone []*consumerMember, e *coordinator.Effects) bool {
	config := g.machine.config()
	stay, classics := len(g.members)-len(gone), g.classics
	for _, m := range gone {
		if m.classic != nil {
			classics--
		}
	}
	if !config.Consumer.Downgrade || stay == 0 || stay != classics || stay > int(config.MaxSize) {
		return false
	}
	size := g.classicSize(gone)
	tombstones, of := g.tombstoneSize()
	return size <= maxClassicRecord && e.Fits(1+tombstones, size+of)
}

// maxClassicRecord bounds the record of a group that becomes a classic one, in bytes. It is decided by timers too, which
// nobody can refuse: a group whose record would not fit into a batch of __consumer_offsets, beside all that deletes what
// the group was, stays what it is.
const maxClassicRecord = 512 << 10

// tombstoneSize is how many records tombstones writes, and how many bytes, about.
func (g *consumerGroup) tombstoneSize() (records, size int) {
	perKey := 6 + len(g.id) // type and lengths
	for id := range g.members {
		records, size = records+3, size+3*(perKey+len(id))
	}
	for expr := range g.resolved {
		records, size = records+1, size+perKey+len(expr)
	}
	return records + 3, size + 3*perKey
}

// classicSize is about how large the group's record would be as a classic one, without some members.
func (g *consumerGroup) classicSize(gone []*consumerMember) (n int) {
	left := setOf(gone)
	for _, m := range g.members {
		if left[m] {
			continue
		}
		n += len(m.id) + len(m.clientID) + len(m.clientHost) + 4*len(m.target)
		if m.instance != nil {
			n += len(*m.instance)
		}
		longest := 0
		for _, p := range m.classic.protocols {
			longest = max(longest, len(p.metadata))
		}
		n += longest
		byTopic(m.target, func(int, int) { n += metadata.MaxTopicName })
	}
	return n
}

func setOf(members []*consumerMember) map[*consumerMember]bool {
	set := make(map[*consumerMember]bool, len(members))
	for _, m := range members {
		set[m] = true
	}
	return set
}

// downgrade makes the group a classic one, its generation being the epoch. The members are given what they were to have.
// They come together in a rebalance, unless joined is set: a static member that has just come back with the classic
// protocol, for whom nothing changes.
func (g *consumerGroup) downgrade(gone []*consumerMember, joined *consumerMember, now time.Time, e *coordinator.Effects) {
	im := g.machine.image()
	c := g.machine.newClassicGroup(g.id, now)
	c.generation, c.typ, c.status = g.epoch, consumerProtocolType, classicStable
	left := setOf(gone)
	for _, m := range g.ordered {
		if left[m] {
			continue
		}
		c.adopt(&classicMember{
			id: m.id, instanceID: m.instance, clientID: m.clientID, clientHost: m.clientHost,
			rebalanceTimeout: millis(m.rebalanceTimeout), sessionTimeout: millis(m.classic.sessionTimeout),
			protocols: m.classic.protocols, assignment: embedAssignment(im, m.target, m.classic),
		})
	}
	c.protocol = new(c.vote(c.byID[c.leader]))
	g.tombstones(e)
	g.machine.groups[g.id].seat(c, g.machine)
	for m := range c.all {
		c.startSession(m, now)
	}
	if joined == nil {
		c.rebalance(now, e)
	}
	c.record(e)
}
