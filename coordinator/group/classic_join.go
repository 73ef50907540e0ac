package group

import (
	"crypto/rand"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
)

// Bounds of what members may make the coordinator keep. Kafka has none but group.max.size, which is boundless unless it
// is set.
const (
	// maxMemberBytes bounds the members of one group in memory: some 20,000 consumers that offer three protocols for ten
	// topics each. Its record could not be written much earlier, unless max.message.bytes of __consumer_offsets is raised.
	maxMemberBytes = 64 << 20
	// newMemberTimeout is how long a new member may wait in a rebalance: it cannot send heartbeats yet, and a client that
	// gave up and asked again would leave its predecessor behind (rule 8.3.6).
	newMemberTimeout = 5 * time.Minute
)

// Client is who sends a request, as those see it who describe the group.
type Client struct {
	ID   string // client id; empty if it has none
	Host string // in Java's notation: /192.0.2.1 (rule 8.3.14)
}

// classicJoin is one JoinGroup request while it is decided.
type classicJoin struct {
	now   time.Time
	req   *kmsg.JoinGroupRequest
	from  Client
	reply respond[*kmsg.JoinGroupResponse]
	e     *coordinator.Effects
}

// JoinGroup decides a JoinGroup request (rules 8.3.3 to 8.3.8). reply is called once: when the rebalance that the member
// joined has completed, if it waits for one. The machine keeps req's byte slices.
func (m *Machine) JoinGroup(now time.Time, req *kmsg.JoinGroupRequest, from Client, reply func(*kmsg.JoinGroupResponse, error), e *coordinator.Effects) {
	j := &classicJoin{now: now, req: req, from: from, reply: reply, e: e}
	c := m.config()
	if s := millis(req.SessionTimeoutMillis); s < c.MinSessionTimeout || s > c.MaxSessionTimeout {
		j.refuse(req.MemberID, kerr.InvalidSessionTimeout)
		return
	}
	host, hosted := m.membersOf(req.Group).(classicHost)
	if hosted {
		_, empty := host.empty()
		hosted = !empty // an empty one is replaced, by a member that may come in
	}
	if !hosted && req.MemberID != "" && (host != nil || m.groups[req.Group] == nil) {
		j.refuse(req.MemberID, kerr.UnknownMemberID)
		return
	}
	if err := m.admitJoin(j); err != nil {
		j.refuse(req.MemberID, err)
		return
	}
	if hosted {
		m.reversible(req.Group, now, e, func() { host.joinClassic(j) })
		return
	}
	classic, err := m.classicFor(req.Group, now, e)
	if err != nil {
		j.refuse(req.MemberID, err)
		return
	}
	classic.join(j)
}

// classicFor returns a group that a classic member may join. It is made if it does not exist, with a record, or if it
// has only offsets; an empty group of another protocol is replaced (rule 8.1.4).
func (m *Machine) classicFor(id string, now time.Time, e *coordinator.Effects) (*classicGroup, error) {
	g := m.groups[id]
	if g == nil {
		g = &Group{ID: id}
		m.groups[id] = g
		classic := m.newClassicGroup(id, now)
		g.seat(classic, m)
		classic.recordEmpty(e)
		return classic, nil
	}
	switch members := g.members.(type) {
	case *classicGroup:
		return members, nil
	case nil:
	default:
		if _, ok := members.empty(); !ok {
			return nil, kerr.InconsistentGroupProtocol
		}
		members.tombstones(e)
	}
	classic := m.newClassicGroup(id, now)
	g.seat(classic, m)
	return classic, nil
}

// refuse answers with an error (rule 8.3.3).
func (j *classicJoin) refuse(memberID string, err error) {
	j.e.Answer(j.reply.with(refusedJoin(memberID, err)))
}

// refusedJoin is the answer to a join that is refused.
func refusedJoin(memberID string, err error) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.ErrorCode, resp.MemberID = code(err), memberID
	return resp
}

// join decides a join in a group that speaks the classic protocol.
func (g *classicGroup) join(j *classicJoin) {
	id := j.req.MemberID
	if !g.hasRoom(id) {
		g.expel(id, j)
		j.refuse("", kerr.GroupMaxSizeReached)
		return
	}
	if !g.understands(j.req) {
		j.refuse(id, kerr.InconsistentGroupProtocol)
		return
	}
	if m := g.byID[id]; g.bytes+joinSize(j) > maxMemberBytes && (m == nil || joinSize(j) > m.size()) {
		j.refuse(id, kerr.GroupMaxSizeReached)
		return
	}
	switch {
	case id == "" && j.req.InstanceID != nil:
		g.joinStatic(j)
	case id == "":
		g.joinDynamic(j)
	case g.pending.has(id) && j.req.InstanceID == nil:
		g.add(j, id)
	default:
		g.joinAgain(j)
	}
}

// joinSize is what the member will cost that the request describes.
func joinSize(j *classicJoin) int {
	m := classicMember{id: j.req.MemberID, instanceID: j.req.InstanceID, clientID: j.from.ID, clientHost: j.from.Host}
	n := m.size() + 2*len(j.from.ID)
	for _, p := range j.req.Protocols {
		n += protocolOverhead + len(p.Name) + len(p.Metadata)
	}
	return n
}

// hasRoom says whether a member may join as far as group.max.size goes (rule 8.3.3). While members join, those that have
// come are counted: the last to come back to a group that has become too large must go.
func (g *classicGroup) hasRoom(id string) bool {
	most := int(g.machine.config().MaxSize)
	m := g.byID[id]
	switch g.status {
	case classicEmpty:
		return true
	case classicPreparing:
		return m != nil && m.join != nil || g.joining < most
	default:
		return m != nil || g.len() < most
	}
}

// expel removes a member that is not let back in, or an id that is pending.
func (g *classicGroup) expel(id string, j *classicJoin) {
	pending := g.pending.drop(&g.machine.timers, id)
	m := g.byID[id]
	if m != nil {
		g.remove(m, j.now, j.e)
	}
	if pending || m != nil {
		g.shrunk(j.now, j.e)
	}
}

// understands says whether the request's protocols go with those of all members (rule 8.3.4 b). What the member itself
// offered before counts too.
func (g *classicGroup) understands(req *kmsg.JoinGroupRequest) bool {
	if g.status == classicEmpty {
		return req.ProtocolType != "" && len(req.Protocols) > 0
	}
	if g.typ != req.ProtocolType {
		return false
	}
	for _, p := range req.Protocols {
		if g.common(p.Name) {
			return true
		}
	}
	return false
}

// joinDynamic takes a member without an id: it gets one, with which it has to come back unless its client is too old to
// know that (KIP-394).
func (g *classicGroup) joinDynamic(j *classicJoin) {
	id := g.machine.newMemberID(j.from.ID)
	if j.req.Version < 4 {
		g.add(j, id)
		return
	}
	g.pending.add(&g.machine.timers, id, j.now.Add(millis(j.req.SessionTimeoutMillis)), g.pendingGone)
	// Nobody is a member yet, so there is nothing to wait for: the record of a new group may be on its way still.
	j.e.AnswerNow(j.reply.with(refusedJoin(id, kerr.MemberIDRequired)))
}

// pendingGone gives up on an id whose member has not come.
func (g *classicGroup) pendingGone(id string, now time.Time, e *coordinator.Effects) {
	if g.pending.drop(&g.machine.timers, id) {
		g.shrunk(now, e)
	}
}

// add makes the request's sender a member and starts a rebalance, or joins the one under way.
func (g *classicGroup) add(j *classicJoin, id string) {
	g.pending.drop(&g.machine.timers, id)
	m := &classicMember{id: id, clientID: j.from.ID, clientHost: j.from.Host, fresh: true}
	if j.req.InstanceID != nil {
		instance := *j.req.InstanceID
		m.instanceID = &instance
	}
	m.rebalanceTimeout, m.sessionTimeout = timeouts(j.req)
	m.protocols = readProtocols(j.req.Protocols)
	g.adopt(m)
	if g.len() == 1 {
		g.typ = j.req.ProtocolType
	}
	g.initial.grown = true
	g.park(m, j.reply)
	g.startSession(m, j.now)
	g.rebalance(j.now, j.e)
}

// adopt puts a member into the group. The first one leads.
func (g *classicGroup) adopt(m *classicMember) {
	m.expire = func(now time.Time, e *coordinator.Effects) { g.sessionOver(m, now, e) }
	g.insert(m)
	g.topics = nil
	if g.leader == "" {
		g.leader = m.id
	}
}

// joinAgain takes a join that names its member (rule 8.3.5).
func (g *classicGroup) joinAgain(j *classicJoin) {
	m, err := g.check(j.req.MemberID, j.req.InstanceID)
	if err != nil {
		j.refuse(j.req.MemberID, err)
		return
	}
	unchanged := m.offers(j.req.Protocols)
	switch {
	case g.status == classicCompleting && unchanged, g.status == classicStable && unchanged && m.id != g.leader:
		// In CompletingRebalance the answer to the earlier join got lost. A leader that joins again in Stable wants
		// a rebalance: something that it alone can see has changed, such as the partitions of a topic.
		j.e.Answer(j.reply.with(g.joined(m)))
	default:
		g.update(m, j)
		g.rebalance(j.now, j.e)
	}
}

// update takes over what a member's join says, and parks it.
func (g *classicGroup) update(m *classicMember, j *classicJoin) {
	g.offer(m, readProtocols(j.req.Protocols))
	g.topics = nil
	m.rebalanceTimeout, m.sessionTimeout = timeouts(j.req)
	if earlier, ok := g.unpark(m); ok {
		// The client has given up on its earlier request, which Kafka never answers. If it still listens it may retry.
		j.e.Answer(earlier.with(refusedJoin(m.id, kerr.RebalanceInProgress)))
	}
	g.park(m, j.reply)
}

// joined is the answer to a member's join in the current generation. The leader is told who there is.
func (g *classicGroup) joined(m *classicMember) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	typ := g.typ
	resp.Generation, resp.ProtocolType, resp.Protocol = g.generation, &typ, g.protocol
	resp.LeaderID, resp.MemberID = g.leader, m.id
	if m.id == g.leader {
		resp.Members = g.told()
	}
	return resp
}

// told is what the leader learns of the members.
func (g *classicGroup) told() []kmsg.JoinGroupResponseMember {
	list := make([]kmsg.JoinGroupResponseMember, 0, g.len())
	for m := range g.all {
		row := kmsg.NewJoinGroupResponseMember()
		row.MemberID, row.InstanceID, row.ProtocolMetadata = m.id, m.instanceID, m.metadata(*g.protocol)
		list = append(list, row)
	}
	return list
}

// timeouts are those that a member asks for. Version 0 knows only one.
func timeouts(req *kmsg.JoinGroupRequest) (rebalance, session time.Duration) {
	session = millis(req.SessionTimeoutMillis)
	if req.Version == 0 || req.RebalanceTimeoutMillis < 0 {
		return session, session
	}
	return millis(req.RebalanceTimeoutMillis), session
}

// readProtocols is what a request offers. A name that comes twice counts once.
func readProtocols(list []kmsg.JoinGroupRequestProtocol) []protocol {
	out := make([]protocol, 0, len(list))
	seen := make(map[string]bool, len(list))
	for _, p := range list {
		if !seen[p.Name] {
			seen[p.Name] = true
			out = append(out, protocol{p.Name, p.Metadata})
		}
	}
	return out
}

// newMemberID makes a member id as Kafka does: a prefix that tells people whose it is, and a random UUID (rule 8.3.4). It
// must fit into a string of the protocol.
func (m *Machine) newMemberID(prefix string) string {
	uuid := m.uuid()
	if most := math.MaxInt16 - len(uuid) - 1; len(prefix) > most {
		prefix = prefix[:most]
	}
	return prefix + "-" + uuid
}

// uuid makes a random UUID, in its usual text form.
func (m *Machine) uuid() string {
	var b [16]byte
	source := m.entropy
	if source == nil {
		source = rand.Reader
	}
	if _, err := io.ReadFull(source, b[:]); err != nil {
		panic(fmt.Sprintf("group: no random numbers for a member id: %v", err)) // crypto/rand never fails
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func millis(ms int32) time.Duration { return time.Duration(ms) * time.Millisecond }
