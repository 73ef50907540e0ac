package group

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/metadata"
)

// kafkaOffset is a record that Kafka 4.3.1 wrote, and what its own classes say of it.
type kafkaOffset struct {
	Key       string  `json:"key_hex"`
	Bytes     *string `json:"value_hex"`
	Group     string  `json:"group"`
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Value     struct {
		Offset          int64
		LeaderEpoch     int32
		Metadata        string
		CommitTimestamp int64
		TopicID         string
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// T133: what Kafka wrote is read, and written back byte for byte.
func TestT133KafkasOffsetRecords(t *testing.T) {
	data, err := os.ReadFile("testdata/kafka/offsets.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	for _, line := range lines {
		var k kafkaOffset
		if err := json.Unmarshal(line, &k); err != nil {
			t.Fatal(err)
		}
		if key := appendOffsetKey(nil, k.Group, k.Topic, k.Partition); hex.EncodeToString(key) != k.Key {
			t.Errorf("key %x, Kafka has %s", key, k.Key)
		}
		m := NewMachine(nil, nil, NewMemory(nil))
		r := coordinator.Replayed{Key: unhex(t, k.Key), ProducerID: -1}
		if k.Bytes == nil {
			if err := m.Replay(&r); err != nil {
				t.Error(err)
			}
			continue
		}
		r.Value = unhex(t, *k.Bytes)
		if err := m.Replay(&r); err != nil {
			t.Fatal(err)
		}
		got, ok := m.groups[k.Group].offsets.get(k.Topic, k.Partition)
		var id metadata.UUID
		if k.Value.TopicID != "" {
			if id, err = metadata.ParseUUID(k.Value.TopicID); err != nil {
				t.Fatal(err)
			}
		}
		want := offset{committed: k.Value.Offset, leaderEpoch: k.Value.LeaderEpoch, metadata: k.Value.Metadata, commitTime: k.Value.CommitTimestamp, expireTime: -1, topicID: id}
		if !ok || got != want {
			t.Errorf("%s: read %+v, want %+v", line, got, want)
		}
		if again := appendOffsetValue(nil, &got); hex.EncodeToString(again) != *k.Bytes {
			t.Errorf("value %x, Kafka has %s", again, *k.Bytes)
		}
	}
	if len(lines) < 5 {
		t.Errorf("%d records are not all", len(lines))
	}
}

// TestOldOffsetValues: the versions of older Kafka releases (rule 8.6.2 and appendix B.1).
func TestOldOffsetValues(t *testing.T) {
	base := offset{committed: 5, leaderEpoch: -1, metadata: "m", commitTime: 7, expireTime: -1}
	epoch, expiring := base, base
	epoch.leaderEpoch, expiring.expireTime = 2, 9
	for value, want := range map[string]offset{
		"0000" + "0000000000000005" + "00016d" + "0000000000000007":                      base,
		"0001" + "0000000000000005" + "00016d" + "0000000000000007" + "0000000000000009": expiring,
		"0002" + "0000000000000005" + "00016d" + "0000000000000007":                      base,
		"0003" + "0000000000000005" + "00000002" + "00016d" + "0000000000000007":         epoch,
	} {
		if got, err := readOffsetValue(unhex(t, value)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", value, got, err)
		}
	}
	for _, value := range []string{"", "00", "0003", "0005" + "0000000000000005", "ffff", "0004" + "0000000000000005" + "00000002" + "02" + "6d" + "0000000000000007" + "01" + "00" + "7f"} {
		if got, err := readOffsetValue(unhex(t, value)); err == nil {
			t.Errorf("%q is read as %+v", value, got)
		}
	}
}

// FuzzReplay: no record of any type makes the machine fail in another way than by an error, and a committed offset that
// was read is read again from what it is written as.
func FuzzReplay(f *testing.F) {
	x := offset{committed: 1, leaderEpoch: 2, metadata: "m", commitTime: 3, expireTime: -1, topicID: metadata.UUID{1}}
	f.Add(appendOffsetKey(nil, "g", "t", 1), appendOffsetValue(nil, &x), int64(-1))
	x.expireTime = 9
	f.Add(appendOffsetKey(nil, "g", "t", 1), appendOffsetValue(nil, &x), int64(5))
	f.Add(groupMetadataKey("g"), []byte(nil), int64(-1))
	f.Fuzz(func(t *testing.T, key, value []byte, producer int64) {
		m := NewMachine(func() *Config { return &Config{} }, new(metadata.Cell).Load, NewMemory(nil))
		for range 2 {
			_ = m.Replay(&coordinator.Replayed{Key: key, Value: value, ProducerID: max(producer, -1)})
		}
		m.ReplayMarker(producer, 0, true)
		got, err := readOffsetValue(value)
		if err != nil || len(got.metadata) > 1<<15-1 {
			return
		}
		if got.expireTime >= 0 {
			got.leaderEpoch, got.topicID = -1, metadata.UUID{} // which that version does not have
		}
		again, err := readOffsetValue(appendOffsetValue(nil, &got))
		if got.expireTime < 0 {
			got.expireTime = -1
		}
		if err != nil || again != got {
			t.Errorf("%+v is written so that it reads %+v, %v", got, again, err)
		}
	})
}
