package group

import (
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group/assignor"
	"github.com/kbroker/kbroker/metadata"
)

// A consumer group takes members of the classic protocol while it is being migrated (rule 8.7.13). For them a rebalance is
// a step of their own: they are told by heartbeat to join again, say what they own, and fetch from SyncGroup what they
// have now. Nobody leads, and nobody waits for another.

// joinClassic implements classicHost. Unlike those of a classic group, its refusals do not repeat the member's id; seen on
// Kafka 4.3.1.
func (g *consumerGroup) joinClassic(j *classicJoin) {
	id := j.req.MemberID
	if g.members[id] == nil && len(g.members) >= g.machine.config().Consumer.MaxSize {
		j.refuse("", kerr.GroupMaxSizeReached)
		return
	}
	if !g.understands(j.req) {
		j.refuse("", kerr.InconsistentGroupProtocol)
		return
	}
	if id == "" && j.req.InstanceID == nil {
		id = g.machine.newMemberID(j.from.ID)
		if j.req.Version >= 4 {
			j.refuse(id, kerr.MemberIDRequired)
			return
		}
	}
	var holder *consumerMember
	if j.req.InstanceID != nil {
		holder = g.members[g.instances[*j.req.InstanceID]]
		switch {
		case id == "":
			id = g.machine.newMemberID(*j.req.InstanceID)
		case holder == nil:
			j.refuse("", kerr.UnknownMemberID)
			return
		case holder.id != id:
			j.refuse("", kerr.FencedInstanceID)
			return
		}
	}
	sub, err := readSubscription(j.req.Protocols[0].Metadata)
	if err != nil {
		j.refuse("", kerr.InconsistentGroupProtocol)
		return
	}
	g.admit(j, strings.Clone(id), holder, sub)
}

// understands says whether a member may join as far as its protocols go: one of them must be common to all members of the
// classic protocol, so that the group can become theirs.
func (g *consumerGroup) understands(req *kmsg.JoinGroupRequest) bool {
	if req.ProtocolType != consumerProtocolType || len(req.Protocols) == 0 {
		return false
	}
	return g.classics == 0 || slices.ContainsFunc(req.Protocols, func(p kmsg.JoinGroupRequestProtocol) bool { return g.offered[p.Name] == g.classics })
}

// readSubscription reads a consumer's embedded metadata. A version that is newer than those known is read as the newest
// one known.
func readSubscription(b []byte) (*kmsg.ConsumerMemberMetadata, error) {
	v := kmsg.NewConsumerMemberMetadata()
	return &v, v.ReadFrom(knownVersion(b))
}

// newestEmbedded is the newest version of the consumer protocol's embedded structures (appendix B.1).
const newestEmbedded = 3

// knownVersion returns embedded bytes with a version that can be read.
func knownVersion(b []byte) []byte {
	if len(b) >= 2 && int16(b[0])<<8|int16(b[1]) > newestEmbedded {
		b = slices.Clone(b)
		b[0], b[1] = 0, newestEmbedded
	}
	return b
}

// admit takes a member of the classic protocol in, or takes note of what it says anew. holder is who has its instance id.
func (g *consumerGroup) admit(j *classicJoin, id string, holder *consumerMember, sub *kmsg.ConsumerMemberMetadata) {
	m := g.members[id]
	last := holder != nil && holder.classic == nil // the last of the new protocol, perhaps
	if holder != nil && holder.id != id {
		m = g.rename(holder, id, j.e)
	}
	old := &memberInfo{}
	if m != nil {
		old = m.memberInfo
	}
	changed, bump := false, false
	if info := classicInfo(j, old, sub); m == nil || !info.equal(old) {
		changed, bump = g.introduce(id, old, info, j.e)
		m = g.members[id]
	}
	im := g.machine.image()
	g.advance(j.now, im, bump, j.e)
	g.retarget(j.now, im, j.e)
	if after := g.next(m, im, ownedByName(im, sub), changed); !after.equal(m.memberCurrent) {
		g.write(j.e, currentRecord{m.id, after})
	}
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.ProtocolType, resp.Protocol = new(consumerProtocolType), &m.classic.protocols[0].name
	resp.Generation, resp.MemberID = m.epoch, m.id
	if last && g.downgradable(nil, j.e) {
		g.downgrade(nil, m, j.now, j.e)
	} else {
		g.startSession(m, j.now)
		g.expect(m, j.now)
	}
	j.e.Answer(j.reply.with(resp))
}

// expect gives a member its rebalance timeout for the SyncGroup that must follow its join.
func (g *consumerGroup) expect(m *consumerMember, now time.Time) {
	s := g.sessionOf(m.id)
	g.machine.timers.cancel(&s.deadline)
	g.hurry(s, m, now)
}

// classicInfo is what a member says about itself in a JoinGroup.
func classicInfo(j *classicJoin, old *memberInfo, sub *kmsg.ConsumerMemberMetadata) *memberInfo {
	rebalance, session := timeouts(j.req)
	i := &memberInfo{
		instance: old.instance, rack: sub.Rack, clientID: strings.Clone(j.from.ID), clientHost: j.from.Host,
		topics: sortedNames(clonedAll(sub.Topics)), rebalanceTimeout: int32(rebalance.Milliseconds()),
		classic: &classicPart{sessionTimeout: int32(session.Milliseconds()), protocols: readProtocols(j.req.Protocols)},
	}
	if j.req.InstanceID != nil {
		i.instance = cloned(j.req.InstanceID)
	}
	if i.rack == nil { // metadata before version 3 cannot tell
		i.rack = old.rack
	}
	return i
}

// ownedByName is what a member says that it owns. One that says nothing owns nothing: before version 1 of the embedded
// metadata consumers gave up everything before they joined.
func ownedByName(im *metadata.Image, sub *kmsg.ConsumerMemberMetadata) *reported {
	r := &reported{known: true}
	for _, o := range sub.OwnedPartitions {
		if t := im.Topic(o.Topic); t != nil {
			for _, p := range o.Partitions {
				r.set = append(r.set, assignor.Partition{Topic: t.ID, Index: p})
			}
		}
	}
	slices.SortFunc(r.set, assignor.Partition.Compare)
	return r
}

// classicMember returns the member of the classic protocol that a request names.
func (g *consumerGroup) classicMember(id string, instance *string) (*consumerMember, error) {
	m := g.members[id]
	if instance != nil {
		var err error
		if m, err = g.static(id, *instance); err != nil {
			return nil, err
		}
	}
	if m == nil || m.classic == nil {
		return nil, kerr.UnknownMemberID
	}
	return m, nil
}

// syncClassic implements classicHost.
func (g *consumerGroup) syncClassic(s *classicSync) {
	m, err := g.classicMember(s.req.MemberID, s.req.InstanceID)
	if err != nil {
		s.refuse(err)
		return
	}
	protocol := m.classic.protocols[0].name
	switch {
	case s.req.Generation != m.epoch:
		s.refuse(kerr.IllegalGeneration)
	case s.req.ProtocolType != nil && *s.req.ProtocolType != consumerProtocolType, s.req.Protocol != nil && *s.req.Protocol != protocol:
		s.refuse(kerr.InconsistentGroupProtocol)
	case g.behind(m, s.now) && m.state != memberRevoking:
		// One that is giving up partitions must finish that first, in the generation that it is in.
		g.hurry(g.sessionOf(m.id), m, s.now)
		s.refuse(kerr.RebalanceInProgress)
	default:
		g.machine.timers.cancel(&g.sessionOf(m.id).deadline)
		g.startSession(m, s.now)
		resp := kmsg.NewPtrSyncGroupResponse()
		resp.ProtocolType, resp.Protocol = new(consumerProtocolType), &protocol
		resp.MemberAssignment = embedAssignment(g.machine.image(), m.assigned.partitions, m.classic)
		s.e.Answer(s.reply.with(resp))
	}
}

// embedAssignment encodes partitions as classic consumers read them, in the version of the member's own metadata.
func embedAssignment(im *metadata.Image, set assignor.Partitions, c *classicPart) []byte {
	a := kmsg.NewConsumerMemberAssignment()
	if md := c.protocols[0].metadata; len(md) >= 2 {
		a.Version = max(0, min(int16(md[0])<<8|int16(md[1]), newestEmbedded))
	}
	byTopic(set, func(from, to int) {
		t := im.TopicByID(set[from].Topic)
		if t == nil {
			return
		}
		row := kmsg.NewConsumerMemberAssignmentTopic()
		row.Topic = t.Name
		for _, p := range set[from:to] {
			row.Partitions = append(row.Partitions, p.Index)
		}
		a.Topics = append(a.Topics, row)
	})
	return a.AppendTo(nil)
}

// heartbeatClassic implements classicHost. A member joins again when the group has moved on, when it has partitions to
// give up, or when those that it waits for have become free.
func (g *consumerGroup) heartbeatClassic(now time.Time, req *kmsg.HeartbeatRequest, _ *coordinator.Effects) error {
	m, err := g.classicMember(req.MemberID, req.InstanceID)
	if err != nil {
		return err
	}
	if req.Generation != m.epoch {
		return kerr.IllegalGeneration
	}
	g.startSession(m, now)
	if g.behind(m, now) || m.state == memberRevoking || m.state == memberWaiting && !g.waits(m) {
		g.hurry(g.sessionOf(m.id), m, now)
		return kerr.RebalanceInProgress
	}
	return nil
}

// behind reports whether a member gets further by joining again. Before the group has a new target a join brings it nowhere,
// and within the assignment interval it would join in circles. Members of the new protocol make the target; where there are
// none, in a group that may not become classic, a join has to.
func (g *consumerGroup) behind(m *consumerMember, now time.Time) bool {
	return m.epoch < g.targetEpoch || g.classics == len(g.members) && m.epoch < g.epoch && g.mayRetarget(now)
}

// waits reports whether somebody else still has a partition that a member is to have.
func (g *consumerGroup) waits(m *consumerMember) bool {
	return slices.ContainsFunc(m.target, func(p assignor.Partition) bool {
		owner, taken := g.owners[p]
		return taken && owner != m.id
	})
}

// leaveClassic implements classicHost. It removes members of either protocol.
func (g *consumerGroup) leaveClassic(now time.Time, leaving []kmsg.LeaveGroupRequestMember, e *coordinator.Effects) []kmsg.LeaveGroupResponseMember {
	rows := make([]kmsg.LeaveGroupResponseMember, 0, len(leaving))
	var gone []*consumerMember
	seen := map[*consumerMember]bool{}
	for _, who := range leaving {
		m, err := g.leaver(who)
		if err == nil && !seen[m] { // who is named twice leaves once; seen on Kafka 4.3.1
			gone, seen[m] = append(gone, m), true
		}
		rows = append(rows, left(who, err))
	}
	if len(gone) > 0 {
		g.remove(gone, now, e)
	}
	return rows
}

// leaver returns the member that a row of LeaveGroup names, by its instance id alone perhaps.
func (g *consumerGroup) leaver(who kmsg.LeaveGroupRequestMember) (*consumerMember, error) {
	m := g.members[who.MemberID]
	if who.InstanceID != nil {
		if m = g.members[g.instances[*who.InstanceID]]; m != nil && who.MemberID != "" && m.id != who.MemberID {
			return nil, kerr.FencedInstanceID
		}
	}
	if m == nil {
		return nil, kerr.UnknownMemberID
	}
	return m, nil
}
