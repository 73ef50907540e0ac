package group

import (
	"slices"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator/group/assignor"
)

// What things cost in memory beside their strings and bytes, in bytes: structures, places in maps, timers.
const (
	groupOverhead = 1024
	// memberOverhead and protocolOverhead are those of a member, of either protocol, and of each classic protocol that it
	// offers.
	memberOverhead   = 512
	protocolOverhead = 96
	nameCost         = 32  // a name in a list, and in a count
	targetCost       = 24  // a partition that a member is to have
	ownedCost        = 128 // a partition that it has: with its epoch, and in the group's table of owners
	instructionCost  = 48  // of a compiled regular expression
)

// Memory is how much the groups of a node and their members take, those of all machines together. Without a bound
// anybody who may join a group could join any number of them, with as much metadata as requests take, and all of it
// would stay for as long as a session does. Kafka bounds only the members of one group, by number.
//
// What counts are groups that have a protocol, their members and what these say, are to have and have. Committed offsets
// do not: they are what applications keep here, a refused commit costs them work that they have done, and each is a
// record on the disk anyway. It is an estimate, of what a client can make large.
type Memory struct {
	used    atomic.Int64
	refused atomic.Int64
	full    func(used, limit int64)
}

// NewMemory makes the account of a node. full, if it is not nil, is called with every request that is refused; it must
// not block.
func NewMemory(full func(used, limit int64)) *Memory { return &Memory{full: full} }

// Used is how much groups and members take, in bytes.
func (m *Memory) Used() int64 { return m.used.Load() }

// Refused is the number of requests that were refused for lack of memory.
func (m *Memory) Refused() int64 { return m.refused.Load() }

// admit says whether n bytes more may be taken. Machines that decide at the same time may each take the last bytes, and
// what a member is given is not known yet when it is let in: the limit may be passed by what one decision of each machine
// brings. What is there already is never refused, wherever the limit is.
func (m *Machine) admit(n int) error {
	limit, used := m.config().MaxBytes, m.memory.Used()
	if n <= 0 || used+int64(n) <= limit {
		return nil
	}
	m.memory.refused.Add(1)
	if m.memory.full != nil {
		m.memory.full(used, limit)
	}
	return refuse(kerr.GroupMaxSizeReached,
		"the groups of this node take %d bytes of memory, and kbroker.group.max.bytes allows %d: let members leave or delete groups, or raise it", used, limit)
}

// account is what one membership, or a part of it, takes. It counts to the Memory of the node while its group has it.
type account struct {
	bytes  int
	memory *Memory // nil while it does not count
}

// charge takes n bytes more, or gives them back.
func (a *account) charge(n int) {
	a.bytes += n
	if a.memory != nil {
		a.memory.used.Add(int64(n))
	}
}

// countTo has the account count to m from now on, and to nothing if m is nil.
func (a *account) countTo(m *Memory) {
	n := int64(a.bytes)
	if a.memory != nil {
		a.memory.used.Add(-n)
	}
	if a.memory = m; m != nil {
		m.used.Add(n)
	}
}

// seat makes members the membership of the group, nil for none. What that before it took is given back. While a machine is
// being loaded nothing counts: a loading that fails leaves its machine behind.
func (g *Group) seat(members membership, m *Machine) {
	if g.members != nil {
		g.members.countTo(nil)
	}
	g.members = members
	if members != nil && !m.loading {
		members.countTo(m.memory)
	}
}

// admitJoin says whether there is memory for what a JoinGroup brings in: what its member takes already is its own.
func (m *Machine) admitJoin(j *classicJoin) error {
	n := joinSize(j)
	switch members := m.membersOf(j.req.Group).(type) {
	case nil:
		n += groupOverhead
	case *classicGroup:
		member := members.byID[j.req.MemberID]
		if member == nil && j.req.InstanceID != nil {
			member = members.static[*j.req.InstanceID]
		}
		if member != nil {
			n -= member.size()
		}
	case *consumerGroup:
		if member := members.who(j.req.MemberID, j.req.InstanceID); member != nil {
			n -= memberSize(member.id) + member.memberInfo.size()
		}
	}
	return m.admit(n)
}

// admitAssignment says whether there is memory for what the leader of the group assigns.
func (g *classicGroup) admitAssignment(req *kmsg.SyncGroupRequest) error {
	n := 0
	for _, a := range req.GroupAssignment {
		n += len(a.MemberAssignment)
	}
	for m := range g.all {
		n -= len(m.assignment)
	}
	return g.machine.admit(n)
}

// admit says whether there is memory for what a heartbeat brings in. One that says nothing new is let through.
func (h *heartbeat) admit() error {
	r := h.req
	says := r.SubscribedTopicNames != nil || r.SubscribedTopicRegex != nil || r.InstanceID != nil || r.RackID != nil || r.ServerAssignor != nil
	if r.MemberEpoch != epochJoin && !says {
		return nil
	}
	n := memberSize(r.MemberID) + h.merge(&memberInfo{}).size()
	if h.machine.memory.Used()+int64(n) <= h.machine.config().MaxBytes {
		return nil
	}
	g, _ := h.machine.membersOf(r.Group).(*consumerGroup)
	if g == nil {
		return h.machine.admit(groupOverhead + n)
	}
	m := g.who(r.MemberID, r.InstanceID)
	switch {
	case m == nil && r.MemberEpoch != epochJoin:
		return nil // it is refused for that
	case m != nil && h.merge(m.memberInfo).sameSubscription(m.memberInfo):
		return nil
	}
	return h.machine.admit(n)
}

// who returns the member that a request names, by its own id or by its instance's.
func (g *consumerGroup) who(id string, instance *string) *consumerMember {
	if m := g.members[id]; m != nil || instance == nil {
		return m
	}
	return g.members[g.instances[*instance]]
}

// memberSize is what a member takes of which nothing but the id is known.
func memberSize(id string) int { return memberOverhead + 2*len(id) }

// size is what a member told about itself, in memory.
func (i *memberInfo) size() int {
	n := len(i.clientID) + len(i.clientHost) + len(i.regex)
	for _, s := range []*string{i.instance, i.rack, i.assignor} {
		if s != nil {
			n += len(*s)
		}
	}
	for _, t := range i.topics {
		n += nameCost + len(t)
	}
	if i.classic != nil {
		for _, p := range i.classic.protocols {
			n += protocolOverhead + len(p.name) + len(p.metadata)
		}
	}
	return n
}

// sameSubscription reports whether two descriptions of a member cost the same, and so does what it is given for them.
func (i *memberInfo) sameSubscription(j *memberInfo) bool {
	return i.size() <= j.size() && slices.Equal(i.topics, j.topics) && i.regex == j.regex
}

// size is what a member has, in memory.
func (c *memberCurrent) size() int {
	return ownedCost * (len(c.assigned.partitions) + len(c.revoking.partitions))
}

func sizeOfTarget(set assignor.Partitions) int { return targetCost * len(set) }

// size is what a regular expression stands for, in memory.
func (r *resolution) size() int {
	if r == nil {
		return 0
	}
	n := nameCost
	for _, t := range r.topics {
		n += nameCost + len(t)
	}
	return n
}
