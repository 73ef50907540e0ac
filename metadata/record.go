package metadata

// Record is one change of the cluster's metadata, and the only thing that changes an Image. What a record says is
// decided before it is written: applying it needs nothing but the Image, and gives the same Image everywhere.
type Record interface {
	// kind is the number of the record's type on disk.
	kind() kind
	// encode appends the fields of the type's current version.
	encode(w *writer)
	// decode reads the fields. r notes what is wrong with them.
	decode(r *reader)
	// apply makes the change. An error means that the record does not fit the Image it is applied to.
	apply(d *delta) error
}

// kind is the number of a record type. Numbers are never reused.
type kind uint64

const (
	kindNoOp             kind = 1
	kindCluster          kind = 2
	kindFeatureLevel     kind = 3
	kindRegisterBroker   kind = 4
	kindBrokerChange     kind = 5
	kindUnregisterBroker kind = 6
	kindTopic            kind = 7
	kindRemoveTopic      kind = 8
	kindPartition        kind = 9
	kindPartitionChange  kind = 10
	kindConfig           kind = 11
	kindProducerIDBlock  kind = 12
	kindClientQuota      kind = 13
	kindScramCredential  kind = 14
)

// recordType says how a type of record is read.
type recordType struct {
	name string
	// version is the newest that this code reads, and the one that it writes. A field that an older reader may ignore
	// is added as a tag, without a new version.
	version uint64
	make    func() Record
}

// recordTypes has every type that this code knows.
var recordTypes = map[kind]recordType{
	kindNoOp:             {"NoOp", 0, func() Record { return new(NoOpRecord) }},
	kindCluster:          {"Cluster", 0, func() Record { return new(ClusterRecord) }},
	kindFeatureLevel:     {"FeatureLevel", 0, func() Record { return new(FeatureLevelRecord) }},
	kindRegisterBroker:   {"RegisterBroker", 0, func() Record { return new(RegisterBrokerRecord) }},
	kindBrokerChange:     {"BrokerChange", 0, func() Record { return new(BrokerChangeRecord) }},
	kindUnregisterBroker: {"UnregisterBroker", 0, func() Record { return new(UnregisterBrokerRecord) }},
	kindTopic:            {"Topic", 0, func() Record { return new(TopicRecord) }},
	kindRemoveTopic:      {"RemoveTopic", 0, func() Record { return new(RemoveTopicRecord) }},
	kindPartition:        {"Partition", 0, func() Record { return new(PartitionRecord) }},
	kindPartitionChange:  {"PartitionChange", 0, func() Record { return new(PartitionChangeRecord) }},
	kindConfig:           {"Config", 0, func() Record { return new(ConfigRecord) }},
	kindProducerIDBlock:  {"ProducerIDBlock", 0, func() Record { return new(ProducerIDBlockRecord) }},
	kindClientQuota:      {"ClientQuota", 0, func() Record { return new(ClientQuotaRecord) }},
	kindScramCredential:  {"ScramCredential", 0, func() Record { return new(ScramCredentialRecord) }},
}

// NoOpRecord changes nothing but the index.
type NoOpRecord struct{}

// ClusterRecord names the cluster. It is the first record of all.
type ClusterRecord struct {
	ClusterID string
}

// FeatureLevelRecord finalizes a feature at a level; level 0 takes it back (rule 7.12.1).
type FeatureLevelRecord struct {
	Name  string
	Level int16
}

// RegisterBrokerRecord replaces the registration of a broker.
type RegisterBrokerRecord struct {
	// Broker is the registration. Its Epoch is 0 in the log, where the index of the record stands for it, and set in
	// snapshots.
	Broker
}

// BrokerChangeRecord changes the state of a registered broker.
type BrokerChangeRecord struct {
	ID    BrokerID
	Epoch int64 // that of the registration it changes
	// Fenced and ShuttingDown are what the broker is from now on.
	Fenced, ShuttingDown bool
}

// UnregisterBrokerRecord forgets a broker.
type UnregisterBrokerRecord struct {
	ID    BrokerID
	Epoch int64
}

// TopicRecord creates a topic, without partitions.
type TopicRecord struct {
	Name string
	ID   UUID
}

// RemoveTopicRecord removes a topic, its partitions and its configs.
type RemoveTopicRecord struct {
	ID UUID
}

// PartitionRecord adds the next partition of a topic.
type PartitionRecord struct {
	Topic     UUID
	Partition int32
	PartitionRegistration
}

// PartitionChangeRecord changes a partition. It raises the partition epoch by one.
type PartitionChangeRecord struct {
	Topic     UUID
	Partition int32
	// Leader, where not nil, is the leader from now on, and the leader epoch is raised by one, even when the leader is
	// who it was.
	Leader *BrokerID
	// ISR and those below replace what they name where they are not nil; an empty list is not nil.
	ISR              []BrokerID
	Replicas         []BrokerID
	Directories      []UUID
	AddingReplicas   []BrokerID
	RemovingReplicas []BrokerID
	ELR              []BrokerID
	LastKnownELR     []BrokerID
}

// ConfigRecord sets one config of a resource, or takes it back.
type ConfigRecord struct {
	Resource ConfigResource
	Name     string
	Value    *string // nil takes the override back
}

// ProducerIDBlockRecord says that all producer ids below Next belong to somebody (rule 4.5.6).
type ProducerIDBlockRecord struct {
	Broker BrokerID // who got the block that ends at Next; NoBroker in snapshots
	Next   int64
}

func (*NoOpRecord) kind() kind             { return kindNoOp }
func (*ClusterRecord) kind() kind          { return kindCluster }
func (*FeatureLevelRecord) kind() kind     { return kindFeatureLevel }
func (*RegisterBrokerRecord) kind() kind   { return kindRegisterBroker }
func (*BrokerChangeRecord) kind() kind     { return kindBrokerChange }
func (*UnregisterBrokerRecord) kind() kind { return kindUnregisterBroker }
func (*TopicRecord) kind() kind            { return kindTopic }
func (*RemoveTopicRecord) kind() kind      { return kindRemoveTopic }
func (*PartitionRecord) kind() kind        { return kindPartition }
func (*PartitionChangeRecord) kind() kind  { return kindPartitionChange }
func (*ConfigRecord) kind() kind           { return kindConfig }
func (*ProducerIDBlockRecord) kind() kind  { return kindProducerIDBlock }

func (r *NoOpRecord) encode(*writer) {}
func (r *NoOpRecord) decode(*reader) {}

func (r *ClusterRecord) encode(w *writer)      { w.string(r.ClusterID) }
func (r *ClusterRecord) decode(rd *reader)     { r.ClusterID = rd.string() }
func (r *RemoveTopicRecord) encode(w *writer)  { w.uuid(r.ID) }
func (r *RemoveTopicRecord) decode(rd *reader) { r.ID = rd.uuid() }

func (r *FeatureLevelRecord) encode(w *writer) {
	w.string(r.Name)
	w.int(int64(r.Level))
}

func (r *FeatureLevelRecord) decode(rd *reader) {
	r.Name = rd.string()
	r.Level = rd.int16()
}

func (r *RegisterBrokerRecord) encode(w *writer) {
	w.int(int64(r.ID))
	w.int(r.Epoch)
	w.uuid(r.Incarnation)
	w.string(r.Rack)
	w.uint(uint64(len(r.Listeners)))
	for _, l := range r.Listeners {
		w.string(l.Name)
		w.string(l.Host)
		w.int(int64(l.Port))
		w.int(int64(l.Protocol))
	}
	w.uuids(r.Directories)
	w.bool(r.Fenced)
	w.bool(r.ShuttingDown)
}

func (r *RegisterBrokerRecord) decode(rd *reader) {
	r.ID = rd.int32()
	r.Epoch = rd.Int()
	r.Incarnation = rd.uuid()
	r.Rack = rd.string()
	if n := rd.Length(minListener); n > 0 {
		r.Listeners = make([]Listener, n)
	}
	for i := range r.Listeners {
		r.Listeners[i] = Listener{Name: rd.string(), Host: rd.string(), Port: rd.int32(), Protocol: SecurityProtocol(rd.int16())}
	}
	r.Directories = rd.uuids()
	r.Fenced = rd.bool()
	r.ShuttingDown = rd.bool()
}

// minListener is the least number of bytes that a listener takes: two empty strings and two small numbers.
const minListener = 4

func (r *BrokerChangeRecord) encode(w *writer) {
	w.int(int64(r.ID))
	w.int(r.Epoch)
	w.bool(r.Fenced)
	w.bool(r.ShuttingDown)
}

func (r *BrokerChangeRecord) decode(rd *reader) {
	*r = BrokerChangeRecord{ID: rd.int32(), Epoch: rd.Int(), Fenced: rd.bool(), ShuttingDown: rd.bool()}
}

func (r *UnregisterBrokerRecord) encode(w *writer) {
	w.int(int64(r.ID))
	w.int(r.Epoch)
}

func (r *UnregisterBrokerRecord) decode(rd *reader) {
	*r = UnregisterBrokerRecord{ID: rd.int32(), Epoch: rd.Int()}
}

func (r *TopicRecord) encode(w *writer) {
	w.string(r.Name)
	w.uuid(r.ID)
}

func (r *TopicRecord) decode(rd *reader) { *r = TopicRecord{Name: rd.string(), ID: rd.uuid()} }

func (r *PartitionRecord) encode(w *writer) {
	w.uuid(r.Topic)
	w.int(int64(r.Partition))
	w.ids(r.Replicas)
	w.uuids(r.Directories)
	w.ids(r.ISR)
	w.ids(r.AddingReplicas)
	w.ids(r.RemovingReplicas)
	w.ids(r.ELR)
	w.ids(r.LastKnownELR)
	w.int(int64(r.Leader))
	w.int(int64(r.LeaderEpoch))
	w.int(int64(r.PartitionEpoch))
}

func (r *PartitionRecord) decode(rd *reader) {
	*r = PartitionRecord{Topic: rd.uuid(), Partition: rd.int32(), PartitionRegistration: PartitionRegistration{
		Replicas: rd.ids(), Directories: rd.uuids(), ISR: rd.ids(), AddingReplicas: rd.ids(), RemovingReplicas: rd.ids(),
		ELR: rd.ids(), LastKnownELR: rd.ids(), Leader: rd.int32(),
		LeaderEpoch: LeaderEpoch(rd.int32()), PartitionEpoch: PartitionEpoch(rd.int32()),
	}}
}

// What a PartitionChangeRecord carries is told by a set of bits, so that a change of leader, of which there is one per
// partition at each restart of a broker, takes no byte for what did not change.
const (
	changesLeader = 1 << iota
	changesISR
	changesReplicas
	changesDirectories
	changesAdding
	changesRemoving
	changesELR
	changesLastKnownELR
)

// lists returns the broker lists of a change with their bits, in the order in which they are written.
func (r *PartitionChangeRecord) lists() [6]struct {
	bit  uint64
	list *[]BrokerID
} {
	return [6]struct {
		bit  uint64
		list *[]BrokerID
	}{
		{changesISR, &r.ISR}, {changesReplicas, &r.Replicas}, {changesAdding, &r.AddingReplicas},
		{changesRemoving, &r.RemovingReplicas}, {changesELR, &r.ELR}, {changesLastKnownELR, &r.LastKnownELR},
	}
}

func (r *PartitionChangeRecord) encode(w *writer) {
	w.uuid(r.Topic)
	w.int(int64(r.Partition))
	var set uint64
	if r.Leader != nil {
		set |= changesLeader
	}
	if r.Directories != nil {
		set |= changesDirectories
	}
	for _, l := range r.lists() {
		if *l.list != nil {
			set |= l.bit
		}
	}
	w.uint(set)
	if r.Leader != nil {
		w.int(int64(*r.Leader))
	}
	if r.Directories != nil {
		w.uuids(r.Directories)
	}
	for _, l := range r.lists() {
		if *l.list != nil {
			w.ids(*l.list)
		}
	}
}

func (r *PartitionChangeRecord) decode(rd *reader) {
	*r = PartitionChangeRecord{Topic: rd.uuid(), Partition: rd.int32()}
	set := rd.Uint()
	if set >= changesLastKnownELR<<1 {
		rd.Fail("a set of changes %#x with unknown bits", set)
		return
	}
	if set&changesLeader != 0 {
		r.Leader = new(rd.int32())
	}
	if set&changesDirectories != 0 {
		if r.Directories = rd.uuids(); r.Directories == nil {
			r.Directories = []UUID{}
		}
	}
	for _, l := range r.lists() {
		if set&l.bit == 0 {
			continue
		}
		if *l.list = rd.ids(); *l.list == nil {
			*l.list = []BrokerID{}
		}
	}
}

func (r *ConfigRecord) encode(w *writer) {
	w.int(int64(r.Resource.Type))
	w.string(r.Resource.Name)
	w.string(r.Name)
	w.bool(r.Value != nil)
	if r.Value != nil {
		w.string(*r.Value)
	}
}

func (r *ConfigRecord) decode(rd *reader) {
	*r = ConfigRecord{Resource: ConfigResource{Type: ConfigType(rd.int8()), Name: rd.string()}, Name: rd.string()}
	if rd.bool() {
		r.Value = new(rd.string())
	}
}

func (r *ProducerIDBlockRecord) encode(w *writer) {
	w.int(int64(r.Broker))
	w.int(r.Next)
}

func (r *ProducerIDBlockRecord) decode(rd *reader) {
	*r = ProducerIDBlockRecord{Broker: rd.int32(), Next: rd.Int()}
}
