// Command simple-send-recv sends three messages and receives them: the smallest complete use of a Kafka client.
//
//	kbroker dev                             # in one terminal
//	go run ./examples/simple-send-recv      # in another
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	broker := flag.String("broker", "127.0.0.1:9092", "address of the broker")
	topic := flag.String("topic", "greetings", "topic to use; the broker creates it")
	flag.Parse()
	if err := run(*broker, *topic); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(broker, topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	// One client both produces and consumes. It reads the topic from the end, as it is when the client first asks.
	client, err := kgo.NewClient(
		kgo.SeedBrokers(broker),
		kgo.DefaultProduceTopic(topic),
		kgo.AllowAutoTopicCreation(),
	)
	if err != nil {
		return err
	}
	defer client.Close()

	// The broker answers when a message is safe on its disk (with "kbroker dev": in its memory), and says where it lies.
	var first *kgo.Record
	for _, text := range []string{"hello", "how are you?", "good-bye"} {
		sent, err := client.ProduceSync(ctx, &kgo.Record{Value: []byte(text)}).First()
		if err != nil {
			return fmt.Errorf("send to %s: %w", broker, err)
		}
		fmt.Printf("sent      %q to partition %d at offset %d\n", text, sent.Partition, sent.Offset)
		if first == nil {
			first = sent
		}
	}

	// Read on from the first of them.
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{
		topic: {first.Partition: kgo.NewOffset().At(first.Offset)},
	})
	for received := 0; received < 3; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		for r := range fetches.RecordsAll() {
			fmt.Printf("received  %q from partition %d at offset %d\n", r.Value, r.Partition, r.Offset)
			received++
		}
	}
	return nil
}
