package group

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group/assignor"
	"github.com/kbroker/kbroker/metadata"
)

// ConsumerConfig holds the settings of groups of KIP-848 as of now.
type ConsumerConfig struct {
	Assignors    []string      // group.consumer.assignors: known ones, the default first
	MaxSize      int           // group.consumer.max.size
	Upgrade      bool          // group.consumer.migration.policy lets a classic group become a consumer group
	Downgrade    bool          // … and the reverse
	RegexRefresh time.Duration // group.consumer.regex.refresh.interval.ms
	// Timing returns what holds for one group: its own settings where it has some, else the broker's.
	Timing func(group string) ConsumerTiming
}

// ConsumerTiming is the time in the life of one group.
type ConsumerTiming struct {
	SessionTimeout     time.Duration // consumer.session.timeout.ms
	HeartbeatInterval  time.Duration // consumer.heartbeat.interval.ms
	AssignmentInterval time.Duration // consumer.assignment.interval.ms
}

// firstEpoch is the epoch of a group that nobody has changed yet, and of its assignment, which is empty. The first
// member that subscribes to something makes it 2 (rule 8.7.3).
const firstEpoch = 1

// consumerGroup is a membership that speaks the protocol of KIP-848 (section 8.7). The coordinator decides who is to have
// what, the target assignment, and each member is led there by its own heartbeats: it gives up what it is to lose, says
// so, and gets what the others have given up.
//
// The durable part is what the records say, and only apply changes it. Sessions and the work on regular expressions are
// soft.
type consumerGroup struct {
	machine *Machine
	id      string

	epoch       int32
	hash        int64 // of the topics that are consumed, as of epoch
	targetEpoch int32 // the epoch that the members' targets were made for
	targetAt    int64 // when they were made, in milliseconds since 1970
	members     map[string]*consumerMember
	ordered     []*consumerMember      // the members by their ids: every join asks an assignor about all of them
	instances   map[string]string      // instance id: the member that has it
	names       map[string]int         // subscribed topic: how many members name it
	classics    int                    // members of the classic protocol
	offered     map[string]int         // classic protocol: how many members offer it
	patterns    map[string]int         // regular expression: how many members use it
	resolved    map[string]*resolution // regular expression: the topics that it stands for
	// owners has the member of every partition that somebody has or has not confirmed to have given up (rule 8.7.7).
	owners map[assignor.Partition]string

	since    time.Time // when the group became empty, as far as we know
	sessions map[string]*consumerSession
	regexes  map[string]*search
	// checkedIndex is the metadata index at which the topics were last looked at.
	checkedIndex uint64
	account      // what the group takes
	// undo is how to take back, last change first, what has been decided since undoable was set.
	undo     []consumerRecord
	undoable bool
}

var _ classicHost = (*consumerGroup)(nil)

func (m *Machine) newConsumerGroup(id string) *consumerGroup {
	g := &consumerGroup{
		machine: m, id: id, epoch: firstEpoch, targetEpoch: firstEpoch,
		members: map[string]*consumerMember{}, instances: map[string]string{}, names: map[string]int{},
		offered: map[string]int{}, patterns: map[string]int{}, resolved: map[string]*resolution{}, owners: map[assignor.Partition]string{},
		sessions: map[string]*consumerSession{}, regexes: map[string]*search{},
	}
	g.charge(groupOverhead + 2*len(id))
	return g
}

// write applies a record and wants it written.
func (g *consumerGroup) write(e *coordinator.Effects, r consumerRecord) {
	if g.undoable {
		g.undo = append(g.undo, r.before(g))
	}
	e.Append(encodeConsumerRecord(g.id, r))
	r.apply(g)
}

func (g *consumerGroup) timing() ConsumerTiming { return g.machine.config().Consumer.Timing(g.id) }

// kind implements membership.
func (g *consumerGroup) kind() string { return "consumer" }

// protocolType implements membership.
func (g *consumerGroup) protocolType() string { return consumerProtocolType }

// len implements membership.
func (g *consumerGroup) len() int { return len(g.members) }

// state implements membership (rule 8.7.11).
func (g *consumerGroup) state() string {
	switch {
	case len(g.members) == 0:
		return "Empty"
	case g.epoch > g.targetEpoch:
		return "Assigning"
	}
	for _, m := range g.members {
		if m.epoch != g.targetEpoch || m.state != memberStable {
			return "Reconciling"
		}
	}
	return "Stable"
}

// subscribes implements membership. A regular expression that has not been resolved yet may stand for any topic.
func (g *consumerGroup) subscribes(topic string) bool {
	if g.names[topic] > 0 {
		return true
	}
	for p := range g.patterns {
		if r := g.resolved[p]; r == nil || slices.Contains(r.topics, topic) {
			return true
		}
	}
	return false
}

// empty implements membership.
func (g *consumerGroup) empty() (since time.Time, ok bool) { return g.since, len(g.members) == 0 }

// loaded implements membership: sessions start in full, and so does the time to give up partitions (rule 8.7.8).
func (g *consumerGroup) loaded(now time.Time, _ *coordinator.Effects) {
	g.prune()
	for _, m := range g.ordered {
		g.startSession(m, now)
		g.watchRevocation(m, now)
	}
	if len(g.members) == 0 {
		g.since = now
	}
}

// tombstones implements membership. The order is that of Kafka: a group is gone when its epoch is.
func (g *consumerGroup) tombstones(e *coordinator.Effects) {
	ids := make([]string, len(g.ordered))
	for i, m := range g.ordered {
		ids[i] = m.id
	}
	g.stop()
	for _, id := range ids {
		g.write(e, currentRecord{id, nil})
	}
	for _, id := range ids {
		g.write(e, targetRecord{id: id, gone: true})
	}
	g.write(e, targetEpochRecord{gone: true})
	for _, id := range ids {
		g.write(e, memberRecord{id, nil})
	}
	for _, p := range slices.Sorted(maps.Keys(g.resolved)) {
		g.write(e, regexRecord{p, nil})
	}
	g.write(e, partitionMetadataRecord{})
	g.write(e, epochRecord{gone: true})
}

// stop ends everything that is soft.
func (g *consumerGroup) stop() {
	for id := range g.sessions {
		g.endSession(id)
	}
	for p := range g.regexes {
		g.abandon(p)
	}
}

// unload implements membership. Nothing waits here: every request is answered when it is decided.
func (g *consumerGroup) unload(error) {}

// forEachOwned calls yield for each partition that a member has or has not confirmed to have given up.
func (m *consumerMember) forEachOwned(yield func(assignor.Partition)) {
	for _, p := range m.assigned.partitions {
		yield(p)
	}
	for _, p := range m.revoking.partitions {
		yield(p)
	}
}

// apply makes the change; what a consumer group is results from nothing else.
func (r epochRecord) apply(g *consumerGroup) {
	if r.gone {
		g.epoch, g.hash = firstEpoch, 0
		return
	}
	g.epoch, g.hash = r.epoch, r.hash
}

func (r targetEpochRecord) apply(g *consumerGroup) {
	if r.gone {
		g.targetEpoch, g.targetAt = firstEpoch, 0
		return
	}
	g.targetEpoch, g.targetAt = r.epoch, r.at
}

func (r regexRecord) apply(g *consumerGroup) {
	g.charge(r.resolution.size() - g.resolved[r.regex].size())
	if r.resolution == nil {
		delete(g.resolved, r.regex)
		return
	}
	g.resolved[r.regex] = r.resolution
}

func (r memberRecord) apply(g *consumerGroup) {
	m := g.members[r.id]
	if m != nil && m.memberInfo != nil {
		g.count(m.memberInfo, -1)
		g.charge(-m.memberInfo.size())
		if in := m.instance; in != nil && g.instances[*in] == m.id {
			delete(g.instances, *in)
		}
		m.memberInfo = nil
	}
	if r.info == nil {
		g.forget(r.id)
		return
	}
	m = g.stub(r.id)
	m.memberInfo = r.info
	g.count(m.memberInfo, 1)
	g.charge(m.memberInfo.size())
	if m.instance != nil {
		g.instances[*m.instance] = m.id
	}
}

// count takes a member's subscription into the sums, or out of them.
func (g *consumerGroup) count(i *memberInfo, sign int) {
	for _, n := range i.topics {
		add(g.names, n, sign)
	}
	if i.regex != "" {
		add(g.patterns, i.regex, sign)
	}
	if i.classic != nil {
		g.classics += sign
		for _, p := range i.classic.protocols {
			add(g.offered, p.name, sign)
		}
	}
}

// add adds to a count, which is not kept when it is 0.
func add(counts map[string]int, key string, n int) {
	if counts[key] += n; counts[key] == 0 {
		delete(counts, key)
	}
}

// stub returns a member, made if it is not there: of the records of a member any may come first in a log that has been
// compacted.
func (g *consumerGroup) stub(id string) *consumerMember {
	m := g.members[id]
	if m == nil {
		m = &consumerMember{id: id, memberCurrent: &memberCurrent{}}
		g.members[id] = m
		at, _ := g.place(id)
		g.ordered = slices.Insert(g.ordered, at, m)
		g.charge(memberSize(id))
	}
	return m
}

// place is where a member is in ordered, or would be.
func (g *consumerGroup) place(id string) (at int, found bool) {
	return slices.BinarySearchFunc(g.ordered, id, func(m *consumerMember, id string) int { return strings.Compare(m.id, id) })
}

// forget drops a member that no record speaks of any more.
func (g *consumerGroup) forget(id string) {
	m := g.members[id]
	if m != nil && m.memberInfo == nil && !m.hasTarget && m.bare() {
		delete(g.members, id)
		at, _ := g.place(id)
		g.ordered = slices.Delete(g.ordered, at, at+1)
		g.charge(-memberSize(id))
	}
}

func (r targetRecord) apply(g *consumerGroup) {
	if !r.gone {
		m := g.stub(r.id)
		g.charge(sizeOfTarget(r.set) - sizeOfTarget(m.target))
		m.target, m.hasTarget = r.set, true
		return
	}
	if m := g.members[r.id]; m != nil {
		g.charge(-sizeOfTarget(m.target))
		m.target, m.hasTarget = nil, false
		g.forget(r.id)
	}
}

func (r currentRecord) apply(g *consumerGroup) {
	m := g.members[r.id]
	if m != nil {
		m.forEachOwned(func(p assignor.Partition) {
			if g.owners[p] == m.id {
				delete(g.owners, p)
			}
		})
		g.charge(-m.memberCurrent.size())
		m.memberCurrent = &memberCurrent{}
	}
	if r.current == nil {
		g.forget(r.id)
		return
	}
	m = g.stub(r.id)
	m.memberCurrent = r.current
	g.charge(r.current.size())
	m.forEachOwned(func(p assignor.Partition) { g.owners[p] = m.id })
}

// replayConsumer applies a record of a type of consumer groups. While the machine is being loaded the group is what the
// records say. Later they are those that the group itself has decided, and holds already; but the end of a group comes
// from outside of it.
func (m *Machine) replayConsumer(_ *kbin.Reader, replayed *coordinator.Replayed) error {
	if !m.loading && replayed.Value != nil {
		return nil
	}
	id, r, err := decodeConsumerRecord(replayed.Key, replayed.Value)
	if err != nil {
		return err
	}
	members, _ := m.membersOf(id).(*consumerGroup)
	if e, ok := r.(epochRecord); ok && e.gone && members != nil && len(members.members) == 0 {
		members.stop()
		m.groups[id].seat(nil, m) // replayEpoch forgets the group
		return nil
	}
	if !m.loading {
		return nil
	}
	if members == nil {
		if r.deletes() {
			return nil // what it deletes has been compacted away, or belongs to what the group was before
		}
		members = m.host(m.newConsumerGroup(id))
	}
	r.apply(members)
	return nil
}

// prune drops what a damaged log has left of members without a description; nothing was ever told to them.
func (g *consumerGroup) prune() {
	for id, m := range g.members {
		if m.memberInfo == nil {
			targetRecord{id: id, gone: true}.apply(g)
			currentRecord{id, nil}.apply(g)
		}
	}
}

// topicsOf calls yield for each existing topic that somebody who subscribes to names and regex consumes.
func (g *consumerGroup) topicsOf(im *metadata.Image, i *memberInfo) []metadata.UUID {
	var ids []metadata.UUID
	add := func(name string) {
		if t := im.Topic(name); t != nil {
			ids = append(ids, t.ID)
		}
	}
	for _, n := range i.topics {
		add(n)
	}
	if r := g.resolved[i.regex]; i.regex != "" && r != nil {
		for _, n := range r.topics {
			add(n)
		}
	}
	slices.SortFunc(ids, compareIDs)
	return slices.Compact(ids)
}
