package broker

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/wire"
)

// plainClient sends what it is told on one connection and nothing else: a real client's own requests would have to be
// predicted too.
type plainClient struct {
	t *testing.T
	b *Broker
	*wire.Client
	conn *countedConn
}

// countedConn counts what it carries, in bytes.
type countedConn struct {
	net.Conn
	sent, received atomic.Int64
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(int64(n))
	return n, err
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received.Add(int64(n))
	return n, err
}

func newPlainClient(t *testing.T, b *Broker) *plainClient {
	t.Helper()
	return newNamedClient(t, b, "script")
}

// newNamedClient is newPlainClient with a client id.
func newNamedClient(t *testing.T, b *Broker, id string) *plainClient {
	t.Helper()
	conn, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	counted := &countedConn{Conn: conn}
	c := &plainClient{t: t, b: b, Client: wire.NewClient(counted, id, 64<<20), conn: counted}
	t.Cleanup(c.Close)
	return c
}

// ask sends a request and returns its answer.
func (c *plainClient) ask(q kmsg.Request) kmsg.Response {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	resp, err := c.Do(ctx, q)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp
}

// create makes a topic.
func (c *plainClient) create(name string, partitions int32, configs ...string) {
	c.t.Helper()
	q := kmsg.NewPtrCreateTopicsRequest()
	q.SetVersion(7)
	q.TimeoutMillis = 10_000
	x := kmsg.NewCreateTopicsRequestTopic()
	x.Topic, x.NumPartitions, x.ReplicationFactor = name, partitions, 1
	for _, pair := range configs {
		key, value, _ := strings.Cut(pair, "=")
		x.Configs = append(x.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: key, Value: &value})
	}
	q.Topics = append(q.Topics, x)
	if code := c.ask(q).(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode; code != 0 {
		c.t.Fatal(kerr.ErrorForCode(code))
	}
}

func (c *plainClient) delete(name string) {
	c.t.Helper()
	q := kmsg.NewPtrDeleteTopicsRequest()
	q.SetVersion(5)
	q.TimeoutMillis, q.TopicNames = 10_000, []string{name}
	if code := c.ask(q).(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode; code != 0 {
		c.t.Fatal(kerr.ErrorForCode(code))
	}
}

// produce writes a batch and expects the error, nil for none.
func (c *plainClient) produce(topic string, partition int32, batch []byte, want error) {
	c.t.Helper()
	q := kmsg.NewPtrProduceRequest()
	q.SetVersion(9)
	q.Acks, q.TimeoutMillis = -1, 10_000
	x, p := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	x.Topic, p.Partition, p.Records = topic, partition, slices.Clone(batch)
	x.Partitions = append(x.Partitions, p)
	q.Topics = append(q.Topics, x)
	got := kerr.ErrorForCode(c.ask(q).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
	if got != want {
		c.t.Fatalf("produce to %s-%d: %v, want %v", topic, partition, got, want)
	}
}

// commitOffsets commits offsets of a simple group, and waits for its coordinator first.
func (c *plainClient) commitOffsets(id string, offsets map[string][]int64) {
	c.t.Helper()
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.SetVersion(3)
	find.CoordinatorKey = id
	c.ask(find)
	for c.b.takeCensus().active == 0 && c.t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
	q := kmsg.NewPtrOffsetCommitRequest()
	q.SetVersion(8)
	q.Group, q.Generation = id, -1
	for _, topic := range slices.Sorted(maps.Keys(offsets)) {
		x := kmsg.NewOffsetCommitRequestTopic()
		x.Topic = topic
		for i, offset := range offsets[topic] {
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset = int32(i), offset
			x.Partitions = append(x.Partitions, p)
		}
		q.Topics = append(q.Topics, x)
	}
	for _, x := range c.ask(q).(*kmsg.OffsetCommitResponse).Topics {
		for _, p := range x.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				c.t.Fatalf("commit of %s-%d: %v", x.Topic, p.Partition, err)
			}
		}
	}
}

// fetch reads the partition from offset, in the session with the epoch, and returns the session.
func (c *plainClient) fetch(topic string, partition int32, offset int64, session, epoch int32, want error) int32 {
	c.t.Helper()
	q := c.b.fetchOne(topic, 0)
	q.SetVersion(12)
	q.SessionID, q.SessionEpoch = session, epoch
	if epoch > 0 {
		q.Topics = nil
	} else {
		q.Topics[0].Partitions[0].Partition, q.Topics[0].Partitions[0].FetchOffset = partition, offset
	}
	resp := c.ask(q).(*kmsg.FetchResponse)
	if epoch <= 0 {
		if got := kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode); got != want {
			c.t.Fatalf("fetch from %s-%d: %v, want %v", topic, partition, got, want)
		}
	}
	return resp.SessionID
}

// scriptBatch is a batch of n records.
func scriptBatch(t *testing.T, n int, o record.BuilderOptions) []byte {
	t.Helper()
	b := record.NewBuilder(record.NewCodecs(), o)
	now := time.Now().UnixMilli() // of all records: their sizes depend on how far they are apart
	for range n {
		b.Append(record.Record{Value: []byte("0123456789"), Timestamp: now})
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// unpredictable are the series whose values the script cannot tell, and why.
var unpredictable = map[string]string{
	"kafka_log_logcleanermanager_time_since_last_run_ms": "time",
	"kafka_broker_info":                                   "the port is any free one",
	"kbroker_request_seconds":                             "time",
	"kbroker_commit_rounds_total":                         "checkpoints make rounds of their own, by time",
	"kafka_log_logflushstats_logflushrateandtimems_count": "as rounds",
	"kbroker_directory_free_bytes":                        "so much the disk in memory has",
	"kbroker_directory_size_bytes":                        "as its free bytes",
}

// TestWorkload: after a script every series has the value that follows from it. testdata/workload.txt has them all, and
// those that say what moved are computed here besides.
func TestWorkload(t *testing.T) {
	b := startTest(t, "offsets.topic.num.partitions=1")
	c := newPlainClient(t, b)
	c.create("a", 2)
	c.create("b.c", 1, "max.message.bytes=200", "min.insync.replicas=2")
	c.create("gone", 1)
	c.alter("b.c", "retention.bytes=1000")
	ten, five, large := scriptBatch(t, 10, record.BuilderOptions{}), scriptBatch(t, 5, record.BuilderOptions{}), scriptBatch(t, 20, record.BuilderOptions{})
	once := scriptBatch(t, 3, record.BuilderOptions{Producer: &record.Producer{ID: 7, Epoch: 0, BaseSequence: 0}})
	gap := scriptBatch(t, 1, record.BuilderOptions{Producer: &record.Producer{ID: 7, Epoch: 0, BaseSequence: 9}})
	for range 3 {
		c.produce("a", 0, ten, nil)
	}
	c.produce("a", 1, once, nil)
	c.produce("a", 1, once, nil) // a duplicate is answered, and appends nothing
	c.produce("a", 1, gap, kerr.OutOfOrderSequenceNumber)
	c.produce("b.c", 0, five, nil)
	c.produce("b.c", 0, large, kerr.MessageTooLarge)
	c.produce("none", 0, five, kerr.UnknownTopicOrPartition)
	c.produce("gone", 0, five, nil)
	c.fetch("a", 0, 0, 0, -1, nil)
	c.fetch("a", 0, 10, 0, -1, nil)
	c.fetch("a", 0, 31, 0, -1, kerr.OffsetOutOfRange)
	session := c.fetch("a", 1, 3, 0, 0, nil)
	c.fetch("a", 1, 3, session, 1, nil) // nothing changed: no partition is looked at
	c.fetch("gone", 0, 0, 0, -1, nil)
	c.delete("gone")
	c.commitOffsets("g", map[string][]int64{"a": {12, 3}, "b.c": {1}})
	committed := b.replicas.LookupName(group.OffsetsTopic, 0).Log()

	// The last answer may be here before those who wrote it count its bytes.
	for b.server.Stats().BytesOut.Load() < c.conn.received.Load() && t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
	series := scrapeSeries(t, b)
	const topics = "kafka_server_brokertopicmetrics_"
	for name, want := range map[string]int{
		`kbroker_network_bytes_total{direction="in"}`:                                            int(c.conn.sent.Load()),
		`kbroker_network_bytes_total{direction="out"}`:                                           int(c.conn.received.Load()),
		topics + "messagesin_total":                                                              30 + 3 + 5 + 5 + 3,
		topics + `messagesin_total{topic="a"}`:                                                   30 + 3,
		topics + `messagesin_total{topic="b.c"}`:                                                 5,
		topics + "bytesin_total":                                                                 3*len(ten) + len(once) + 2*len(five) + int(committed.Size()),
		topics + `bytesin_total{topic="a"}`:                                                      3*len(ten) + len(once),
		topics + "bytesout_total":                                                                3*len(ten) + 2*len(ten) + len(five),
		topics + `bytesout_total{topic="a"}`:                                                     3*len(ten) + 2*len(ten),
		topics + "bytesrejected_total":                                                           len(large),
		topics + "totalproducerequests_total":                                                    9, // no partition, no count
		topics + `totalproducerequests_total{topic="a"}`:                                         6,
		topics + "failedproducerequests_total":                                                   1,
		topics + `failedproducerequests_total{topic="a"}`:                                        1,
		topics + "totalfetchrequests_total":                                                      5,
		topics + `totalfetchrequests_total{topic="a"}`:                                           4,
		topics + "failedfetchrequests_total":                                                     0,
		`kafka_log_log_size{topic="a",partition="0"}`:                                            3 * len(ten),
		`kafka_log_log_size{topic="a",partition="1"}`:                                            len(once),
		`kafka_log_log_logendoffset{topic="a",partition="0"}`:                                    30,
		`kafka_network_requestmetrics_requests_total{request="Produce",version="9"}`:             10,
		`kafka_network_requestmetrics_requests_total{request="Fetch",version="12"}`:              6,
		`kafka_network_requestmetrics_errors_total{request="Produce",error="NONE"}`:              7,
		`kafka_network_requestmetrics_errors_total{request="Produce",error="MESSAGE_TOO_LARGE"}`: 1,
		`kafka_network_requestmetrics_errors_total{request="CreateTopics",error="NONE"}`:         3,
		`kafka_network_requestmetrics_totaltimems_count{request="Produce"}`:                      10,
		`kbroker_request_seconds_count{api="Fetch"}`:                                             6,
		`kafka_server_socket_server_metrics_connection_count{listener="PLAINTEXT"}`:              1,
		`kafka_server_replicamanager_produceridcount`:                                            1,
		`kafka_server_replicamanager_partitioncount`:                                             4,
		`kafka_topic_partition_current_offset{topic="b.c",partition="0"}`:                        5,
		`kafka_consumergroup_current_offset{consumergroup="g",topic="a",partition="0"}`:          12,
		`kafka_consumergroup_lag{consumergroup="g",topic="a",partition="0"}`:                     30 - 12,
		`kafka_consumergroup_lag{consumergroup="g",topic="a",partition="1"}`:                     0,
		`kafka_consumergroup_lag_sum{consumergroup="g",topic="b.c"}`:                             4,
		`kafka_consumergroup_current_offset_sum{consumergroup="g",topic="a"}`:                    15,
		`kafka_consumergroup_members{consumergroup="g"}`:                                         0,
		`kafka_coordinator_group_groupmetadatamanager_numoffsets`:                                3,
		`kafka_server_brokertopicmetrics_messagesin_total{topic="__consumer_offsets"}`:           3,
	} {
		if got := series[name]; got != strconv.Itoa(want) {
			t.Errorf("%s is %q, want %d", name, got, want)
		}
	}
	compareGolden(t, "testdata/workload.txt", predictable(series))
	everyMetricShows(t, series)
}

// scrapeSeries returns the series of the node's own metrics by name and labels.
func scrapeSeries(t *testing.T, b *Broker) map[string]string {
	t.Helper()
	_, body := get(t, b, "/metrics")
	series := map[string]string{}
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "kafka_") || strings.HasPrefix(line, "kbroker_") {
			i := strings.LastIndexByte(line, ' ')
			if _, twice := series[line[:i]]; twice {
				t.Errorf("%s is there twice", line[:i])
			}
			series[line[:i]] = strings.TrimSpace(line[i:])
		}
	}
	return series
}

var suffix = regexp.MustCompile(`_(bucket|sum|count)$`)

// predictable is the series in order, with a * for the values that the script cannot tell.
func predictable(series map[string]string) string {
	var lines []string
	for name, v := range series {
		family, labels, _ := strings.Cut(name, "{")
		_, unknown := unpredictable[family]
		if base := suffix.ReplaceAllString(family, ""); !unknown {
			_, unknown = unpredictable[base]
			unknown = unknown && !strings.HasSuffix(family, "_count")
		}
		if family == "kafka_broker_info" {
			name = family + "{" + regexp.MustCompile(`:[0-9]+`).ReplaceAllString(labels, ":PORT")
		} else if unknown {
			v = "*"
		}
		if !strings.HasSuffix(family, "_bucket") || strings.Contains(labels, "+Inf") {
			lines = append(lines, name+" "+v+"\n")
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// compareGolden compares with a committed file, or writes it anew.
func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	have := strings.Split(string(want), "\n")
	var changed strings.Builder
	for line := range strings.Lines(got) {
		if !slices.Contains(have, strings.TrimSuffix(line, "\n")) {
			fmt.Fprintf(&changed, "+%s", line)
		}
	}
	for _, line := range have {
		if !strings.Contains("\n"+got, "\n"+line+"\n") && line != "" {
			fmt.Fprintf(&changed, "-%s\n", line)
		}
	}
	t.Errorf("%s is another one now (go test ./internal/broker -update writes it anew):\n%s", file, changed.String())
}

// everyMetricShows: the script leaves no family without a series.
func everyMetricShows(t *testing.T, series map[string]string) {
	t.Helper()
	shown := map[string]bool{}
	for name := range series {
		family, _, _ := strings.Cut(name, "{")
		shown[family], shown[suffix.ReplaceAllString(family, "")] = true, true
	}
	for _, m := range allMetrics() {
		if !shown[m.Name] && !strings.HasPrefix(m.Name, "kafka_server_kafkaserver_linux_disk_") { // the disk in memory has no /proc
			t.Errorf("%s has no series", m.Name)
		}
	}
}
