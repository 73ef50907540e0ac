// Package metadata is what the cluster is: brokers, topics, partitions, configs, producer-id blocks and features, as an
// immutable Image that is replaced whole behind an atomic pointer, and the versioned records that change it.
//
// It never does I/O and never decides anything: controller decides, everybody reads.
package metadata

import "sync/atomic"

// UUID is a topic, directory or incarnation id: 16 bytes, text form URL-safe base64 without padding (rule 0.4.1).
type UUID [16]byte

// BrokerID is Kafka's node id.
type BrokerID = int32

// Image is the state of the cluster at one metadata index. It is immutable: Apply makes a new one that shares what did
// not change.
type Image struct {
	Index     uint64 // raft index of the last record applied; the finalized-features epoch (rule 1.4.6)
	ClusterID string // 22-character base64 (rule 7.1.10)
	Brokers   map[BrokerID]*Broker
	topics    map[string]*Topic
	topicIDs  map[UUID]*Topic
	configs   map[ConfigResource]map[string]string
	features  map[string]int16
	// NextProducerID is the first producer id that no block has handed out (rule 4.5.6).
	NextProducerID int64
}

// Broker is a registered broker (rule 9, KIP-500 registration).
type Broker struct {
	ID          BrokerID
	Epoch       int64 // raft index of the registration record
	Incarnation UUID
	Rack        string // empty: none
	Listeners   []Listener
	Directories []UUID
	Fenced      bool
}

// Listener is one advertised endpoint.
type Listener struct {
	Name     string
	Host     string
	Port     int32
	Protocol int16 // 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL
}

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
	Replicas         []BrokerID
	Directories      []UUID // parallel to Replicas
	ISR              []BrokerID
	AddingReplicas   []BrokerID
	RemovingReplicas []BrokerID
	ELR              []BrokerID // eligible leader replicas (KIP-966)
	LastKnownELR     []BrokerID
	Leader           BrokerID // -1: none
	LeaderEpoch      LeaderEpoch
	PartitionEpoch   PartitionEpoch
}

// ConfigResource names what dynamic configs hang on: type 2 topic, 4 broker ("" = cluster default), 16 client metrics,
// 32 group (rule 7.7.1).
type ConfigResource struct {
	Type int8
	Name string
}

// Topic returns the topic called name, or nil.
func (im *Image) Topic(name string) *Topic { return im.topics[name] }

// TopicByID returns the topic with id, or nil.
func (im *Image) TopicByID(id UUID) *Topic { return im.topicIDs[id] }

// Topics calls yield for each topic in no order.
func (im *Image) Topics(yield func(*Topic) bool) {
	for _, t := range im.topics {
		if !yield(t) {
			return
		}
	}
}

// NumTopics returns the number of topics.
func (im *Image) NumTopics() int { return len(im.topics) }

// Config returns the dynamic overrides of a resource. The map must not be changed.
func (im *Image) Config(r ConfigResource) map[string]string { return im.configs[r] }

// ConfigResources calls yield for each resource that has at least one override.
func (im *Image) ConfigResources(yield func(ConfigResource) bool) {
	for r := range im.configs {
		if !yield(r) {
			return
		}
	}
}

// Features returns the finalized feature levels. The map must not be changed.
func (im *Image) Features() map[string]int16 { return im.features }

// Cell holds the current Image of one node. The zero Cell holds an empty Image.
type Cell struct{ p atomic.Pointer[Image] }

// Load returns the current Image, never nil.
func (c *Cell) Load() *Image {
	if im := c.p.Load(); im != nil {
		return im
	}
	return &Image{}
}

// Store replaces the current Image.
func (c *Cell) Store(im *Image) { c.p.Store(im) }
