//go:build linux

package garbage

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// bystander is a well-behaved client: it produces a numbered record every few milliseconds and consumes them all. It
// fails on any error, any gap and any repetition. How long its records took is told, not judged.
type bystander struct {
	client *kgo.Client
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex // guards what follows
	err      error      // the first thing wrong
	sent     int
	received int
	latency  []time.Duration // from sending to receiving
	sentAt   []time.Time
}

const bystanderPause = 5 * time.Millisecond

func startBystander(t *testing.T, addr string) *bystander {
	t.Helper()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(besideTopic), kgo.ProducerLinger(0),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{besideTopic: {0: kgo.NewOffset().AtStart()}}),
	)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &bystander{client: client, cancel: cancel}
	b.wg.Go(func() { b.produce(ctx) })
	b.wg.Go(func() { b.consume(ctx) })
	t.Cleanup(func() { cancel(); b.wg.Wait(); client.Close() })
	return b
}

func (b *bystander) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
}

// produce ends with the context.
func (b *bystander) produce(ctx context.Context) {
	for ctx.Err() == nil {
		b.mu.Lock()
		n := b.sent
		b.sent++
		b.sentAt = append(b.sentAt, time.Now())
		b.mu.Unlock()
		// What is in flight when the context ends is still awaited: the consumer counts it.
		b.client.Produce(context.WithoutCancel(ctx), &kgo.Record{Value: []byte(strconv.Itoa(n))}, func(_ *kgo.Record, err error) {
			if err != nil {
				b.fail(err)
			}
		})
		time.Sleep(bystanderPause)
	}
}

// consume ends when the producer has ended and everything has arrived, or something is wrong.
func (b *bystander) consume(ctx context.Context) {
	var end time.Time // for what is outstanding
	for {
		poll, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		fetches := b.client.PollFetches(poll)
		cancel()
		for _, e := range fetches.Errors() {
			if !errors.Is(e.Err, context.DeadlineExceeded) {
				b.fail(e.Err)
			}
		}
		now := time.Now()
		b.mu.Lock()
		for r := range fetches.RecordsAll() {
			if n, err := strconv.Atoi(string(r.Value)); err != nil || n != b.received {
				b.err = errors.Join(b.err, errors.New("received "+string(r.Value)+" where "+strconv.Itoa(b.received)+" was expected"))
			} else {
				b.latency = append(b.latency, now.Sub(b.sentAt[n]))
			}
			b.received++
		}
		done := b.err != nil || ctx.Err() != nil && b.received >= b.sent
		b.mu.Unlock()
		if ctx.Err() != nil && end.IsZero() {
			end = now.Add(20 * time.Second)
		}
		if done || !end.IsZero() && now.After(end) {
			return
		}
	}
}

// settle waits until the client has had its first second of service, so that the broker has allocated what such a
// client costs.
func (b *bystander) settle(t *testing.T) {
	t.Helper()
	const enough = 200
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		b.mu.Lock()
		received, err := b.received, b.err
		b.mu.Unlock()
		if err != nil || time.Since(start) > time.Minute {
			t.Fatalf("before any attack, %d records arrived: %v", received, err)
		}
		if received >= enough {
			return
		}
	}
}

// finish ends the client and says how it went.
func (b *bystander) finish(t *testing.T) {
	t.Helper()
	b.cancel()
	b.wg.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil || b.received != b.sent {
		t.Errorf("the client beside sent %d records and received %d: %v", b.sent, b.received, b.err)
		return
	}
	slices.Sort(b.latency)
	q := func(p float64) time.Duration {
		return b.latency[int(float64(len(b.latency)-1)*p)].Round(time.Microsecond)
	}
	t.Logf("the client beside received all its %d records in order, no error; from sending to receiving p50 %v, p99 %v, longest %v",
		b.sent, q(.5), q(.99), q(1))
}
