package metadata

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Apply returns the Image that follows from records, all of which have the given index. im stays what it is.
//
// It costs what the records change: memory is copied only for topics, brokers and configs that they name.
func (im *Image) Apply(index uint64, records ...Record) (*Image, error) {
	d := delta{base: im, next: *im}
	d.next.Index = index
	for i, r := range records {
		if err := r.apply(&d); err != nil {
			return nil, fmt.Errorf("metadata record %d of %d at index %d (%s): %w", i+1, len(records), index,
				recordTypes[r.kind()].name, err)
		}
	}
	d.finish()
	return &d.next, nil
}

// delta is an Image in the making.
type delta struct {
	base *Image
	next Image

	// topics has the topics that differ from base, which delta may change; nil for one that is gone. order has them in
	// the order in which they were met, which for a change of many is most often that of their names.
	topics map[UUID]*Topic
	order  []topicKey
	last   *Topic // the one that was changed last: a batch often has many records of one topic
	// names has the names that came and went; nil for those that no topic has any more.
	names map[string]*Topic
	// configs has the resources that differ from base; empty for those that have no more overrides.
	configs map[ConfigResource]map[string]string
	// quotas has the entities that differ from base; empty for those that have no more quotas.
	quotas map[QuotaEntity]map[string]float64
	// scram has the credentials that differ from base; nil for those that are gone.
	scram map[ScramUser]*ScramCredential

	ownBrokers, ownFeatures bool // whether next's are copies already
}

type topicKey struct {
	id   UUID
	name string
}

// finish puts what was collected into next.
func (d *delta) finish() {
	byName := make([]change[topicName, *Topic], 0, len(d.order))
	byID := make([]change[UUID, *Topic], 0, len(d.order))
	for _, k := range d.order {
		t := d.topics[k.id]
		byID = append(byID, change[UUID, *Topic]{k.id, t, t == nil})
		if t != nil || d.names[k.name] == nil { // else another topic has the name now
			byName = append(byName, change[topicName, *Topic]{topicName(k.name), t, t == nil})
		}
	}
	d.next.topics = d.next.topics.with(inOrder(byName))
	d.next.topicIDs = d.next.topicIDs.with(inOrder(byID))
	d.next.metricNames = d.next.metricNames.with(d.metricNameChanges())
	configs := make([]change[ConfigResource, map[string]string], 0, len(d.configs))
	for r, c := range d.configs {
		configs = append(configs, change[ConfigResource, map[string]string]{r, c, len(c) == 0})
	}
	d.next.configs = d.next.configs.with(inOrder(configs))
	quotas := make([]change[QuotaEntity, map[string]float64], 0, len(d.quotas))
	for e, q := range d.quotas {
		quotas = append(quotas, change[QuotaEntity, map[string]float64]{e, q, len(q) == 0})
	}
	d.next.clientQuotas = d.next.clientQuotas.with(inOrder(quotas))
	scram := make([]change[ScramUser, *ScramCredential], 0, len(d.scram))
	for u, c := range d.scram {
		scram = append(scram, change[ScramUser, *ScramCredential]{u, c, c == nil})
	}
	d.next.scram = d.next.scram.with(inOrder(scram))
}

// inOrder sorts changes by key and leaves one for each.
func inOrder[K orderable[K], V any](list []change[K, V]) []change[K, V] {
	slices.SortFunc(list, func(a, b change[K, V]) int { return a.key.compare(b.key) })
	return slices.CompactFunc(list, func(a, b change[K, V]) bool { return a.key.compare(b.key) == 0 })
}

// metricNameChanges finds what the topics that came and went change about names in metrics.
func (d *delta) metricNameChanges() []change[topicName, []string] {
	changed := map[topicName][]string{}
	for name, t := range d.names {
		metric := metricName(name)
		if (t != nil) == (d.base.Topic(name) != nil) || !strings.Contains(string(metric), "_") {
			continue
		}
		names, seen := changed[metric]
		if !seen {
			names, _ = d.base.metricNames.get(metric)
			names = slices.Clone(names)
		}
		if t != nil {
			names = append(names, name)
			slices.Sort(names)
		} else {
			names = slices.DeleteFunc(names, func(n string) bool { return n == name })
		}
		changed[metric] = names
	}
	list := make([]change[topicName, []string], 0, len(changed))
	for metric, names := range changed {
		list = append(list, change[topicName, []string]{metric, names, len(names) == 0})
	}
	return inOrder(list)
}

// topic returns the topic with id as it is now, or nil.
func (d *delta) topic(id UUID) *Topic {
	if t, ok := d.topics[id]; ok {
		return t
	}
	return d.base.TopicByID(id)
}

// topicNamed returns the topic called name as it is now, or nil.
func (d *delta) topicNamed(name string) *Topic {
	if t, ok := d.names[name]; ok {
		return t
	}
	return d.base.Topic(name)
}

// setTopic makes t, nil for none, the topic with the id and the name of k. delta owns t from now on.
func (d *delta) setTopic(k topicKey, t *Topic) {
	if d.topics == nil {
		d.topics = map[UUID]*Topic{}
	}
	if _, ok := d.topics[k.id]; !ok {
		d.order = append(d.order, k)
	}
	d.topics[k.id], d.last = t, t
}

// setName notes that a topic, nil for none, has a name that it did not have.
func (d *delta) setName(name string, t *Topic) {
	if d.names == nil {
		d.names = map[string]*Topic{}
	}
	d.names[name] = t
}

// ownTopic returns the topic with id for changing.
func (d *delta) ownTopic(id UUID) (*Topic, error) {
	if d.last != nil && d.last.ID == id {
		return d.last, nil
	}
	if t, ok := d.topics[id]; ok && t != nil {
		d.last = t
		return t, nil
	}
	t := d.topic(id)
	if t == nil {
		return nil, fmt.Errorf("there is no topic with id %v", id)
	}
	t = &Topic{Name: t.Name, ID: t.ID, Partitions: slices.Clone(t.Partitions)}
	d.setTopic(topicKey{id, t.Name}, t)
	return t, nil
}

// config returns the overrides of r for changing.
func (d *delta) config(r ConfigResource) map[string]string {
	c, ok := d.configs[r]
	if !ok {
		if c = maps.Clone(d.base.Config(r)); c == nil {
			c = map[string]string{}
		}
		if d.configs == nil {
			d.configs = map[ConfigResource]map[string]string{}
		}
		d.configs[r] = c
	}
	return c
}

// quota returns the quotas of e for changing.
func (d *delta) quota(e QuotaEntity) map[string]float64 {
	q, ok := d.quotas[e]
	if !ok {
		if q = maps.Clone(d.base.ClientQuota(e)); q == nil {
			q = map[string]float64{}
		}
		if d.quotas == nil {
			d.quotas = map[QuotaEntity]map[string]float64{}
		}
		d.quotas[e] = q
	}
	return q
}

// broker returns the place of the broker with the given epoch for changing, and its registration.
func (d *delta) broker(id BrokerID, epoch int64) (int, *Broker, error) {
	if !d.ownBrokers {
		d.next.brokers, d.ownBrokers = slices.Clone(d.next.brokers), true
	}
	i, ok := findBroker(d.next.brokers, id)
	if !ok {
		return 0, nil, fmt.Errorf("broker %d is not registered", id)
	}
	if b := d.next.brokers[i]; b.Epoch != epoch {
		return 0, nil, fmt.Errorf("broker %d is registered with epoch %d, not %d", id, b.Epoch, epoch)
	}
	return i, d.next.brokers[i], nil
}

func (r *NoOpRecord) apply(*delta) error { return nil }

func (r *ClusterRecord) apply(d *delta) error {
	if d.next.ClusterID != "" && d.next.ClusterID != r.ClusterID {
		return fmt.Errorf("cluster %s cannot become cluster %s", d.next.ClusterID, r.ClusterID)
	}
	d.next.ClusterID = r.ClusterID
	return nil
}

func (r *FeatureLevelRecord) apply(d *delta) error {
	if !d.ownFeatures {
		features := make(map[string]int16, len(d.next.features)+1)
		maps.Copy(features, d.next.features)
		d.next.features, d.ownFeatures = features, true
	}
	if r.Level == 0 {
		delete(d.next.features, r.Name)
	} else {
		d.next.features[r.Name] = r.Level
	}
	return nil
}

func (r *RegisterBrokerRecord) apply(d *delta) error {
	b := r.Broker
	if b.Epoch == 0 {
		b.Epoch = int64(d.next.Index)
	}
	i, found := findBroker(d.next.brokers, b.ID)
	if !d.ownBrokers {
		d.next.brokers, d.ownBrokers = slices.Clone(d.next.brokers), true
	}
	if found {
		d.next.brokers[i] = &b
	} else {
		d.next.brokers = slices.Insert(d.next.brokers, i, &b)
	}
	return nil
}

func (r *BrokerChangeRecord) apply(d *delta) error {
	i, old, err := d.broker(r.ID, r.Epoch)
	if err != nil {
		return err
	}
	b := *old
	b.Fenced, b.ShuttingDown = r.Fenced, r.ShuttingDown
	d.next.brokers[i] = &b
	return nil
}

func (r *UnregisterBrokerRecord) apply(d *delta) error {
	i, _, err := d.broker(r.ID, r.Epoch)
	if err != nil {
		return err
	}
	d.next.brokers = slices.Delete(d.next.brokers, i, i+1)
	return nil
}

func (r *TopicRecord) apply(d *delta) error {
	if d.topicNamed(r.Name) != nil {
		return fmt.Errorf("topic %q is there already", r.Name)
	}
	if t := d.topic(r.ID); t != nil {
		return fmt.Errorf("topic %q has id %v already", t.Name, r.ID)
	}
	if _, gone := d.topics[r.ID]; gone {
		return fmt.Errorf("the topic with id %v was just removed, and an id is never used again", r.ID)
	}
	t := &Topic{Name: r.Name, ID: r.ID}
	d.setTopic(topicKey{r.ID, r.Name}, t)
	d.setName(r.Name, t)
	return nil
}

func (r *RemoveTopicRecord) apply(d *delta) error {
	t := d.topic(r.ID)
	if t == nil {
		return fmt.Errorf("there is no topic with id %v", r.ID)
	}
	d.setTopic(topicKey{t.ID, t.Name}, nil)
	d.setName(t.Name, nil)
	d.next.partitions -= len(t.Partitions)
	clear(d.config(ConfigResource{ConfigTopic, t.Name}))
	return nil
}

func (r *PartitionRecord) apply(d *delta) error {
	t, err := d.ownTopic(r.Topic)
	if err != nil {
		return err
	}
	if int(r.Partition) != len(t.Partitions) {
		return fmt.Errorf("partition %d of topic %q cannot follow %d others", r.Partition, t.Name, len(t.Partitions))
	}
	p := r.PartitionRegistration
	t.Partitions = append(t.Partitions, &p)
	d.next.partitions++
	return nil
}

func (r *PartitionChangeRecord) apply(d *delta) error {
	t, err := d.ownTopic(r.Topic)
	if err != nil {
		return err
	}
	if r.Partition < 0 || int(r.Partition) >= len(t.Partitions) {
		return fmt.Errorf("topic %q has no partition %d", t.Name, r.Partition)
	}
	p := *t.Partitions[r.Partition]
	p.PartitionEpoch++
	if r.Leader != nil {
		p.Leader = *r.Leader
		p.LeaderEpoch++
	}
	replace(&p.ISR, r.ISR)
	replace(&p.Replicas, r.Replicas)
	replace(&p.AddingReplicas, r.AddingReplicas)
	replace(&p.RemovingReplicas, r.RemovingReplicas)
	replace(&p.ELR, r.ELR)
	replace(&p.LastKnownELR, r.LastKnownELR)
	replace(&p.Directories, r.Directories)
	t.Partitions[r.Partition] = &p
	return nil
}

// replace sets a list where there is something to set it to. An empty list is nil in an Image, so that one that was
// changed equals one that was read from a snapshot.
func replace[E any](list *[]E, with []E) {
	if with != nil {
		*list = with[:len(with):len(with)]
		if len(with) == 0 {
			*list = nil
		}
	}
}

func (r *ConfigRecord) apply(d *delta) error {
	c := d.config(r.Resource)
	if r.Value == nil {
		delete(c, r.Name)
	} else {
		c[r.Name] = *r.Value
	}
	return nil
}

func (r *ProducerIDBlockRecord) apply(d *delta) error {
	if r.Next < d.next.NextProducerID {
		return fmt.Errorf("producer ids below %d are given out, and this gives out those below %d", d.next.NextProducerID, r.Next)
	}
	d.next.NextProducerID = r.Next
	return nil
}
