package group

import (
	"maps"
	"slices"
	"time"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/metadata"
)

const (
	// sweptPerTick and sweptBytes bound what one step of a sweep looks at, in groups, and writes, in bytes of keys, so
	// that it does not hold up its partition. Between steps the partition's groups have their turn.
	sweptPerTick = 1000
	sweptBytes   = 128 << 10
	sweepPause   = time.Millisecond
)

// sweep goes over the groups of a machine, some at a time, and deletes what nobody needs any more. Every round deletes the
// offsets of topics that are gone (rule 8.4.14), and starts as soon as one is. At intervals a round also deletes offsets
// that have expired and groups of which nothing is left (rule 8.4.13).
type sweep struct {
	timer
	left     []string  // groups that this round has not come to
	expiring bool      // this round looks at ages too
	again    bool      // a topic was deleted meanwhile: another round follows at once
	next     time.Time // when ages are looked at again; zero for never
}

// sweepSoon starts a round because topics may have been deleted.
func (m *Machine) sweepSoon(now time.Time) {
	if len(m.sweep.left) > 0 {
		m.sweep.again = true
		return
	}
	m.timers.set(&m.sweep.timer, now, m.sweepStep)
}

// sweepStep is one step of a round, or its beginning.
func (m *Machine) sweepStep(now time.Time, e *coordinator.Effects) {
	s := &m.sweep
	if len(s.left) == 0 {
		s.begin(m, now)
	}
	n := 0
	for n < len(s.left) && n < sweptPerTick && len(e.Buf) < sweptBytes {
		if g := m.groups[s.left[n]]; g != nil {
			m.sweepGroup(g, now, e)
		}
		n++
	}
	if s.left = s.left[n:]; len(s.left) > 0 {
		m.timers.set(&s.timer, now.Add(sweepPause), m.sweepStep)
		return
	}
	s.left = nil
	if s.again {
		m.timers.set(&s.timer, now.Add(sweepPause), m.sweepStep)
	} else if !s.next.IsZero() {
		m.timers.set(&s.timer, s.next, m.sweepStep)
	}
}

// begin begins a round.
func (s *sweep) begin(m *Machine, now time.Time) {
	every := m.config().OffsetsRetentionCheck
	s.left, s.again = slices.Sorted(maps.Keys(m.groups)), false
	s.expiring = !s.next.IsZero() && !s.next.After(now)
	if every > 0 && (s.expiring || s.next.IsZero()) {
		s.next = now.Add(every)
	}
}

// sweepGroup deletes what nobody needs of one group.
func (m *Machine) sweepGroup(g *Group, now time.Time, e *coordinator.Effects) {
	im := m.image()
	x := g.expiry(now, m.config().OffsetsRetention)
	keep := !m.sweep.expiring || len(g.offsets.pending) > 0
	for topic, partitions := range g.offsets.topics {
		t := im.Topic(topic)
		kept := !m.sweep.expiring || x.none || g.members != nil && g.members.subscribes(topic)
		for partition, o := range partitions {
			if o.of(t) && (kept || !x.over(&o) || g.offsets.hasPending(topic, partition)) {
				keep = true
				continue
			}
			tombstoneOffset(e, g.ID, topic, partition)
		}
	}
	for _, topics := range g.offsets.pending {
		for topic, partitions := range topics {
			if im.Topic(topic) != nil {
				continue
			}
			for partition := range partitions {
				tombstoneOffset(e, g.ID, topic, partition)
			}
		}
	}
	if _, empty := g.empty(); !keep && empty {
		g.tombstone(e)
		e.Cut()
	}
}

// of reports whether an offset is one of topic t, which is nil when there is none of its name any more: what was committed
// of an earlier topic of that name says nothing about this one (rule 8.4.14).
func (o *offset) of(t *metadata.Topic) bool {
	return t != nil && (o.topicID.IsZero() || o.topicID == t.ID)
}

// expiry says when the offsets of a group expire (rule 8.4.13).
type expiry struct {
	none   bool // they do not
	now    int64
	before int64 // offsets of this time or older have, in milliseconds since 1970
	// since, when it is not 0, is the time that counts for all offsets in place of their own: the group became empty then.
	since int64
}

func (g *Group) expiry(now time.Time, retention time.Duration) expiry {
	x := expiry{now: now.UnixMilli(), before: now.Add(-retention).UnixMilli()}
	if g.members == nil || g.members.kind() != "classic" || g.members.protocolType() == "" {
		return x // by the time of the commit; a consumer group's subscriptions are asked for besides
	}
	since, empty := g.members.empty()
	switch {
	case empty && !since.IsZero():
		x.since = since.UnixMilli()
	case empty:
	case g.members.protocolType() != consumerProtocolType || g.members.state() != classicStable.String():
		x.none = true
	}
	return x
}

// over reports whether an offset has expired. A time of its own wins over the retention (rule 8.4.5).
func (x *expiry) over(o *offset) bool {
	switch {
	case o.expireTime >= 0:
		return o.expireTime <= x.now
	case x.since != 0:
		return x.since <= x.before
	}
	return o.commitTime <= x.before
}

// tombstoneOffset wants an offset deleted, which stands for itself.
func tombstoneOffset(e *coordinator.Effects, group, topic string, partition int32) {
	from := len(e.Buf)
	e.Buf = appendOffsetKey(e.Buf, group, topic, partition)
	e.Append(e.Buf[from:len(e.Buf):len(e.Buf)], nil)
	e.Cut()
}

// tombstone wants the group itself deleted, whose offsets are. It has no members from here on; the replay of the last
// record forgets it.
func (g *Group) tombstone(e *coordinator.Effects) {
	if g.members == nil {
		e.Append(groupMetadataKey(g.ID), nil) // as Kafka does, for which it is an empty classic group
		return
	}
	g.members.tombstones(e)
	if c, ok := g.members.(*classicGroup); ok {
		c.stopTimers()
	}
	g.seat(nil, nil)
}
