package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// client connects to a node with a client that does not retry.
func (p *process) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(p.bootstrap), kgo.RequestRetries(0), kgo.RecordRetries(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(0)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// topicTest is a topic on a node, with one setting, from the topic itself or from the broker.
type topicTest struct {
	*testing.T
	node  *process
	cl    *kgo.Client
	topic string
}

// produce writes one batch and returns its error.
func (x *topicTest) produce(values ...string) error {
	var records []*kgo.Record
	for _, v := range values {
		records = append(records, &kgo.Record{Topic: x.topic, Value: []byte(v)})
	}
	return x.cl.ProduceSync(x.Context(), records...).FirstErr()
}

// produceAt writes one record with a time.
func (x *topicTest) produceAt(at time.Time) error {
	return x.cl.ProduceSync(x.Context(), &kgo.Record{Topic: x.topic, Value: []byte("v"), Timestamp: at}).FirstErr()
}

// must fails the test where a batch is refused.
func (x *topicTest) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// refused fails the test where an error is not the one that is wanted.
func (x *topicTest) refused(err error, want *kerr.Error) {
	x.Helper()
	if !errors.Is(err, want) {
		x.Errorf("the error is %v, want %v", err, want)
	}
}

// files returns the files of the topic's only partition that end in suffix.
func (x *topicTest) files(suffix string) []string {
	x.Helper()
	files, err := filepath.Glob(filepath.Join(x.node.shell.dir, "data", x.topic+"-0", "*"+suffix))
	if err != nil {
		x.Fatal(err)
	}
	return files
}

func (x *topicTest) size(suffix string) (sum int64) {
	for _, f := range x.files(suffix) {
		if info, err := os.Stat(f); err == nil {
			sum += info.Size()
		}
	}
	return sum
}

// text is some that compresses, more or less well by level.
func text(n int) string {
	words := strings.Fields("the quick brown fox jumps over lazy dogs while brokers append records to logs and followers fetch them")
	r, b := rand.New(rand.NewPCG(1, 2)), strings.Builder{}
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))] + strconv.Itoa(r.IntN(50)) + " ")
	}
	return b.String()
}

// compressedSize is the size of a text that the broker compressed with a codec.
func (x *topicTest) compressedSize(codec string) int64 {
	x.must(x.produce(text(200_000)))
	if out := x.node.shell.run("kbroker log dump " + x.files(".log")[0]); !strings.Contains(out, "compresscodec: "+codec) {
		x.Errorf("it is not compressed with %s: %s", codec, out)
	}
	return x.size(".log")
}

// compresses checks that the size at one level is not that at another one.
func compresses(codec string, otherSize *int64) func(*topicTest) {
	return func(x *topicTest) {
		size := x.compressedSize(codec)
		if *otherSize == 0 {
			*otherSize = size
		} else if size == *otherSize {
			x.Errorf("the level changes nothing: %d bytes", size)
		}
	}
}

// topicSettings are what each setting of a topic changes, as a client or the files show it. Where broker is not empty it
// is the broker's setting for all topics, and the same is seen with it.
func topicSettings() []struct {
	settings, broker string
	check            func(*topicTest)
} {
	var gzip, lz4, zstd int64
	return []struct {
		settings, broker string
		check            func(*topicTest)
	}{
		{"max.message.bytes=1000", "message.max.bytes=1000", func(x *topicTest) {
			x.must(x.produce("small"))
			x.refused(x.produce(text(2000)), kerr.MessageTooLarge)
		}},
		{"compression.type=snappy", "compression.type=snappy", func(x *topicTest) { x.compressedSize("snappy") }},
		{"compression.type=gzip compression.gzip.level=1", "", compresses("gzip", &gzip)},
		{"compression.type=gzip compression.gzip.level=9", "compression.type=gzip compression.gzip.level=9", compresses("gzip", &gzip)},
		{"compression.type=lz4 compression.lz4.level=1", "", compresses("lz4", &lz4)},
		{"compression.type=lz4 compression.lz4.level=9", "compression.type=lz4 compression.lz4.level=9", compresses("lz4", &lz4)},
		{"compression.type=zstd compression.zstd.level=1", "", compresses("zstd", &zstd)},
		{"compression.type=zstd compression.zstd.level=19", "compression.type=zstd compression.zstd.level=19", compresses("zstd", &zstd)},
		{"message.timestamp.type=LogAppendTime", "log.message.timestamp.type=LogAppendTime", func(x *topicTest) {
			x.must(x.produceAt(time.UnixMilli(7)))
			if out := x.node.shell.run("kbroker consume -n 1 -f %d " + x.topic); out == "7" {
				x.Error("the record keeps its own time")
			}
		}},
		{"message.timestamp.after.max.ms=1000", "log.message.timestamp.after.max.ms=1000", func(x *topicTest) {
			x.refused(x.produceAt(time.Now().Add(time.Minute)), kerr.InvalidTimestamp)
		}},
		{"message.timestamp.before.max.ms=1000", "log.message.timestamp.before.max.ms=1000", func(x *topicTest) {
			x.refused(x.produceAt(time.Now().Add(-time.Minute)), kerr.InvalidTimestamp)
		}},
		{"segment.bytes=1048576", "log.segment.bytes=1048576", func(x *topicTest) {
			for range 3 {
				x.must(x.produce(text(600_000)))
			}
			if n := len(x.files(".log")); n != 3 {
				x.Errorf("there are %d segments", n)
			}
		}},
		{"internal.segment.bytes=1000", "", func(x *topicTest) {
			x.must(x.produce(text(800)))
			x.must(x.produce(text(800)))
			if n := len(x.files(".log")); n != 2 {
				x.Errorf("there are %d segments", n)
			}
		}},
		{"segment.ms=1000", "log.roll.ms=1000", func(x *topicTest) {
			x.must(x.produceAt(time.Now().Add(-time.Minute)))
			x.must(x.produceAt(time.Now()))
			if n := len(x.files(".log")); n != 2 {
				x.Errorf("there are %d segments", n)
			}
		}},
		{"index.interval.bytes=1 segment.index.bytes=36", "log.index.interval.bytes=1 log.index.size.max.bytes=36", func(x *topicTest) {
			for range 9 {
				x.must(x.produce("v"))
			}
			if n, entries := len(x.files(".log")), x.size(".index"); n < 2 || entries == 0 {
				x.Errorf("there are %d segments and %d bytes of index", n, entries)
			}
		}},
		{"file.delete.delay.ms=0", "log.segment.delete.delay.ms=0", func(x *topicTest) {
			x.must(x.produce("v"))
			if _, err := kadm.NewClient(x.cl).DeleteTopics(x.Context(), x.topic); err != nil {
				x.Fatal(err)
			}
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
				left, _ := filepath.Glob(filepath.Join(x.node.shell.dir, "data", x.topic+"-0*"))
				if len(left) == 0 {
					return
				}
				if time.Now().After(deadline) {
					x.Fatalf("after 10 s there is still %v", left)
				}
			}
		}},
	}
}

// pairs reads "KEY=VALUE KEY=VALUE".
func pairs(settings string) (configs map[string]*string, alterations []kadm.AlterConfig) {
	configs = map[string]*string{}
	for _, s := range strings.Fields(settings) {
		name, value, _ := strings.Cut(s, "=")
		configs[name] = &value
		alterations = append(alterations, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	return configs, alterations
}

// TestTopicSettings: every setting of a topic changes what it says, set at the topic and set for all topics.
func TestTopicSettings(t *testing.T) {
	n := startNode(t)
	cl := n.client(t)
	admin := kadm.NewClient(cl)
	for i, c := range topicSettings() {
		x := &topicTest{node: n, cl: cl}
		create := func(t *testing.T, configs map[string]*string) {
			x.T, x.topic = t, fmt.Sprintf("t%d%t", i, configs == nil)
			if _, err := admin.CreateTopic(t.Context(), 1, 1, configs, x.topic); err != nil {
				t.Fatal(err)
			}
			c.check(x)
		}
		t.Run(c.settings, func(t *testing.T) {
			configs, _ := pairs(c.settings)
			create(t, configs)
		})
		if c.broker == "" {
			continue
		}
		t.Run("all topics "+c.broker, func(t *testing.T) {
			_, alterations := pairs(c.broker)
			alter := func(op kadm.IncrementalOp) {
				for i := range alterations {
					alterations[i].Op = op
				}
				if _, err := admin.AlterBrokerConfigs(t.Context(), alterations); err != nil {
					t.Fatal(err)
				}
			}
			alter(kadm.SetConfig)
			defer alter(kadm.DeleteConfig)
			// The levels were seen to matter at the topic: here it is enough that they reach it.
			create(t, nil)
		})
	}
}

// TestBrokerSettings: settings of the broker change what they say.
func TestBrokerSettings(t *testing.T) {
	n := startNode(t, "-o", "node.id=7", "-o", "broker.rack=r1", "-o", "kbroker.cluster.id=MkU3OEVBNTcwNTJENDM2Qg",
		"-o", "auto.create.topics.enable=false", "-o", "delete.topic.enable=false", "-o", "num.partitions=3", "-o", "default.replication.factor=2", "-o", "fetch.max.bytes=1024",
		"-o", "max.incremental.fetch.session.cache.slots=0", "-o", "max.request.partition.size.limit=2", "-o", "socket.request.max.bytes=100000")
	cl := n.client(t)
	admin := kadm.NewClient(cl)
	m, err := admin.BrokerMetadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b := m.Brokers[0]; b.NodeID != 7 || b.Rack == nil || *b.Rack != "r1" || m.Cluster != "MkU3OEVBNTcwNTJENDM2Qg" {
		t.Errorf("the cluster %s has %+v", m.Cluster, b)
	}
	if _, err := admin.CreateTopic(t.Context(), -1, -1, nil, "t"); !errors.Is(err, kerr.InvalidReplicationFactor) {
		t.Errorf("two replicas on one node: %v", err)
	}
	created, err := admin.CreateTopic(t.Context(), -1, 1, nil, "t")
	if err != nil || created.NumPartitions != 3 || created.ReplicationFactor != 1 {
		t.Errorf("a topic is created with %+v: %v", created, err)
	}
	if _, err := admin.DeleteTopic(t.Context(), "t"); !errors.Is(err, kerr.TopicDeletionDisabled) {
		t.Errorf("deleting gives %v", err)
	}
	if err := n.client(t, kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(-1)).
		ProduceSync(t.Context(), &kgo.Record{Topic: "none"}).FirstErr(); err == nil {
		t.Error("a topic is created by a producer")
	}
	t.Run("fetch.max.bytes", func(t *testing.T) { fetchesLittle(t, n, created.ID) })
	page := kmsg.NewPtrDescribeTopicPartitionsRequest()
	page.Topics = append(page.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: "t"})
	page.ResponsePartitionLimit = 100
	if resp, err := page.RequestWith(t.Context(), cl); err != nil || len(resp.Topics[0].Partitions) != 2 || resp.NextCursor == nil {
		t.Errorf("a page of partitions is %+v: %v", resp, err)
	}
	if !closes(t, n.bootstrap, 100_001) || closes(t, n.bootstrap, 100_000) {
		t.Error("socket.request.max.bytes is not the limit of a frame")
	}
}

// fetchesLittle: the broker's own limit holds whatever a client asks for, and there is no session without slots.
func fetchesLittle(t *testing.T, n *process, id kadm.TopicID) {
	cl := n.client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for range 5 {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: make([]byte, 900)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MaxWaitMillis, req.SessionEpoch = 50<<20, 100, 0
	topic, partition := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	topic.Topic, topic.TopicID, partition.PartitionMaxBytes = "t", id, 1<<20
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	raw, err := cl.Broker(7).Request(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	resp := raw.(*kmsg.FetchResponse)
	if size := len(resp.Topics[0].Partitions[0].RecordBatches); size == 0 || size > 1024 || resp.SessionID != 0 {
		t.Errorf("it answers with %d bytes in session %d", size, resp.SessionID)
	}
}

// closes reports whether a frame of size bytes is refused by closing the connection at once.
func closes(t *testing.T, address string, size uint32) bool {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// The header says version 0 of ApiVersions, so that a frame which is not too large waits for its rest.
	_, _ = c.Write([]byte{byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size), 0, 18, 0, 0})
	_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	_, err = c.Read(make([]byte, 1))
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// TestListenerSettings: each listener answers with its own addresses, and the dynamic settings of connections hold.
func TestListenerSettings(t *testing.T) {
	inside, outside := freeAddress(t), ""
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		outside = l.Addr().String()
		l.Close()
	}
	s := newShell(t)
	p := s.begin("start", "--data", "data", "-o", "kbroker.http.listeners=", "-o", "listeners=INTERNAL://"+inside+",EXTERNAL://"+outside+",CONTROLLER://:1",
		"-o", "controller.listener.names=CONTROLLER", "-o", "inter.broker.listener.name=INTERNAL", "-o", "process.roles=broker,controller",
		"-o", "controller.quorum.voters=1@localhost:1", "-o", "controller.quorum.bootstrap.servers=localhost:1", "-o", "listener.security.protocol.map=INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"-o", "advertised.listeners=INTERNAL://"+inside+",EXTERNAL://example.invalid:19092", "-o", "max.connections.per.ip=3")
	p.bootstrap = inside
	if out := s.run("kbroker health --wait 20s -b " + inside); strings.Contains(out, "exit") {
		t.Fatalf("it does not serve: %s", out)
	}
	for address, want := range map[string]string{inside: inside, outside: "example.invalid:19092"} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		p.bootstrap = address
		cl := p.client(t)
		resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, cl)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%s:%d", resp.Brokers[0].Host, resp.Brokers[0].Port); got != want {
			t.Errorf("%s answers with %s, want %s", address, got, want)
		}
		cl.Close()
	}
	if n := acceptedConnections(t, inside, 5); n > 3 {
		t.Errorf("max.connections.per.ip lets %d connections in", n)
	}
}

// acceptedConnections opens connections and counts those on which an ApiVersions request is answered.
func acceptedConnections(t *testing.T, address string, n int) (answered int) {
	t.Helper()
	for range n {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = c.Write([]byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff})
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 4)); err == nil {
			answered++
		}
	}
	return answered
}

// TestSettingsAreSaid: what is accepted without effect, or not known, is said once at the start.
func TestSettingsAreSaid(t *testing.T) {
	n := startNode(t, "-o", "num.io.threads=3", "-o", "num.network.threads=5", "-o", "zookeeper.connect=x", "-o", "num.partition=2")
	n.stop(syscall.SIGINT)
	for _, want := range []string{`"these settings are not known .*"settings":"num.partition zookeeper.connect","meant":"num.partitions"`, `"these settings are accepted without effect.*"settings":"num.io.threads num.network.threads"`} {
		if got := regexp.MustCompile(want).FindAll(n.err.Bytes(), -1); len(got) != 1 {
			t.Errorf("%s is said %d times in\n%s", want, len(got), bytes.TrimSpace(n.err.Bytes()))
		}
	}
}
