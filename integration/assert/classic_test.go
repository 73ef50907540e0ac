package assert

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// classic is about the classic group protocol (chapter 8.3 of the rules).
var classic = []assertion{
	{number: "T120", claim: "a new member gets an id first, and its group gives others time to come", try: initialDelay},
	{number: "T121", claim: "before version 4 a member joins at once", try: joinDirectly},
	{number: "T122", claim: "a protocol that all offer is selected; who has none in common is refused", try: protocolChoice},
	{number: "T123", claim: "a follower's sync waits for the leader's", try: syncWaits},
	{number: "T124", claim: "heartbeats tell of rebalances, wrong generations and unknown members", try: heartbeats},
	{number: "T125", claim: "a session timeout of a millisecond is refused", try: shortSession},
	{number: "T126", claim: "a static member comes back without a rebalance, and its old id is fenced", try: staticRestart},
	{number: "T127", claim: "who joins and never syncs is out at the rebalance timeout", try: lazyMember},
	{number: "T132", claim: "members keep their generation and assignment over a restart", try: groupRestart, life: killed},
}

// rebalanceDelay is group.initial.rebalance.delay.ms of both brokers.
const rebalanceDelay = 700 * time.Millisecond

// forLong is for timeouts that no assertion is to see the end of, even if it waits for others until the broker restarts.
const forLong = 5 * time.Minute

// groupOf is a group of an assertion.
type groupOf struct {
	c  *check
	id string
}

// group returns a group that nobody uses, once the broker coordinates it.
func (c *check) group() *groupOf {
	c.Helper()
	g := &groupOf{c, c.newName()}
	g.await()
	return g
}

// await waits until the broker coordinates the group: it creates __consumer_offsets when it is first asked for a
// coordinator, and loads its partitions after a start.
func (g *groupOf) await() {
	g.c.Helper()
	n := g.c.dial()
	defer n.Close()
	find := newest(g.c, kmsg.NewPtrFindCoordinatorRequest())
	find.CoordinatorKeys = []string{g.id}
	n.eventually("the group has a coordinator", func() bool {
		return ask[*kmsg.FindCoordinatorResponse](n, find).Coordinators[0].ErrorCode == 0
	})
	n.eventually("the coordinator has loaded the group", func() bool { return g.describe(n).ErrorCode == 0 })
	// Kafka's may answer before it can write to its partition, which a group beside this one shows.
	beside := g.beside()
	n.eventually("the coordinator writes", func() bool {
		return beside.commitOne(n, topic{name: "__consumer_offsets"}, oneCommit{version: 8, generation: -1}) == 0
	})
}

// beside is a group of no assertion that has the same coordinator, by the same partition of __consumer_offsets.
func (g *groupOf) beside() *groupOf {
	other := &groupOf{g.c, "beside-" + g.id}
	for i := 0; coordinatorOf(other.id) != coordinatorOf(g.id); i++ {
		other.id = fmt.Sprint("beside-", g.id, "-", i)
	}
	return other
}

// describe asks in version 5, in which a missing group is no error.
func (g *groupOf) describe(n *conn) kmsg.DescribeGroupsResponseGroup {
	g.c.Helper()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Version, req.Groups = 5, []string{g.id}
	return ask[*kmsg.DescribeGroupsResponse](n, req).Groups[0]
}

// awaitState waits for a state of the group.
func (g *groupOf) awaitState(state string) {
	g.c.Helper()
	n := g.c.dial()
	defer n.Close()
	n.eventually("the group is "+state, func() bool { return g.describe(n).State == state })
}

// groupMember is one of a group, on a connection of its own.
type groupMember struct {
	*conn
	g          *groupOf
	id         string
	instance   *string
	generation int32
	protocols  []string
	metadata   func() []byte // of its protocols; nil for some that nobody reads
}

func (g *groupOf) member(protocols ...string) *groupMember {
	g.c.Helper()
	return &groupMember{conn: g.c.dial(), g: g, protocols: protocols}
}

// joinRequest is what the member sends in version 3, or in version 9 if it is static.
func (m *groupMember) joinRequest() *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.ProtocolType = 3, m.g.id, m.id, m.instance, "consumer"
	if m.instance != nil {
		req.Version = 9
	}
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(forLong.Milliseconds()), int32(forLong.Milliseconds())
	metadata := []byte("m")
	if m.metadata != nil {
		metadata = m.metadata()
	}
	for _, name := range m.protocols {
		req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: metadata})
	}
	return req
}

// joined takes over what an answer to a join says.
func (m *groupMember) joined(resp *kmsg.JoinGroupResponse) *kmsg.JoinGroupResponse {
	m.c.Helper()
	m.c.wantCode("joining", resp.ErrorCode, nil)
	m.id, m.generation = resp.MemberID, resp.Generation
	return resp
}

func (m *groupMember) join() *kmsg.JoinGroupResponse {
	m.c.Helper()
	return m.joined(ask[*kmsg.JoinGroupResponse](m.conn, m.joinRequest()))
}

// pair makes a group of two members in one generation, which is theirs; the first leads.
func (g *groupOf) pair(protocols ...string) (leader, follower *groupMember) {
	g.c.Helper()
	leader, follower = g.member(protocols...), g.member(protocols...)
	leader.join()
	req := follower.joinRequest()
	start(follower.conn, req)
	g.awaitState("PreparingRebalance")
	leader.join()
	follower.joined(answer[*kmsg.JoinGroupResponse](follower.conn, req))
	return leader, follower
}

func (m *groupMember) syncRequest(assignments ...string) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 3, m.g.id, m.id, m.instance, m.generation
	for i := 0; i < len(assignments); i += 2 {
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: assignments[i], MemberAssignment: []byte(assignments[i+1])})
	}
	return req
}

// sync returns the member's assignment. assignments are ids and bytes by turns.
func (m *groupMember) sync(assignments ...string) string {
	m.c.Helper()
	resp := ask[*kmsg.SyncGroupResponse](m.conn, m.syncRequest(assignments...))
	m.c.wantCode("syncing", resp.ErrorCode, nil)
	return string(resp.MemberAssignment)
}

func (m *groupMember) heartbeat(what string, generation int32, want *kerr.Error) {
	m.c.Helper()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 3, m.g.id, m.id, m.instance, generation
	m.c.wantCode("a heartbeat "+what, ask[*kmsg.HeartbeatResponse](m.conn, req).ErrorCode, want)
}

// initialDelay tries again on a machine that is too busy to let two members join within the delay.
func initialDelay(c *check) {
	for range 10 {
		if c.joinTogether() {
			return
		}
	}
	c.Errorf("ten times the machine was too busy for two members to join within %s", rebalanceDelay)
}

// joinTogether reports whether both members joined in time.
func (c *check) joinTogether() bool {
	c.Helper()
	g := c.group()
	a, b := g.member("range"), g.member("range")
	first := a.joinRequest()
	first.Version = 4
	resp := ask[*kmsg.JoinGroupResponse](a.conn, first)
	c.wantCode("a join without an id", resp.ErrorCode, kerr.MemberIDRequired)
	if resp.MemberID == "" {
		c.Error("no id was given")
	}
	first.MemberID = resp.MemberID
	sent := time.Now()
	start(a.conn, first)
	a.wantQuiet("the join of the first member", sent, rebalanceDelay)
	second := b.joinRequest()
	start(b.conn, second)
	told := a.joined(answer[*kmsg.JoinGroupResponse](a.conn, first))
	if len(told.Members) == 1 && time.Since(sent) > rebalanceDelay {
		return false
	}
	b.joined(answer[*kmsg.JoinGroupResponse](b.conn, second))
	equal(c, "members of the first generation", len(told.Members), 2)
	equal(c, "generation", b.generation, 1)
	return true
}

func joinDirectly(c *check) {
	m := c.group().member("range")
	resp := m.join()
	equal(c, "leader", resp.LeaderID, m.id)
	equal(c, "generation", resp.Generation, 1)
}

func protocolChoice(c *check) {
	g := c.group()
	a, b := g.member("a", "b"), g.member("b", "c")
	a.join()
	req := b.joinRequest()
	start(b.conn, req)
	g.awaitState("PreparingRebalance")
	equal(c, "protocol", *a.join().Protocol, "b")
	b.joined(answer[*kmsg.JoinGroupResponse](b.conn, req))
	stranger := g.member("c", "d")
	resp := ask[*kmsg.JoinGroupResponse](stranger.conn, stranger.joinRequest())
	c.wantCode("a member with nothing in common", resp.ErrorCode, kerr.InconsistentGroupProtocol)
}

func syncWaits(c *check) {
	g := c.group()
	leader, follower := g.pair("range")
	req := follower.syncRequest()
	start(follower.conn, req)
	if !follower.Quiet(quietFor) {
		c.Error("the follower did not wait")
	}
	equal(c, "the leader's assignment", leader.sync(leader.id, "all"), "all")
	resp := answer[*kmsg.SyncGroupResponse](follower.conn, req)
	c.wantCode("the follower's sync", resp.ErrorCode, nil)
	equal(c, "the assignment of who was left out", string(resp.MemberAssignment), "")
}

func heartbeats(c *check) {
	g := c.group()
	m := g.member("range")
	m.join()
	m.heartbeat("while the leader is to assign", m.generation, nil)
	m.sync()
	m.heartbeat("of a wrong generation", m.generation+1, kerr.IllegalGeneration)
	other := g.member("range")
	start(other.conn, other.joinRequest())
	g.awaitState("PreparingRebalance")
	m.heartbeat("during a rebalance", m.generation, kerr.RebalanceInProgress)
	m.id = "nobody"
	m.heartbeat("of nobody", m.generation, kerr.UnknownMemberID)
}

func shortSession(c *check) {
	m := c.group().member("range")
	req := m.joinRequest()
	req.SessionTimeoutMillis = 1
	c.wantCode("a session of a millisecond", ask[*kmsg.JoinGroupResponse](m.conn, req).ErrorCode, kerr.InvalidSessionTimeout)
}

func staticRestart(c *check) {
	g := c.group()
	before, instance := g.member("range"), "i"
	before.instance = &instance
	before.join()
	before.sync(before.id, "all")
	after := g.member("range")
	after.instance = &instance
	resp := after.join()
	equal(c, "generation", after.generation, before.generation)
	equal(c, "leader", resp.LeaderID, after.id)
	equal(c, "skip assignment", resp.SkipAssignment, true)
	if after.id == before.id {
		c.Error("the id has not changed")
	}
	before.heartbeat("with the old id", before.generation, kerr.FencedInstanceID)
	equal(c, "the assignment", after.sync(), "all")
}

func lazyMember(c *check) {
	g := c.group()
	m := g.member("range")
	req := m.joinRequest()
	req.RebalanceTimeoutMillis = 1000
	m.joined(ask[*kmsg.JoinGroupResponse](m.conn, req))
	g.awaitState("Empty")
	m.heartbeat("of who is out", m.generation, kerr.UnknownMemberID)
}

func groupRestart(c *check) {
	g := c.group()
	leader, follower := g.pair("range")
	leader.sync(leader.id, "1", follower.id, "2")
	follower.sync()
	ids := []string{leader.id, follower.id}
	c.awaitRestart()
	g.await()
	row := g.describe(c.dial())
	equal(c, "state", row.State, "Stable")
	for _, m := range row.Members {
		if !slices.Contains(ids, m.MemberID) {
			c.Errorf("%s is in the group", m.MemberID)
		}
	}
	equal(c, "members", len(row.Members), 2)
	for i, m := range []*groupMember{leader, follower} {
		m.conn = c.dial()
		m.heartbeat("after the restart", m.generation, nil)
		equal(c, "assignment", m.sync(), []string{"1", "2"}[i])
	}
}
