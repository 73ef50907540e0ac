package main

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/kbroker/kbroker/integration/clients/programs/go/record"
)

// segmentio is segmentio/kafka-go. It writes the plain shape only: it turns empty values into null.
type segmentio struct{}

// partitionOf is a balancer: messages carry the partition they are meant for.
func partitionOf(m kafka.Message, _ ...int) int { return m.WriterData.(int) % record.Partitions }

func (segmentio) produce(bootstrap string, t record.Task) error {
	codecs := map[string]kafka.Compression{"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}
	w := &kafka.Writer{
		Addr: kafka.TCP(bootstrap), Topic: t.Topic, RequiredAcks: kafka.RequireAll, Compression: codecs[t.Codec],
		Balancer: kafka.BalancerFunc(partitionOf), BatchSize: 1000, BatchTimeout: 5 * time.Millisecond, MaxAttempts: 1,
	}
	var messages []kafka.Message
	for i := range t.Records {
		r := t.Record(i)
		m := kafka.Message{Key: r.Key, Value: r.Value, WriterData: i}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
		messages = append(messages, m)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.WriteMessages(ctx, messages...); err != nil {
		return err
	}
	return w.Close()
}

func (segmentio) consume(bootstrap string, t record.Task) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	v := newVerifier(t)
	for p := range record.Partitions {
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{bootstrap}, Topic: t.Topic, Partition: p, MaxBytes: 4 << 20, MaxWait: 100 * time.Millisecond})
		for !v.full(p) && v.err == nil {
			m, err := r.ReadMessage(ctx)
			if err != nil {
				return fmt.Errorf("%w: %v", err, v)
			}
			got := record.Record{Key: m.Key, Value: m.Value, Millis: m.Time.UnixMilli()}
			for _, h := range m.Headers {
				got.Headers = append(got.Headers, record.Header{Key: h.Key, Value: h.Value})
			}
			v.add(p, m.Offset, got)
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
	return v.err
}

func (segmentio) admin(bootstrap, topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := &kafka.Client{Addr: kafka.TCP(bootstrap), Timeout: patience}
	created, err := c.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: topic, NumPartitions: record.Partitions, ReplicationFactor: 1,
		ConfigEntries: []kafka.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "3600000"}},
	}}})
	if err != nil || created.Errors[topic] != nil {
		return fmt.Errorf("create topic: %v, %v", err, created)
	}
	described, err := c.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil || len(described.Topics) != 1 || len(described.Topics[0].Partitions) != record.Partitions {
		return fmt.Errorf("metadata %v, want %s with %d partitions: %v", described, topic, record.Partitions, err)
	}
	configs, err := c.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{"retention.ms"},
	}}})
	if err != nil || len(configs.Resources) != 1 || len(configs.Resources[0].ConfigEntries) != 1 || configs.Resources[0].ConfigEntries[0].ConfigValue != "3600000" {
		return fmt.Errorf("described configs %+v, want retention.ms=3600000: %v", configs, err)
	}
	offsets, err := c.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {kafka.FirstOffsetOf(0), kafka.LastOffsetOf(1)}}})
	if err != nil || len(offsets.Topics[topic]) != 2 {
		return fmt.Errorf("listed offsets %+v: %v", offsets, err)
	}
	deleted, err := c.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil || deleted.Errors[topic] != nil {
		return fmt.Errorf("delete topic: %v, %v", err, deleted)
	}
	return nil
}
