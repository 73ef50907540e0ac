package main

import (
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/kbroker/kbroker/integration/clients/programs/go/record"
)

type saramaClient struct{}

func saramaConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.Consumer.MaxWaitTime = 50 * time.Millisecond // closing a partition waits for its last fetch
	return c
}

func (saramaClient) produce(bootstrap string, t record.Task) error {
	codecs := map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	}
	c := saramaConfig()
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Compression = codecs[t.Codec]
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.Return.Successes = true
	c.Producer.Flush.Frequency = 5 * time.Millisecond
	// sarama keeps the order only with one request in flight, and asks for that when it is idempotent.
	c.Net.MaxOpenRequests = 1
	c.Producer.Idempotent = t.Idempotent
	p, err := sarama.NewAsyncProducer([]string{bootstrap}, c)
	if err != nil {
		return err
	}
	go func() { // ends when everything is handed over; the loop below takes one result for each
		for i := range t.Records {
			p.Input() <- saramaMessage(t, i)
		}
		p.AsyncClose()
	}()
	var failed error
	results := 0
	successes, errors := p.Successes(), p.Errors()
	for successes != nil || errors != nil {
		select {
		case m, ok := <-successes:
			if !ok {
				successes = nil
				continue
			}
			results++
			if i := m.Metadata.(int); m.Offset != int64(i/record.Partitions) {
				failed = fmt.Errorf("record %d got offset %d, want %d", i, m.Offset, i/record.Partitions)
			}
		case e, ok := <-errors:
			if !ok {
				errors = nil
				continue
			}
			results++
			failed = e
		}
	}
	if failed == nil && results != t.Records {
		failed = fmt.Errorf("%d results for %d records", results, t.Records)
	}
	return failed
}

func saramaMessage(t record.Task, i int) *sarama.ProducerMessage {
	r := t.Record(i)
	m := &sarama.ProducerMessage{Topic: t.Topic, Partition: int32(i % record.Partitions), Metadata: i}
	if r.Key != nil {
		m.Key = sarama.ByteEncoder(r.Key)
	}
	if r.Value != nil {
		m.Value = sarama.ByteEncoder(r.Value)
	}
	if r.Millis != 0 {
		m.Timestamp = time.UnixMilli(r.Millis)
	}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	return m
}

func (saramaClient) consume(bootstrap string, t record.Task) error {
	c, err := sarama.NewClient([]string{bootstrap}, saramaConfig())
	if err != nil {
		return err
	}
	defer c.Close()
	consumer, err := sarama.NewConsumerFromClient(c)
	if err != nil {
		return err
	}
	defer consumer.Close()
	v := newVerifier(t)
	for p := range int32(record.Partitions) {
		end, err := c.GetOffset(t.Topic, p, sarama.OffsetNewest)
		if err != nil {
			return err
		}
		v.end(int(p), end)
		if err := saramaPartition(consumer, t.Topic, p, v); err != nil {
			return err
		}
	}
	return v.err
}

// saramaPartition reads one partition to its end.
func saramaPartition(consumer sarama.Consumer, topic string, p int32, v *verifier) error {
	pc, err := consumer.ConsumePartition(topic, p, sarama.OffsetOldest)
	if err != nil {
		return err
	}
	defer pc.Close()
	deadline := time.After(patience)
	for !v.full(int(p)) && v.err == nil {
		select {
		case m := <-pc.Messages():
			got := record.Record{Key: m.Key, Value: m.Value, Millis: m.Timestamp.UnixMilli()}
			for _, h := range m.Headers {
				got.Headers = append(got.Headers, record.Header{Key: string(h.Key), Value: h.Value})
			}
			v.add(int(p), m.Offset, got)
		case <-deadline:
			return fmt.Errorf("nothing more after %v: %v", patience, v)
		}
	}
	return nil
}

func (saramaClient) admin(bootstrap, topic string) error {
	a, err := sarama.NewClusterAdmin([]string{bootstrap}, saramaConfig())
	if err != nil {
		return err
	}
	defer a.Close()
	age := "3600000"
	err = a.CreateTopic(topic, &sarama.TopicDetail{
		NumPartitions: record.Partitions, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &age},
	}, false)
	if err != nil {
		return err
	}
	if err := a.CreatePartitions(topic, record.Partitions+1, nil, false); err != nil {
		return fmt.Errorf("create partitions: %w", err)
	}
	topics, err := a.DescribeTopics([]string{topic})
	if err != nil || len(topics) != 1 || len(topics[0].Partitions) != record.Partitions+1 {
		return fmt.Errorf("described topics %v, want %s with %d partitions: %v", topics, topic, record.Partitions+1, err)
	}
	configs, err := a.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
	if err != nil {
		return err
	}
	var found bool
	for _, config := range configs {
		found = found || config.Name == "retention.ms" && config.Value == age
	}
	if !found {
		return fmt.Errorf("retention.ms is not described as %s", age)
	}
	other := "7200000"
	entries := map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &other}}
	if err := a.IncrementalAlterConfig(sarama.TopicResource, topic, entries, false); err != nil {
		return fmt.Errorf("alter config: %w", err)
	}
	if _, err := a.DescribeLogDirs([]int32{1}); err != nil {
		return fmt.Errorf("describe log dirs: %w", err)
	}
	return a.DeleteTopic(topic)
}
