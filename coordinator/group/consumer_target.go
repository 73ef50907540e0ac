package group

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group/assignor"
	"github.com/kbroker/kbroker/metadata"
)

// advance takes the group into a new epoch if a member's wish asks for it, or if the topics that are consumed have
// changed since they were last looked at (rule 8.7.5). Both together are one epoch.
func (g *consumerGroup) advance(now time.Time, im *metadata.Image, bump bool, e *coordinator.Effects) {
	if !bump && im.Index == g.checkedIndex {
		return
	}
	g.checkedIndex = im.Index
	if hash := g.topicsHash(im); bump || hash != g.hash {
		g.write(e, epochRecord{epoch: g.epoch + 1, hash: hash})
	}
}

// consumed calls yield for each topic name that somebody subscribes to, once each.
func (g *consumerGroup) consumed(yield func(name string)) {
	if len(g.patterns) == 0 {
		for n := range g.names {
			yield(n)
		}
		return
	}
	all := make(map[string]struct{}, len(g.names))
	for n := range g.names {
		all[n] = struct{}{}
	}
	for p := range g.patterns {
		if r := g.resolved[p]; r != nil {
			for _, n := range r.topics {
				all[n] = struct{}{}
			}
		}
	}
	for n := range all {
		yield(n)
	}
}

// topicsHash is a number that changes when the topics do that the group consumes: their ids, their partitions, the racks
// of those; 0 without topics. It is the sum of the topics' own, so that their order does not matter. It is not the one
// that Kafka computes: a group that is taken over from Kafka goes through one epoch more.
func (g *consumerGroup) topicsHash(im *metadata.Image) int64 {
	racks := rackNames(im)
	var sum uint64
	g.consumed(func(name string) {
		if t := im.Topic(name); t != nil {
			sum += topicHash(t, racks)
		}
	})
	return int64(sum)
}

// rackNames returns the racks of brokers, nil when no broker has one.
func rackNames(im *metadata.Image) map[metadata.BrokerID]string {
	var racks map[metadata.BrokerID]string
	for _, b := range im.Brokers() {
		if b.Rack != "" {
			if racks == nil {
				racks = map[metadata.BrokerID]string{}
			}
			racks[b.ID] = b.Rack
		}
	}
	return racks
}

func topicHash(t *metadata.Topic, racks map[metadata.BrokerID]string) uint64 {
	h := fnv.New64a()
	h.Write(t.ID[:])
	h.Write([]byte(t.Name))
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(t.Partitions))))
	if racks != nil {
		for i, p := range t.Partitions {
			set := map[string]struct{}{}
			for _, r := range p.Replicas {
				if rack := racks[r]; rack != "" {
					set[rack] = struct{}{}
				}
			}
			h.Write(binary.BigEndian.AppendUint32(nil, uint32(i)))
			for _, rack := range slices.Sorted(maps.Keys(set)) {
				h.Write(append([]byte(rack), 0))
			}
		}
	}
	return h.Sum64()
}

// retarget decides anew who is to have what if the group has come into a new epoch, though not sooner after the last
// time than the assignment interval allows (rule 8.7.6). It happens once per epoch, and what it costs is one pass over
// the members and the partitions.
//
// The targets of a group of many thousands are more than a batch of the topic takes, so they may be parted; Kafka refuses
// the heartbeat then, and the group stays as it is. If the node fails between two batches, some members have new targets
// and others old ones, in which a partition may be twice or not at all. The epoch of the targets, which comes last, says
// that they are not those of the group's epoch: the first heartbeat makes them anew. Until then nobody gets a partition
// that somebody else has, since owners go by what members have and not by targets.
func (g *consumerGroup) retarget(now time.Time, im *metadata.Image, e *coordinator.Effects) {
	if g.epoch <= g.targetEpoch || !g.mayRetarget(now) {
		return
	}
	e.Cut()
	input := g.assignorInput(im)
	for i, set := range assignor.Assign(g.assignor(), input) {
		m := g.ordered[i]
		if !m.hasTarget || !m.target.Equal(set) {
			g.write(e, targetRecord{id: m.id, set: set})
			e.Cut()
		}
	}
	g.write(e, targetEpochRecord{epoch: g.epoch, at: now.UnixMilli()})
	e.Cut()
}

// mayRetarget reports whether the assignment interval is over.
func (g *consumerGroup) mayRetarget(now time.Time) bool {
	at := time.UnixMilli(g.targetAt)
	return g.targetAt == 0 || at.After(now) || !now.Before(at.Add(g.timing().AssignmentInterval))
}

// assignorInput is the group as assignors see it. Members with the same subscription share their list of topics.
func (g *consumerGroup) assignorInput(im *metadata.Image) *assignor.Group {
	in := &assignor.Group{Members: make([]assignor.Member, 0, len(g.ordered))}
	topics := map[metadata.UUID]*metadata.Topic{}
	lists := map[string][]metadata.UUID{}
	var key []byte
	var list []metadata.UUID
	for i, m := range g.ordered {
		if i == 0 || !m.subscribesLike(g.ordered[i-1].memberInfo) {
			key = m.appendSubscription(key[:0])
			known, ok := lists[string(key)]
			if !ok {
				known = g.topicsOf(im, m.memberInfo)
				lists[string(key)] = known
				for _, id := range known {
					topics[id] = im.TopicByID(id)
				}
			}
			list = known
		}
		a := assignor.Member{ID: m.id, Topics: list, Current: m.target}
		if m.instance != nil {
			a.Instance = *m.instance
		}
		in.Members = append(in.Members, a)
	}
	for id, t := range topics {
		in.Topics = append(in.Topics, assignor.Topic{ID: id, Partitions: int32(len(t.Partitions))})
	}
	slices.SortFunc(in.Topics, func(a, b assignor.Topic) int { return compareIDs(a.ID, b.ID) })
	return in
}

// subscribesLike reports whether two members subscribe to the same.
func (i *memberInfo) subscribesLike(o *memberInfo) bool {
	return i.regex == o.regex && slices.Equal(i.topics, o.topics)
}

// appendSubscription appends something that is the same for members that subscribe to the same.
func (i *memberInfo) appendSubscription(b []byte) []byte {
	for _, n := range i.topics {
		b = binary.AppendUvarint(b, uint64(len(n)))
		b = append(b, n...)
	}
	b = append(b, 0)
	return append(b, i.regex...)
}

// assignor is the one that most members ask for, or the default one (rule 8.7.6).
func (g *consumerGroup) assignor() string {
	known := g.machine.config().Consumer.Assignors
	votes := map[string]int{}
	for _, m := range g.members {
		if m.memberInfo != nil && m.memberInfo.assignor != nil {
			votes[*m.memberInfo.assignor]++
		}
	}
	winner := known[0]
	for _, a := range known {
		if votes[a] > votes[winner] {
			winner = a
		}
	}
	return winner
}
