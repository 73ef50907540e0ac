package config

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// alterations reads "NAME OP VALUE" lines; <nil> is a null value.
func alterations(t *testing.T, text string) []Alteration {
	t.Helper()
	ops := map[string]Op{"SET": Set, "DELETE": Delete, "APPEND": Append, "SUBTRACT": Subtract, "9": 9}
	var all []Alteration
	for _, line := range strings.Split(text, ";") {
		f := strings.SplitN(strings.TrimLeft(line, " "), " ", 3)
		op, ok := ops[f[1]]
		if !ok {
			t.Fatalf("%q has no operation", line)
		}
		a := Alteration{Name: f[0], Op: op}
		if len(f) == 3 && f[2] != "<nil>" {
			a.Value = &f[2]
		}
		all = append(all, a)
	}
	return all
}

// outcome is the overrides after alterations, or the Kafka error.
func outcome(now map[string]string, all []Alteration, alter func(map[string]string, []Alteration) (Changes, error)) string {
	err := CheckAlterations(all)
	var changes Changes
	if err == nil {
		changes, err = alter(now, all)
	}
	if err != nil {
		var k *kerr.Error
		if !errors.As(err, &k) || err.Error() == "" {
			return "not a Kafka error: " + err.Error()
		}
		return k.Message
	}
	after := changes.applied(now)
	var out []string
	for _, name := range slices.Sorted(maps.Keys(after)) {
		out = append(out, name+"="+after[name])
	}
	return strings.Join(out, " ")
}

// TestAlterTopic (T108): the answers are those of Kafka 4.3.1, each seen there, but for operation 9, which failed there
// with UNKNOWN_SERVER_ERROR.
func TestAlterTopic(t *testing.T) {
	s := open(t)
	for _, c := range []struct {
		now, alterations, want string
	}{
		{"", "cleanup.policy APPEND compact", "cleanup.policy=delete,compact"},
		{"cleanup.policy=delete,compact", "cleanup.policy APPEND compact", "cleanup.policy=delete,compact"},
		{"cleanup.policy=delete,compact", "cleanup.policy SUBTRACT delete", "cleanup.policy=compact"},
		{"cleanup.policy=compact", "cleanup.policy SUBTRACT compact", "cleanup.policy="},
		{"cleanup.policy=", "cleanup.policy APPEND bogus", "INVALID_CONFIG"},
		{"cleanup.policy=", "cleanup.policy SUBTRACT bogus", "cleanup.policy="},
		{"", "cleanup.policy APPEND <nil>", "INVALID_REQUEST"},
		{"", "retention.ms APPEND 1", "INVALID_CONFIG"},
		{"", "retention.ms SUBTRACT 1", "INVALID_CONFIG"},
		{"", "retention.ms SET <nil>", "INVALID_REQUEST"},
		{"", "retention.ms SET x", "INVALID_CONFIG"},
		{"", "retention.ms SET -2", "INVALID_CONFIG"},
		{"", "retention.ms SET ", "INVALID_CONFIG"},
		{"", "retention.ms SET  77 ", "retention.ms= 77 "},
		{"", "bogus SET 1", "INVALID_CONFIG"},
		{"", "bogus DELETE", ""},
		{"", "bogus APPEND x", "INVALID_CONFIG"},
		{"retention.ms=5", "retention.ms DELETE 7", ""},
		{"", "retention.ms 9 1", "INVALID_REQUEST"},
		{"", "retention.ms SET 1; retention.ms SET 2", "INVALID_REQUEST"},
		{"", "retention.ms SET 5; segment.ms SET x", "INVALID_CONFIG"},
		{"", "min.compaction.lag.ms SET 100; max.compaction.lag.ms SET 50", "INVALID_CONFIG"},
		{"", "remote.storage.enable SET true", "INVALID_CONFIG"},
		{"", "remote.storage.enable SET false", "remote.storage.enable=false"},
		{"", "local.retention.ms SET 999999999999", "local.retention.ms=999999999999"},
		{"", "compression.type SET GZIP", "INVALID_CONFIG"},
		{"", "compression.type SET  gzip ", "compression.type= gzip "},
		{"", "message.timestamp.type SET createtime", "INVALID_CONFIG"},
		{"", "preallocate SET TRUE", "preallocate=TRUE"},
		{"", "preallocate SET yes", "INVALID_CONFIG"},
		{"", "leader.replication.throttled.replicas SET 0:1,1:2", "leader.replication.throttled.replicas=0:1,1:2"},
		{"", "leader.replication.throttled.replicas SET *", "leader.replication.throttled.replicas=*"},
		{"", "leader.replication.throttled.replicas SET x", "INVALID_CONFIG"},
		{"leader.replication.throttled.replicas=*", "leader.replication.throttled.replicas APPEND 0:2", "INVALID_CONFIG"},
		{"", "compression.gzip.level SET 0", "INVALID_CONFIG"},
		{"", "compression.gzip.level SET 10", "INVALID_CONFIG"},
		{"", "internal.segment.bytes SET 1000", "internal.segment.bytes=1000"},
		{"", "segment.bytes SET 5", "INVALID_CONFIG"},
		{"", "cleanup.policy SET delete,delete", "cleanup.policy=delete,delete"},
		{"", "cleanup.policy SET delete,", "INVALID_CONFIG"},
		{"", "cleanup.policy SET ,", "INVALID_CONFIG"},
		{"", "cleanup.policy APPEND compact,,", "cleanup.policy=delete,compact"},
		{"", "cleanup.policy APPEND ,", "cleanup.policy=delete"},
		{"", "cleanup.policy APPEND compact,,delete", "INVALID_CONFIG"},
		{"", "cleanup.policy SET none", "INVALID_CONFIG"},
		{"", "message.format.version SET 2.0", "INVALID_CONFIG"},
		{"", "kbroker.durability SET replicated", "kbroker.durability=replicated"},
	} {
		now := map[string]string{}
		if name, v, ok := strings.Cut(c.now, "="); ok {
			now[name] = v
		}
		if got := outcome(now, alterations(t, c.alterations), s.AlterTopic); got != c.want {
			t.Errorf("{%s} %s: got %s, want %s", c.now, c.alterations, got, c.want)
		}
	}
}

// TestReplace: AlterConfigs resets what it does not name (rule 7.7.7).
func TestReplace(t *testing.T) {
	now := map[string]string{"retention.ms": "5", "segment.ms": "6"}
	got := outcome(now, Replace(now, alterations(t, "retention.ms SET 7; preallocate SET true")), open(t).AlterTopic)
	if got != "preallocate=true retention.ms=7" {
		t.Errorf("got %s", got)
	}
}

// TestAlterBroker: the answers are those of Kafka 4.3.1, but for keys that begin with kbroker.
func TestAlterBroker(t *testing.T) {
	for _, c := range []struct {
		alterations, broker, cluster string // cluster "": as broker
	}{
		{"log.retention.ms SET 1234567", "log.retention.ms=1234567", ""},
		{"log.retention.hours SET 1", "INVALID_REQUEST", ""},
		{"log.retention.ms SET x", "INVALID_REQUEST", ""},
		{"log.retention.ms SET -5", "log.retention.ms=-5", ""},
		{"log.cleaner.threads SET -5", "INVALID_REQUEST", ""},
		{"bogus SET 5", "bogus=5", ""},
		{"bogus APPEND 5", "INVALID_CONFIG", ""},
		{"kbroker.bogus SET 5", "INVALID_CONFIG", ""},
		{"kbroker.durability SET replicated", "kbroker.durability=replicated", ""},
		{"ssl.keystore.type SET PKCS12", "INVALID_REQUEST", ""},
		{"listener.name.plaintext.ssl.keystore.type SET PKCS12", "listener.name.plaintext.ssl.keystore.type=PKCS12", "INVALID_REQUEST"},
		{"listener.name.plaintext.max.connections SET 500", "listener.name.plaintext.max.connections=500", ""},
		{"leader.replication.throttled.rate SET 1000", "leader.replication.throttled.rate=1000", ""},
		{"num.io.threads SET 9", "num.io.threads=9", ""},
		{"num.io.threads SET 900", "INVALID_REQUEST", ""},
		{"num.io.threads SET 3", "INVALID_REQUEST", ""},
		{"log.cleaner.threads SET 0", "INVALID_REQUEST", ""},
		{"max.connections SET 0", "INVALID_REQUEST", ""},
		{"max.connection.creation.rate SET 0", "INVALID_REQUEST", ""},
		{"max.connections.per.ip SET 0", "INVALID_REQUEST", ""},
		{"max.connections.per.ip SET 0; max.connections.per.ip.overrides SET 127.0.0.1:5", "max.connections.per.ip=0 max.connections.per.ip.overrides=127.0.0.1:5", ""},
		{"log.retention.ms SET 0", "INVALID_REQUEST", ""},
		{"log.roll.ms SET 0", "INVALID_REQUEST", ""},
		{"log.roll.jitter.ms SET -1", "INVALID_REQUEST", ""},
		{"log.message.timestamp.type SET  LogAppendTime ", "log.message.timestamp.type= LogAppendTime ", ""},
		{"log.cleanup.policy APPEND compact", "log.cleanup.policy=delete,compact", ""},
		{"message.max.bytes APPEND 2000000", "INVALID_CONFIG", ""},
		{"message.max.bytes SET <nil>", "INVALID_REQUEST", ""},
		{"node.id SET 4", "INVALID_REQUEST", ""},
		{"advertised.listeners SET PLAINTEXT://h:9092", "INVALID_REQUEST", ""},
		{"listeners SET PLAINTEXT://:9093", "INVALID_REQUEST", ""},
		{"listeners SET PLAINTEXT://:9092", "listeners=PLAINTEXT://:9092", "INVALID_REQUEST"},
		{"max.connections.per.ip.overrides SET localhost:x", "INVALID_REQUEST", ""},
		{"max.connections.per.ip.overrides SET 127.0.0.1:5", "max.connections.per.ip.overrides=127.0.0.1:5", ""},
		{"log.cleaner.dedupe.buffer.size SET 5", "INVALID_REQUEST", ""},
		{"log.cleaner.dedupe.buffer.size SET 1048576", "INVALID_REQUEST", ""},
		{"log.cleaner.dedupe.buffer.size SET 1048577", "log.cleaner.dedupe.buffer.size=1048577", ""},
		{"log.segment.bytes SET 5", "INVALID_REQUEST", ""},
		{"metric.reporters SET com.X", "INVALID_REQUEST", ""},
		{"log.cleaner.min.compaction.lag.ms SET 500; log.cleaner.max.compaction.lag.ms SET 50", "log.cleaner.max.compaction.lag.ms=50 log.cleaner.min.compaction.lag.ms=500", ""},
	} {
		for _, cluster := range []bool{false, true} {
			s := open(t)
			got := outcome(nil, alterations(t, c.alterations), func(now map[string]string, all []Alteration) (Changes, error) {
				return s.AlterBroker(cluster, now, all)
			})
			want := c.broker
			if cluster && c.cluster != "" {
				want = c.cluster
			}
			if got != want {
				t.Errorf("%s, of all brokers %v: got %s, want %s", c.alterations, cluster, got, want)
			}
		}
	}
}

func TestAlterGroup(t *testing.T) {
	for text, want := range map[string]string{
		"consumer.session.timeout.ms SET 50000":    "consumer.session.timeout.ms=50000",
		"consumer.session.timeout.ms SET 1":        "INVALID_CONFIG",
		"consumer.session.timeout.ms SET x":        "INVALID_CONFIG",
		"consumer.heartbeat.interval.ms SET 60000": "INVALID_CONFIG",
		"bogus SET x":                      "INVALID_CONFIG",
		"bogus DELETE":                     "",
		"bogus APPEND x":                   "INVALID_CONFIG",
		"share.auto.offset.reset APPEND x": "INVALID_CONFIG",
		"share.auto.offset.reset SET by_duration:PT1H":     "share.auto.offset.reset=by_duration:PT1H",
		"share.auto.offset.reset SET by_duration:P1DT2.5S": "share.auto.offset.reset=by_duration:P1DT2.5S",
		"share.auto.offset.reset SET by_duration:P":        "INVALID_CONFIG",
		"share.auto.offset.reset SET by_duration:x":        "INVALID_CONFIG",
	} {
		if got := outcome(nil, alterations(t, text), open(t).AlterGroup); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestAlterClientMetrics(t *testing.T) {
	for text, want := range map[string]string{
		"interval.ms SET 50000":          "interval.ms=50000",
		"interval.ms SET 5":              "INVALID_REQUEST",
		"interval.ms SET x":              "INVALID_CONFIG",
		"bogus SET x":                    "INVALID_REQUEST",
		"bogus DELETE":                   "",
		"match SET client_id=x":          "match=client_id=x",
		"match SET client_id=[":          "INVALID_CONFIG",
		"match SET foo=x":                "INVALID_CONFIG",
		"match SET client_id":            "INVALID_CONFIG",
		"match SET client_id=a, foo = b": "INVALID_CONFIG",
		"metrics APPEND a.b":             "INVALID_CONFIG",
		"metrics SET ":                   "metrics=",
	} {
		if got := outcome(nil, alterations(t, text), open(t).AlterClientMetrics); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// TestUpdateLeavesOutWhatItCannotUse: a dynamic value that another version of kbroker let pass does not stop this one.
func TestUpdateLeavesOutWhatItCannotUse(t *testing.T) {
	s := open(t)
	changed, err := s.Update(map[string]string{"message.max.bytes": "x", "log.segment.bytes": "2000000"}, nil)
	if err == nil || err.Error() != `dynamic setting left out: message.max.bytes: "x" is not a whole number; allowed: at least 0` {
		t.Errorf("the error is %v", err)
	}
	if b := s.Broker(); b.Topic.SegmentBytes != 2000000 || b.Topic.MaxMessageBytes != 1048588 || fmt.Sprint(changed) != "[log.segment.bytes]" {
		t.Errorf("got %+v, changed %v", b.Topic, changed)
	}
}

func TestLoggers(t *testing.T) {
	var out bytes.Buffer
	l := NewLoggers(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug - 4, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}), slog.LevelInfo)
	wire := l.Logger("wire").With("a", 1).WithGroup("g")
	wire.Debug("not said")
	alter := func(text string, validateOnly bool) string {
		return outcome(nil, alterations(t, text), func(_ map[string]string, all []Alteration) (Changes, error) {
			return nil, l.Alter(all, validateOnly)
		})
	}
	for text, want := range map[string]string{
		"wire SET debug": "INVALID_CONFIG", "wire SET LOUD": "INVALID_CONFIG", "none SET DEBUG": "INVALID_CONFIG", "none DELETE": "INVALID_CONFIG",
		"wire APPEND DEBUG": "INVALID_REQUEST", "root DELETE": "INVALID_REQUEST", "wire SET <nil>": "INVALID_REQUEST",
		"root SET ERROR; none SET DEBUG": "INVALID_CONFIG",
	} {
		if got := alter(text, false); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	alter("wire SET ERROR", true)
	if got := describe(l.Describe(nil)); got != "root=INFO 6\nwire=INFO 6\n" {
		t.Errorf("levels are\n%s", got)
	}
	alter("wire SET DEBUG; root SET WARN", false)
	wire.Debug("said", "b", 2)
	l.Logger("log").Info("not said")
	if got := describe(l.Describe(nil)); got != "log=WARN 6\nroot=WARN 6\nwire=DEBUG 6\n" {
		t.Errorf("levels are\n%s", got)
	}
	alter("wire DELETE", false)
	wire.Info("not said")
	if got := out.String(); got != "level=DEBUG msg=said logger=wire a=1 g.b=2\n" {
		t.Errorf("the log is %q", got)
	}
}
