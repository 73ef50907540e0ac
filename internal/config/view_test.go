package config

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestBrokerView: each setting reaches its field. A field that no setting reaches fails the test.
func TestBrokerView(t *testing.T) {
	s := open(t, "node.id=7", "broker.rack=r1", "log.dirs=/a, /b", "kbroker.http.listeners=:8080,127.0.0.1:9", "kbroker.cluster.id=MkU3OEVBNTcwNTJENDM2Qg",
		"socket.request.max.bytes=1001", "socket.listen.backlog.size=1002", "socket.send.buffer.bytes=1003", "socket.receive.buffer.bytes=-1",
		"connections.max.idle.ms=1004", "max.connections=1005", "max.connections.per.ip=1006", "max.connections.per.ip.overrides=10.0.0.1:5,[::1]:6",
		"max.connection.creation.rate=1007", "queued.max.request.bytes=1008", "fetch.max.bytes=1024", "quota.window.num=2", "quota.window.size.seconds=3",
		"controller.quota.window.num=4", "controller.quota.window.size.seconds=5", "max.incremental.fetch.session.cache.slots=1010",
		"max.request.partition.size.limit=1011", "auto.create.topics.enable=false", "num.partitions=12", "default.replication.factor=3",
		"delete.topic.enable=FALSE", "producer.id.expiration.ms=1013", "producer.id.expiration.check.interval.ms=1014",
		"log.retention.check.interval.ms=1015", "log.initial.task.delay.ms=1016", "log.flush.offset.checkpoint.interval.ms=1017",
		"log.flush.start.offset.checkpoint.interval.ms=1018", "replica.high.watermark.checkpoint.interval.ms=1019", "num.recovery.threads.per.data.dir=20",
		"log.cleaner.enable=true", "log.cleaner.backoff.ms=1021", "log.cleaner.threads=22", "log.cleaner.dedupe.buffer.size=67108864", "log.cleaner.io.max.bytes.per.second=1.5", "log.cleaner.io.buffer.load.factor=0.6", "log.cleaner.io.buffer.size=1048",
		"offsets.topic.num.partitions=24", "offsets.topic.replication.factor=25", "offsets.topic.segment.bytes=1048582", "offsets.retention.minutes=27",
		"offsets.retention.check.interval.ms=1028", "offset.metadata.max.bytes=1029", "group.initial.rebalance.delay.ms=1030", "group.min.session.timeout.ms=1031",
		"group.max.session.timeout.ms=1032", "group.max.size=1033", "kbroker.group.max.bytes=1048577",
		"offsets.topic.compression.codec=4", "offsets.load.buffer.size=1040", "offsets.commit.timeout.ms=1041", "group.coordinator.rebalance.protocols=classic",
		"group.coordinator.append.linger.ms=42", "group.coordinator.cached.buffer.max.bytes=524288", "group.consumer.assignors=range",
		"group.consumer.max.size=43", "group.consumer.migration.policy=Upgrade", "group.consumer.regex.refresh.interval.ms=10044",
		"group.consumer.session.timeout.ms=1046", "group.consumer.min.session.timeout.ms=1045", "group.consumer.max.session.timeout.ms=1047",
		"group.consumer.heartbeat.interval.ms=49", "group.consumer.min.heartbeat.interval.ms=48", "group.consumer.max.heartbeat.interval.ms=50",
		"group.consumer.assignment.interval.ms=52", "group.consumer.min.assignment.interval.ms=51", "group.consumer.max.assignment.interval.ms=53", "transaction.state.log.num.partitions=34", "transaction.state.log.replication.factor=35",
		"transaction.state.log.segment.bytes=1036", "transaction.max.timeout.ms=1037", "transactional.id.expiration.ms=1038",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms=1039", "transaction.partition.verification.enable=true",
		"listeners=PLAINTEXT://h:1,CONTROLLER://h:2", "controller.listener.names=CONTROLLER", "advertised.listeners=PLAINTEXT://w:3")
	got := *s.Broker()
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	want := Broker{
		NodeID: 7, Rack: "r1", ClusterID: "MkU3OEVBNTcwNTJENDM2Qg", LogDirs: []string{"/a", "/b"}, HTTP: []string{":8080", "127.0.0.1:9"},
		Listeners:   []Listener{{"PLAINTEXT", "h", 1, Plaintext}},
		Controllers: []Listener{{"CONTROLLER", "h", 2, Plaintext}},
		Advertised:  []Endpoint{{"PLAINTEXT", "w", 3}}, InterBroker: "PLAINTEXT",
		Network: Network{MaxRequestBytes: 1001, Backlog: 1002, SendBufferBytes: 1003, ReceiveBufferBytes: -1, Idle: ms(1004), MaxConnections: 1005,
			MaxPerIP: 1006, PerIP: map[string]int{"10.0.0.1": 5, "::1": 6}, AcceptRate: 1007, QueuedBytes: 1008},
		Limits:    Limits{FetchMaxBytes: 1024, FetchSessions: 1010, PartitionsPerResponse: 1011},
		Quotas:    Quotas{2, 3 * time.Second, 4, 5 * time.Second},
		Topics:    TopicDefaults{Partitions: 12, ReplicationFactor: 3},
		Producers: Producers{ms(1013), ms(1014)},
		Log: LogDefaults{RetentionCheck: ms(1015), InitialTaskDelay: ms(1016), CheckpointHW: ms(1019),
			RecoveryThreads: 20, CleanerEnabled: true, CleanerBackoff: ms(1021), CleanerThreads: 22, CleanerDedupeBytes: 67108864, CleanerLoadFactor: 0.6, CleanerBufferBytes: 1048, CleanerBytesPerSecond: 1.5},
		Groups: Groups{OffsetsPartitions: 24, OffsetsReplicationFactor: 25, OffsetsSegmentBytes: 1048582, OffsetsCompression: CompressionZstd,
			OffsetsRetention: 27 * time.Minute, OffsetsRetentionCheck: ms(1028), OffsetsLoadBytes: 1040, CommitTimeout: ms(1041),
			OffsetMetadataMaxBytes: 1029, Protocols: []string{"classic"}, AppendLinger: ms(42), CachedBufferBytes: 524288,
			InitialRebalanceDelay: ms(1030), MinSessionTimeout: ms(1031), MaxSessionTimeout: ms(1032), MaxSize: 1033, MaxBytes: 1048577,
			Consumer: ConsumerGroups{Assignors: []string{"range"}, MaxSize: 43, Migration: MigrateUp, RegexRefresh: ms(10044),
				GroupTiming:       GroupTiming{ms(1046), ms(49), ms(52)},
				MinSessionTimeout: ms(1045), MaxSessionTimeout: ms(1047), MinHeartbeatInterval: ms(48), MaxHeartbeatInterval: ms(50),
				MinAssignmentInterval: ms(51), MaxAssignmentInterval: ms(53)}},
		Transaction: Transaction{StatePartitions: 34, StateReplicationFactor: 35, StateSegmentBytes: 1036, MaxTimeoutMillis: 1037, IDExpiration: ms(1038),
			AbortTimedOutInterval: ms(1039), Verification: true},
		Topic: got.Topic,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	d := open(t).Broker()
	if d.Network.MaxConnections != math.MaxInt32 || d.Network.Idle != 10*time.Minute || len(d.LogDirs) != 1 || d.LogDirs[0] != "/tmp/kafka-logs" || !d.Topics.Delete {
		t.Errorf("by default: %+v", d)
	}
	if d := open(t, "connections.max.idle.ms=-1", "queued.max.request.bytes=-1").Broker(); d.Network.Idle != math.MaxInt64 || d.Network.QueuedBytes != 0 {
		t.Errorf("no limits are %+v", d.Network)
	}
}

// TestTopicView: each setting of a topic reaches its field, from the topic, from the broker's setting, and from its
// older names in other units (rule 7.7.3).
func TestTopicView(t *testing.T) {
	for _, c := range []struct {
		key, raw string
		want     func(*Topic)
	}{
		{"cleanup.policy", "compact", func(x *Topic) { x.CleanupCompact, x.CleanupDelete = true, false }},
		{"cleanup.policy", "", func(x *Topic) { x.CleanupDelete = false }},
		{"retention.ms", "5", func(x *Topic) { x.RetentionMillis = 5 }},
		{"retention.bytes", "6", func(x *Topic) { x.RetentionBytes = 6 }},
		{"segment.bytes", "1048577", func(x *Topic) { x.SegmentBytes = 1048577 }},
		{"segment.ms", "7", func(x *Topic) { x.SegmentMillis = 7 }},
		{"segment.jitter.ms", "8", func(x *Topic) { x.SegmentJitterMillis = 8 }},
		{"segment.index.bytes", "9", func(x *Topic) { x.SegmentIndexBytes = 9 }},
		{"index.interval.bytes", "10", func(x *Topic) { x.IndexIntervalBytes = 10 }},
		{"file.delete.delay.ms", "11", func(x *Topic) { x.FileDeleteMillis = 11 }},
		{"preallocate", "true", func(x *Topic) { x.Preallocate = true }},
		{"max.message.bytes", "12", func(x *Topic) { x.MaxMessageBytes = 12 }},
		{"compression.type", "uncompressed", func(x *Topic) { x.Compression = CompressionUncompressed }},
		{"compression.type", "gzip", func(x *Topic) { x.Compression = CompressionGzip }},
		{"compression.type", "snappy", func(x *Topic) { x.Compression = CompressionSnappy }},
		{"compression.type", "lz4", func(x *Topic) { x.Compression = CompressionLz4 }},
		{"compression.type", "zstd", func(x *Topic) { x.Compression = CompressionZstd }},
		{"compression.gzip.level", "1", func(x *Topic) { x.GzipLevel = 1 }},
		{"compression.lz4.level", "2", func(x *Topic) { x.Lz4Level = 2 }},
		{"compression.zstd.level", "-3", func(x *Topic) { x.ZstdLevel = -3 }},
		{"message.timestamp.type", "LogAppendTime", func(x *Topic) { x.LogAppendTime = true }},
		{"message.timestamp.before.max.ms", "13", func(x *Topic) { x.TimestampBeforeMillis = 13 }},
		{"message.timestamp.after.max.ms", "14", func(x *Topic) { x.TimestampAfterMillis = 14 }},
		{"min.insync.replicas", "15", func(x *Topic) { x.MinInsyncReplicas = 15 }},
		{"unclean.leader.election.enable", "true", func(x *Topic) { x.UncleanLeaderElection = true }},
		{"min.cleanable.dirty.ratio", "0.25", func(x *Topic) { x.MinCleanableDirtyRatio = 0.25 }},
		{"min.compaction.lag.ms", "16", func(x *Topic) { x.MinCompactionLagMillis = 16 }},
		{"max.compaction.lag.ms", "17", func(x *Topic) { x.MaxCompactionLagMillis = 17 }},
		{"delete.retention.ms", "18", func(x *Topic) { x.DeleteRetentionMillis = 18 }},
		{"flush.messages", "19", func(x *Topic) { x.FlushMessages = 19 }},
		{"flush.ms", "20", func(x *Topic) { x.FlushMillis = 20 }},
		{"kbroker.durability", "replicated", func(x *Topic) { x.Durability = Replicated }},
	} {
		s := open(t)
		want := s.Topic(nil)
		c.want(&want)
		if got := s.Topic(map[string]string{c.key: c.raw}); got != want {
			t.Errorf("%s=%s: got %+v, want %+v", c.key, c.raw, got, want)
		}
		synonyms := TopicKeys.Key(c.key).Synonyms
		for _, syn := range synonyms {
			if syn.Scale != 1 {
				continue
			}
			if got := open(t, syn.Name+"="+c.raw).Topic(nil); got != want {
				t.Errorf("%s=%s: got %+v, want %+v", syn.Name, c.raw, got, want)
			}
		}
	}
	for options, want := range map[string]string{
		"":                         "604800000 604800000 0",
		"log.retention.hours=2":    "7200000 604800000 0",
		"log.retention.minutes=-1": "-1 604800000 0",
		"log.retention.hours=2,log.retention.minutes=3":                               "180000 604800000 0",
		"log.retention.hours=2,log.retention.minutes=3,log.retention.ms=4":            "4 604800000 0",
		"log.roll.hours=1,log.roll.jitter.hours=2":                                    "604800000 3600000 7200000",
		"log.roll.hours=1,log.roll.ms=5,log.roll.jitter.hours=2,log.roll.jitter.ms=6": "604800000 5 6",
	} {
		x := open(t, strings.FieldsFunc(options, func(r rune) bool { return r == ',' })...).Topic(nil)
		if got := fmt.Sprint(x.RetentionMillis, x.SegmentMillis, x.SegmentJitterMillis); got != want {
			t.Errorf("%s: got %s, want %s", options, got, want)
		}
	}
	if x := open(t).Topic(map[string]string{"internal.segment.bytes": "1000", "segment.bytes": "2000000"}); x.SegmentBytes != 1000 {
		t.Errorf("internal.segment.bytes gives %d", x.SegmentBytes)
	}
}

func TestListeners(t *testing.T) {
	s := open(t, "process.roles=broker,controller", "node.id=1", "controller.quorum.voters=1@localhost:9093",
		"listeners=internal://127.0.0.1:9092,EXTERNAL://[::1]:9092,CONTROLLER://:9093", "controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=INTERNAL:PLAINTEXT,external:plaintext,CONTROLLER:SSL",
		"advertised.listeners=EXTERNAL://example.invalid:19092,CONTROLLER://x:1", "inter.broker.listener.name=INTERNAL")
	b := s.Broker()
	got := fmt.Sprint(b.Listeners, b.Controllers, b.Advertised, b.InterBroker, " ", b.Listeners[1].Addr(), " ", b.Controllers[0].Addr())
	want := "[{INTERNAL 127.0.0.1 9092 PLAINTEXT} {EXTERNAL ::1 9092 PLAINTEXT}] [{CONTROLLER  9093 SSL}] [{EXTERNAL example.invalid 19092}]INTERNAL [::1]:9092 :9093"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if b := open(t, "listeners=A://h:1,B://h:0,C://h:0", "listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT,C:PLAINTEXT",
		"security.inter.broker.protocol=PLAINTEXT").Broker(); b.InterBroker != "A" {
		t.Errorf("the inter-broker listener is %s", b.InterBroker)
	}
	if l := open(t, "listeners=PLAINTEXT://fe80::1%eth0:9092", "advertised.listeners=PLAINTEXT://::1:9092").Broker(); l.Listeners[0].Host != "fe80::1%eth0" || l.Advertised[0].Host != "::1" {
		t.Errorf("without brackets: %v, %v", l.Listeners, l.Advertised)
	}
	for _, c := range []struct{ options, want string }{
		{"listeners=localhost:9092", `-o: listeners: "localhost:9092" is not NAME://HOST:PORT, such as PLAINTEXT://localhost:9092`},
		{"listeners=PLAINTEXT://localhost", `-o: listeners: "PLAINTEXT://localhost" is not NAME://HOST:PORT, such as PLAINTEXT://localhost:9092`},
		{"listeners=PLAINTEXT://h:70000", `-o: listeners: "PLAINTEXT://h:70000" has the port "70000"; allowed: 0 to 65535`},
		{"listeners=PLAINTEXT://h:1;PLAINTEXT://h:2", `-o: listeners: "PLAINTEXT://h:1;PLAINTEXT://h:2" is not NAME://HOST:PORT, such as PLAINTEXT://localhost:9092`},
		{"listeners=PLAINTEXT://h:1,PLAINTEXT://h:2", "-o: listeners: PLAINTEXT is there twice; give each listener its own name"},
		{"listeners=PLAINTEXT://h:1,SSL://h:1", "-o: listeners: PLAINTEXT and SSL have the same port 1"},
		{"listeners=SSL://h:1", "-o: listeners: SSL speaks SSL, and this release has only PLAINTEXT; change it in listener.security.protocol.map"},
		{"listeners=X://h:1", "-o: listeners: nothing says what X speaks; add X:PLAINTEXT to listener.security.protocol.map"},
		{"listeners=CONTROLLER://h:1 controller.listener.names=CONTROLLER", `-o: listeners: "CONTROLLER://h:1" has no listener for clients; add one such as PLAINTEXT://:9092`},
		{"listener.security.protocol.map=X:TLS", `-o: listener.security.protocol.map: "X:TLS" is not NAME:PROTOCOL; the protocols are PLAINTEXT, SASL_PLAINTEXT, SASL_SSL, SSL`},
		{"listener.security.protocol.map=X:SSL,X:SSL", "-o: listener.security.protocol.map: X is there twice"},
		{"advertised.listeners=PLAINTEXT://0.0.0.0:9092", "-o: advertised.listeners: PLAINTEXT://0.0.0.0:9092 is no address that a client can reach; name this machine as clients see it"},
		{"advertised.listeners=X://h:9092", `-o: advertised.listeners: X is not one of the listeners in "PLAINTEXT://:9092"`},
		{"advertised.listeners=PLAINTEXT://h:1,PLAINTEXT://h:2", "-o: advertised.listeners: PLAINTEXT is there twice"},
		{"inter.broker.listener.name=X", `-o: inter.broker.listener.name: X is not one of the listeners for clients in "PLAINTEXT://:9092"`},
		{"security.inter.broker.protocol=SSL", `-o: security.inter.broker.protocol: no listener in "PLAINTEXT://:9092" speaks SSL`},
		{"inter.broker.listener.name=PLAINTEXT security.inter.broker.protocol=PLAINTEXT", "-o: inter.broker.listener.name: is set, and so is security.inter.broker.protocol; leave one of them out"},
	} {
		_, err := load(t, Sources{Options: strings.Fields(c.options)})
		if err == nil || err.Error() != c.want {
			t.Errorf("%s:\n got %v\nwant %s", c.options, err, c.want)
		}
	}
}
