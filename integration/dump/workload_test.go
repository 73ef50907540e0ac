package dump

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	partitions       = 2
	recordsPerClient = 1500
	seed             = 1
)

// topics differ in what the broker does with a batch. All have small segments and many index entries.
var topics = []struct {
	name    string
	configs map[string]string
}{
	{"as-it-is", nil},
	{"recompressed", map[string]string{"compression.type": "gzip"}},
	{"log-append-time", map[string]string{"message.timestamp.type": "LogAppendTime"}},
}

var smallSegments = map[string]string{
	"internal.segment.bytes": "32768", "index.interval.bytes": "1024", "segment.index.bytes": "4096", "retention.ms": "-1",
}

// place is where a record lies.
type place struct {
	topic     string
	partition int32
	offset    int64
}

// workload writes with every codec, with and without idempotence, and remembers what was acknowledged.
type workload struct {
	bootstrap string

	mu    sync.Mutex // guards what follows
	acked map[place]string
	err   error
	turn  int // makes values unique
}

func newWorkload(t *testing.T, bootstrap string) *workload {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, topic := range topics {
		configs := map[string]*string{}
		for k, v := range smallSegments {
			configs[k] = &v
		}
		for k, v := range topic.configs {
			configs[k] = &v
		}
		if _, err := kadm.NewClient(c).CreateTopic(t.Context(), partitions, 1, configs, topic.name); err != nil {
			t.Fatalf("create topic %s: %v", topic.name, err)
		}
	}
	return &workload{bootstrap: bootstrap, acked: map[place]string{}}
}

// run writes n records from each client and fails the test if one is not acknowledged.
func (w *workload) run(t *testing.T, n int) {
	t.Helper()
	w.write(t.Context(), n)
	if w.err != nil {
		t.Fatal(w.err)
	}
}

// runUntil writes for a while, calls kill in the midst of it, and gives up what is not acknowledged by then.
func (w *workload) runUntil(t *testing.T, d time.Duration, kill func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(d, func() { kill(); cancel() })
	before := len(w.acked)
	w.write(ctx, 1<<30)
	if len(w.acked) == before {
		t.Fatal("nothing was acknowledged before the kill")
	}
}

// write runs a client for each codec, with and without idempotence, until each has written n records or ctx ends.
func (w *workload) write(ctx context.Context, n int) {
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	w.turn++
	var clients sync.WaitGroup
	for i, codec := range codecs {
		for _, idempotent := range []bool{true, false} {
			options := []kgo.Opt{
				kgo.SeedBrokers(w.bootstrap), kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(8 << 10),
				kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.MaxBufferedRecords(1000), kgo.ProducerLinger(time.Millisecond),
			}
			if !idempotent {
				options = append(options, kgo.DisableIdempotentWrite())
			}
			name := fmt.Sprintf("%d-%d-%t", w.turn, i, idempotent)
			clients.Go(func() { w.client(ctx, name, n, options) })
		}
	}
	clients.Wait()
}

func (w *workload) client(ctx context.Context, name string, n int, options []kgo.Opt) {
	c, err := kgo.NewClient(options...)
	if err != nil {
		w.fail(err)
		return
	}
	defer c.Close()
	random := rand.New(rand.NewPCG(seed, uint64(len(name))))
	for i := 0; i < n && ctx.Err() == nil; i++ {
		value := []byte(fmt.Sprintf("%s-%d-", name, i))
		for range random.IntN(300) {
			value = append(value, 'a'+byte(random.IntN(26)))
		}
		r := &kgo.Record{Topic: topics[i%len(topics)].name, Value: value, Timestamp: time.Now().Add(time.Duration(random.IntN(10)) * time.Second)}
		if i%5 == 0 {
			r.Headers = []kgo.RecordHeader{{Key: "h", Value: []byte("1")}}
		}
		c.Produce(ctx, r, func(r *kgo.Record, err error) {
			if err != nil {
				if ctx.Err() == nil {
					w.fail(err)
				}
				return
			}
			w.mu.Lock()
			w.acked[place{r.Topic, r.Partition, r.Offset}] = string(r.Value)
			w.mu.Unlock()
		})
	}
	if err := c.Flush(ctx); err != nil && ctx.Err() == nil {
		w.fail(err)
	}
}

func (w *workload) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}
