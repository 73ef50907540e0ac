package compaction

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
)

// side is one of the two brokers.
type side struct {
	t         *testing.T
	name      string
	bootstrap string
	dir       string // data directory
	durable   bool   // the cleaner touches what is durable only: one pass cleans everything once it is
	codecs    *record.Codecs
	client    *kgo.Client
	admin     *kadm.Client
	producers [producers]*kmsg.InitProducerIDResponse
	topics    map[string]kadm.TopicID
}

func newSide(t *testing.T, name, bootstrap, dir string, durable bool) *side {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s := &side{t: t, name: name, bootstrap: bootstrap, dir: dir, durable: durable, codecs: record.NewCodecs(), client: client, admin: kadm.NewClient(client), topics: map[string]kadm.TopicID{}}
	for i := range s.producers {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.ProducerID, req.ProducerEpoch = -1, -1
		resp, err := req.RequestWith(t.Context(), client)
		s.must(err)
		s.must(kerr.ErrorForCode(resp.ErrorCode))
		s.producers[i] = resp
	}
	for _, topic := range topics {
		configs := map[string]*string{}
		set := func(k, v string) { configs[k] = &v }
		set("cleanup.policy", "compact")
		set("segment.ms", fmt.Sprint(segmentMs))
		set("min.cleanable.dirty.ratio", "0.01")
		set("min.compaction.lag.ms", held)
		set("index.interval.bytes", "512")
		for k, v := range topic.configs {
			set(k, v)
		}
		created, err := s.admin.CreateTopic(t.Context(), 1, 1, configs, topic.name)
		s.must(err)
		s.topics[topic.name] = created.ID
	}
	return s
}

func (s *side) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", s.name, err)
	}
}

// produce writes one batch and returns its first offset.
func (s *side) produce(topic string, b batch) int64 {
	s.t.Helper()
	var id int64
	var epoch int16
	if b.producer < producers {
		id, epoch = s.producers[b.producer].ProducerID, s.producers[b.producer].ProducerEpoch
	}
	built, err := b.build(s.codecs, id, epoch)
	s.must(err)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10_000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = built
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID, rt.Partitions = topic, s.topics[topic], append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	resp, err := s.client.Broker(1).RetriableRequest(s.t.Context(), req)
	s.must(err)
	got := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	s.must(kerr.ErrorForCode(got.ErrorCode))
	return got.BaseOffset
}

// clean lets the cleaner work until every log is clean up to its active segment, and keeps it away again. It returns the
// base offsets of the active segments.
func (s *side) clean() map[string]int64 {
	s.t.Helper()
	active := map[string]int64{}
	for _, topic := range topics {
		files := s.segments(topic.name)
		base, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(files[len(files)-1]), ".log"), 10, 64)
		s.must(err)
		active[topic.name] = base
	}
	if s.durable {
		s.awaitCheckpoint("is durable", log.RecoveryPointCheckpoint, active)
	}
	s.hold("0")
	s.awaitCheckpoint("is clean", log.CleanerCheckpoint, active)
	s.hold(held)
	return active
}

// awaitCheckpoint waits until a checkpoint of the directory has reached an offset in every topic.
func (s *side) awaitCheckpoint(what, file string, want map[string]int64) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		offsets, err := log.ReadCheckpoint(vfs.OS(), s.dir, file)
		var missing []string
		for _, topic := range topics {
			if at := offsets[log.TopicPartition{Topic: topic.name}]; at < want[topic.name] {
				missing = append(missing, fmt.Sprintf("%s %s below %d of %d", topic.name, what, at, want[topic.name]))
			}
		}
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s does not come on: %v, %v", s.name, missing, err)
		}
	}
}

// hold sets the lag of all topics.
func (s *side) hold(lag string) {
	s.t.Helper()
	var names []string
	for _, topic := range topics {
		names = append(names, topic.name)
	}
	resp, err := s.admin.AlterTopicConfigs(s.t.Context(), []kadm.AlterConfig{{Name: "min.compaction.lag.ms", Value: &lag}}, names...)
	s.must(err)
	for _, r := range resp {
		s.must(r.Err)
	}
}

// segments returns the log's files, the active one last.
func (s *side) segments(topic string) []string {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, topic+"-0", "*.log"))
	s.must(err)
	if len(files) == 0 {
		s.t.Fatalf("%s has no files of %s", s.name, topic)
	}
	slices.Sort(files)
	return files
}

// consume reads all records as a consumer does, one line each.
func (s *side) consume(topic string, timestamps bool) (lines []string) {
	s.t.Helper()
	ends, err := s.admin.ListEndOffsets(s.t.Context(), topic)
	s.must(err)
	end, _ := ends.Lookup(topic, 0)
	consumer, err := kgo.NewClient(kgo.SeedBrokers(s.bootstrap), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(0)}}))
	s.must(err)
	defer consumer.Close()
	for last := int64(-1); last < end.Offset-1; {
		fetches := consumer.PollFetches(s.t.Context())
		s.must(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			line := fmt.Sprintf("%d %s=%s", r.Offset, r.Key, text(r.Value))
			if timestamps {
				line += fmt.Sprint(" at ", r.Timestamp.UnixMilli())
			}
			for _, h := range r.Headers {
				line += fmt.Sprintf(" %s:%s", h.Key, text(h.Value))
			}
			lines = append(lines, line)
			last = r.Offset
		})
	}
	return lines
}

const tombstone = "(null)"

func text(value []byte) string {
	if value == nil {
		return tombstone
	}
	return string(value)
}

// batches reads the sealed segments' files, one line for each batch: what consumers can't see of it. Which segments were
// joined is left out: it depends on sizes, and so on each broker's compressors. The records' times
// and the producers' ids are the brokers' own. Behind the line of an empty batch that ends its segment stands end.
func (s *side) batches(topic string, timestamps bool, end string) (lines []string) {
	s.t.Helper()
	files := s.segments(topic)
	for _, file := range files[:len(files)-1] {
		data, err := os.ReadFile(file)
		s.must(err)
		for len(data) > 0 {
			b, rest, err := record.Next(data)
			s.must(err)
			data = rest
			if !b.VerifyCRC() {
				s.t.Errorf("%s: the batch at %d of %s has a wrong CRC", s.name, b.BaseOffset(), topic)
			}
			line := fmt.Sprintf("%d to %d, %d records, %v, %v, sequence %d, idempotent %t, horizon %t", b.BaseOffset(), b.LastOffset(), b.RecordCount(),
				b.Codec(), b.TimestampType(), b.BaseSequence(), b.ProducerID() >= 0, b.HasDeleteHorizon())
			if timestamps {
				line += fmt.Sprint(", newest at ", b.MaxTimestamp())
			}
			if len(data) == 0 && b.RecordCount() == 0 {
				line += end
			}
			lines = append(lines, line)
		}
	}
	return lines
}
