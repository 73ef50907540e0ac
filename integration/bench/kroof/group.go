//go:build linux

package main

import (
	"encoding/binary"
	"strconv"
	"sync"
)

// Error codes of groups.
const (
	errIllegalGeneration   = 22
	errUnknownMemberID     = 25
	errRebalanceInProgress = 27
	errMemberIDRequired    = 79
)

// group is a consumer group of which nothing is left but who waits for whom: no timers, no checks, no records, nothing
// that survives. In the classic protocol it knows members and generations; in that of KIP-848 (KIP-848, with the waiting
// for revocations left out) it gives every member one partition, and those of members who left to whoever comes next.
type group struct {
	mu         sync.Mutex // guards everything
	members    map[string]*groupMember
	epoch      int32 // generation or group epoch
	leader     string
	preparing  bool // members are to join anew
	joined     int  // members whose join waits
	assigned   bool // the leader of this generation has said who gets what
	partitions int  // of the topic, once a member of KIP-848 named it
	free       []int32
	ids        int // given out
}

// groupMember is one member.
type groupMember struct {
	c           *conn
	correlation int32
	joins       bool // its join is not answered yet
	syncs       bool // its sync is not answered yet
	metadata    []byte
	assignment  []byte
	epoch       int32
	owned       []int32
	changed     bool // owned is to be told
}

// groupNamed returns a group, which comes into being with its first mention.
func (s *server) groupNamed(name string) *group {
	s.groupsMu.Lock()
	defer s.groupsMu.Unlock()
	g := s.groups[name]
	if g == nil {
		g = &group{members: map[string]*groupMember{}}
		s.groups[name] = g
	}
	return g
}

// The flexible encoding, which groups' requests have in the versions that kgroup speaks.

func (d *decoder) uvarint() int {
	v, n := binary.Uvarint(d.b)
	d.b = d.b[n:]
	return int(v)
}

// compact reads a compact string or bytes; nil has length -1.
func (d *decoder) compact() []byte { return d.bytes(int32(max(d.uvarint()-1, 0))) }

func (e *encoder) uvarint(n int)    { *e = binary.AppendUvarint(*e, uint64(n)) }
func (e *encoder) compact(b string) { e.uvarint(len(b) + 1); *e = append(*e, b...) }

// flexible begins the frame of an answer in a flexible version. send completes it.
func flexible(correlation int32) encoder {
	e := make(encoder, 4, 128)
	e.i32(correlation)
	e.i8(0) // tags of the header
	return e
}

// send completes and writes an answer.
func (m *groupMember) send(e encoder) {
	e.i8(0) // tags
	be.PutUint32(e, uint32(len(e)-4))
	_, _ = m.c.tcp.Write(e) // a client that is gone needs no answer
}

// ofGroup handles the requests of groups; what is answered later is answered by whoever completes it.
func (c *conn) ofGroup(key int16, correlation int32, d *decoder) {
	d.uvarint() // tags of the header
	g := c.groupNamed(string(d.compact()))
	me := &groupMember{c: c, correlation: correlation}
	switch key {
	case 10: // FindCoordinator
		e := flexible(correlation)
		e.i32(0)
		e.i16(errNone)
		e.uvarint(0)
		e.i32(0)
		e.compact(c.host)
		e.i32(int32(c.port))
		me.send(e)
	case 11:
		g.join(me, d)
	case 12:
		g.heartbeat(me, d)
	case 13:
		g.leave(me, d)
	case 14:
		g.sync(me, d)
	default:
		g.consumerHeartbeat(me, d)
	}
}

// join answers all when the last has come.
func (g *group) join(from *groupMember, d *decoder) {
	d.i32() // session timeout
	d.i32() // rebalance timeout
	id := string(d.compact())
	d.compact() // instance id
	d.compact() // protocol type
	d.uvarint() // protocols: the first one counts
	d.compact()
	metadata := append([]byte(nil), d.compact()...)
	g.mu.Lock()
	defer g.mu.Unlock()
	if id == "" {
		g.ids++
		from.send(g.joinAnswer(from, errMemberIDRequired, "member-"+strconv.Itoa(g.ids), nil))
		return
	}
	m := g.members[id]
	if m == nil {
		m = &groupMember{}
		g.members[id] = m
	}
	g.prepare()
	m.c, m.correlation, m.metadata, m.joins = from.c, from.correlation, metadata, true
	g.joined++
	g.complete()
}

// prepare has the members join anew. The lock is held.
func (g *group) prepare() {
	if g.preparing {
		return
	}
	g.preparing = true
	for _, m := range g.members {
		m.answerSync(errRebalanceInProgress)
	}
}

// complete begins a generation if all members have joined. The lock is held.
func (g *group) complete() {
	if g.joined < len(g.members) || g.joined == 0 {
		return
	}
	g.epoch++
	g.preparing, g.assigned, g.joined = false, false, 0
	if g.members[g.leader] == nil {
		for g.leader = range g.members {
			break
		}
	}
	for id, m := range g.members {
		m.joins, m.epoch = false, g.epoch
		var told map[string]*groupMember
		if id == g.leader {
			told = g.members
		}
		m.send(g.joinAnswer(m, errNone, id, told))
	}
}

func (g *group) joinAnswer(m *groupMember, code int16, id string, members map[string]*groupMember) encoder {
	e := flexible(m.correlation)
	e.i32(0)
	e.i16(code)
	e.i32(g.epoch)
	e.compact("consumer")
	e.compact("range")
	e.compact(g.leader)
	e.i8(0) // the leader assigns
	e.compact(id)
	e.uvarint(len(members) + 1)
	for id, m := range members {
		e.compact(id)
		e.uvarint(0) // no instance id
		e.compact(string(m.metadata))
		e.i8(0)
	}
	return e
}

// sync answers all when the leader has said who gets what.
func (g *group) sync(from *groupMember, d *decoder) {
	generation, id := d.i32(), string(d.compact())
	d.compact() // instance id
	d.compact() // protocol type
	d.compact() // protocol
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.members[id]
	if code := g.check(m, generation); code != errNone {
		from.send(syncAnswer(from, code, nil))
		return
	}
	m.correlation, m.syncs = from.correlation, true
	if id == g.leader {
		for range d.uvarint() - 1 {
			other, assignment := d.compact(), d.compact()
			d.uvarint()
			if o := g.members[string(other)]; o != nil {
				o.assignment = append(o.assignment[:0], assignment...)
			}
		}
		g.assigned = true
		for _, o := range g.members {
			o.answerSync(errNone)
		}
		return
	}
	if g.assigned {
		m.answerSync(errNone)
	}
}

// answerSync answers a sync that waits.
func (m *groupMember) answerSync(code int16) {
	if m.syncs {
		m.syncs = false
		m.send(syncAnswer(m, code, m.assignment))
	}
}

func syncAnswer(m *groupMember, code int16, assignment []byte) encoder {
	e := flexible(m.correlation)
	e.i32(0)
	e.i16(code)
	e.compact("consumer")
	e.compact("range")
	e.compact(string(assignment))
	return e
}

// check says what a member is told that takes part in a generation.
func (g *group) check(m *groupMember, generation int32) int16 {
	switch {
	case m == nil:
		return errUnknownMemberID
	case generation != g.epoch:
		return errIllegalGeneration
	case g.preparing:
		return errRebalanceInProgress
	}
	return errNone
}

func (g *group) heartbeat(from *groupMember, d *decoder) {
	generation, id := d.i32(), d.compact()
	g.mu.Lock()
	code := g.check(g.members[string(id)], generation)
	g.mu.Unlock()
	e := flexible(from.correlation)
	e.i32(0)
	e.i16(code)
	from.send(e)
}

func (g *group) leave(from *groupMember, d *decoder) {
	d.uvarint() // members: one
	id := string(d.compact())
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.members[id]; m != nil && m.joins {
		g.joined--
	}
	delete(g.members, id)
	g.prepare()
	e := flexible(from.correlation)
	e.i32(0)
	e.i16(errNone)
	e.uvarint(2)
	e.compact(id)
	e.uvarint(0)
	e.i16(errNone)
	e.i8(0)
	from.send(e)
	g.complete()
}

// consumerHeartbeat is the whole protocol of KIP-848.
func (g *group) consumerHeartbeat(from *groupMember, d *decoder) {
	id, epoch := string(d.compact()), d.i32()
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.members[id]
	switch {
	case epoch < 0:
		delete(g.members, id)
		if m != nil {
			g.epoch++
			g.free = append(g.free, m.owned...)
			g.giveFree()
		}
		from.send(consumerAnswer(from, errNone, id, epoch))
		return
	case epoch == 0:
		m = &groupMember{changed: true}
		g.members[id] = m
		g.topicOf(from.c, d)
		g.epoch++
		g.endow(m)
	case m == nil:
		from.send(consumerAnswer(from, errUnknownMemberID, id, epoch))
		return
	}
	m.c, m.correlation, m.epoch = from.c, from.correlation, g.epoch
	m.send(consumerAnswer(m, errNone, id, g.epoch))
	m.changed = false
}

// topicOf reads how many partitions there are to give from the first request that names the topic.
func (g *group) topicOf(c *conn, d *decoder) {
	if g.partitions > 0 {
		return
	}
	d.compact() // instance id
	d.compact() // rack
	d.i32()     // rebalance timeout
	d.uvarint() // topics: one
	g.partitions = len(c.topic(string(d.compact()), 0))
	for p := range g.partitions {
		g.free = append(g.free, int32(p))
	}
}

// endow gives a new member a partition: a free one, or one of somebody who has several.
func (g *group) endow(m *groupMember) {
	if len(g.free) == 0 {
		for _, o := range g.members {
			if n := len(o.owned); n > 1 {
				g.free = append(g.free, o.owned[n-1])
				o.owned, o.changed = o.owned[:n-1], true
				break
			}
		}
	}
	if n := len(g.free); n > 0 {
		m.owned, g.free = append(m.owned, g.free[n-1]), g.free[:n-1]
	}
}

// giveFree gives what is free to any member.
func (g *group) giveFree() {
	for _, m := range g.members {
		m.owned, m.changed, g.free = append(m.owned, g.free...), true, g.free[:0]
		return
	}
}

func consumerAnswer(m *groupMember, code int16, id string, epoch int32) encoder {
	e := flexible(m.correlation)
	e.i32(0)
	e.i16(code)
	e.uvarint(0) // no message
	e.compact(id)
	e.i32(epoch)
	e.i32(5000) // interval of heartbeats, in ms
	if !m.changed {
		e.i8(-1)
		return e
	}
	e.i8(1)
	e.uvarint(2) // one topic
	e = append(e, make([]byte, 16)...)
	e.uvarint(len(m.owned) + 1)
	for _, p := range m.owned {
		e.i32(p)
	}
	e.i8(0)
	e.i8(0)
	return e
}
