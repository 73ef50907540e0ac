package replica

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/metadata"
)

// Options is what a Manager is made of.
type Options struct {
	Self metadata.BrokerID
	Logs *log.Manager
	// Resolve turns a topic's overrides into what replication and the log act on. The composition root owns it, so
	// that neither knows a config by name.
	Resolve func(topic string, overrides map[string]string) (*Settings, *log.Config)
	Logger  *slog.Logger
}

// Manager holds the partitions of which this node has a replica. It follows metadata images and nothing else.
type Manager struct {
	o Options

	mu     sync.RWMutex // guards what follows; taken before a Partition's mutex
	topics map[string]*topic
	ids    map[metadata.UUID]*topic
	// retired is the traffic of partitions that are gone.
	retired TrafficSum
}

// topic is the partitions of one topic here; the index is the partition's, nil where this node has no replica.
type topic struct {
	name       string
	id         metadata.UUID
	partitions []*Partition
}

// NewManager makes a manager without partitions.
func NewManager(o Options) *Manager {
	return &Manager{o: o, topics: map[string]*topic{}, ids: map[metadata.UUID]*topic{}}
}

// Lookup returns this node's replica of a partition, or nil. name may alias a request: it is not kept, and the look-up
// allocates nothing.
func (m *Manager) Lookup(name []byte, partition int32) *Partition {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.topics[string(name)].at(partition)
}

// LookupName is Lookup by a string.
func (m *Manager) LookupName(name string, partition int32) *Partition {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.topics[name].at(partition)
}

// LookupID is Lookup by topic id.
func (m *Manager) LookupID(id metadata.UUID, partition int32) *Partition {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.ids[id].at(partition)
}

func (t *topic) at(partition int32) *Partition {
	if t == nil || partition < 0 || int(partition) >= len(t.partitions) {
		return nil
	}
	return t.partitions[partition]
}

// Each calls yield for every partition, in no order.
func (m *Manager) Each(yield func(*Partition) bool) {
	m.mu.RLock()
	all := make([]*Partition, 0, len(m.topics))
	for _, t := range m.topics {
		all = append(all, t.partitions...)
	}
	m.mu.RUnlock()
	for _, p := range all {
		if p != nil && !yield(p) {
			return
		}
	}
}

// Apply makes the partitions of this node those of next. It is called with every image in order, by one goroutine; what
// is the same pointer in both images costs a comparison.
func (m *Manager) Apply(prev, next *metadata.Image) {
	for t := range prev.Topics {
		if now := next.Topic(t.Name); now == nil || now.ID != t.ID {
			m.remove(t)
		}
	}
	for t := range next.Topics {
		if before := prev.Topic(t.Name); before == t {
			continue
		}
		m.update(t, next)
	}
}

// Configure re-reads the settings of one topic after its configs or the broker's defaults changed.
func (m *Manager) Configure(name string, overrides map[string]string) {
	m.mu.RLock()
	t := m.topics[name]
	m.mu.RUnlock()
	if t == nil {
		return
	}
	s, c := m.o.Resolve(name, overrides)
	for _, p := range t.partitions {
		if p != nil {
			p.log.SetConfig(c)
			p.Configure(s)
		}
	}
}

// update opens what is new of a topic and applies every registration that this node takes part in.
func (m *Manager) update(t *metadata.Topic, im *metadata.Image) {
	m.mu.RLock()
	have := m.topics[t.Name]
	m.mu.RUnlock()
	parts := make([]*Partition, len(t.Partitions))
	if have != nil {
		copy(parts, have.partitions)
	}
	var settings *Settings
	var config *log.Config
	now := time.Now()
	for i, r := range t.Partitions {
		if !slices.Contains(r.Replicas, m.o.Self) {
			continue
		}
		if parts[i] == nil {
			if settings == nil {
				settings, config = m.o.Resolve(t.Name, im.Config(metadata.ConfigResource{Type: topicResource, Name: t.Name}))
			}
			p, err := m.open(t, int32(i), settings, config)
			if err != nil {
				m.o.Logger.Error("cannot open a partition; it is not served until the next start", "topic", t.Name, "partition", i, "err", err)
				continue
			}
			parts[i] = p
		}
		if err := parts[i].Apply(r, now); err != nil {
			m.o.Logger.Error("cannot take over a partition's registration", "topic", t.Name, "partition", i, "err", err)
			parts[i].fail(kerr.KafkaStorageError)
		}
	}
	m.mu.Lock()
	nt := &topic{t.Name, t.ID, parts}
	m.topics[t.Name], m.ids[t.ID] = nt, nt
	m.mu.Unlock()
}

// topicResource is the config resource type of topics (rule 7.7.1).
const topicResource = 2

func (m *Manager) open(t *metadata.Topic, index int32, s *Settings, c *log.Config) (*Partition, error) {
	l, err := m.o.Logs.Create(log.TopicPartition{Topic: t.Name, Partition: index}, t.ID, c)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s-%d: %w", t.Name, index, err)
	}
	return newPartition(m.o.Self, t.Name, index, t.ID, l, s), nil
}

// remove stops serving a deleted topic, then deletes its logs. Those who wait on it get UNKNOWN_TOPIC_OR_PARTITION.
func (m *Manager) remove(t *metadata.Topic) {
	m.mu.Lock()
	gone := m.ids[t.ID]
	delete(m.ids, t.ID)
	if m.topics[t.Name] == gone {
		delete(m.topics, t.Name)
	}
	if gone != nil {
		for _, p := range gone.partitions {
			if p != nil {
				p.traffic.AddTo(&m.retired)
			}
		}
	}
	m.mu.Unlock()
	if gone == nil {
		return
	}
	for _, p := range gone.partitions {
		if p == nil {
			continue
		}
		p.fail(kerr.UnknownTopicOrPartition)
		if err := m.o.Logs.Delete(p.log.TopicPartition()); err != nil {
			m.o.Logger.Error("cannot delete a partition's log; delete its directory by hand", "topic", t.Name, "partition", p.Index, "err", err)
		}
	}
}
