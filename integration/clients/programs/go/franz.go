package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kbroker/kbroker/integration/clients/programs/go/record"
)

// patience bounds what a program does with one topic.
const patience = 2 * time.Minute

type franz struct{}

func (franz) produce(bootstrap string, t record.Task) error {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(t.Topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codecs[t.Codec]), kgo.ProducerLinger(5 * time.Millisecond),
	}
	if !t.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	c, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var mu sync.Mutex // guards failed
	var failed error
	for i := range t.Records {
		c.Produce(ctx, franzRecord(t, i), func(r *kgo.Record, err error) {
			if err == nil && r.Offset != int64(i/record.Partitions) {
				err = fmt.Errorf("record %d got offset %d, want %d", i, r.Offset, i/record.Partitions)
			}
			if err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
		})
	}
	if err := c.Flush(ctx); err != nil {
		return err
	}
	return failed
}

func franzRecord(t record.Task, i int) *kgo.Record {
	r := t.Record(i)
	out := &kgo.Record{Key: r.Key, Value: r.Value, Partition: int32(i % record.Partitions)}
	if r.Millis != 0 {
		out.Timestamp = time.UnixMilli(r.Millis)
	}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return out
}

func (franz) consume(bootstrap string, t record.Task) error {
	partitions := map[int32]kgo.Offset{}
	for p := range int32(record.Partitions) {
		partitions[p] = kgo.NewOffset().AtStart()
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{t.Topic: partitions}))
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ends, err := kadm.NewClient(c).ListEndOffsets(ctx, t.Topic)
	if err != nil {
		return err
	}
	v := newVerifier(t)
	ends.Each(func(o kadm.ListedOffset) { v.end(int(o.Partition), o.Offset) })
	for !v.done() {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("%w: %v", err, v)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			got := record.Record{Key: r.Key, Value: r.Value, Millis: r.Timestamp.UnixMilli()}
			for _, h := range r.Headers {
				got.Headers = append(got.Headers, record.Header{Key: h.Key, Value: h.Value})
			}
			v.add(int(r.Partition), r.Offset, got)
		})
	}
	return v.err
}

func (franz) admin(bootstrap, topic string) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a := kadm.NewClient(c)
	age := "3600000"
	if _, err := a.CreateTopic(ctx, record.Partitions, 1, map[string]*string{"retention.ms": &age}, topic); err != nil {
		return err
	}
	configs, err := a.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return err
	}
	var found bool
	for _, config := range configs[0].Configs {
		found = found || config.Key == "retention.ms" && config.MaybeValue() == age
	}
	if !found {
		return fmt.Errorf("retention.ms is not described as %s", age)
	}
	if r, err := a.CreatePartitions(ctx, 1, topic); err != nil || r.Error() != nil {
		return fmt.Errorf("create partitions: %v, %v", err, r.Error())
	}
	// The cluster may answer before every broker has taken up the new partition.
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		ends, err := a.ListEndOffsets(ctx, topic)
		if err == nil && ends.Error() == nil && len(ends[topic]) == record.Partitions+1 {
			break
		}
		if time.Since(start) > 20*time.Second {
			return fmt.Errorf("%d partitions serve, want %d: %v, %v", len(ends[topic]), record.Partitions+1, err, ends.Error())
		}
	}
	r, err := a.DeleteTopic(ctx, topic)
	if err == nil && !strings.EqualFold(r.Topic, topic) {
		return fmt.Errorf("deleted %q", r.Topic)
	}
	return err
}
