package kafkapeer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestNode shows that a node serves, keeps its data over a restart in the same directory, and that a tool runs.
func TestNode(t *testing.T) {
	n := StartForTest(t, Config{Properties: []string{"num.partitions=3"}})
	client, err := kgo.NewClient(kgo.SeedBrokers(n.Bootstrap()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topics, err := kadm.NewClient(client).CreateTopics(t.Context(), -1, 1, nil, "kept")
	if err != nil || topics["kept"].Err != nil || topics["kept"].NumPartitions != 3 {
		t.Fatalf("creating a topic with num.partitions=3: %v, %+v", err, topics["kept"])
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	again := StartForTest(t, n.Config())
	out, err := again.jars.Command(t.Context(), "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", again.Bootstrap(), "--list").Output()
	if err != nil || strings.TrimSpace(string(out)) != "kept" {
		t.Fatalf("topics after a restart: %q, %v; want kept", out, err)
	}
	again.Kill()
	again.Close()
	n.Close()
	if _, err := os.Stat(filepath.Dir(n.DataDir())); !os.IsNotExist(err) {
		t.Errorf("the node's directory is still there after Close: %v", err)
	}
}
