package metadata

import (
	"fmt"
	"maps"
	"slices"
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

	// names and ids have the topics that differ from base, which delta may change; nil for one that is gone.
	names map[string]*Topic
	ids   map[UUID]*Topic
	// configs has the resources that differ from base; empty for those that have no more overrides.
	configs map[ConfigResource]map[string]string

	ownBrokers, ownFeatures bool // whether next's are copies already
}

// finish puts what was collected into next.
func (d *delta) finish() {
	d.next.metricNames = d.next.metricNames.with(d.metricNameChanges())
	d.next.topics = d.next.topics.with(changes(d.names, func(n string) topicName { return topicName(n) },
		func(t *Topic) bool { return t == nil }))
	d.next.topicIDs = d.next.topicIDs.with(changes(d.ids, func(id UUID) UUID { return id },
		func(t *Topic) bool { return t == nil }))
	d.next.configs = d.next.configs.with(changes(d.configs, func(r ConfigResource) ConfigResource { return r },
		func(c map[string]string) bool { return len(c) == 0 }))
}

// changes makes a sorted list of changes of a map.
func changes[M comparable, K orderable[K], V any](m map[M]V, key func(M) K, gone func(V) bool) []change[K, V] {
	list := make([]change[K, V], 0, len(m))
	for k, v := range m {
		list = append(list, change[K, V]{key: key(k), value: v, remove: gone(v)})
	}
	slices.SortFunc(list, func(a, b change[K, V]) int { return a.key.compare(b.key) })
	return list
}

// metricNameChanges finds what the topics that came and went change about names in metrics.
func (d *delta) metricNameChanges() []change[topicName, []string] {
	changed := map[topicName][]string{}
	for name, t := range d.names {
		metric := metricName(name)
		if (t != nil) == (d.base.Topic(name) != nil) || !slices.Contains([]byte(metric), '_') {
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
	return changes(changed, func(n topicName) topicName { return n }, func(names []string) bool { return len(names) == 0 })
}

// topic returns the topic with id as it is now, or nil.
func (d *delta) topic(id UUID) *Topic {
	if t, ok := d.ids[id]; ok {
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

// setTopic puts t, which delta owns from now on, in its places.
func (d *delta) setTopic(t *Topic) {
	if d.names == nil {
		d.names, d.ids = map[string]*Topic{}, map[UUID]*Topic{}
	}
	d.names[t.Name], d.ids[t.ID] = t, t
}

// ownTopic returns the topic with id for changing.
func (d *delta) ownTopic(id UUID) (*Topic, error) {
	if t, ok := d.ids[id]; ok && t != nil {
		return t, nil
	}
	t := d.topic(id)
	if t == nil {
		return nil, fmt.Errorf("there is no topic with id %v", id)
	}
	t = &Topic{Name: t.Name, ID: t.ID, Partitions: slices.Clone(t.Partitions)}
	d.setTopic(t)
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
	d.setTopic(&Topic{Name: r.Name, ID: r.ID})
	return nil
}

func (r *RemoveTopicRecord) apply(d *delta) error {
	t := d.topic(r.ID)
	if t == nil {
		return fmt.Errorf("there is no topic with id %v", r.ID)
	}
	d.setTopic(t)
	d.names[t.Name], d.ids[t.ID] = nil, nil
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
