package dumptool

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kbroker/kbroker/integration/kafkapeer"
	"github.com/kbroker/kbroker/integration/kbrokerproc"
)

// TestKafkasToolReadsOffsets: what groups commit to kbroker is read by Kafka's decoder of __consumer_offsets.
func TestKafkasToolReadsOffsets(t *testing.T) {
	jars, err := kafkapeer.Install(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	node := kbrokerproc.StartForTest(t, kbrokerproc.Config{Properties: []string{"offsets.topic.num.partitions=3"}})
	client, err := kgo.NewClient(kgo.SeedBrokers(node.Bootstrap()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	topic, err := admin.CreateTopic(t.Context(), 3, 1, nil, "t")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 20 {
		var offsets kadm.Offsets
		group := fmt.Sprint("group-", i)
		offsets.Add(kadm.Offset{Topic: "t", Partition: int32(i % 3), At: int64(1000 + i), LeaderEpoch: int32(i%2) - 1, Metadata: fmt.Sprint("é", i)})
		if err := admin.CommitAllOffsets(t.Context(), group, offsets); err != nil {
			t.Fatal(err)
		}
		want = append(want,
			fmt.Sprintf(`key: {"type":"1","data":{"group":"%s","topic":"t","partition":%d}} payload: {"version":"4","data":{"offset":%d,"leaderEpoch":%d,"metadata":"é%d","commitTimestamp":`, group, i%3, 1000+i, i%2-1, i),
			fmt.Sprintf(`"topicId":"%s"}}`, base64.RawURLEncoding.EncodeToString(topic.ID[:])))
	}
	if deleted, err := admin.DeleteGroups(t.Context(), "group-0"); err != nil || deleted["group-0"].Err != nil {
		t.Fatal(deleted, err)
	}
	want = append(want, `key: {"type":"1","data":{"group":"group-0","topic":"t","partition":0}} payload: <DELETE>`,
		`key: {"type":"2","data":{"group":"group-0"}} payload: <DELETE>`)
	if err := node.Stop(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(node.DataDir(), "__consumer_offsets-*", "*.log"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	cmd := jars.Command(t.Context(), "org.apache.kafka.tools.DumpLogSegments", "--offsets-decoder", "--deep-iteration", "--files", strings.Join(files, ","))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("Kafka's tool: %v\n%s", err, stderr.Bytes())
	}
	for _, line := range want {
		if !bytes.Contains(out, []byte(line)) {
			t.Errorf("Kafka's tool does not print %s", line)
		}
	}
	if t.Failed() {
		t.Logf("it prints\n%.5000s", out)
	}
}
