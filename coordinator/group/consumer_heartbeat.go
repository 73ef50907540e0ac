package group

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group/assignor"
	"github.com/kbroker/kbroker/metadata"
)

// refusal is an error with which a request is answered, and what people are told about it.
type refusal struct {
	kafka *kerr.Error
	text  string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kafka }

func refuse(err *kerr.Error, format string, args ...any) error {
	return &refusal{err, fmt.Sprintf(format, args...)}
}

// ConsumerHeartbeat is a ConsumerGroupHeartbeat request and who sends it.
type ConsumerHeartbeat struct {
	Request *kmsg.ConsumerGroupHeartbeatRequest
	From    Client
	// MayDescribe says whether the sender may know of a topic. It is asked later too, about every topic that a regular
	// expression matches (rule 8.7.10), and must not block.
	MayDescribe func(topic string) bool
}

// CheckConsumerHeartbeat says what is wrong with a request itself, whatever the group is like (rule 8.7.2).
func CheckConsumerHeartbeat(req *kmsg.ConsumerGroupHeartbeatRequest, assignors []string) error {
	blank := func(s *string) bool { return s != nil && strings.TrimSpace(*s) == "" }
	switch {
	case strings.TrimSpace(req.Group) == "":
		return refuse(kerr.InvalidRequest, "the request names no group")
	case strings.TrimSpace(req.MemberID) == "" && (req.Version > 0 || req.MemberEpoch != epochJoin && req.MemberEpoch != epochAway):
		return refuse(kerr.InvalidRequest, "the request names no member: clients make their member id themselves")
	case blank(req.InstanceID):
		return refuse(kerr.InvalidRequest, "an instance id, if there is one, cannot be empty")
	case blank(req.RackID):
		return refuse(kerr.InvalidRequest, "a rack id, if there is one, cannot be empty")
	case req.MemberEpoch < epochAway:
		return refuse(kerr.InvalidRequest, "there is no member epoch %d", req.MemberEpoch)
	case req.MemberEpoch == epochAway && req.InstanceID == nil:
		return refuse(kerr.InvalidRequest, "only a static member can leave for a while, and the request has no instance id")
	case req.MemberEpoch == epochJoin:
		if err := checkJoin(req); err != nil {
			return err
		}
	}
	if a := req.ServerAssignor; a != nil && !slices.Contains(assignors, *a) {
		return refuse(kerr.UnsupportedAssignor, "there is no assignor %q here, only %s", *a, strings.Join(assignors, ", "))
	}
	return nil
}

// checkJoin is what a request to join must have.
func checkJoin(req *kmsg.ConsumerGroupHeartbeatRequest) error {
	switch {
	case req.RebalanceTimeoutMillis == -1:
		return refuse(kerr.InvalidRequest, "who joins must say its rebalance timeout")
	case req.Topics == nil || len(req.Topics) > 0:
		return refuse(kerr.InvalidRequest, "who joins must own no partitions, and say so")
	case req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil:
		return refuse(kerr.InvalidRequest, "who joins must subscribe to topic names or to a regular expression")
	}
	return nil
}

// heartbeat is one ConsumerGroupHeartbeat while it is decided.
type heartbeat struct {
	machine *Machine
	now     time.Time
	q       *ConsumerHeartbeat
	req     *kmsg.ConsumerGroupHeartbeatRequest
	e       *coordinator.Effects
}

// ConsumerGroupHeartbeat decides a ConsumerGroupHeartbeat that CheckConsumerHeartbeat has let through. What is kept of
// the request is copied. A heartbeat that says nothing new is answered at once.
func (m *Machine) ConsumerGroupHeartbeat(now time.Time, q *ConsumerHeartbeat, reply func(*kmsg.ConsumerGroupHeartbeatResponse, error), e *coordinator.Effects) {
	h := &heartbeat{machine: m, now: now, q: q, req: q.Request, e: e}
	before := len(e.Records)
	var resp *kmsg.ConsumerGroupHeartbeatResponse
	var err error
	m.reversible(h.req.Group, now, e, func() {
		if h.req.MemberEpoch < epochJoin {
			resp, err = h.leave()
		} else {
			resp, err = h.stay()
		}
	})
	if err != nil {
		resp = kmsg.NewPtrConsumerGroupHeartbeatResponse()
		text := err.Error()
		resp.ErrorCode, resp.ErrorMessage = code(err), &text
	}
	answer := func(err error) { reply(resp, err) }
	if err == nil && len(e.Records) == before && resp.Assignment == nil && resp.MemberEpoch == h.req.MemberEpoch {
		e.AnswerNow(answer)
		return
	}
	e.Answer(answer)
}

// stay decides the heartbeat of who joins or is a member.
func (h *heartbeat) stay() (*kmsg.ConsumerGroupHeartbeatResponse, error) {
	if err := h.admit(); err != nil {
		return nil, err
	}
	g, m, err := h.find()
	if err != nil {
		return nil, err
	}
	fewer := false // there is a member less, and others get what that was to have
	if replaced := h.replaces(g, m); replaced != nil {
		fewer = m != nil && m != replaced
		m = h.replace(g, replaced)
	}
	before := &memberCurrent{}
	if m != nil {
		before = m.memberCurrent
	}
	m, changed, bump := h.describe(g, m)
	im := h.machine.image()
	g.advance(h.now, im, bump || fewer, h.e)
	g.retarget(h.now, im, h.e)
	after := g.next(m, im, h.owned(), changed)
	if !after.equal(m.memberCurrent) {
		g.write(h.e, currentRecord{m.id, after})
	}
	g.startSession(m, h.now)
	g.sessionOf(m.id).settled = h.req.MemberEpoch != epochJoin
	g.watchRevocation(m, h.now)
	if m.regex != "" {
		g.resolve(m.regex, h.q.MayDescribe, h.now)
	}
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.MemberID, resp.MemberEpoch = &m.id, m.epoch
	// Always in full, as in Kafka. A shorter one while the group changes would make it settle sooner, but librdkafka also
	// takes the interval for how long it may wait for an answer.
	resp.HeartbeatIntervalMillis = int32(g.timing().HeartbeatInterval.Milliseconds())
	if h.full() || !m.assigned.partitions.Equal(before.assigned.partitions) {
		resp.Assignment = assignmentOf(m.assigned.partitions)
	}
	return resp, nil
}

// full reports whether the request says everything, which is what clients do that join or do not know what the
// coordinator has heard (rule 8.7.9).
func (h *heartbeat) full() bool {
	r := h.req
	return r.MemberEpoch == epochJoin ||
		r.RebalanceTimeoutMillis != -1 && (r.SubscribedTopicNames != nil || r.SubscribedTopicRegex != nil) && r.Topics != nil
}

// assignmentOf is a set of partitions as the answer tells it.
func assignmentOf(set assignor.Partitions) *kmsg.ConsumerGroupHeartbeatResponseAssignment {
	a := &kmsg.ConsumerGroupHeartbeatResponseAssignment{Topics: []kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{}}
	byTopic(set, func(from, to int) {
		t := kmsg.NewConsumerGroupHeartbeatResponseAssignmentTopic()
		t.TopicID = set[from].Topic
		for _, p := range set[from:to] {
			t.Partitions = append(t.Partitions, p.Index)
		}
		a.Topics = append(a.Topics, t)
	})
	return a
}

// reported is what a member says that it owns.
type reported struct {
	known bool // it says something at all
	set   assignor.Partitions
}

// any reports whether the member owns one of these partitions, as far as it says: all of them, if it says nothing.
func (r *reported) any(of assignor.Partitions) bool {
	return len(of) > 0 && (!r.known || slices.ContainsFunc(of, r.set.Has))
}

// owned reads what the request says that the member owns.
func (h *heartbeat) owned() *reported {
	r := &reported{known: h.req.Topics != nil}
	for _, t := range h.req.Topics {
		for _, p := range t.Partitions {
			r.set = append(r.set, assignor.Partition{Topic: metadata.UUID(t.TopicID), Index: p})
		}
	}
	slices.SortFunc(r.set, assignor.Partition.Compare)
	return r
}

// find returns the group and the member of a request, after everything that may be wrong has been checked: a group that
// is made, replaced or converted here is one that the request will change. The member is nil when it is a new one.
func (h *heartbeat) find() (*consumerGroup, *consumerMember, error) {
	members := h.machine.membersOf(h.req.Group)
	if g, ok := members.(*consumerGroup); ok {
		m, err := h.findMember(g)
		if err == nil {
			err = h.checkRegex(g, m)
		}
		return g, m, err
	}
	if h.req.MemberEpoch != epochJoin {
		return nil, nil, refuse(kerr.GroupIDNotFound, "there is no consumer group %s", h.req.Group)
	}
	classic, ok := members.(*classicGroup)
	if ok {
		if _, empty := classic.empty(); !empty {
			g, err := classic.upgrade(h)
			if err != nil {
				return nil, nil, err
			}
			return g, g.members[h.req.MemberID], nil
		}
	}
	if err := h.checkRegex(nil, nil); err != nil {
		return nil, nil, err
	}
	if ok {
		classic.dissolve(kerr.RebalanceInProgress, h.e)
		classic.tombstones(h.e)
	}
	return h.machine.host(h.machine.newConsumerGroup(h.req.Group)), nil, nil
}

// host puts a consumer group in the place of what there is under its id.
func (m *Machine) host(g *consumerGroup) *consumerGroup {
	if m.groups[g.id] == nil {
		m.groups[g.id] = &Group{ID: g.id}
	}
	m.groups[g.id].seat(g, m)
	return g
}

// describe takes over what a request says about the sender; m is nil if that is new here. It reports whether the
// subscription is another, and whether the group is to enter a new epoch for that.
func (h *heartbeat) describe(g *consumerGroup, m *consumerMember) (_ *consumerMember, changed, bump bool) {
	old := &memberInfo{}
	if m != nil {
		old = m.memberInfo
	}
	info := h.merge(old)
	if m != nil && info.equal(old) {
		return m, false, false
	}
	changed, bump = g.introduce(h.req.MemberID, old, info, h.e)
	return g.members[h.req.MemberID], changed, bump
}

// introduce writes down what a member says about itself, old being what it said before. A regular expression that has
// not been resolved yet changes the group only when it has been; then resolution bumps the epoch.
func (g *consumerGroup) introduce(id string, old, info *memberInfo, e *coordinator.Effects) (changed, bump bool) {
	g.write(e, memberRecord{id, info})
	names := !slices.Equal(info.topics, old.topics)
	regex := info.regex != old.regex
	if regex {
		g.dropPattern(old.regex, e)
	}
	known := info.regex == "" || g.resolved[info.regex] != nil
	return names || regex, names || regex && known
}

// merge is what the sender is from now on: what it says, and where it says nothing what it said before.
func (h *heartbeat) merge(old *memberInfo) *memberInfo {
	info, r := *old, h.req
	info.clientID, info.clientHost, info.classic = strings.Clone(h.q.From.ID), h.q.From.Host, nil
	if r.InstanceID != nil {
		info.instance = cloned(r.InstanceID)
	}
	if r.RackID != nil {
		info.rack = cloned(r.RackID)
	}
	if r.RebalanceTimeoutMillis != -1 {
		info.rebalanceTimeout = r.RebalanceTimeoutMillis
	}
	if r.SubscribedTopicNames != nil {
		info.topics = sortedNames(clonedAll(r.SubscribedTopicNames))
	}
	if r.SubscribedTopicRegex != nil {
		info.regex = strings.Clone(*r.SubscribedTopicRegex)
	}
	if r.ServerAssignor != nil {
		info.assignor = cloned(r.ServerAssignor)
	}
	return &info
}

func cloned(s *string) *string {
	c := strings.Clone(*s)
	return &c
}

func clonedAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strings.Clone(s)
	}
	return out
}
