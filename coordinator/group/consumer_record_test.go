package group

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"github.com/kbroker/kbroker/coordinator/group/assignor"
)

// kafkaRecord is a record that Kafka 4.3.1 wrote, with what its own classes read from it.
type kafkaRecord struct {
	Type  int16   `json:"record_type"`
	Key   string  `json:"key_hex"`
	Value *string `json:"value_hex"`
	Group struct {
		ID     string `json:"groupId"`
		Member string `json:"memberId"`
		Regex  string `json:"regularExpression"`
	} `json:"key"`
	Content json.RawMessage `json:"value"`
}

func kafkaRecords(t testing.TB) []kafkaRecord {
	t.Helper()
	b, err := os.ReadFile("testdata/kafka-consumer-records.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []kafkaRecord
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func (r *kafkaRecord) bytes(t testing.TB) (key, value []byte) {
	t.Helper()
	key, err := hex.DecodeString(r.Key)
	if err == nil && r.Value != nil {
		value, err = hex.DecodeString(*r.Value)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key, value
}

// TestKafkaRecords: what Kafka wrote is read, and written again byte for byte but for the order of topics, which Kafka
// does not keep.
func TestKafkaRecords(t *testing.T) {
	seen := map[int16]int{}
	for _, k := range kafkaRecords(t) {
		key, value := k.bytes(t)
		group, r, err := decodeConsumerRecord(key, value)
		if err != nil {
			t.Fatalf("%s: %v", k.Key, err)
		}
		if group != k.Group.ID || r.keyType() != k.Type {
			t.Errorf("%s: read group %q, type %d", k.Key, group, r.keyType())
		}
		gotKey, gotValue := encodeConsumerRecord(group, r)
		if !bytes.Equal(gotKey, key) {
			t.Errorf("key\n%x is written as\n%x", key, gotKey)
		}
		if !bytes.Equal(gotValue, value) && !sameTopics(t, value, gotValue, key) {
			t.Errorf("value\n%x is written as\n%x", value, gotValue)
		}
		checkContent(t, &k, r)
		seen[k.Type]++
	}
	for _, typ := range []int16{keyGroupEpoch, keyPartitionMetadata, keyMember, keyTargetEpoch, keyTarget, keyCurrent, keyRegex} {
		if seen[typ] == 0 {
			t.Errorf("no record of type %d was read", typ)
		}
	}
}

// sameTopics reports whether two values are as long and are read as the same.
func sameTopics(t *testing.T, a, b, key []byte) bool {
	t.Helper()
	_, ra, _ := decodeConsumerRecord(key, a)
	_, rb, err := decodeConsumerRecord(key, b)
	return err == nil && len(a) == len(b) && reflect.DeepEqual(ra, rb)
}

// checkContent compares what was read with what Kafka's classes read.
func checkContent(t *testing.T, k *kafkaRecord, r consumerRecord) {
	t.Helper()
	if k.Value == nil {
		if !r.deletes() {
			t.Errorf("%s: a tombstone is read as a value", k.Key)
		}
		return
	}
	var want struct {
		Epoch        int32
		MetadataHash int64
		InstanceID   *string `json:"instanceId"`
		RackID       *string `json:"rackId"`
		ClientID     string  `json:"clientId"`
		ClientHost   string
		Topics       []string `json:"subscribedTopicNames"`
		Regex        string   `json:"subscribedTopicRegex"`
		Timeout      int32    `json:"rebalanceTimeoutMs"`
		Assignor     *string  `json:"serverAssignor"`
		Classic      *struct {
			Session   int32 `json:"sessionTimeoutMs"`
			Protocols []struct {
				Name     string
				Metadata []byte
			} `json:"supportedProtocols"`
		} `json:"classicMemberMetadata"`
		AssignmentEpoch     int32
		AssignmentTimestamp int64
		MemberEpoch         int32
		PreviousMemberEpoch int32
		State               int8
		Found               []string `json:"topics"`
		Version, Timestamp  int64
		Partitions          json.RawMessage `json:"topicPartitions"`
	}
	if err := json.Unmarshal(k.Content, &want); err != nil {
		t.Fatal(err)
	}
	ok := false
	switch r := r.(type) {
	case epochRecord:
		ok = r.epoch == want.Epoch && r.hash == want.MetadataHash
	case memberRecord:
		i := r.info
		ok = r.id == k.Group.Member && equalPtr(i.instance, want.InstanceID) && equalPtr(i.rack, want.RackID) && i.clientID == want.ClientID &&
			i.clientHost == want.ClientHost && reflect.DeepEqual(append([]string{}, i.topics...), append([]string{}, want.Topics...)) &&
			i.regex == want.Regex && i.rebalanceTimeout == want.Timeout && equalPtr(i.assignor, want.Assignor) && (i.classic == nil) == (want.Classic == nil)
		if ok && i.classic != nil {
			ok = i.classic.sessionTimeout == want.Classic.Session && len(i.classic.protocols) == len(want.Classic.Protocols) &&
				i.classic.protocols[0].name == want.Classic.Protocols[0].Name && bytes.Equal(i.classic.protocols[0].metadata, want.Classic.Protocols[0].Metadata)
		}
	case targetEpochRecord:
		ok = r.epoch == want.AssignmentEpoch && r.at == want.AssignmentTimestamp
	case targetRecord:
		ok = r.id == k.Group.Member && (len(r.set) == 0) == (string(want.Partitions) == "[]")
	case currentRecord:
		ok = r.id == k.Group.Member && r.current.epoch == want.MemberEpoch && r.current.previous == want.PreviousMemberEpoch && int8(r.current.state) == want.State
	case regexRecord:
		ok = r.regex == k.Group.Regex && reflect.DeepEqual(r.resolution.topics, want.Found) && r.resolution.version == want.Version && r.resolution.at == want.Timestamp
	}
	if !ok {
		t.Errorf("%s: %x is read as %+v, Kafka reads %s", k.Key, *k.Value, r, k.Content)
	}
}

// TestDamagedRecords: a record that ends anywhere is refused, and nothing panics.
func TestDamagedRecords(t *testing.T) {
	for _, k := range kafkaRecords(t) {
		key, value := k.bytes(t)
		for n := range len(key) {
			if _, _, err := decodeConsumerRecord(key[:n], value); err == nil {
				t.Errorf("key %x is read though it is cut at %d", key, n)
			}
		}
		for n := range len(value) {
			if _, _, err := decodeConsumerRecord(key, value[:n]); err == nil {
				t.Errorf("value %x is read though it is cut at %d", value, n)
			}
		}
	}
	key, _ := encodeConsumerRecord("g", targetRecord{id: "m", set: assignor.Partitions{}})
	if _, _, err := decodeConsumerRecord(key, []byte{0, 1, 1, 0}); err == nil {
		t.Error("a version of tomorrow is read")
	}
}

// FuzzConsumerRecord: whatever the bytes, reading them costs bounded memory and does not panic, and what was read is
// written such that it is read as the same again.
func FuzzConsumerRecord(f *testing.F) {
	for _, k := range kafkaRecords(f) {
		key, value := k.bytes(f)
		f.Add(key, value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		group, r, err := decodeConsumerRecord(key, value)
		if err != nil {
			return
		}
		key2, value2 := encodeConsumerRecord(group, r)
		group2, r2, err := decodeConsumerRecord(key2, value2)
		if err != nil || group2 != group {
			t.Fatalf("%x %x is written as %x %x, which is read as group %q: %v", key, value, key2, value2, group2, err)
		}
		key3, value3 := encodeConsumerRecord(group2, r2)
		if !bytes.Equal(key2, key3) || !bytes.Equal(value2, value3) {
			t.Fatalf("%x is written as %x, and that as %x", value, value2, value3)
		}
	})
}
