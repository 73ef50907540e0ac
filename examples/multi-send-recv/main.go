// Command multi-send-recv runs several producers and several consumers over the partitions of one topic.
//
// A partition is what keeps order: messages with the same key go to the same partition, and arrive in the order in
// which they were sent. So each producer here writes under its own keys, and whoever receives can check that nothing
// is missing and nothing came twice or too early.
//
//	kbroker dev                             # in one terminal
//	go run ./examples/multi-send-recv       # in another
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// plan is what the program does.
type plan struct {
	broker, topic                   string
	partitions                      int32
	producers, consumers, perSender int
}

func main() {
	var p plan
	flag.StringVar(&p.broker, "broker", "127.0.0.1:9092", "address of the broker")
	flag.StringVar(&p.topic, "topic", fmt.Sprintf("multi-%d", time.Now().Unix()), "topic to create and use")
	partitions := flag.Int("partitions", 6, "partitions of the topic")
	flag.IntVar(&p.producers, "producers", 3, "producers")
	flag.IntVar(&p.consumers, "consumers", 2, "consumers, which share the partitions")
	flag.IntVar(&p.perSender, "messages", 10_000, "messages from each producer")
	flag.Parse()
	p.partitions = int32(*partitions)
	if err := p.run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (p plan) run() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.createTopic(ctx); err != nil {
		return err
	}
	start := time.Now()
	inbox := &inbox{next: map[string]int{}}
	var workers sync.WaitGroup
	errs := make(chan error, p.producers+p.consumers)
	for i := range p.producers {
		workers.Go(func() { errs <- p.produce(ctx, fmt.Sprintf("producer-%d", i)) })
	}
	for i := range p.consumers {
		workers.Go(func() { errs <- p.consume(ctx, i, inbox) })
	}
	workers.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	fmt.Printf("%d messages from %d producers over %d partitions to %d consumers in %v, in order, none lost\n",
		inbox.count, p.producers, p.partitions, p.consumers, time.Since(start).Round(time.Millisecond))
	return nil
}

func (p plan) createTopic(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(p.broker))
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, p.partitions, 1, nil, p.topic); err != nil {
		return fmt.Errorf("create topic %s at %s: %w", p.topic, p.broker, err)
	}
	return nil
}

// produce sends the numbers from 0 on under the producer's name as the key. The client is idempotent, which is its
// default: what it sends again after a lost answer is not stored twice.
func (p plan) produce(ctx context.Context, name string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(p.broker), kgo.DefaultProduceTopic(p.topic))
	if err != nil {
		return err
	}
	defer client.Close()
	var mu sync.Mutex // guards failed
	var failed error
	for i := range p.perSender {
		// Produce does not wait: the client gathers what comes in quick succession into batches.
		client.Produce(ctx, &kgo.Record{Key: []byte(name), Value: []byte(strconv.Itoa(i))}, func(_ *kgo.Record, err error) {
			if err != nil {
				mu.Lock()
				failed = fmt.Errorf("%s: %w", name, err)
				mu.Unlock()
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return failed
}

// consume reads every consumers-th partition until all messages have arrived somewhere.
func (p plan) consume(ctx context.Context, number int, in *inbox) error {
	mine := map[int32]kgo.Offset{}
	for partition := int32(number); partition < p.partitions; partition += int32(p.consumers) {
		mine[partition] = kgo.NewOffset().AtStart()
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(p.broker),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: mine}),
		kgo.FetchMaxWait(100*time.Millisecond),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		poll, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		fetches := client.PollFetches(poll)
		cancel()
		if ctx.Err() != nil {
			return fmt.Errorf("consumer %d: %w", number, ctx.Err())
		}
		for r := range fetches.RecordsAll() {
			if err := in.take(string(r.Key), string(r.Value)); err != nil {
				return fmt.Errorf("consumer %d at partition %d offset %d: %w", number, r.Partition, r.Offset, err)
			}
		}
		if in.full(p.producers * p.perSender) {
			return nil
		}
	}
}

// inbox is where all consumers put what they receive.
type inbox struct {
	mu    sync.Mutex     // guards what follows
	next  map[string]int // number expected next, by producer
	count int
}

func (in *inbox) take(producer, number string) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if want := strconv.Itoa(in.next[producer]); number != want {
		return fmt.Errorf("message %s of %s arrived where %s was expected", number, producer, want)
	}
	in.next[producer]++
	in.count++
	return nil
}

func (in *inbox) full(n int) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.count >= n
}
