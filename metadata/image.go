// Package metadata is what the cluster is: brokers, topics, partitions, configs, client quotas, SCRAM credentials,
// producer-id blocks and features, as an immutable Image that is replaced whole behind an atomic pointer, and the
// versioned records that change it.
//
// It never does I/O and never decides anything: controller decides, everybody reads. FORMAT.md describes the bytes.
package metadata

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"sync/atomic"
)

// BrokerID is Kafka's node id. NoBroker stands where there is none.
type BrokerID = int32

// NoBroker is the leader of a partition that has none.
const NoBroker BrokerID = -1

// Image is the state of the cluster at one metadata index. It is immutable, what it hands out included: Apply makes a
// new one that shares what did not change. The zero Image is an empty cluster.
type Image struct {
	Index     uint64 // raft index of the last record applied; the finalized-features epoch (rule 1.4.6)
	ClusterID string // 22-character base64 (rule 7.1.10)
	// NextProducerID is the first producer id that no block has handed out (rule 4.5.6).
	NextProducerID int64

	brokers    []*Broker // by id
	topics     ordered[topicName, *Topic]
	topicIDs   ordered[UUID, *Topic]
	partitions int // of all topics
	// metricNames has the topics whose name holds a dot or an underscore by the name that metrics give them, where the
	// two are one (rule 7.3.2).
	metricNames ordered[topicName, []string]
	configs     ordered[ConfigResource, map[string]string]
	features    map[string]int16
	// clientQuotas has the entities that have at least one quota.
	clientQuotas ordered[QuotaEntity, map[string]float64]
	scram        ordered[ScramUser, *ScramCredential]
}

// Broker is a registered broker.
type Broker struct {
	ID          BrokerID
	Epoch       int64  // raft index of the registration record
	Incarnation UUID   // made anew at each start of the process
	Rack        string // empty: none
	Listeners   []Listener
	Directories []UUID
	// Fenced brokers lead nothing and are shown to no client (rule 7.1.8).
	Fenced bool
	// ShuttingDown brokers get no new leadership: controlled shutdown has begun.
	ShuttingDown bool
}

// Listener returns the endpoint called name, or nil.
func (b *Broker) Listener(name string) *Listener {
	for i := range b.Listeners {
		if b.Listeners[i].Name == name {
			return &b.Listeners[i]
		}
	}
	return nil
}

// Listener is one advertised endpoint of a broker.
type Listener struct {
	Name     string
	Host     string
	Port     int32
	Protocol SecurityProtocol
}

// SecurityProtocol is Kafka's code of how a listener is secured.
type SecurityProtocol int16

// Security protocol codes.
const (
	Plaintext     SecurityProtocol = 0
	SSL           SecurityProtocol = 1
	SASLPlaintext SecurityProtocol = 2
	SASLSSL       SecurityProtocol = 3
)

// Topic is one topic; Partitions is indexed by partition id.
type Topic struct {
	Name       string
	ID         UUID
	Partitions []*PartitionRegistration
}

// Epochs that could be swapped at a call are distinct types.
type (
	// LeaderEpoch changes whenever a partition's leader does.
	LeaderEpoch int32
	// PartitionEpoch changes with any change of a partition's registration.
	PartitionEpoch int32
)

// PartitionRegistration is the controller's view of a partition.
type PartitionRegistration struct {
	Replicas         []BrokerID // the first is the preferred leader
	Directories      []UUID     // parallel to Replicas
	ISR              []BrokerID
	AddingReplicas   []BrokerID
	RemovingReplicas []BrokerID
	ELR              []BrokerID // eligible leader replicas (KIP-966)
	LastKnownELR     []BrokerID
	Leader           BrokerID // NoBroker: none
	LeaderEpoch      LeaderEpoch
	PartitionEpoch   PartitionEpoch
}

// ConfigResource names what dynamic configs hang on (rule 7.7.1).
type ConfigResource struct {
	Type ConfigType
	Name string // for a broker its id in decimal, or "" for the cluster's default
}

// ConfigType is Kafka's code of a resource that has configs.
type ConfigType int8

// Config resource types (rule 7.7.1). Broker loggers have no place in the Image: they are local to a broker.
const (
	ConfigTopic         ConfigType = 2
	ConfigBroker        ConfigType = 4
	ConfigClientMetrics ConfigType = 16
	ConfigGroup         ConfigType = 32
)

type topicName string

func (n topicName) compare(o topicName) int { return strings.Compare(string(n), string(o)) }
func (id UUID) compare(o UUID) int          { return bytes.Compare(id[:], o[:]) }
func (r ConfigResource) compare(o ConfigResource) int {
	return cmp.Or(cmp.Compare(r.Type, o.Type), strings.Compare(r.Name, o.Name))
}

// Brokers returns all registered brokers, fenced ones too, by id. The slice must not be changed.
func (im *Image) Brokers() []*Broker { return im.brokers }

// Broker returns the broker with id, or nil.
func (im *Image) Broker(id BrokerID) *Broker {
	if i, ok := findBroker(im.brokers, id); ok {
		return im.brokers[i]
	}
	return nil
}

func findBroker(brokers []*Broker, id BrokerID) (int, bool) {
	return slices.BinarySearchFunc(brokers, id, func(b *Broker, id BrokerID) int { return cmp.Compare(b.ID, id) })
}

// Topic returns the topic called name, or nil.
func (im *Image) Topic(name string) *Topic {
	t, _ := im.topics.get(topicName(name))
	return t
}

// TopicByID returns the topic with id, or nil.
func (im *Image) TopicByID(id UUID) *Topic {
	t, _ := im.topicIDs.get(id)
	return t
}

// Topics calls yield for each topic, by name.
func (im *Image) Topics(yield func(*Topic) bool) {
	im.topics.all(func(_ topicName, t *Topic) bool { return yield(t) })
}

// TopicsFrom calls yield for each topic whose name is at or above name, by name.
func (im *Image) TopicsFrom(name string, yield func(*Topic) bool) {
	im.topics.from(topicName(name), func(_ topicName, t *Topic) bool { return yield(t) })
}

// NumTopics returns the number of topics.
func (im *Image) NumTopics() int { return im.topics.size }

// NumPartitions returns the number of partitions of all topics.
func (im *Image) NumPartitions() int { return im.partitions }

// SameMetricName returns a topic whose name metrics could not tell from name, one of the two having a dot where the
// other has an underscore (rule 7.3.2), or "" when there is none. A topic that is called name itself does not count.
func (im *Image) SameMetricName(name string) string {
	names, _ := im.metricNames.get(metricName(name))
	for _, n := range names {
		if n != name {
			return n
		}
	}
	return ""
}

// metricName is the name of a topic in metrics: dots become underscores.
func metricName(topic string) topicName { return topicName(strings.ReplaceAll(topic, ".", "_")) }

// Config returns the dynamic overrides of a resource. The map must not be changed.
func (im *Image) Config(r ConfigResource) map[string]string {
	c, _ := im.configs.get(r)
	return c
}

// ConfigResources calls yield for each resource that has at least one override, by type and name.
func (im *Image) ConfigResources(yield func(ConfigResource) bool) {
	im.configs.all(func(r ConfigResource, _ map[string]string) bool { return yield(r) })
}

// Features returns the finalized feature levels, without those of level 0. The map must not be changed.
func (im *Image) Features() map[string]int16 { return im.features }

// Cell holds the current Image of one node. The zero Cell holds an empty Image.
type Cell struct{ p atomic.Pointer[Image] }

// empty is what a Cell holds before the first Store. Like every Image it is never changed.
var empty = &Image{}

// Load returns the current Image, never nil.
func (c *Cell) Load() *Image {
	if im := c.p.Load(); im != nil {
		return im
	}
	return empty
}

// Store replaces the current Image.
func (c *Cell) Store(im *Image) { c.p.Store(im) }
