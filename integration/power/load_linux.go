package power

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Bounds of the load of one producer in one cycle.
const (
	bytesPerCycle = 2 << 20
	inFlight      = 100 // records
	maxFiller     = 2000
)

// producer writes stamped records to some partitions and notes what is acknowledged.
type producer struct {
	id       uint64
	client   *kgo.Client
	ledger   *ledger
	targets  []partition
	next     map[partition]uint64 // the sequence to use next
	rng      *rand.Rand
	inFlight chan struct{}
}

// newProducer connects a producer. An idempotent one asks for acks=all and repeats every record until it is taken,
// through any number of cuts. The other one asks for acks=1 and gives up at the first error, as it could not tell
// whether a repeat would be a duplicate.
func newProducer(id uint64, idempotent bool, addr string, l *ledger, rng *rand.Rand, targets ...partition) (*producer, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.MetadataMinAge(50 * time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 30 * time.Millisecond }),
		kgo.UnknownTopicRetries(-1), kgo.ProducerBatchCompression([]kgo.CompressionCodec{
			kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
		}[rng.IntN(5)]),
	}
	if idempotent {
		id |= contiguous
		opts = append(opts, kgo.StopProducerOnDataLossDetected())
	} else {
		opts = append(opts, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()), kgo.RecordRetries(0))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	return &producer{
		id: id, client: client, ledger: l, targets: targets, next: map[partition]uint64{}, rng: rng,
		inFlight: make(chan struct{}, inFlight),
	}, nil
}

// run produces until ctx ends, bytesPerCycle are written, or, unless idempotent, an error comes. What is in flight at
// the end stays so.
func (p *producer) run(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for written := 0; written < bytesPerCycle; {
		select {
		case p.inFlight <- struct{}{}:
		case <-ctx.Done():
			return
		}
		to := p.targets[p.rng.IntN(len(p.targets))]
		s := stamp{p.id, p.next[to]}
		p.next[to]++
		r := &kgo.Record{Topic: to.topic, Partition: to.id, Value: s.encode(p.rng.IntN(maxFiller))}
		written += len(r.Value)
		p.client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
			if err == nil {
				p.ledger.ack(to, r.Offset, s)
			} else {
				p.failed(to, err)
				stop()
			}
			<-p.inFlight
		})
		if p.rng.IntN(20) == 0 { // batches of all sizes
			time.Sleep(time.Duration(p.rng.IntN(5000)) * time.Microsecond)
		}
	}
	<-ctx.Done()
}

// failed sorts the errors of a record. An idempotent producer gets none unless data is gone, or the test closes it;
// one with acks=1 must take whatever a broken connection gives.
func (p *producer) failed(to partition, err error) {
	var data *kgo.ErrDataLoss
	if errors.As(err, &data) || errors.Is(err, kerr.OutOfOrderSequenceNumber) ||
		p.id&contiguous != 0 && !errors.Is(err, kgo.ErrClientClosed) && !errors.Is(err, context.Canceled) {
		p.ledger.refuse(to, err)
	}
}

// drainTime bounds how long what is in flight may take once the broker answers again.
const drainTime = 30 * time.Second

// drain waits until nothing is in flight, or the broker has ended.
func (p *producer) drain(ctx context.Context, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	go func() { // until this returns
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := p.client.Flush(ctx); err != nil {
		return fmt.Errorf("producer %x still waits for acknowledgements: %w", p.id, err)
	}
	return nil
}
