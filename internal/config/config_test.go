package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// open returns the store of settings given as KEY=VALUE.
func open(t *testing.T, options ...string) *Store {
	t.Helper()
	settings, err := Load(Sources{Options: options})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewStore(settings)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// load reads settings and returns what is wrong with them, for messages.
func load(t *testing.T, from Sources) (*Store, error) {
	t.Helper()
	settings, err := Load(from)
	if err != nil {
		return nil, err
	}
	return NewStore(settings)
}

// writeFile writes a server.properties and returns its name.
func writeFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestStrength: options are stronger than the environment, that than a file, and that than defaults.
func TestStrength(t *testing.T) {
	file := writeFile(t, "num.partitions=1\nmessage.max.bytes=1\nfetch.max.bytes=2001\n")
	settings, err := Load(Sources{
		Defaults: map[string]string{"num.partitions": "0x", "fetch.max.bytes": "0x", "broker.rack": "default"},
		File:     file,
		Environ:  []string{"KAFKA_NUM_PARTITIONS=2", "KAFKA_MESSAGE_MAX_BYTES=2"},
		Options:  []string{"num.partitions=3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewStore(settings)
	if err != nil {
		t.Fatal(err)
	}
	b := s.Broker()
	if b.Topics.Partitions != 3 || b.Topic.MaxMessageBytes != 2 || b.Limits.FetchMaxBytes != 2001 || b.Rack != "default" {
		t.Errorf("got %+v", b)
	}
	var origins []string
	for _, x := range settings.All() {
		origins = append(origins, x.Name+"<-"+x.Origin)
	}
	want := []string{"broker.rack<-default", "fetch.max.bytes<-server.properties:3", "message.max.bytes<-KAFKA_MESSAGE_MAX_BYTES", "num.partitions<--o"}
	if !slices.Equal(origins, want) {
		t.Errorf("origins are %v, want %v", origins, want)
	}
}

// TestErrors: an error names file and line, key, value, and what is allowed. All are reported at once.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		file, want string
	}{
		{"# comment\nnum.partitions=none\n", `server.properties:2: num.partitions: "none" is not a whole number; allowed: at least 1`},
		{"num.partitions=0", `server.properties:1: num.partitions: "0" is not allowed; allowed: at least 1`},
		{"num.partitions=3000000000", `server.properties:1: num.partitions: "3000000000" is out of the range of 32 bits; allowed: at least 1`},
		{"compression.type=zip", `server.properties:1: compression.type: "zip" is not allowed; allowed: uncompressed, zstd, lz4, snappy, gzip, producer`},
		{"compression.gzip.level=0", `server.properties:1: compression.gzip.level: "0" is not allowed; allowed: 1 to 9, or -1`},
		{"log.cleanup.policy=delete,keep", `server.properties:1: log.cleanup.policy: "delete,keep" has the element "keep", which is not allowed; allowed: compact, delete`},
		{"auto.create.topics.enable=yes", `server.properties:1: auto.create.topics.enable: "yes" is neither true nor false`},
		{"log.cleaner.min.cleanable.ratio=a", `server.properties:1: log.cleaner.min.cleanable.ratio: "a" is not a number; allowed: 0 to 1`},
		{"kbroker.durabilty=fsync", `server.properties:1: kbroker.durabilty: kbroker has no such setting; did you mean kbroker.durability?`},
		{"kbroker.colour=red", `server.properties:1: kbroker.colour: kbroker has no such setting; see docs/configuration.md for those it has`},
		{"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", `server.properties:1: authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer: kbroker does not load Java classes and has no access control lists yet; leave it out, and let only trusted clients reach the listeners`},
		{"leader.replication.throttled.rate=5", `server.properties:1: leader.replication.throttled.rate: can only be set at run time, not in a file`},
		{"a=\\u12", `server.properties: line 1: a: \u12 is not \u and four hexadecimal digits`},
		{"node.id=1\nbroker.id=2", "server.properties:2: broker.id: is 2 and node.id is 1; they are two names of one number, so leave one out"},
		{"process.roles=controller", "server.properties:1: process.roles: controller: this release runs single nodes, which are both; write broker,controller"},
		{"node.id=1\ncontroller.quorum.voters=1@a:9093,2@b:9093", "server.properties:2: controller.quorum.voters: names 2 voters: this release runs single nodes; name this node only, or leave it out"},
		{"node.id=1\ncontroller.quorum.voters=2@b:9093", `server.properties:2: controller.quorum.voters: "2@b:9093" is not 1@HOST:PORT, this node's own entry`},
		{"controller.quorum.bootstrap.servers=a:9093,b:9093", "server.properties:1: controller.quorum.bootstrap.servers: names 2 servers: this release runs single nodes; name this node only, or leave it out"},
		{"listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ncontroller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=b:9094", `server.properties:3: controller.quorum.bootstrap.servers: "b:9094" is not the HOST:PORT of a controller listener of this node; this release runs single nodes: leave it out`},
		{"controller.quorum.bootstrap.servers=localhost:9092", `server.properties:1: controller.quorum.bootstrap.servers: "localhost:9092" is not the HOST:PORT of a controller listener of this node; this release runs single nodes: leave it out`},
		{"log.retention.hours=0", "server.properties:1: log.retention.hours: is 0, which would delete all records at once; -1 keeps them for ever"},
		{"log.roll.ms=0", "server.properties:1: log.roll.ms: is 0, and must be at least 1"},
		{"log.roll.jitter.ms=-2", "server.properties:1: log.roll.jitter.ms: is -2, and cannot be negative"},
		{"log.cleaner.dedupe.buffer.size=1048576", "server.properties:1: log.cleaner.dedupe.buffer.size: 1048576 is not more than 1 MiB for each of 1 cleaner threads"},
		{"max.connections.per.ip=0", "server.properties:1: max.connections.per.ip: is 0, so that nobody could connect; name those who may in max.connections.per.ip.overrides"},
		{"log.cleaner.threads=0", "server.properties:1: log.cleaner.threads: is 0, and must be at least 1; log.cleaner.enable=false compacts nothing"},
		{"listeners=PLAINTEXT://a b:9092", `server.properties:1: listeners: "PLAINTEXT://a b:9092" is not NAME://HOST:PORT, such as PLAINTEXT://localhost:9092`},
		{"group.consumer.assignors=", "server.properties:1: group.consumer.assignors: names no assignor; write uniform, range or both"},
		{"group.consumer.assignors=range,org.example.Assignor", `server.properties:1: group.consumer.assignors: kbroker has no assignor "org.example.Assignor" and does not load Java classes; write uniform, range or both`},
		{"log.dirs=/a,/a", "server.properties:1: log.dirs: /a is there twice"},
		{"kbroker.http.listeners=8080", `server.properties:1: kbroker.http.listeners: "8080" is not HOST:PORT, such as 127.0.0.1:8080`},
		{"kbroker.cluster.id=x", `server.properties:1: kbroker.cluster.id: "x" is not an id; it has 22 characters of URL-safe base64`},
		{"offsets.topic.segment.bytes=1000", "server.properties:1: offsets.topic.segment.bytes: is 1000, and segments of a topic have at least 1048576 bytes: __consumer_offsets could not be created"},
		{"offsets.topic.num.partitions=0", `server.properties:1: offsets.topic.num.partitions: "0" is not allowed; allowed: at least 1`},
		{"offsets.topic.num.partitions=9901", "server.properties:1: offsets.topic.num.partitions: is 9901, and __consumer_offsets could not be created with more than 9900"},
		{"max.connections.per.ip.overrides=a", `server.properties:1: max.connections.per.ip.overrides: "a" is not ADDRESS:NUMBER`},
		{"num.partitions=a\nfetch.max.bytes=1", "server.properties:2: fetch.max.bytes: \"1\" is not allowed; allowed: at least 1024\nserver.properties:1: num.partitions: \"a\" is not a whole number; allowed: at least 1"},
	} {
		_, err := load(t, Sources{File: writeFile(t, c.file)})
		if err == nil {
			t.Errorf("%q is accepted, want %s", c.file, c.want)
			continue
		}
		if got := err.Error(); !strings.HasSuffix(got, c.want) {
			t.Errorf("%q:\n got %s\nwant %s", c.file, got, c.want)
		}
		var s *SettingError
		if errors.As(err, &s) && s.Refused != strings.Contains(c.file, "authorizer") {
			t.Errorf("%q: Refused is %v", c.file, s.Refused)
		}
	}
	if _, err := Load(Sources{File: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
	if s, err := load(t, Sources{Defaults: map[string]string{"node.id": "1"}, Options: []string{"broker.id=3"}}); err != nil || s.Broker().NodeID != 3 {
		t.Errorf("with the older name of node.id: %v", err)
	}
	if s, err := Load(Sources{Environ: []string{"KBROKER_X=1"}}); err != nil || len(s.Unknown()) != 1 {
		t.Errorf("an unknown variable gives %v", err)
	}
	if _, err := Load(Sources{Options: []string{"a"}}); err == nil || err.Error() != "-o a: write it as KEY=VALUE" {
		t.Errorf("an option without a value gives %v", err)
	}
	if _, err := load(t, Sources{Environ: []string{"KAFKA_NUM_PARTITIONS=x"}}); err == nil || !strings.HasPrefix(err.Error(), "KAFKA_NUM_PARTITIONS: num.partitions: ") {
		t.Errorf("a bad variable gives %v", err)
	}
}

// TestTrimmed: what stands around a value in a file is not part of it, of strings neither, as in Kafka (seen on 4.3.1).
func TestTrimmed(t *testing.T) {
	s, err := load(t, Sources{File: writeFile(t, "compression.type=gzip \nlog.message.timestamp.type=LogAppendTime\t\nbroker.rack=a b \n"+
		"listeners=IN://:9092 \nlistener.security.protocol.map=IN:PLAINTEXT \ninter.broker.listener.name=IN \n")})
	if err != nil {
		t.Fatal(err)
	}
	if b := s.Broker(); b.Topic.Compression != CompressionGzip || !b.Topic.LogAppendTime || b.Rack != "a b" || b.InterBroker != "IN" {
		t.Errorf("compression %v, append time %v, rack %q, listener %q", b.Topic.Compression, b.Topic.LogAppendTime, b.Rack, b.InterBroker)
	}
	if topic := s.Topic(map[string]string{"message.timestamp.type": " CreateTime"}); topic.LogAppendTime {
		t.Error("a topic's value is not trimmed")
	}
}

// TestClasses sorts the settings of a Kafka file into what works, what is without effect, and what nobody knows.
func TestClasses(t *testing.T) {
	settings, err := Load(Sources{File: writeFile(t, `
num.partitions=3
num.io.threads=8
zookeeper.connect=localhost:2181
listener.name.plaintext.ssl.keystore.location=/k
replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector
authorizer.class.name=
remote.log.storage.system.enable=false
num.partitions=4
`)})
	if err != nil {
		t.Fatal(err)
	}
	names := func(all []Setting) string {
		var out []string
		for _, x := range all {
			out = append(out, x.Name)
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct{ what, got, want string }{
		{"working", names(settings.Working()), "num.partitions"},
		{"unknown", names(settings.Unknown()), "zookeeper.connect"},
		{"without effect", names(settings.WithoutEffect()), "authorizer.class.name listener.name.plaintext.ssl.keystore.location num.io.threads remote.log.storage.system.enable replica.selector.class"},
		{"warnings", strings.Join(settings.Warnings, " "), "server.properties: num.partitions is set on line 2 and again on line 9; the last one counts"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", c.what, c.got, c.want)
		}
	}
}

func TestProperties(t *testing.T) {
	got, err := parseProperties([]byte("\ufeffa=1\r\n! note\n  # note\n\tb : two words \nc three\nd\\ e\\=f=g\\\n   h\\\n\ni=\\u0041\\t\\q\\\\\n" +
		"j=\\ud83d\\ude00\nk\n=v\nl=a\\\\\\\nb\nm=x\\"))
	if err != nil {
		t.Fatal(err)
	}
	want := []property{{"a", "1", 1}, {"b", "two words ", 4}, {"c", "three", 5}, {"d e=f", "gh", 6}, {"i", "A\tq\\", 9},
		{"j", "😀", 10}, {"k", "", 11}, {"", "v", 12}, {"l", "a\\b", 13}, {"m", "x", 15}}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	// A backslash alone continues nothing: what follows is a line of its own.
	if got, err := parseProperties([]byte("\\\n# note\n \\\r\n a=b\n\\\n\nc=d\n\\\n")); err != nil || !slices.Equal(got, []property{{"a", "b", 4}, {"c", "d", 7}}) {
		t.Errorf("lone backslashes: %+v, %v", got, err)
	}
	if got, _ := parseProperties([]byte("a=\xe4")); got[0].value != "ä" {
		t.Errorf("ISO 8859-1 is read as %q", got[0].value)
	}
	if _, err := parseProperties(make([]byte, MaxFile+1)); err == nil {
		t.Error("a file of any size is read")
	}
}

func FuzzProperties(f *testing.F) {
	f.Add([]byte("a=b\\\n c\nd:\\u0041 # x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		properties, err := parseProperties(data)
		if err != nil {
			return
		}
		for i, p := range properties {
			if p.line < 1 || i > 0 && p.line <= properties[i-1].line {
				t.Fatalf("%q is on line %d, after line %d", p.name, p.line, properties[max(0, i-1)].line)
			}
		}
	})
}

// TestEnvironment maps variables as Apache's image does, and leaves alone what is none of ours (trap T11).
func TestEnvironment(t *testing.T) {
	found, warnings := environment([]string{
		"KAFKA_LOG_DIRS=/d", "KAFKA_A__B___C_D=1", "KAFKA_CFG_NUM_PARTITIONS=2", "KBROKER_DURABILITY=replicated", "CLUSTER_ID=x",
		"KAFKA_HEAP_OPTS=-Xmx1G", "KAFKA_OPTS=", "KAFKA_VERSION=4", "KBROKER_BOOTSTRAP=h:1", "PATH=/bin", "KAFKA_=x", "KAFKA",
		"KAFKA_PORT=tcp://10.0.0.1:9092", "KAFKA_SERVICE_HOST=10.0.0.1", "KAFKA_SERVICE_PORT_CLIENT=9092", "KAFKA_PORT_9092_TCP_ADDR=10.0.0.1",
		"KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9092,X://[::1]:1,Y://:2",
	})
	var got []string
	for _, v := range found {
		got = append(got, v.name+" "+v.key+"="+v.value)
	}
	want := []string{
		"CLUSTER_ID kbroker.cluster.id=x",
		"KAFKA_ADVERTISED_LISTENERS advertised.listeners=PLAINTEXT://localhost:9092,X://[::1]:1,Y://:2",
		"KAFKA_A__B___C_D a_b-c.d=1",
		"KAFKA_CFG_NUM_PARTITIONS num.partitions=2",
		"KAFKA_LOG_DIRS log.dirs=/d",
		"KBROKER_DURABILITY kbroker.durability=replicated",
		"KAFKA_ADVERTISED_LISTENERS listeners=PLAINTEXT://0.0.0.0:9092,X://0.0.0.0:1,Y://0.0.0.0:2",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if len(warnings) != 4 || !strings.HasPrefix(warnings[0], "KAFKA_PORT=tcp://10.0.0.1:9092 is not taken as a setting") {
		t.Errorf("warnings are %q", warnings)
	}
}

// TestComposeEnvironment: the environment of a combined node in a compose file starts a node.
func TestComposeEnvironment(t *testing.T) {
	s, err := load(t, Sources{Defaults: map[string]string{"node.id": "9"}, Environ: []string{
		"KAFKA_NODE_ID=1", "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT",
		"KAFKA_ADVERTISED_LISTENERS=PLAINTEXT_HOST://localhost:9092,PLAINTEXT://broker:19092", "KAFKA_PROCESS_ROLES=broker,controller",
		"KAFKA_CONTROLLER_QUORUM_VOTERS=1@broker:29093", "KAFKA_LISTENERS=CONTROLLER://:29093,PLAINTEXT_HOST://:9092,PLAINTEXT://:19092",
		"KAFKA_INTER_BROKER_LISTENER_NAME=PLAINTEXT", "KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER", "CLUSTER_ID=4L6g3nShT-eMCtK--X86sw",
		"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR=1", "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS=0", "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR=1",
		"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR=1", "KAFKA_LOG_DIRS=/tmp/kraft-combined-logs"}})
	if err != nil {
		t.Fatal(err)
	}
	b := s.Broker()
	if b.NodeID != 1 || len(b.Listeners) != 2 || len(b.Controllers) != 1 || len(b.Advertised) != 2 || b.InterBroker != "PLAINTEXT" ||
		b.ClusterID != "4L6g3nShT-eMCtK--X86sw" || b.LogDirs[0] != "/tmp/kraft-combined-logs" || len(s.Settings().Unknown()) != 0 {
		t.Errorf("got %+v", b)
	}
}
