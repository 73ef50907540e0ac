package controller

import (
	"cmp"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/metadata"
)

// NewTopic is a topic to create.
type NewTopic struct {
	Name string
	// Partitions and ReplicationFactor are -1 for the cluster's default, and with Assignments.
	Partitions        int32
	ReplicationFactor int16
	// Assignments places each partition by hand; nil or empty leaves it to the controller.
	Assignments []Assignment
	Configs     []ConfigSetting
}

// Assignment places the replicas of one partition; the first is the preferred leader.
type Assignment struct {
	Partition int32
	Replicas  []metadata.BrokerID
}

// ConfigSetting is one config of a new topic. Kafka's protocol has room for a null value, and refuses it.
type ConfigSetting struct {
	Name  string
	Value *string
}

// CreatedTopic is what became of a NewTopic.
type CreatedTopic struct {
	Err error // nil: the topic is there, or with validateOnly would be
	// ID is that of the topic. With validateOnly it is a fresh one that no topic will ever have (rule 7.4.7).
	ID                metadata.UUID
	Partitions        int32
	ReplicationFactor int16
	Configs           map[string]string // the overrides of the topic
}

// createTopics is CreateTopics (rule 7.4).
type createTopics struct {
	topics       []NewTopic
	validateOnly bool

	results []CreatedTopic
}

func (c *createTopics) decide(d *decision) error {
	if err := c.checkSize(d.rules); err != nil {
		return err
	}
	c.results = make([]CreatedTopic, len(c.topics))
	// What a name could collide with are the topics from before the request (rule 7.3.2).
	before := d.head
	var all []metadata.Record
	for i := range c.topics {
		records, result, err := c.topics[i].decide(d, before)
		if err != nil {
			c.results[i] = CreatedTopic{Err: err}
			continue
		}
		c.results[i] = result
		all = append(all, records...)
	}
	if len(all) > maxRecords {
		return errTooManyRecords()
	}
	if c.validateOnly {
		return nil
	}
	return d.write(all...)
}

// checkSize refuses a request whose topics, good or bad, ask for more partitions than may be made at once (rule
// 7.4.13). It comes before everything else, so that no time goes into placing what will be refused.
func (c *createTopics) checkSize(rules Rules) error {
	var total int64
	for i := range c.topics {
		t := &c.topics[i]
		switch {
		case len(t.Assignments) > 0:
			total += int64(len(t.Assignments))
		case t.Partitions == -1:
			total += int64(rules.NumPartitions)
		case t.Partitions > 0:
			total += int64(t.Partitions)
		}
		if total > maxRecords {
			return refuse(kerr.PolicyViolation, "the request asks for more than %d partitions; send it in parts", maxRecords)
		}
	}
	return nil
}

// decide checks one topic, in the order of rules 7.4.2 to 7.4.5, and returns the records that make it.
func (t *NewTopic) decide(d *decision, before *metadata.Image) ([]metadata.Record, CreatedTopic, error) {
	none := CreatedTopic{}
	if err := metadata.CheckTopicName(t.Name); err != nil {
		return nil, none, refuse(kerr.InvalidTopicException, "%v", err)
	}
	if before.Topic(t.Name) != nil {
		return nil, none, refuse(kerr.TopicAlreadyExists, "topic %q exists already", t.Name)
	}
	if other := before.SameMetricName(t.Name); other != "" {
		return nil, none, refuse(kerr.InvalidTopicException, "topic %q has the same name in metrics as topic %q", t.Name, other)
	}
	configs, err := t.configs(d)
	if err != nil {
		return nil, none, err
	}
	placed, err := t.place(d)
	if err != nil {
		return nil, none, err
	}
	id := d.newID()
	records := make([]metadata.Record, 0, 1+len(configs)+len(placed))
	records = append(records, &metadata.TopicRecord{Name: t.Name, ID: id})
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		resource := metadata.ConfigResource{Type: metadata.ConfigTopic, Name: t.Name}
		records = append(records, &metadata.ConfigRecord{Resource: resource, Name: name, Value: new(configs[name])})
	}
	for i, p := range placed {
		records = append(records, &metadata.PartitionRecord{Topic: id, Partition: int32(i), PartitionRegistration: p})
	}
	return records, CreatedTopic{ID: id, Partitions: int32(len(placed)),
		ReplicationFactor: int16(len(placed[0].Replicas)), Configs: configs}, nil
}

// configs returns the topic's overrides (rule 7.4.5). Of a config named twice the last value counts.
func (t *NewTopic) configs(d *decision) (map[string]string, error) {
	configs := make(map[string]string, len(t.Configs))
	for _, c := range t.Configs {
		if c.Value == nil {
			return nil, refuse(kerr.InvalidConfig, "config %q of topic %q has no value", c.Name, t.Name)
		}
		configs[c.Name] = *c.Value
	}
	if len(configs) == 0 {
		return configs, nil
	}
	return configs, d.rules.validate(metadata.ConfigResource{Type: metadata.ConfigTopic, Name: t.Name}, configs)
}

// place returns the topic's partitions (rules 7.4.3, 7.4.4).
func (t *NewTopic) place(d *decision) ([]metadata.PartitionRegistration, error) {
	if len(t.Assignments) > 0 {
		return t.placeByHand(d)
	}
	partitions, factor := cmp.Or(t.Partitions, 0), t.ReplicationFactor
	if factor < -1 || factor == 0 {
		return nil, refuse(kerr.InvalidReplicationFactor, "replication factor %d: it is at least 1, or -1 for the default", factor)
	}
	if partitions < -1 || partitions == 0 {
		return nil, refuse(kerr.InvalidPartitions, "%d partitions: there is at least 1, or -1 for the default", partitions)
	}
	if partitions == -1 {
		partitions = d.rules.NumPartitions
	}
	if factor == -1 {
		factor = d.rules.ReplicationFactor
	}
	return placeReplicas(d, 0, int(partitions), int(factor))
}

// placeByHand returns the partitions as the request assigns them (rule 7.4.3).
func (t *NewTopic) placeByHand(d *decision) ([]metadata.PartitionRegistration, error) {
	if t.ReplicationFactor != -1 {
		return nil, refuse(kerr.InvalidRequest, "with replicas assigned by hand the replication factor must be -1, not %d", t.ReplicationFactor)
	}
	if t.Partitions != -1 {
		return nil, refuse(kerr.InvalidRequest, "with replicas assigned by hand the number of partitions must be -1, not %d", t.Partitions)
	}
	placed := make([]metadata.PartitionRegistration, len(t.Assignments))
	filled := make([]bool, len(placed))
	factor := len(t.Assignments[0].Replicas)
	for _, a := range t.Assignments {
		if int(a.Partition) < len(filled) && a.Partition >= 0 && filled[a.Partition] {
			return nil, refuse(kerr.InvalidReplicaAssignment, "partition %d is assigned twice", a.Partition)
		}
		p, err := partitionByHand(d.head, a.Partition, a.Replicas, factor)
		if err != nil {
			return nil, err
		}
		if a.Partition < 0 || int(a.Partition) >= len(placed) {
			return nil, refuse(kerr.InvalidReplicaAssignment, "partition %d is one of %d that are assigned: "+
				"they are numbered from 0 without a gap", a.Partition, len(placed))
		}
		placed[a.Partition], filled[a.Partition] = p, true
	}
	return placed, nil
}

// deleteTopics is DeleteTopics, after names were resolved (rule 7.5).
type deleteTopics struct {
	ids []metadata.UUID

	errs []error
}

func (c *deleteTopics) decide(d *decision) error {
	if len(c.ids) > maxRecords {
		return errTooManyRecords()
	}
	c.errs = make([]error, len(c.ids))
	var records []metadata.Record
	seen := make(map[metadata.UUID]bool, len(c.ids))
	for i, id := range c.ids {
		if d.head.TopicByID(id) == nil || seen[id] {
			c.errs[i] = refuse(kerr.UnknownTopicID, "there is no topic with id %v", id)
			continue
		}
		seen[id] = true
		records = append(records, &metadata.RemoveTopicRecord{ID: id})
	}
	return d.write(records...)
}

// MorePartitions raises the number of a topic's partitions.
type MorePartitions struct {
	Topic string
	Count int32 // what the topic has afterwards
	// Assignments places each new partition by hand, in order; nil leaves it to the controller.
	Assignments [][]metadata.BrokerID
}

// createPartitions is CreatePartitions (rule 7.6).
type createPartitions struct {
	topics       []MorePartitions
	validateOnly bool

	errs []error
}

func (c *createPartitions) decide(d *decision) error {
	c.errs = make([]error, len(c.topics))
	var all []metadata.Record
	for i := range c.topics {
		records, err := c.topics[i].decide(d)
		if len(all)+len(records) > maxRecords {
			records, err = nil, errTooManyRecords() // for this topic: others may be smaller
		}
		c.errs[i] = err
		all = append(all, records...)
	}
	if c.validateOnly {
		return nil
	}
	return d.write(all...)
}

// decide returns the records that add the partitions.
func (t *MorePartitions) decide(d *decision) ([]metadata.Record, error) {
	topic := d.head.Topic(t.Topic)
	if topic == nil {
		return nil, errUnknownTopic(t.Topic)
	}
	have := len(topic.Partitions)
	more := int(t.Count) - have
	if more <= 0 {
		return nil, refuse(kerr.InvalidPartitions, "the number of partitions of topic %q is %d and can only grow: %d is refused", t.Topic, have, t.Count)
	}
	if more > maxRecords {
		return nil, errTooManyRecords()
	}
	factor := len(topic.Partitions[0].Replicas) - len(topic.Partitions[0].RemovingReplicas)
	placed, err := t.place(d, have, more, factor)
	if err != nil {
		return nil, err
	}
	records := make([]metadata.Record, len(placed))
	for i, p := range placed {
		records[i] = &metadata.PartitionRecord{Topic: topic.ID, Partition: int32(have + i), PartitionRegistration: p}
	}
	return records, nil
}

// place returns more partitions for a topic that has some.
func (t *MorePartitions) place(d *decision, have, more, factor int) ([]metadata.PartitionRegistration, error) {
	if t.Assignments == nil {
		return placeReplicas(d, have, more, factor)
	}
	if len(t.Assignments) != more {
		return nil, refuse(kerr.InvalidReplicaAssignment, "%d assignments for %d new partitions of topic %q", len(t.Assignments), more, t.Topic)
	}
	placed := make([]metadata.PartitionRegistration, more)
	for i, replicas := range t.Assignments {
		p, err := partitionByHand(d.head, int32(have+i), replicas, factor)
		if err != nil {
			return nil, err
		}
		placed[i] = p
	}
	return placed, nil
}
