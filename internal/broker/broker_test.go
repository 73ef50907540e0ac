package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/metadata"
)

// connect returns a client of the node.
func connect(t *testing.T, b *Broker, o ...kgo.Opt) (*kgo.Client, *kadm.Client) {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addr().String())}, o...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, kadm.NewClient(c)
}

// closedAtOnce reports whether a new connection is closed without a word.
func closedAtOnce(t *testing.T, b *Broker) bool {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	_, err = c.Read(make([]byte, 1))
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

// TestConnectionLimitsChange: limits on connections obey dynamic settings at once (rule 1.6.3).
func TestConnectionLimitsChange(t *testing.T) {
	b := startTest(t)
	_, admin := connect(t, b)
	if closedAtOnce(t, b) {
		t.Fatal("closed without a limit")
	}
	for _, c := range []struct {
		name, value string
		closed      bool
	}{
		{"max.connections.per.ip", "1", true},
		{"max.connections.per.ip", "100", false},
		{"max.connections.per.ip.overrides", "127.0.0.1:0", true},
	} {
		r, err := admin.AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{{Name: c.name, Value: &c.value}})
		if err != nil || r[0].Err != nil {
			t.Fatal(err, r)
		}
		if got := closedAtOnce(t, b); got != c.closed {
			t.Errorf("%s=%s: closed at once: %v", c.name, c.value, got)
		}
	}
	if l := limits(b.o.Config.Broker()); l.MaxPerIP != 100 {
		t.Errorf("%+v", l)
	}
}

// TestInterruptedStart: a start that ends before the logs are recovered leaves what the last run knew, and does not call
// itself a clean run.
func TestInterruptedStart(t *testing.T) {
	fsys := simfs.New()
	b := startOn(t, fsys)
	c, admin := connect(t, b)
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	want, err := log.ReadCheckpoint(fsys, "/data", log.HighWatermarkCheckpoint)
	if err != nil || want[log.TopicPartition{Topic: "t"}] != 1 {
		t.Fatal(want, err)
	}
	again := &Broker{o: b.o, logger: slog.New(slog.DiscardHandler), incarnation: metadata.NewUUID(), stopping: make(chan struct{})}
	for _, step := range []func(context.Context) error{again.bind, again.openDirs, again.startController} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := again.recover(stopped); !errors.Is(err, context.Canceled) {
		t.Fatalf("the recovery was not broken off: %v", err)
	}
	if err := again.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := log.ReadCleanShutdown(fsys, "/data"); err == nil {
		t.Error("a start that was broken off counts as a clean stop")
	}
	if got, err := log.ReadCheckpoint(fsys, "/data", log.HighWatermarkCheckpoint); err != nil || len(got) != len(want) {
		t.Errorf("high watermarks are %v (%v), want those of the last run, %v", got, err, want)
	}
	startOn(t, fsys)
}

// TestFailedSync: after a failed sync the partitions answer KAFKA_STORAGE_ERROR, nothing is acknowledged, the metadata is
// served on, and the node stops in time and says why its data was left.
func TestFailedSync(t *testing.T) {
	fsys := simfs.New()
	b := startOn(t, fsys)
	c, admin := connect(t, b)
	if _, err := admin.CreateTopic(t.Context(), 2, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	parked := make(chan int16, 1)
	go func() {
		q := b.fetchOne("t", 60_000)
		resp, err := q.RequestWith(t.Context(), c)
		if err != nil {
			parked <- -1
			return
		}
		parked <- resp.Topics[0].Partitions[0].ErrorCode
	}()
	for b.service.Metrics().Started(1) == 0 {
		time.Sleep(time.Millisecond)
	}
	fsys.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "*.log", Err: syscall.EIO})
	producer, _ := connect(t, b, kgo.RecordRetries(0), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for partition := range int32(2) { // of which the second was not touched by the fault
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: partition, Value: []byte("x")}).FirstErr(); !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("produce to partition %d: %v", partition, err)
		}
	}
	select {
	case code := <-parked:
		if code != kerr.KafkaStorageError.Code {
			t.Errorf("the fetch that waited: code %d", code)
		}
	case <-time.After(20 * time.Second):
		t.Error("the fetch that waited is not told")
	}
	if code := b.partitionCode(t, c); code != kerr.KafkaStorageError.Code {
		t.Errorf("fetch: code %d", code)
	}
	if _, err := admin.Metadata(t.Context(), "t"); err != nil {
		t.Errorf("metadata: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := b.Wait(ctx); !errors.Is(err, syscall.EIO) {
		t.Errorf("the node does not end, with one directory that failed: %v", err)
	}
	if err := b.Stop(ctx); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("stop: %v", err)
	}
	b.stopErr = nil // as wanted
}

// fetchOne is a Fetch of partition 0 from its start.
func (b *Broker) fetchOne(topic string, wait int32) *kmsg.FetchRequest {
	q := kmsg.NewPtrFetchRequest()
	q.MaxWaitMillis, q.MinBytes, q.MaxBytes, q.SessionEpoch = wait, 1, 1<<20, -1
	x, p := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	x.Topic, x.TopicID, p.PartitionMaxBytes = topic, b.metadata.Load().Topic(topic).ID, 1<<20
	x.Partitions = append(x.Partitions, p)
	q.Topics = append(q.Topics, x)
	return q
}

// partitionCode fetches from t-0 and returns the error code.
func (b *Broker) partitionCode(t *testing.T, c *kgo.Client) int16 {
	t.Helper()
	resp, err := b.fetchOne("t", 0).RequestWith(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Topics[0].Partitions[0].ErrorCode
}
