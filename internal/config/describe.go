package config

import (
	"cmp"
	"maps"
	"slices"
	"unicode/utf16"
)

// Entry is one setting as DescribeConfigs shows it (rules 7.7.2 to 7.7.5).
type Entry struct {
	Name      string
	Value     *string // nil: null, or not to be shown
	ReadOnly  bool
	Source    Source
	Sensitive bool
	Type      Type
	Doc       string
	Synonyms  []EntrySynonym // every level that has a value, the strongest first
}

// EntrySynonym is the value of one level.
type EntrySynonym struct {
	Name   string
	Value  *string
	Source Source
}

// Filter selects keys by name; nil selects all.
type Filter func(name string) bool

// Named selects the keys called names, and all keys when there are none (rule 7.7.1).
func Named(names []string) Filter {
	if len(names) == 0 {
		return nil
	}
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	return func(name string) bool { return set[name] }
}

func (f Filter) selects(name string) bool { return f == nil || f(name) }

// DescribeTopic lists the settings of a topic with the given overrides.
func (s *Store) DescribeTopic(overrides map[string]string, filter Filter) []Entry {
	st := s.state.Load()
	var entries []Entry
	for _, name := range javaOrder(slices.Collect(maps.Keys(overrides)), len(overrides)) {
		// Keys that are shown only where they are set come first.
		if k := TopicKeys.Key(name); filter.selects(name) && (k == nil || k.Hidden) {
			entries = append(entries, st.topicEntry(cmp.Or(k, &Key{Name: name}), overrides))
		}
	}
	for i := range TopicKeys.Keys {
		if k := &TopicKeys.Keys[i]; !k.Hidden && filter.selects(k.Name) {
			entries = append(entries, st.topicEntry(k, overrides))
		}
	}
	return entries
}

func (st *state) topicEntry(k *Key, overrides map[string]string) Entry {
	e := Entry{Name: k.Name, Source: Default, Type: k.Type, Sensitive: k.Sensitive(), Doc: k.doc()}
	if len(k.Synonyms) > 0 {
		name := k.Synonyms[0].Name
		e.Synonyms = st.synonyms(name, BrokerKeys.Key(name))
	}
	shown := st.inherited(k)
	if raw, ok := overrides[k.Name]; ok {
		if v, err := k.canonical(raw); err == nil {
			raw = v
		}
		shown = optional{raw, true}
		e.Synonyms = slices.Insert(e.Synonyms, 0, EntrySynonym{k.Name, visible(k, shown), DynamicTopic})
	}
	return e.with(visible(k, shown))
}

// with sets the value, and the source: that of the first synonym. When the name that leads the synonyms has no value
// there are none, and Kafka says default even where an older name of the setting was set.
func (e Entry) with(value *string) Entry {
	e.Value = value
	if len(e.Synonyms) > 0 {
		e.Source = e.Synonyms[0].Source
	}
	return e
}

// visible is a value as it may be shown.
func visible(k *Key, v optional) *string {
	if !v.ok || k.Sensitive() {
		return nil
	}
	return &v.value
}

// synonyms lists the values of name and of its other names in all layers. What is stronger than the first value of
// name itself is left out: it is of a setting that is described by itself.
func (l *layers) synonyms(name string, k *Key) []EntrySynonym {
	names := []string{name}
	switch {
	case name != k.Name: // a setting of one listener falls back on that of all
		names = append(names, k.Name)
	case len(k.Synonyms) > 0:
		names = names[:0]
		for _, syn := range k.Synonyms {
			names = append(names, syn.Name)
		}
	}
	var all []EntrySynonym
	add := func(layer map[string]string, from Source) {
		for _, n := range names {
			if raw, ok := layer[n]; ok {
				all = append(all, EntrySynonym{n, visible(k, optional{raw, true}), from})
			}
		}
	}
	add(l.broker, DynamicBroker)
	add(l.cluster, DynamicDefaultBroker)
	add(l.static, StaticBroker)
	for _, n := range names {
		if base := BrokerKeys.Key(n); base != nil && !base.Null {
			all = append(all, EntrySynonym{n, visible(k, optional{base.Default, true}), Default})
		}
	}
	first := slices.IndexFunc(all, func(s EntrySynonym) bool { return s.Name == name })
	if first < 0 {
		return nil
	}
	return all[first:]
}

// DescribeBroker lists the settings of this broker.
func (s *Store) DescribeBroker(filter Filter) []Entry {
	st := s.state.Load()
	set := map[string]bool{}
	for _, layer := range []map[string]string{st.broker, st.cluster, st.static} {
		for name := range layer {
			set[name] = true
		}
	}
	var entries []Entry
	for _, name := range javaOrder(slices.Collect(maps.Keys(set)), len(set)) {
		// Keys that are shown only where they are set come first, and so do those of one listener and unknown ones.
		k, scoped := brokerKey(name)
		if filter.selects(name) && (k == nil || scoped || k.Hidden) {
			entries = append(entries, st.brokerEntry(name, k))
		}
	}
	for i := range BrokerKeys.Keys {
		if k := &BrokerKeys.Keys[i]; !k.Hidden && filter.selects(k.Name) {
			entries = append(entries, st.brokerEntry(k.Name, k))
		}
	}
	return entries
}

// brokerEntry describes what is called name, which is of one listener where it is not k's own name; k is nil for a
// setting that nobody knows.
func (st *state) brokerEntry(name string, k *Key) Entry {
	if k == nil {
		k = &Key{Name: name, Null: true}
	}
	e := Entry{
		Name: name, Source: Default, Type: k.Type, Sensitive: k.Sensitive(), Doc: k.doc(),
		ReadOnly: k.Type == Unknown || name != k.Name || k.Update == ReadOnly,
		Synonyms: st.synonyms(name, k),
	}
	shown := st.effective(k)
	if raw, _, ok := st.find(name); ok && name != k.Name {
		v, err := k.canonical(raw)
		shown = optional{v, err == nil}
	}
	return e.with(visible(k, shown))
}

// DescribeClusterDefault lists what is set for all brokers, and nothing else.
func (s *Store) DescribeClusterDefault(filter Filter) []Entry {
	st := s.state.Load()
	var entries []Entry
	for _, name := range javaOrder(slices.Collect(maps.Keys(st.cluster)), len(st.cluster)) {
		if !filter.selects(name) {
			continue
		}
		k, _ := brokerKey(name)
		if k == nil {
			k = &Key{Name: name}
		}
		v, err := k.canonical(st.cluster[name])
		value := visible(k, optional{v, err == nil})
		entries = append(entries, Entry{
			Name: name, Value: value, Source: DynamicDefaultBroker, Type: k.Type, Sensitive: k.Sensitive(), Doc: k.doc(),
			ReadOnly: k.Type == Unknown || name != k.Name || k.Update == ReadOnly,
			Synonyms: []EntrySynonym{{name, value, DynamicDefaultBroker}},
		})
	}
	return entries
}

// DescribeGroup lists the settings of a group with the given overrides.
func (s *Store) DescribeGroup(overrides map[string]string, filter Filter) []Entry {
	st := s.state.Load()
	return describeSimple(GroupKeys, overrides, filter, Group, func(k *Key) []EntrySynonym {
		if len(k.Synonyms) == 0 {
			return []EntrySynonym{{k.Name, &k.Default, Default}}
		}
		name := k.Synonyms[0].Name
		return st.synonyms(name, BrokerKeys.Key(name))
	})
}

// DescribeClientMetrics lists the settings of a client-metrics subscription with the given overrides.
func (s *Store) DescribeClientMetrics(overrides map[string]string, filter Filter) []Entry {
	return describeSimple(ClientMetricsKeys, overrides, filter, ClientMetrics, func(*Key) []EntrySynonym { return nil })
}

// describeSimple lists a table of which every key is shown: an override, or the first of what inherited lists.
func describeSimple(t *Table, overrides map[string]string, filter Filter, from Source, inherited func(*Key) []EntrySynonym) []Entry {
	var entries []Entry
	for i := range t.Keys {
		k := &t.Keys[i]
		if !filter.selects(k.Name) {
			continue
		}
		e := Entry{Name: k.Name, Source: Default, Type: k.Type, Doc: k.doc(), Synonyms: inherited(k)}
		value := k.Default
		if len(e.Synonyms) > 0 && e.Synonyms[0].Value != nil {
			value = *e.Synonyms[0].Value
		}
		if raw, ok := overrides[k.Name]; ok {
			value = raw
		}
		if shown, err := k.canonical(value); err == nil {
			value = shown
		}
		if _, ok := overrides[k.Name]; ok {
			e.Synonyms = slices.Insert(e.Synonyms, 0, EntrySynonym{k.Name, &value, from})
		}
		entries = append(entries, e.with(&value))
	}
	return entries
}

// TopicAtCreation lists a topic's settings as CreateTopics answers them (rule 7.4.8): by name, values as they were
// written, and sources that know the older names of a setting.
func (s *Store) TopicAtCreation(overrides map[string]string) []Entry {
	st := s.state.Load()
	var entries []Entry
	for i := range TopicKeys.Keys {
		k := &TopicKeys.Keys[i]
		raw, set := overrides[k.Name]
		if k.Hidden && !set {
			continue
		}
		value, from := st.origin(k)
		if set {
			value, from = raw, DynamicTopic
		}
		entries = append(entries, Entry{Name: k.Name, Value: &value, Source: from, Type: k.Type})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return entries
}

// origin returns the value that a topic inherits as it was written in the strongest layer that has it.
func (l *layers) origin(k *Key) (string, Source) {
	for _, layer := range []struct {
		values map[string]string
		from   Source
	}{{l.broker, DynamicBroker}, {l.cluster, DynamicDefaultBroker}, {l.static, StaticBroker}} {
		for _, syn := range k.Synonyms {
			if raw, ok := layer.values[syn.Name]; ok {
				return scaled(raw, syn.Scale), layer.from
			}
		}
	}
	return k.Default, Default
}

// javaOrder sorts names in the order in which a Java hash map of size entries lists them: Kafka's answers come in it,
// and nothing else is as stable for those who compare.
func javaOrder(names []string, size int) []string {
	buckets := uint32(16)
	for size > int(buckets)*3/4 {
		buckets *= 2
	}
	bucket := func(name string) uint32 {
		var h uint32
		for _, unit := range utf16.Encode([]rune(name)) {
			h = 31*h + uint32(unit)
		}
		return (h ^ h>>16) & (buckets - 1)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(bucket(a), bucket(b)), cmp.Compare(a, b))
	})
	return names
}
