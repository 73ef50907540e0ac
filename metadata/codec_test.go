package metadata

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// examples has a record of each type with every field set, and one with as little as there can be.
func examples() []Record {
	return []Record{
		&NoOpRecord{},
		&ClusterRecord{"MkU3OEVBNTcwNTJENDM2Qk"},
		&FeatureLevelRecord{"metadata.version", 30},
		&RegisterBrokerRecord{Broker{ID: 1, Epoch: 7, Incarnation: uuid(1), Rack: "r", Fenced: true, ShuttingDown: true,
			Listeners:   []Listener{{"PLAINTEXT", "h", 9092, Plaintext}, {"EXTERNAL", "example.com", 65535, SASLSSL}},
			Directories: []UUID{uuid(2), uuid(3)}}},
		&RegisterBrokerRecord{},
		&BrokerChangeRecord{ID: 1, Epoch: 1 << 40, Fenced: true},
		&UnregisterBrokerRecord{2, 9},
		&TopicRecord{"topic", uuid(4)},
		&RemoveTopicRecord{uuid(4)},
		&PartitionRecord{uuid(4), 3, PartitionRegistration{Replicas: []BrokerID{1, 2, 3}, Directories: []UUID{uuid(5), uuid(6), uuid(7)},
			ISR: []BrokerID{1, 3}, AddingReplicas: []BrokerID{4}, RemovingReplicas: []BrokerID{1}, ELR: []BrokerID{2},
			LastKnownELR: []BrokerID{1}, Leader: 3, LeaderEpoch: 8, PartitionEpoch: 9}},
		&PartitionRecord{Topic: uuid(4), PartitionRegistration: PartitionRegistration{Leader: NoBroker}},
		&PartitionChangeRecord{Topic: uuid(4), Partition: 3, Leader: new(BrokerID(2)), ISR: []BrokerID{2}, Replicas: []BrokerID{2, 4},
			Directories: []UUID{uuid(6), {}}, AddingReplicas: []BrokerID{}, RemovingReplicas: []BrokerID{}, ELR: []BrokerID{4}, LastKnownELR: []BrokerID{}},
		&PartitionChangeRecord{Topic: uuid(4), Leader: new(NoBroker)},
		&ConfigRecord{ConfigResource{ConfigTopic, "topic"}, "retention.ms", new("1000")},
		&ConfigRecord{ConfigResource{ConfigBroker, ""}, "min.insync.replicas", nil},
		&ProducerIDBlockRecord{1, 5000},
		&ClientQuotaRecord{QuotaEntity{User: QuotaName{QuotaNamed, "u"}, ClientID: QuotaName{Kind: QuotaDefault}}, "producer_byte_rate", new(1024.5)},
		&ClientQuotaRecord{QuotaEntity{IP: QuotaName{QuotaNamed, "10.0.0.1"}}, "connection_creation_rate", nil},
		&ScramCredentialRecord{ScramUser{"u", ScramSHA512}, &ScramCredential{[]byte{1}, []byte{2, 3}, []byte{4}, 4096}},
		&ScramCredentialRecord{ScramUser{"u", ScramSHA256}, nil},
	}
}

func TestEveryRecordComesBack(t *testing.T) {
	seen := map[kind]bool{}
	for _, r := range examples() {
		seen[r.kind()] = true
		b := EncodeRecords(nil, []Record{r})
		got, err := DecodeRecords(b)
		if err != nil {
			t.Fatalf("%T: %v", r, err)
		}
		if len(got) != 1 || !reflect.DeepEqual(got[0], r) {
			t.Errorf("%T: got %+v, want %+v", r, got[0], r)
		}
		for cut := range b { // nothing shorter is accepted, but a batch without records
			if _, err := DecodeRecords(b[:cut]); err == nil && cut != 1 {
				t.Errorf("%T: the first %d bytes of %d are accepted", r, cut, len(b))
			}
		}
	}
	for k := range recordTypes {
		if !seen[k] {
			t.Errorf("type %d has no example", k)
		}
	}
}

// The bytes of records and images are what FORMAT.md says, for ever.
func TestGolden(t *testing.T) {
	im, err := new(Image).Apply(12, append(slices.Concat(onePartition("b", uuid(11)), onePartition("a", uuid(10))),
		&ClusterRecord{"MkU3OEVBNTcwNTJENDM2Qk"}, &FeatureLevelRecord{"metadata.version", 30}, &ProducerIDBlockRecord{1, 3000},
		&RegisterBrokerRecord{Broker{ID: 1, Listeners: []Listener{{"PLAINTEXT", "h", 9092, Plaintext}}, Directories: []UUID{uuid(1)}}},
		&ConfigRecord{ConfigResource{ConfigTopic, "a"}, "retention.ms", new("5")},
		&ClientQuotaRecord{QuotaEntity{ClientID: QuotaName{QuotaNamed, "c"}}, "request_percentage", new(50.0)},
		&ScramCredentialRecord{ScramUser{"u", ScramSHA256}, &ScramCredential{[]byte{1}, []byte{2}, []byte{3}, 8192}})...)
	if err != nil {
		t.Fatal(err)
	}
	var records strings.Builder
	for _, r := range examples() {
		fmt.Fprintf(&records, "%s\n%s", recordTypes[r.kind()].name, hex.Dump(EncodeRecords(nil, []Record{r})))
	}
	for name, got := range map[string]string{"records.hex": records.String(), "image.hex": hex.Dump(EncodeImage(nil, im))} {
		want, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("testdata/%s: got\n%s", name, got)
		}
	}
}

func TestWhatIsNewerIsRefused(t *testing.T) {
	good := EncodeRecords(nil, []Record{&ClusterRecord{"c"}})
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for want, b := range map[string][]byte{
		"in format 2, and this version of kbroker reads only format 1: upgrade this node":        change(0, 2),
		"type 99 is unknown to this version of kbroker; a newer one wrote it: upgrade this node": change(1, 99),
		"Cluster has version 1, and this version of kbroker reads up to 0: upgrade this node":    change(2, 1),
		"record 2: a number is cut off":            append(bytes.Clone(good), byte(kindCluster)),
		"1 bytes behind its end":                   {batchFormat, byte(kindNoOp), 0, 2, 0, 0},
		"a set of changes 0x100 with unknown bits": {batchFormat, byte(kindPartitionChange), 0, 20, 21: 0x80, 22: 0x02, 23: 0},
	} {
		if _, err := DecodeRecords(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%x: got %v, want an error with %q", b, err, want)
		}
	}
	if _, err := DecodeImage([]byte{2}); err == nil || !strings.Contains(err.Error(), "upgrade this node") {
		t.Errorf("an image of a newer format: %v", err)
	}
	// A tag is what may be ignored.
	tagged := []byte{batchFormat, byte(kindCluster), 0, 6, 1, 'c', 1, 77, 1, 0xff}
	if got, err := DecodeRecords(tagged); err != nil || !reflect.DeepEqual(got, []Record{&ClusterRecord{"c"}}) {
		t.Errorf("with an unknown tag: %v, %v", got, err)
	}
}

// Lengths that are not there cost nothing.
func TestLengthsAreBounded(t *testing.T) {
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}
	for _, b := range [][]byte{
		append([]byte{batchFormat}, huge...),
		append([]byte{batchFormat, byte(kindCluster), 0, 11}, huge...),
		append([]byte{batchFormat, byte(kindTopic), 0}, huge...),
	} {
		n := testing.AllocsPerRun(10, func() {
			if _, err := DecodeRecords(b); err == nil {
				t.Errorf("%x is accepted", b)
			}
		})
		if n > 20 {
			t.Errorf("%x: %v allocations", b, n)
		}
	}
}

// FuzzRecords decodes anything: no panic, no memory out of proportion, and what is accepted comes back the same.
func FuzzRecords(f *testing.F) {
	for _, r := range examples() {
		f.Add(EncodeRecords(nil, []Record{r}))
	}
	f.Add(EncodeRecords(nil, examples()))
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := DecodeRecords(b)
		if err != nil {
			return
		}
		again, err := DecodeRecords(EncodeRecords(nil, records))
		if err != nil || !reflect.DeepEqual(records, again) {
			t.Fatalf("%v: %+v became %+v", err, records, again)
		}
	})
}

// FuzzImage decodes anything as an image. An image that is accepted has one encoding, and its accessors agree.
func FuzzImage(f *testing.F) {
	f.Add(EncodeImage(nil, new(Image)))
	im, err := new(Image).Apply(3, slices.Concat(onePartition("a.b", uuid(10)), onePartition("c", uuid(11)), []Record{
		&RegisterBrokerRecord{Broker{ID: 1}}, &ConfigRecord{ConfigResource{ConfigTopic, "c"}, "k", new("v")}})...)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(EncodeImage(nil, im))
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := DecodeImage(b)
		if err != nil {
			return
		}
		checkRoundTrip(t, im)
		checkImage(t, im)
	})
}

// checkImage checks that the parts of an image agree.
func checkImage(t testing.TB, im *Image) {
	t.Helper()
	topics, partitions := 0, 0
	for topic := range im.Topics {
		topics++
		partitions += len(topic.Partitions)
		if im.TopicByID(topic.ID) != topic || im.Topic(topic.Name) != topic {
			t.Fatalf("topic %q is not found by its name or id", topic.Name)
		}
	}
	if topics != im.NumTopics() || partitions != im.NumPartitions() || im.topicIDs.size != topics {
		t.Fatalf("%d topics with %d partitions, and the image counts %d, %d and %d", topics, partitions, im.NumTopics(), im.topicIDs.size, im.NumPartitions())
	}
	im.metricNames.all(func(name topicName, topics []string) bool {
		for _, n := range topics {
			if metricName(n) != name || im.Topic(n) == nil {
				t.Fatalf("topic %q stands under %q", n, name)
			}
		}
		return true
	})
	if !slices.IsSortedFunc(im.Brokers(), func(a, b *Broker) int { return int(a.ID) - int(b.ID) }) {
		t.Fatal("the brokers are not in order")
	}
	for r := range im.ConfigResources {
		if len(im.Config(r)) == 0 {
			t.Fatalf("%v stands there without configs", r)
		}
	}
	if slices.Contains(slices.Collect(maps.Values(im.Features())), 0) {
		t.Fatal("a feature has level 0")
	}
}

func TestUUID(t *testing.T) {
	for range 1000 {
		id := NewUUID()
		back, err := ParseUUID(id.String())
		if err != nil || back != id || id.Reserved() || id.IsZero() || id.String()[0] == '-' || len(id.String()) != 22 {
			t.Fatalf("%v: %v", id, err)
		}
	}
	if s := (UUID{}).String(); s != "AAAAAAAAAAAAAAAAAAAAAA" || !(UUID{15: 99}).Reserved() || (UUID{15: 100}).Reserved() || (UUID{0: 1}).Reserved() {
		t.Errorf("zero is %s", s)
	}
	for _, bad := range []string{"", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAA/", "AAAAAAAAAAAAAAAAAAAAAB"} {
		if id, err := ParseUUID(bad); err == nil {
			t.Errorf("%q is read as %v", bad, id)
		}
	}
}

// Rule 7.3.1.
func TestCheckTopicName(t *testing.T) {
	for _, good := range []string{"a", "...", ".a", "A-z_0.9", strings.Repeat("x", MaxTopicName)} {
		if err := CheckTopicName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "a b", "a/b", "ä", "a\x00", strings.Repeat("x", MaxTopicName+1)} {
		if CheckTopicName(bad) == nil {
			t.Errorf("%q is legal", bad)
		}
	}
}
