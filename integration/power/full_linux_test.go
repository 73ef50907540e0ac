package power

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kbroker/kbroker/integration/kbrokerproc"
)

const fullDiskBytes = 64 << 20

// fullDisk is a broker whose disk gets full, with a ledger of what it acknowledged.
type fullDisk struct {
	t      *testing.T
	node   *kbrokerproc.Node
	ledger *ledger
	next   map[partition]uint64
}

func newFullDisk(t *testing.T) *fullDisk {
	t.Helper()
	dir := t.TempDir()
	d, err := newDisk(filepath.Join(dir, "disk.img"), filepath.Join(dir, "data"), fullDiskBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.remove(); err != nil {
			t.Error(err)
		}
	})
	full := &fullDisk{t: t, ledger: newLedger(), next: map[partition]uint64{}}
	full.start(kbrokerproc.Config{Dir: dir, Properties: []string{
		"log.segment.bytes=4194304", "auto.create.topics.enable=false", "log.segment.delete.delay.ms=1000",
	}})
	return full
}

func (f *fullDisk) start(cfg kbrokerproc.Config) {
	f.t.Helper()
	binary, err := kbrokerproc.Build(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	if f.node, err = kbrokerproc.Start(f.t.Context(), binary, cfg); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(f.node.Kill)
}

// client returns a client that reports an error instead of repeating.
func (f *fullDisk) client(opts ...kgo.Opt) *kgo.Client {
	f.t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(f.node.Bootstrap()), kgo.DisableIdempotentWrite(), kgo.RecordRetries(0),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(client.Close)
	return client
}

// produce writes one record with acks=all and notes it if it is acknowledged.
func (f *fullDisk) produce(client *kgo.Client, topic string, size int) error {
	to := partition{topic, 0}
	s := stamp{1, f.next[to]}
	f.next[to]++
	ctx, cancel := context.WithTimeout(f.t.Context(), drainTime)
	defer cancel()
	r, err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: s.encode(size)}).First()
	if err == nil {
		f.ledger.ack(to, r.Offset, s)
	}
	return err
}

// createTopics makes topics of one partition.
func (f *fullDisk) createTopics(topics ...string) {
	f.t.Helper()
	for _, topic := range topics {
		if _, err := kadm.NewClient(f.client()).CreateTopic(f.t.Context(), 1, 1, nil, topic); err != nil {
			f.t.Fatal(err)
		}
		f.ledger.addTopic(topic, 1)
	}
}

// fill produces to topic until the broker refuses, and checks how it does.
func (f *fullDisk) fill(topic string) {
	f.t.Helper()
	const record = 100_000
	client := f.client()
	for range 2 * fullDiskBytes / record {
		err := f.produce(client, topic, record)
		if err == nil {
			continue
		}
		var refusal *kerr.Error
		if !errors.As(err, &refusal) || errors.Is(err, kerr.UnknownServerError) {
			f.t.Fatalf("the full disk shows as %v, want an error of Kafka's that is not UNKNOWN_SERVER_ERROR", err)
		}
		f.t.Logf("produce is refused with %s after %d records of %d bytes", refusal.Message, f.ledger.ackedCount(), record)
		return
	}
	f.t.Fatalf("twice the size of the disk was written, and nothing refused")
}

// read wants everything acknowledged to be there.
func (f *fullDisk) read(when string) {
	f.t.Helper()
	var found findings
	if err := f.ledger.check(f.t.Context(), f.node.Bootstrap(), &found); err != nil {
		f.t.Fatalf("reading %s: %v", when, err)
	}
	if found.wrong() > 0 {
		f.t.Fatalf("%s: %s", when, &found)
	}
	f.t.Logf("%s: %d acknowledged, %d read, 0 lost", when, f.ledger.ackedCount(), found.Read)
}

// makeRoom deletes a topic and waits until produce is taken again.
func (f *fullDisk) makeRoom(deleted, topic string) {
	f.t.Helper()
	if _, err := kadm.NewClient(f.client()).DeleteTopic(f.t.Context(), deleted); err != nil {
		f.t.Fatalf("deleting a topic on the full disk: %v", err)
	}
	f.ledger.dropTopic(deleted)
	client := f.client()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		err := f.produce(client, topic, 1000)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("a minute after a topic was deleted produce is still refused: %v", err)
		}
	}
}

// TestDiskFull is must-show 8: a full disk stops producing and nothing else, and room ends that without a restart.
func TestDiskFull(t *testing.T) {
	f := newFullDisk(t)
	f.createTopics("kept", "filler")
	client := f.client()
	for range 50 {
		if err := f.produce(client, "kept", rand.IntN(maxFiller)); err != nil {
			t.Fatal(err)
		}
	}
	f.fill("filler")
	if err := f.produce(client, "kept", 100_000); err == nil {
		t.Log("a record to another topic still found room")
	}
	f.read("with the disk full")
	f.makeRoom("filler", "kept")
	for range 50 {
		if err := f.produce(client, "kept", rand.IntN(maxFiller)); err != nil {
			t.Fatalf("producing with room again: %v", err)
		}
	}
	f.read("with room again")
	select {
	case <-f.node.Exited():
		t.Fatal("the broker ended")
	default:
	}
}

// TestKillOnFullDisk restarts a broker that was killed with its disk full: it must come up to be of any help.
func TestKillOnFullDisk(t *testing.T) {
	f := newFullDisk(t)
	f.createTopics("kept", "filler")
	if err := f.produce(f.client(), "kept", 1000); err != nil {
		t.Fatal(err)
	}
	f.fill("filler")
	f.node.Kill()
	f.start(f.node.Config())
	f.read("after kill -9 with the disk full")
	f.makeRoom("filler", "kept")
	if err := f.node.Stop(); err != nil {
		t.Error(err)
	}
	f.start(f.node.Config())
	f.read("after a clean stop")
}
