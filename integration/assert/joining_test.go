package assert

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// joining is about groups of the KIP-848 protocol, and about those that move to it (chapter 8.7 of the rules).
var joining = []assertion{
	{number: "T134", claim: "a partition goes to another member only when its owner has said that it gave it up", try: handover},
	{number: "T136", claim: "an instance id in use is refused; one whose member is away passes on what that had", try: staticReturn},
	{number: "T137", claim: "a regular expression finds topics that are made later; one that is wrong is refused", try: regexSubscription},
	{number: "T139", claim: "members of both protocols in one group share all partitions, and those of one when the others have left", try: migration},
}

// consumer is a member of the KIP-848 protocol, with a heartbeat to send again and again.
type consumer struct {
	*conn
	g     *groupOf
	req   *kmsg.ConsumerGroupHeartbeatRequest // the next one
	owned map[string]bool                     // what it was told that it has, as "topic id/partition"
}

// consumer returns a member that has not joined yet.
func (g *groupOf) consumer(id string, topics ...topic) *consumer {
	g.c.Helper()
	m := &consumer{conn: g.c.dial(), g: g, req: newest(g.c, kmsg.NewPtrConsumerGroupHeartbeatRequest())}
	m.req.Group, m.req.MemberID, m.req.RebalanceTimeoutMillis = g.id, id, 60_000
	m.req.SubscribedTopicNames, m.req.Topics = []string{}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, t := range topics {
		m.req.SubscribedTopicNames = append(m.req.SubscribedTopicNames, t.name)
	}
	return m
}

// send sends the heartbeat, and takes over what is answered.
func (m *consumer) send() *kmsg.ConsumerGroupHeartbeatResponse {
	m.c.Helper()
	resp := ask[*kmsg.ConsumerGroupHeartbeatResponse](m.conn, m.req)
	if resp.ErrorCode != 0 {
		return resp
	}
	m.req.MemberEpoch = resp.MemberEpoch
	// From now on it says only what has changed.
	m.req.SubscribedTopicNames, m.req.SubscribedTopicRegex, m.req.Topics = nil, nil, nil
	m.req.RebalanceTimeoutMillis = -1
	if resp.Assignment != nil {
		m.owned = map[string]bool{}
		for _, t := range resp.Assignment.Topics {
			for _, p := range t.Partitions {
				m.owned[partitionOf(t.TopicID, p)] = true
			}
		}
	}
	return resp
}

func partitionOf(id [16]byte, p int32) string { return fmt.Sprintf("%x/%d", id, p) }

// beat sends a heartbeat that must be answered without an error.
func (m *consumer) beat() *kmsg.ConsumerGroupHeartbeatResponse {
	m.c.Helper()
	resp := m.send()
	m.c.wantCode("a heartbeat of "+m.req.MemberID, resp.ErrorCode, nil)
	return resp
}

// confirm sends a heartbeat that says what the member has: what it was told last.
func (m *consumer) confirm(topics ...topic) {
	m.c.Helper()
	m.req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, t := range topics {
		row := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		row.TopicID = t.id
		for p := range int32(partitionsShared) {
			if m.owned[partitionOf(t.id, p)] {
				row.Partitions = append(row.Partitions, p)
			}
		}
		m.req.Topics = append(m.req.Topics, row)
	}
	m.beat()
}

// knows waits until the coordinator knows a topic, which Kafka's hears of some time after the topic serves. It asks by a group
// of the same partition of __consumer_offsets, so that it is the same coordinator.
func (g *groupOf) knows(t topic) {
	g.c.Helper()
	probe := g.beside()
	probe.id = probe.beside().id // the first one has offsets, and is no group of consumers
	m := probe.consumer("probe", t)
	m.eventually("the coordinator knows the topic", func() bool { m.beat(); return m.owned[partitionOf(t.id, 0)] })
	m.req.MemberEpoch = -1
	m.beat()
}

// partitionsShared is how many partitions the topics have that members share.
const partitionsShared = 4

// disjoint asserts that two members do not have the same partition.
func (c *check) disjoint(a, b map[string]bool) {
	c.Helper()
	for p := range a {
		if b[p] {
			c.Fatalf("partition %s has two owners", p)
		}
	}
}

func handover(c *check) {
	t, g := c.topicOf(partitionsShared), c.group()
	a, b := g.consumer("a", t), g.consumer("b", t)
	if epoch := a.beat().MemberEpoch; epoch < 1 {
		c.Errorf("the first epoch is %d", epoch)
	}
	a.eventually("a has all partitions", func() bool {
		if len(a.owned) < partitionsShared {
			a.beat() // Kafka may hear of the topic after the join
		}
		return len(a.owned) == partitionsShared
	})
	before, all := a.req.MemberEpoch, a.owned
	b.beat()
	a.eventually("a is asked for half of them", func() bool { a.beat(); return len(a.owned) == partitionsShared/2 })
	equal(c, "a's epoch before it has given them up", a.req.MemberEpoch, before)
	left := a.owned
	// Nothing of what it has still to give up goes to b: neither when it says nothing, nor when it says that it has all.
	for range 3 {
		b.beat()
		equal(c, "partitions of b", len(b.owned), 0)
		a.beat()
		a.owned = all
		a.confirm(t)
		a.owned = left
	}
	a.confirm(t)
	if a.req.MemberEpoch <= before {
		c.Errorf("a's epoch is still %d after it gave up what it was asked for", before)
	}
	b.eventually("b has the other half", func() bool { b.beat(); return len(b.owned) == partitionsShared/2 })
	c.disjoint(a.owned, b.owned)
	b.confirm(t)
	equal(c, "epochs", a.req.MemberEpoch, b.req.MemberEpoch)
}

func staticReturn(c *check) {
	t, g, instance := c.topicOf(partitionsShared), c.group(), "i"
	first, other := g.consumer("first", t), g.consumer("other", t)
	first.req.InstanceID = &instance
	first.beat()
	other.beat()
	first.eventually("both have a half", func() bool {
		for _, m := range []*consumer{first, other} {
			m.beat()
			m.confirm(t)
			c.disjoint(first.owned, other.owned)
		}
		return len(first.owned) == 2 && len(other.owned) == 2
	})
	second := g.consumer("second", t)
	second.req.InstanceID = &instance
	c.wantCode("an instance id in use", second.send().ErrorCode, kerr.UnreleasedInstanceID)
	first.beat() // nothing has happened to its owner

	had, epoch := first.owned, first.req.MemberEpoch
	first.req.MemberEpoch = -2
	first.beat()
	equal(c, "the epoch of who goes away", first.req.MemberEpoch, -2)
	second.beat()
	equal(c, "the epoch of who comes in its place", second.req.MemberEpoch, epoch)
	if fmt.Sprint(second.owned) != fmt.Sprint(had) {
		c.Errorf("who comes in its place has %v, want %v", second.owned, had)
	}
	other.beat()
	equal(c, "the epoch of the other member", other.req.MemberEpoch, epoch)
	equal(c, "partitions of the other member", len(other.owned), 2)
	first.req.MemberEpoch = epoch
	c.wantCode("the one that went away", first.send().ErrorCode, kerr.FencedInstanceID)
}

func regexSubscription(c *check) {
	prefix, g := c.newName()+"-foo", c.group()
	foo := c.create(newTopic(prefix))
	g.knows(foo)
	m := g.consumer("m")
	m.req.SubscribedTopicNames, m.req.SubscribedTopicRegex = nil, kmsg.StringPtr(prefix+".*")
	m.beat()
	m.eventually("the topic that is there", func() bool { m.beat(); return m.owned[partitionOf(foo.id, 0)] })
	equal(c, "partitions", len(m.owned), 1)
	stranger := c.create(newTopic("x" + prefix))
	foo2 := c.create(newTopic(prefix + "2"))
	// Kafka looks again ten seconds after it last looked.
	c.within(2*answerLimit, "the topic that was made later", func() bool { m.beat(); return m.owned[partitionOf(foo2.id, 0)] })
	equal(c, "partitions", len(m.owned), 2)
	equal(c, "it has a topic that only contains what the expression matches", m.owned[partitionOf(stranger.id, 0)], false)
	wrong := g.consumer("wrong")
	for _, text := range []string{"(", "a(?=b)"} {
		wrong.req.SubscribedTopicNames, wrong.req.SubscribedTopicRegex = nil, &text
		c.wantCode("expression "+text, wrong.send().ErrorCode, kerr.InvalidRegularExpression)
	}
}

// oldConsumer is a member of the classic protocol as consumers are: with a subscription and an assignment that the broker
// understands. It gives up what it is not to have any more with its next join (rule 8.7.13).
type oldConsumer struct {
	*groupMember
	topic topic
	owned map[string]bool
}

func (g *groupOf) oldConsumer(t topic) *oldConsumer {
	g.c.Helper()
	m := &oldConsumer{g.member("range"), t, map[string]bool{}}
	m.metadata = func() []byte {
		sub := kmsg.NewConsumerMemberMetadata()
		sub.Version, sub.Topics, sub.OwnedPartitions = 1, []string{t.name}, []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: t.name, Partitions: m.partitions()}}
		return sub.AppendTo(nil)
	}
	return m
}

func (m *oldConsumer) partitions() (list []int32) {
	for p := range int32(partitionsShared) {
		if m.owned[partitionOf(m.topic.id, p)] {
			list = append(list, p)
		}
	}
	return list
}

// assignment is what a leader would give to a member.
func (t topic) assignment(partitions ...int32) string {
	a := kmsg.NewConsumerMemberAssignment()
	a.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: t.name, Partitions: partitions}}
	return string(a.AppendTo(nil))
}

// took takes over an assignment.
func (m *oldConsumer) took(assignment string) {
	m.c.Helper()
	m.owned = map[string]bool{}
	if assignment == "" {
		return
	}
	a := kmsg.NewConsumerMemberAssignment()
	if err := a.ReadFrom([]byte(assignment)); err != nil {
		m.c.Fatalf("assignment %x: %v", assignment, err)
	}
	for _, row := range a.Topics {
		equal(m.c, "topic of an assignment", row.Topic, m.topic.name)
		for _, p := range row.Partitions {
			m.owned[partitionOf(m.topic.id, p)] = true
		}
	}
}

// turn is what the member does from time to time in a group where nobody of its protocol leads: a heartbeat, and a join and
// a sync if that says so.
func (m *oldConsumer) turn() {
	m.c.Helper()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 3, m.g.id, m.id, m.generation
	switch code := ask[*kmsg.HeartbeatResponse](m.conn, req).ErrorCode; code {
	case 0:
		return
	case kerr.RebalanceInProgress.Code:
	default:
		m.c.Fatalf("a heartbeat of the old protocol in generation %d: %s", m.generation, codeName(code))
	}
	resp := m.join()
	equal(m.c, "members in the answer to a join", len(resp.Members), 0)
	synced := ask[*kmsg.SyncGroupResponse](m.conn, m.syncRequest())
	if synced.ErrorCode == kerr.RebalanceInProgress.Code {
		return // the group has moved on since the join
	}
	m.c.wantCode("syncing in a group of both protocols", synced.ErrorCode, nil)
	m.took(string(synced.MemberAssignment))
}

// mixed makes a group of a member of the old protocol, which had all partitions, and of one of the new protocol, and lets
// them go on until each has a half. Nobody may ever have what the other one has.
func (c *check) mixed() (t topic, old *oldConsumer, young *consumer) {
	c.Helper()
	t = c.topicOf(partitionsShared)
	g := c.group()
	g.knows(t)
	old, young = g.oldConsumer(t), g.consumer("young", t)
	old.join()
	old.took(old.sync(old.id, t.assignment(0, 1, 2, 3)))
	equal(c, "partitions of the old member", len(old.owned), partitionsShared)
	young.beat()
	equal(c, "partitions of the new member at first", len(young.owned), 0)
	old.eventually("each member has a half", func() bool {
		c.disjoint(old.owned, young.owned)
		old.turn()
		c.disjoint(old.owned, young.owned)
		young.beat()
		young.confirm(t)
		return len(old.owned) == partitionsShared/2 && len(young.owned) == partitionsShared/2
	})
	c.disjoint(old.owned, young.owned)
	equal(c, "type of the group", g.typeOf(), "consumer")
	return t, old, young
}

// typeOf is the group's type as it is listed.
func (g *groupOf) typeOf() string {
	g.c.Helper()
	n := g.c.dial()
	defer n.Close()
	list := ask[*kmsg.ListGroupsResponse](n, newest(g.c, kmsg.NewPtrListGroupsRequest())).Groups
	i := slices.IndexFunc(list, func(row kmsg.ListGroupsResponseGroup) bool { return row.Group == g.id })
	if i < 0 {
		return "none"
	}
	return strings.ToLower(list[i].GroupType)
}

// leave leaves the group.
func (m *groupMember) leave() {
	m.c.Helper()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = m.g.id, m.id
	m.c.wantCode("leaving", ask[*kmsg.LeaveGroupResponse](m.conn, req).ErrorCode, nil)
}

// migration takes two groups to where members of both protocols share the partitions, and from there to either protocol.
func migration(c *check) {
	c.upgrade()
	c.downgrade()
}

func (c *check) upgrade() {
	c.Helper()
	t, old, young := c.mixed()
	old.leave()
	young.eventually("the new member has all", func() bool {
		young.beat()
		young.confirm(t)
		return len(young.owned) == partitionsShared
	})
	equal(c, "type of the group", young.g.typeOf(), "consumer")
}

func (c *check) downgrade() {
	c.Helper()
	t, old, young := c.mixed()
	generation := old.generation
	young.req.MemberEpoch = -1
	young.beat()
	equal(c, "type of the group", old.g.typeOf(), "classic")
	old.heartbeat("when the group is classic again", generation, kerr.RebalanceInProgress)
	resp := old.join()
	equal(c, "the leader", resp.LeaderID, old.id)
	equal(c, "members", len(resp.Members), 1)
	equal(c, "generation after the epoch", old.generation, generation+1)
	old.took(old.sync(old.id, t.assignment(0, 1, 2, 3)))
	equal(c, "partitions of the old member", len(old.owned), partitionsShared)
	old.heartbeat("at last", old.generation, nil)
}
