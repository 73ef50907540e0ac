package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// metadataAPI serves Metadata (key 3, versions 0 to 13; rule 7.1).
func metadataAPI(d *Deps) API {
	creation := newAutoCreation(d)
	checks := append(topicChecks(acl.Describe), Check{acl.Cluster, acl.Describe})
	for _, op := range clusterOperations {
		if op != acl.Describe {
			checks = append(checks, Check{acl.Cluster, op})
		}
	}
	return api(0, 13, checks, func(c *Context, req *kmsg.MetadataRequest) *kmsg.MetadataResponse {
		m := metadataAnswer{partitionView: partitionView{d: d, c: c, image: d.Metadata.Load()}, req: req, creation: creation}
		return m.answer()
	})
}

// metadataAnswer is one Metadata response in the making.
type metadataAnswer struct {
	partitionView
	req      *kmsg.MetadataRequest
	creation *autoCreation
	resp     kmsg.MetadataResponse

	// rows is where the rows of partitions are taken from: one piece of memory for all, since there may be a hundred
	// thousand of them (rule 7.1.16). The lists of brokers in the rows are those of the image.
	rows []kmsg.MetadataResponseTopicPartition
	dead bool // whether there are brokers that are not alive
}

func (m *metadataAnswer) answer() *kmsg.MetadataResponse {
	m.resp = kmsg.NewMetadataResponse()
	m.resp.ControllerID = metadata.NoBroker
	byID := false
	for _, t := range m.req.Topics {
		byID = byID || !metadata.UUID(t.TopicID).IsZero()
	}
	if m.malformed(byID) {
		m.refuse()
		return &m.resp
	}
	m.resp.ClusterID = &m.image.ClusterID
	m.brokers()
	if v := m.c.Version; v >= 8 && v <= 10 && m.req.IncludeClusterAuthorizedOperations {
		m.resp.AuthorizedOperations = m.d.clusterOperationsFor(m.c)
	}
	switch {
	case m.req.Topics == nil || m.c.Version == 0 && len(m.req.Topics) == 0: // rule 7.1.1
		m.allTopics()
	case byID:
		m.topicsByID()
	default:
		m.topicsByName()
	}
	return &m.resp
}

// malformed reports whether the request names topics in a way that its version does not have: by id before v12 (rule
// 7.1.2), or not at all, where Kafka 4.3.1 fails.
func (m *metadataAnswer) malformed(byID bool) bool {
	if byID {
		return m.c.Version < 12
	}
	for _, t := range m.req.Topics {
		if t.Topic == nil {
			return true
		}
	}
	return false
}

// refuse answers a malformed request: each topic has the error, and nothing else is told.
func (m *metadataAnswer) refuse() {
	for _, t := range m.req.Topics {
		name := t.Topic
		if name == nil {
			name = new("")
		}
		m.row(name, t.TopicID, kerr.InvalidRequest)
	}
}

// brokers lists the brokers that are alive and have the client's listener (rules 7.1.8, 7.1.9).
func (m *metadataAnswer) brokers() {
	alive := make([]metadata.BrokerID, 0, len(m.image.Brokers()))
	for _, b := range m.image.Brokers() {
		e, ok := m.d.endpoint(m.c, b)
		if !ok || b.Fenced {
			m.dead = true
			continue
		}
		row := kmsg.NewMetadataResponseBroker()
		row.NodeID, row.Host, row.Port = b.ID, e.Host, e.Port
		if b.Rack != "" {
			row.Rack = &b.Rack
		}
		m.resp.Brokers = append(m.resp.Brokers, row)
		alive = append(alive, b.ID)
	}
	m.resp.ControllerID = anyBroker(alive)
}

// allTopics adds every topic that the caller may know of (rule 7.1.4).
func (m *metadataAnswer) allTopics() {
	m.resp.Topics = make([]kmsg.MetadataResponseTopic, 0, m.image.NumTopics())
	m.rows = make([]kmsg.MetadataResponseTopicPartition, 0, m.image.NumPartitions())
	for t := range m.image.Topics {
		if m.describable(t.Name) {
			m.topic(t)
		}
	}
}

// topicsByID adds the topics whose ids the request has. Topics that it names are left out, as Kafka does when there is
// any id (rule 7.1.2).
func (m *metadataAnswer) topicsByID() {
	seen := make(map[metadata.UUID]bool, len(m.req.Topics))
	for _, r := range m.req.Topics {
		id := metadata.UUID(r.TopicID)
		if id.IsZero() || seen[id] {
			continue
		}
		seen[id] = true
		switch t := m.image.TopicByID(id); {
		case t == nil:
			m.row(nil, id, kerr.UnknownTopicID)
		case !m.describable(t.Name):
			m.row(nil, id, kerr.TopicAuthorizationFailed)
		default:
			m.topic(t)
		}
	}
}

// topicsByName adds the topics that the request names (rules 7.1.3 to 7.1.6).
func (m *metadataAnswer) topicsByName() {
	var missing []*string
	seen := make(map[string]bool, len(m.req.Topics))
	for i := range m.req.Topics {
		name := m.req.Topics[i].Topic
		if seen[*name] {
			continue
		}
		seen[*name] = true
		switch t := m.image.Topic(*name); {
		case !m.describable(*name): // whether it exists is not for this caller
			m.row(name, metadata.UUID{}, kerr.TopicAuthorizationFailed)
		case t == nil:
			missing = append(missing, name)
		default:
			m.topic(t)
		}
	}
	m.missingTopics(missing)
}

// missingTopics adds the topics that do not exist, and has them created if that is wanted. The answer is that they do
// not exist: the client asks again, and waiting here would hold up whatever it has sent behind this (rule 7.1.6).
func (m *metadataAnswer) missingTopics(names []*string) {
	// Versions below 4 have no say in it, and mean yes (rule 7.1.5).
	wanted := m.d.Admin.AutoCreateTopics && (m.c.Version < 4 || m.req.AllowAutoTopicCreation)
	everything := wanted && len(names) > 0 && m.d.allowed(m.c, acl.Create, acl.Cluster, acl.ClusterName)
	var create []string
	for _, name := range names {
		if wanted && !everything && !m.d.allowed(m.c, acl.Create, acl.Topic, *name) {
			m.row(name, metadata.UUID{}, kerr.TopicAuthorizationFailed).IsInternal = metadata.InternalTopic(*name)
			continue
		}
		err := unknownTopic(*name)
		row := m.row(name, metadata.UUID{}, err)
		row.IsInternal = metadata.InternalTopic(*name)
		row.AuthorizedOperations = m.operations(*name)
		if wanted && err == kerr.UnknownTopicOrPartition {
			create = append(create, *name)
		}
	}
	m.creation.start(m.c.Ctx, create)
}

func (m *metadataAnswer) describable(topic string) bool {
	return m.d.allowed(m.c, acl.Describe, acl.Topic, topic)
}

// operations returns the operations that the caller may do on a topic, if it asks for them.
func (m *metadataAnswer) operations(topic string) int32 {
	if m.c.Version < 8 || !m.req.IncludeTopicAuthorizedOperations {
		return noOperations
	}
	return m.d.authorizedOperations(m.c, acl.Topic, topic, topicOperations)
}

// row adds a row for a topic; err is nil for one that is there.
func (m *metadataAnswer) row(name *string, id metadata.UUID, err *kerr.Error) *kmsg.MetadataResponseTopic {
	row := kmsg.NewMetadataResponseTopic()
	row.Topic, row.TopicID = name, id
	if err != nil {
		row.ErrorCode = err.Code
	}
	m.resp.Topics = append(m.resp.Topics, row)
	return &m.resp.Topics[len(m.resp.Topics)-1]
}

// topic adds a topic that is there.
func (m *metadataAnswer) topic(t *metadata.Topic) {
	row := m.row(&t.Name, t.ID, nil)
	row.IsInternal = metadata.InternalTopic(t.Name)
	row.AuthorizedOperations = m.operations(t.Name)
	if n := len(t.Partitions); cap(m.rows)-len(m.rows) < n {
		m.rows = make([]kmsg.MetadataResponseTopicPartition, 0, n)
	}
	start := len(m.rows)
	for i, p := range t.Partitions {
		m.rows = append(m.rows, m.partition(int32(i), p))
	}
	row.Partitions = m.rows[start:len(m.rows):len(m.rows)]
}

// partition is the row of a partition (rule 7.1.11).
func (m *metadataAnswer) partition(i int32, p *metadata.PartitionRegistration) kmsg.MetadataResponseTopicPartition {
	noListener := kerr.ListenerNotFound
	if m.c.Version < 6 {
		noListener = kerr.LeaderNotAvailable // the code is newer (rule 0.5.1)
	}
	row := kmsg.MetadataResponseTopicPartition{Partition: i, LeaderEpoch: int32(p.LeaderEpoch), Replicas: p.Replicas, ISR: p.ISR}
	row.Leader, row.ErrorCode = m.leader(p, noListener)
	if !m.dead {
		return row
	}
	row.OfflineReplicas = m.offline(p)
	if m.c.Version == 0 {
		// The first version shows only brokers that it lists, and says so.
		row.Replicas, row.ISR = m.reachable(p.Replicas), m.reachable(p.ISR)
		if row.ErrorCode == 0 && (len(row.Replicas) < len(p.Replicas) || len(row.ISR) < len(p.ISR)) {
			row.ErrorCode = kerr.ReplicaNotAvailable.Code
		}
	}
	return row
}
