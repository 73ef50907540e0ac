package clientsuites

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestConfluentKafkaGo runs the tests of confluent-kafka-go, which has librdkafka in it, with both group protocols.
func TestConfluentKafkaGo(t *testing.T) {
	t.Parallel()
	m := module{"confluent-kafka-go", "github.com/confluentinc/confluent-kafka-go/v2"}
	s := m.compile(t, m.path+"/kafka")
	s.readLeftOut(t, "confluent-kafka-go.txt")
	bootstrap := startBroker(t, 0)
	dir := t.TempDir()
	conf, err := json.Marshal(map[string]any{
		"Brokers": bootstrap, "TopicName": "test", "GroupID": "testgroup", "Config": []string{"api.version.request=true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "testconf.json"), conf, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			o := options{dir: dir, env: []string{"TEST_CONSUMER_GROUP_PROTOCOL=" + protocol}, timeout: "10m"}
			s := *s
			s.readLeftOut(t, "confluent-kafka-go-"+protocol+".txt")
			if protocol != "classic" {
				o.only = "^TestIntegration$" // the others take no notice
			}
			s.run(t, o)
		})
	}
}
