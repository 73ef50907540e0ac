package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// kafkaNode is the settings of the node that data/describe-configs-wire.tsv was taken from.
var kafkaNode = []string{
	"process.roles=broker,controller", "node.id=1", "controller.quorum.voters=1@127.0.0.1:9593",
	"listeners=PLAINTEXT://127.0.0.1:9592,CONTROLLER://127.0.0.1:9593", "advertised.listeners=PLAINTEXT://127.0.0.1:9592",
	"controller.listener.names=CONTROLLER", "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
	"inter.broker.listener.name=PLAINTEXT", "log.dirs=DATA_DIR", "offsets.topic.replication.factor=1",
	"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1",
	"share.coordinator.state.topic.replication.factor=1", "share.coordinator.state.topic.min.isr=1",
	"group.initial.rebalance.delay.ms=0",
}

var sourceNames = map[Source]string{
	DynamicTopic: "dynamic_topic", DynamicBroker: "dynamic_broker", DynamicDefaultBroker: "dynamic_default_broker",
	StaticBroker: "static_broker", Default: "default", DynamicBrokerLogger: "logger", ClientMetrics: "client_metrics", Group: "group",
}

func (e Entry) row(kind, resource string) string {
	show := func(v *string) string {
		if v == nil {
			return "(null)"
		}
		return *v
	}
	var synonyms []string
	for _, s := range e.Synonyms {
		synonyms = append(synonyms, fmt.Sprintf("%s=%s (%s)", s.Name, show(s.Value), sourceNames[s.Source]))
	}
	return strings.Join([]string{kind, resource, e.Name, show(e.Value), fmt.Sprint(e.ReadOnly), sourceNames[e.Source],
		fmt.Sprint(e.Sensitive), e.Type.String(), strings.Join(synonyms, "; ")}, "\t")
}

// TestWire: with the settings of a Kafka node, every resource is described as that Kafka 4.3.1 described it, in its
// order; our own keys follow Kafka's.
func TestWire(t *testing.T) {
	data, err := os.ReadFile("data/describe-configs-wire.tsv")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, kafkaNode...)
	if _, err := s.Update(nil, map[string]string{"min.insync.replicas": "1"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	add := func(kind, resource string, entries []Entry) {
		for _, e := range entries {
			if !strings.HasPrefix(e.Name, "kbroker.") {
				got = append(got, e.row(kind, resource))
			}
		}
	}
	add("2", "t1", s.DescribeTopic(map[string]string{"retention.ms": "1000000"}, nil))
	add("4", "1", s.DescribeBroker(nil))
	add("4", "", s.DescribeClusterDefault(nil))
	add("32", "g1", s.DescribeGroup(nil, nil))
	add("16", "cm1", s.DescribeClientMetrics(nil, nil))
	want := strings.Split(strings.TrimRight(string(data), "\n"), "\n")[1:]
	if len(got) != len(want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("entry %d:\n got %s\nwant %s", i, got[i], want[i])
		}
	}
	last := s.DescribeTopic(nil, nil)
	if n := last[len(last)-1].Name; n != "kbroker.durability" {
		t.Errorf("the last topic setting is %s", n)
	}
}

// describe writes entries one a line, short: name=value source [synonyms].
func describe(entries []Entry) string {
	var w strings.Builder
	for _, e := range entries {
		f := strings.Split(e.row("", ""), "\t")
		fmt.Fprintf(&w, "%s=%s %d", e.Name, f[3], e.Source)
		for _, s := range e.Synonyms {
			v := "(null)"
			if s.Value != nil {
				v = *s.Value
			}
			fmt.Fprintf(&w, " [%s=%s %d]", s.Name, v, s.Source)
		}
		w.WriteString("\n")
	}
	return w.String()
}

// TestSynonyms (T109): levels and older names, as Kafka 4.3.1 answered with these settings.
func TestSynonyms(t *testing.T) {
	s := open(t, "log.retention.minutes=90", "log.roll.hours=24", "super.users=User:a", "compression.type=lz4",
		"log.cleaner.min.cleanable.ratio=0.50", "listener.name.plaintext.ssl.keystore.type=JKS", "ssl.keystore.password=abc",
		"zookeeper.connect=x", "allow.everyone.if.no.acl.found=true")
	topic := map[string]string{"cleanup.policy": "delete,delete", "min.cleanable.dirty.ratio": "0.250"}
	asked := Named([]string{"cleanup.policy", "min.cleanable.dirty.ratio", "retention.ms", "segment.ms", "compression.type"})
	want := `compression.type=lz4 4 [compression.type=lz4 4] [compression.type=producer 5]
cleanup.policy=delete 1 [cleanup.policy=delete 1] [log.cleanup.policy=delete 5]
retention.ms=5400000 5
min.cleanable.dirty.ratio=0.25 1 [min.cleanable.dirty.ratio=0.25 1] [log.cleaner.min.cleanable.ratio=0.50 4] [log.cleaner.min.cleanable.ratio=0.5 5]
segment.ms=86400000 5
`
	if got := describe(s.DescribeTopic(topic, asked)); got != want {
		t.Errorf("the topic is\n%swant\n%s", got, want)
	}
	asked = Named([]string{"log.retention.ms", "log.retention.minutes", "log.retention.hours", "super.users", "ssl.keystore.password",
		"log.cleaner.min.cleanable.ratio", "log.roll.ms", "log.roll.hours", "listener.name.plaintext.ssl.keystore.type", "ssl.keystore.type"})
	want = `super.users=(null) 4 [super.users=(null) 4]
listener.name.plaintext.ssl.keystore.type=JKS 4 [listener.name.plaintext.ssl.keystore.type=JKS 4] [ssl.keystore.type=JKS 5]
ssl.keystore.type=JKS 5 [ssl.keystore.type=JKS 5]
log.retention.hours=168 5 [log.retention.hours=168 5]
log.roll.ms=(null) 5
log.retention.minutes=90 4 [log.retention.minutes=90 4] [log.retention.hours=168 5]
log.cleaner.min.cleanable.ratio=0.5 4 [log.cleaner.min.cleanable.ratio=0.50 4] [log.cleaner.min.cleanable.ratio=0.5 5]
log.retention.ms=(null) 5
log.roll.hours=24 4 [log.roll.hours=24 4] [log.roll.hours=168 5]
ssl.keystore.password=(null) 4 [ssl.keystore.password=(null) 4]
`
	if got := describe(s.DescribeBroker(asked)); got != want {
		t.Errorf("the broker is\n%swant\n%s", got, want)
	}
	changed, err := s.Update(map[string]string{"log.retention.ms": "-5", "log.roll.ms": "55555555", "bogus": "q"},
		map[string]string{"log.retention.ms": "-6", "listener.name.plaintext.max.connections": "500"})
	if err != nil || !slices.Equal(changed, []string{"log.roll.ms", "log.retention.ms"}) {
		t.Errorf("Update says %v, %v", changed, err)
	}
	want = `retention.ms=77 1 [retention.ms=77 1] [log.retention.ms=-5 2] [log.retention.ms=-6 3] [log.retention.minutes=90 4] [log.retention.hours=168 5]
segment.ms=55555555 2 [log.roll.ms=55555555 2] [log.roll.hours=24 4] [log.roll.hours=168 5]
`
	if got := describe(s.DescribeTopic(map[string]string{"retention.ms": " 77 "}, Named([]string{"retention.ms", "segment.ms"}))); got != want {
		t.Errorf("the topic is\n%swant\n%s", got, want)
	}
	want = `bogus=(null) 2 [bogus=(null) 2]
listener.name.plaintext.max.connections=500 3 [listener.name.plaintext.max.connections=500 3] [max.connections=2147483647 5]
`
	if got := describe(s.DescribeBroker(Named([]string{"bogus", "listener.name.plaintext.max.connections"}))); got != want {
		t.Errorf("the broker is\n%swant\n%s", got, want)
	}
}

// TestTopicAtCreation: CreateTopics answers names in order, values as written, and knows older names.
func TestTopicAtCreation(t *testing.T) {
	s := open(t, "log.retention.minutes=90", "compression.type=lz4")
	got := describe(s.TopicAtCreation(map[string]string{"cleanup.policy": "compact,compact", "min.cleanable.dirty.ratio": ".25", "internal.segment.bytes": "16384"}))
	for _, want := range []string{"cleanup.policy=compact,compact 1\ncompression.gzip.level=-1 5\n", "\ncompression.type=lz4 4\n",
		"\nmin.cleanable.dirty.ratio=.25 1\n", "\nretention.ms=5400000 4\n", "\ninternal.segment.bytes=16384 1\n", "\nsegment.ms=604800000 5\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

// TestHiddenTopicKey: a key that is shown only where it is set comes first.
func TestHiddenTopicKey(t *testing.T) {
	s := open(t)
	entries := s.DescribeTopic(map[string]string{"internal.segment.bytes": "16384"}, nil)
	if e := entries[0]; e.Name != "internal.segment.bytes" || e.Source != DynamicTopic || e.Type != Int || *e.Value != "16384" {
		t.Errorf("the first entry is %+v", e)
	}
	if n := len(s.DescribeTopic(nil, nil)); n != len(entries)-1 {
		t.Errorf("%d entries without it, %d with it", n, len(entries))
	}
}
