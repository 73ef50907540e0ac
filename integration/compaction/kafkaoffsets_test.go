package compaction

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/integration/kbrokerproc"
	"github.com/kbroker/kbroker/internal/kafkatree"
	"github.com/kbroker/kbroker/log/record"
)

// kafkaFixtures are data directories of a real Kafka 4.3.1, and what its admin tools said of them.
const kafkaFixtures = "../../log/testdata/kafka-4.3.1"

// kafkaGroups is the part of a fixture's manifest about groups.
type kafkaGroups struct {
	Topics []struct {
		Name       string
		Partitions int32
		ID         string `json:"topic_id"`
	}
	Groups []struct {
		Group, Type  string
		ProtocolType string `json:"protocol_type"`
		State        string `json:"state_when_loaded"`
		Offsets      []struct {
			Topic       string
			Partition   int32
			Offset      int64
			LeaderEpoch int32 `json:"leader_epoch"`
			Metadata    string
		}
	}
}

// TestKafkasOffsetsAreRead puts the partitions of __consumer_offsets that a Kafka left, after an orderly stop and after a
// kill, in the place of kbroker's: it tells of groups and offsets what Kafka's admin tools told.
func TestKafkasOffsetsAreRead(t *testing.T) {
	for _, name := range []string{"clean-shutdown", "sigkill"} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(kafkaFixtures, name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var kafka kafkaGroups
			if err := json.Unmarshal(data, &kafka); err != nil {
				t.Fatal(err)
			}
			node := kbrokerproc.StartForTest(t, kbrokerproc.Config{Properties: []string{"offsets.topic.num.partitions=3"}})
			ids := makeTopics(t, node.Bootstrap(), &kafka)
			node.Kill()
			putOffsets(t, name, node.DataDir(), ids)
			node = kbrokerproc.StartForTest(t, node.Config())
			compare(t, "groups", kafka.lines(), toldGroups(t, node.Bootstrap(), &kafka))
		})
	}
}

// makeTopics makes the topics that groups have offsets of, and __consumer_offsets. It returns kbroker's ids by Kafka's.
func makeTopics(t *testing.T, bootstrap string, kafka *kafkaGroups) map[string]kadm.TopicID {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	used := map[string]bool{}
	for _, g := range kafka.Groups {
		for _, o := range g.Offsets {
			used[o.Topic] = true
		}
	}
	for _, topic := range kafka.Topics {
		if used[topic.Name] {
			if _, err := kadm.NewClient(client).CreateTopic(t.Context(), topic.Partitions, 1, nil, topic.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	awaitOffsets(t, kadm.NewClient(client))
	made, err := kadm.NewClient(client).ListTopicsWithInternal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]kadm.TopicID{}
	for _, topic := range kafka.Topics {
		id, err := base64.RawURLEncoding.DecodeString(topic.ID)
		if err != nil || len(id) != 16 {
			t.Fatal(topic, err)
		}
		if m, ok := made[topic.Name]; ok {
			ids[string(id)] = m.ID
		}
	}
	return ids
}

// putOffsets puts Kafka's files where kbroker, which has written nothing to the topic yet, will look for them. The ids
// of topics become kbroker's: it drops offsets of topics that are gone.
func putOffsets(t *testing.T, fixture, dir string, ids map[string]kadm.TopicID) {
	t.Helper()
	tree := kafkatree.Unpack(t, filepath.Join(kafkaFixtures, fixture+".tar.gz"))
	files, err := filepath.Glob(filepath.Join(tree, "__consumer_offsets-*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		partition := filepath.Join(dir, filepath.Base(filepath.Dir(file)))
		err = os.MkdirAll(partition, 0o755)
		if err == nil {
			err = os.WriteFile(filepath.Join(partition, filepath.Base(file)), withIDs(t, data, file, ids), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// withIDs gives a file kbroker's topic ids instead of Kafka's.
func withIDs(t *testing.T, data []byte, file string, ids map[string]kadm.TopicID) []byte {
	t.Helper()
	for old, id := range ids {
		data = bytes.ReplaceAll(data, []byte(old), id[:])
		data = bytes.ReplaceAll(data, []byte(base64.RawURLEncoding.EncodeToString([]byte(old))), []byte(base64.RawURLEncoding.EncodeToString(id[:])))
	}
	if filepath.Ext(file) != ".log" {
		return data
	}
	for rest := data; len(rest) > 0; {
		b, after, err := record.Next(rest)
		if err != nil {
			t.Fatal(file, err)
		}
		b.Reseal()
		rest = after
	}
	return data
}

// lines are what is to be told: a line for each group that kbroker knows the type of, and for each offset of any group.
func (k *kafkaGroups) lines() (lines []string) {
	for _, g := range k.Groups {
		if knownType(g.Type) {
			lines = append(lines, fmt.Sprintf("%s: %s, %q, %s", g.Group, g.Type, g.ProtocolType, g.State))
		}
		for _, o := range g.Offsets {
			lines = append(lines, fmt.Sprintf("%s: %s-%d at %d, epoch %d, %q", g.Group, o.Topic, o.Partition, o.Offset, o.LeaderEpoch, o.Metadata))
		}
	}
	slices.Sort(lines)
	return lines
}

func knownType(name string) bool { return name == "classic" || name == "consumer" }

// toldGroups are the same lines as kbroker tells them.
func toldGroups(t *testing.T, bootstrap string, kafka *kafkaGroups) (lines []string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	awaitOffsets(t, admin)
	for _, g := range kafka.Groups {
		offsets, err := admin.FetchOffsets(t.Context(), g.Group)
		if err != nil {
			t.Fatal(g.Group, err)
		}
		for _, o := range offsets.Sorted() {
			lines = append(lines, fmt.Sprintf("%s: %s-%d at %d, epoch %d, %q", g.Group, o.Topic, o.Partition, o.At, o.LeaderEpoch, o.Metadata))
		}
	}
	resp, err := kmsg.NewPtrListGroupsRequest().RequestWith(t.Context(), client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]string{}
	for _, g := range kafka.Groups {
		types[g.Group] = g.Type
	}
	for _, g := range resp.Groups {
		if knownType(types[g.Group]) || types[g.Group] == "" {
			lines = append(lines, fmt.Sprintf("%s: %s, %q, %s", g.Group, strings.ToLower(g.GroupType), g.ProtocolType, g.GroupState))
		}
	}
	slices.Sort(lines)
	return lines
}

// awaitOffsets waits until there is a __consumer_offsets that serves.
func awaitOffsets(t *testing.T, admin *kadm.Client) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		_, err := admin.FetchOffsets(t.Context(), "any")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no coordinator serves: %v", err)
		}
	}
}
