package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// produceFlags are those of `kbroker produce`.
type produceFlags struct {
	connection
	output
	input     string
	key       string
	hasKey    bool
	separator string
	headers   []string
	partition int32
	codec     string
	acks      string
	maxBatch  atomic.Int32 // bytes that the topic takes in one batch; the client reads it when it first sees a partition
}

// produceCommand is `kbroker produce`.
func produceCommand() *cobra.Command {
	f := &produceFlags{}
	cmd := &cobra.Command{
		Use: "produce TOPIC", Short: "Write lines of the standard input to a topic", Args: arguments(1, 1, "one topic"),
		Long: `Write each line of the standard input as a record. A topic that does not exist is created, if the broker allows it.

With -i json a line is an object such as {"key":"k","value":"v","headers":[{"key":"h","value":"x"}],"timestamp":1700000000000},
which is what consume -o json writes. With -o json the place of each record is printed.`,
		Example: `  echo hello | kbroker produce demo
  printf 'k1:v1\nk2:v2\n' | kbroker produce demo -K :
  kbroker consume demo -e -o json | kbroker produce copy -i json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.hasKey = cmd.Flags().Changed("key")
			return f.run(cmd, args[0])
		},
	}
	f.connection.add(cmd)
	f.output.add(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&f.input, "input", "i", "text", "text or json")
	flags.StringVarP(&f.key, "key", "k", "", "the key of all records")
	flags.StringVarP(&f.separator, "key-separator", "K", "", "what stands between key and value in a line")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "a header of all records as KEY=VALUE; may be repeated")
	flags.Int32VarP(&f.partition, "partition", "p", -1, "the partition; -1: by key, or any")
	flags.StringVarP(&f.codec, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	flags.StringVar(&f.acks, "acks", "all", "who has a record before it counts as written: all, 1 (the leader) or 0")
	return cmd
}

func (f *produceFlags) run(cmd *cobra.Command, topic string) error {
	reader, err := f.reader(interruptible{cmd.Context(), cmd.InOrStdin()})
	if err != nil {
		return err
	}
	opts, err := f.options(topic)
	if err != nil {
		return err
	}
	client, err := f.open(cmd.Context(), opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := f.look(cmd.Context(), kadm.NewClient(client), topic); err != nil {
		return err
	}
	p := &production{client: client, out: bufio.NewWriter(cmd.OutOrStdout()), json: f.format == "json"}
	return p.run(cmd.Context(), func() (*kgo.Record, error) {
		r, err := reader.next()
		if err != nil {
			return nil, err
		}
		return r, f.complete(r)
	})
}

const (
	// defaultBatch is what a topic takes by default, less some bytes that clients count differently.
	defaultBatch = 1_000_012
	// leastBatch is what the client wants at least.
	leastBatch = 512
	// maxBuffered bounds in bytes what waits to be acknowledged. The client bounds only the number of records, and 50,000
	// of 1 MiB are more than a machine has.
	maxBuffered = maxLine + 28<<20
)

// look asks a topic that exists for its partitions, where one is named, and for what it takes in a batch: a batch of the
// default size is refused by a topic that takes less, and would keep long lines from one that takes more. Who may not ask,
// or names a topic that is to be created, gets the default.
func (f *produceFlags) look(ctx context.Context, a *kadm.Client, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if f.partition >= 0 {
		topics, err := a.ListTopicsWithInternal(ctx, topic)
		if n := int32(len(topics[topic].Partitions)); err == nil && topics[topic].Err == nil && f.partition >= n {
			return &exitError{exitNotFound, fmt.Errorf("topic %s has no partition %d; it has %d", topic, f.partition, n)}
		}
	}
	configs, err := a.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return nil
	}
	config, _ := configs.On(topic, nil)
	for _, c := range config.Configs {
		if n, err := strconv.ParseInt(c.MaybeValue(), 10, 32); err == nil && c.Key == "max.message.bytes" {
			f.maxBatch.Store(int32(min(max(n, leastBatch), maxLine)))
		}
	}
	return nil
}

func (f *produceFlags) reader(in io.Reader) (*lineReader, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if f.input != "text" && f.input != "json" {
		return nil, &exitError{exitUsage, fmt.Errorf("-i %s: write text or json", f.input)}
	}
	if f.separator != "" && (f.input == "json" || f.hasKey) {
		return nil, &exitError{exitUsage, errors.New("-K finds keys in lines of text: leave out -i json and -k")}
	}
	r := newLineReader(in)
	r.json, r.separator = f.input == "json", f.separator
	return r, nil
}

// complete adds what the flags say about all records.
func (f *produceFlags) complete(r *kgo.Record) error {
	if f.hasKey {
		r.Key = []byte(f.key)
	}
	for _, h := range f.headers {
		key, value, ok := strings.Cut(h, "=")
		if !ok {
			return &exitError{exitUsage, fmt.Errorf("-H %s: write it as KEY=VALUE", h)}
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	r.Partition = max(f.partition, 0)
	return nil
}

// maxTries is how often a batch is sent before it counts as failed, which with tryPause between them takes half a minute.
// The client's own time-out is of no use: it counts from a record's timestamp, which may be years ago. Its own pauses
// of up to five seconds would make it nearly two minutes without a word.
const (
	maxTries = 30
	tryPause = time.Second
)

func (f *produceFlags) options(topic string) ([]kgo.Opt, error) {
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	codec, ok := codecs[f.codec]
	if !ok {
		return nil, &exitError{exitUsage, fmt.Errorf("-z %s: write none, gzip, snappy, lz4 or zstd", f.codec)}
	}
	if f.partition < -1 {
		return nil, &exitError{exitUsage, fmt.Errorf("-p %d: write the number of a partition, or -1 for any", f.partition)}
	}
	f.maxBatch.Store(defaultBatch)
	opts := []kgo.Opt{kgo.ProducerBatchMaxBytesFn(func(string) int32 { return f.maxBatch.Load() }), kgo.MaxBufferedBytes(maxBuffered),
		kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(codec), kgo.AllowAutoTopicCreation(),
		kgo.RecordRetries(maxTries), kgo.MetadataMinAge(tryPause),
		kgo.RetryBackoffFn(func(fails int) time.Duration { return min(time.Duration(fails)*tryPause/4, tryPause) })}
	switch f.acks {
	case "all":
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	default:
		return nil, &exitError{exitUsage, fmt.Errorf("--acks %s: write all, 1 or 0", f.acks)}
	}
	if f.partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	return opts, nil
}

// production writes records and keeps the first error.
type production struct {
	client *kgo.Client
	json   bool
	stop   context.CancelFunc // ends run; set by it

	mu  sync.Mutex // guards what follows: records are acknowledged on the client's goroutines
	out *bufio.Writer
	err error
}

// run writes what next returns until io.EOF, and waits until everything is acknowledged. The first record that fails ends
// it: those behind it would fail as well, after as many tries each.
func (p *production) run(ctx context.Context, next func() (*kgo.Record, error)) error {
	ctx, p.stop = context.WithCancel(ctx)
	defer p.stop()
	var read error
	for p.failure() == nil && ctx.Err() == nil {
		r, err := next()
		if err != nil {
			read = err
			break
		}
		p.client.Produce(ctx, r, p.acknowledged) // waits while too much is under way
	}
	if errors.Is(read, io.EOF) {
		read = nil
	}
	flushed := p.client.Flush(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil { // and flushed is what ended the wait
		return errors.Join(p.err, read, p.out.Flush())
	}
	return errors.Join(read, flushed, ctx.Err(), p.out.Flush())
}

func (p *production) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *production) acknowledged(r *kgo.Record, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if p.err == nil {
			if errors.Is(err, kerr.KafkaStorageError) {
				err = fmt.Errorf("the broker's data directory is full or has failed, see its log: %w", err)
			}
			if errors.Is(err, kerr.MessageTooLarge) {
				err = fmt.Errorf("a record is larger than the topic takes, which kbroker topic alter %s -c max.message.bytes=N changes: %w", r.Topic, err)
			}
			p.err = fmt.Errorf("writing to topic %s: %w", r.Topic, err)
			p.stop()
		}
		return
	}
	if p.json {
		line, _ := json.Marshal(jsonRecord{Topic: r.Topic, Partition: &r.Partition, Offset: &r.Offset}) // has no value that could fail
		p.out.Write(append(line, '\n'))                                                                 //nolint:errcheck // Flush says
	}
}
