// Package group is the state machine of consumer groups: the groups and committed offsets of one partition of
// __consumer_offsets (section 8 of our notes on Kafka's semantics). It is pure; package coordinator runs it.
//
// A group has offsets, and a membership that speaks one protocol: the classic one (classic*.go), that of KIP-848
// (consumer*.go), or none for a simple group that only ever committed offsets.
package group

import (
	"io"
	"time"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/metadata"
)

// timersPerTick bounds what one Tick does, so that a mass expiry does not hold up its partition.
const timersPerTick = 1000

// Machine holds the groups of one partition of __consumer_offsets. It implements coordinator.Machine.
type Machine struct {
	config func() *Config
	image  func() *metadata.Image // the cluster's topics as of now
	groups map[string]*Group
	timers timers
	// entropy is what random member ids are made of: crypto/rand if nil, something repeatable in tests.
	entropy io.Reader
	// transactions has the groups in which a producer's transaction has offsets pending.
	transactions map[int64]map[*Group]bool
	memory       *Memory
	loading      bool // until Loaded
	sweep        sweep
}

// NewMachine makes the machine of a partition, without groups. config and image return settings and cluster as of now;
// memory is the account of the node.
func NewMachine(config func() *Config, image func() *metadata.Image, memory *Memory) *Machine {
	return &Machine{config: config, image: image, memory: memory, groups: map[string]*Group{}, transactions: map[int64]map[*Group]bool{}, loading: true}
}

// Deadline implements coordinator.Machine.
func (m *Machine) Deadline() time.Time { return m.timers.next() }

// Tick implements coordinator.Machine.
func (m *Machine) Tick(now time.Time, e *coordinator.Effects) {
	m.timers.fireDue(now, e, timersPerTick)
}

// Group is one group id.
type Group struct {
	ID string
	// members is nil for a group without a protocol: one that exists through its offsets alone (rule 8.4.2).
	members membership
	offsets offsets
}

// membership is what the rest of a group asks of its members' protocol.
type membership interface {
	// kind is the group's type as ListGroups prints it: "classic" or "consumer" (rule 8.5.1).
	kind() string
	// protocolType is "consumer" for consumers of both protocols, else what the members joined with.
	protocolType() string
	// state is the name that ListGroups and the describe APIs print.
	state() string
	// len is the number of members, those of both protocols.
	len() int
	// checkCommit says whether a commit is taken (rules 8.4.2 and 8.4.3), and restarts the member's session if so.
	checkCommit(now time.Time, c *commitIdentity) error
	// checkFetch is rule 8.4.9 for a request that names a member.
	checkFetch(memberID *string, memberEpoch int32) error
	// subscribes reports whether a member consumes a topic, or may do so unknown to us (rules 8.4.13 and 8.4.15).
	subscribes(topic string) bool
	// empty reports whether there are no members, and since when (rule 8.4.13).
	empty() (since time.Time, ok bool)
	// loaded is called once, when the group's records have been replayed: sessions start here, in full (rule 8.3.13).
	loaded(now time.Time, e *coordinator.Effects)
	// tombstones wants the protocol's records deleted, for the end of the group.
	tombstones(e *coordinator.Effects)
	// countTo has what the membership takes count to m from now on, and to nothing if m is nil.
	countTo(m *Memory)
	// unload answers what is parked with err.
	unload(err error)
}

// commitIdentity is who commits.
type commitIdentity struct {
	version       int16 // of the OffsetCommit request
	memberID      string
	instanceID    *string
	epoch         int32 // generation of the classic protocol, member epoch of KIP-848
	transactional bool
}

// Config holds the settings of groups as of now. Times are durations; where a group may override one by a group config,
// the owner of the value is asked with the group's id.
type Config struct {
	InitialRebalanceDelay time.Duration // group.initial.rebalance.delay.ms
	MinSessionTimeout     time.Duration // group.min.session.timeout.ms
	MaxSessionTimeout     time.Duration // group.max.session.timeout.ms
	MaxSize               int32         // group.max.size
	MaxBytes              int64         // kbroker.group.max.bytes: see Memory

	Consumer ConsumerConfig // groups of KIP-848

	OffsetMetadataMaxBytes int           // offset.metadata.max.bytes
	OffsetsRetention       time.Duration // offsets.retention.minutes
	OffsetsRetentionCheck  time.Duration // offsets.retention.check.interval.ms
}
