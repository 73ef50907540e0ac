package handler

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/replica"
)

// dataCluster is a cluster whose broker has logs, on the same disk in memory.
type dataCluster struct {
	*cluster
	logs    *log.Manager
	applied *metadata.Image
}

// newDataCluster starts node 1 with a data directory, /logs.
func newDataCluster(t *testing.T) *dataCluster {
	t.Helper()
	cl := newCluster(t)
	d := cl.deps
	d.Codecs = record.NewCodecs()
	logs, err := log.Open(log.Options{FS: cl.fs, Dirs: []string{"/logs"}, Logger: d.Logger, ClusterID: clusterID, NodeID: 1, Codecs: d.Codecs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { logs.Close(1) })
	if err := logs.Load(t.Context(), func(log.TopicPartition, [16]byte) (*log.Config, bool) { return nil, false }); err != nil {
		t.Fatal(err)
	}
	d.Replicas = replica.NewManager(replica.Options{Self: 1, Logs: logs, Logger: d.Logger,
		Resolve: func(string, map[string]string) (*replica.Settings, *log.Config) {
			c := log.DefaultConfig()
			return &replica.Settings{MinISR: 1}, &c
		}})
	cl.rows = append(cl.rows, listOffsetsAPI(d), offsetForLeaderEpochAPI(d), describeProducersAPI(d), describeLogDirsAPI(d), deleteRecordsAPI(d))
	return &dataCluster{cluster: cl, logs: logs, applied: &metadata.Image{}}
}

// topic creates a topic and serves its partitions.
func (dc *dataCluster) topic(name string, partitions int32) {
	dc.t.Helper()
	dc.create(topic(name, partitions, 1))
	next := dc.deps.Metadata.Load()
	dc.deps.Replicas.Apply(dc.applied, next)
	dc.applied = next
}

// partition returns a partition that is served here.
func (dc *dataCluster) partition(topic string, partition int32) *replica.Partition {
	dc.t.Helper()
	p := dc.deps.Replicas.LookupName(topic, partition)
	if p == nil {
		dc.t.Fatalf("%s-%d is not served", topic, partition)
	}
	return p
}

// append appends one batch with a record for each timestamp, and waits until it is committed or the leader is alone
// with it.
func (dc *dataCluster) append(topic string, partition int32, o record.BuilderOptions, timestamps ...int64) {
	dc.t.Helper()
	b := record.NewBuilder(dc.deps.Codecs, o)
	for _, ts := range timestamps {
		b.Append(record.Record{Timestamp: ts, Value: []byte("value")})
	}
	batch, err := b.Build()
	if err != nil {
		dc.t.Fatal(err)
	}
	dc.appendBatch(topic, partition, batch, log.OriginClient)
}

func (dc *dataCluster) appendBatch(topic string, partition int32, batch record.Batch, origin log.Origin) {
	dc.t.Helper()
	p := dc.partition(topic, partition)
	a := &log.Append{Batch: batch, Info: batch.Info(), Origin: origin}
	if err := p.Stage(a, 1); err != nil {
		dc.t.Fatal(err)
	}
	if err := p.Flush(); err != nil || a.Err != nil {
		dc.t.Fatal(err, a.Err)
	}
	dc.eventually("what was appended is durable", func() bool { return p.Log().DurableEnd().Offset > a.LastOffset })
	p.Advance()
}

// register gives a partition of this node another registration, as if the controller had decided it.
func (dc *dataCluster) register(topic string, partition int32, r metadata.PartitionRegistration) {
	dc.t.Helper()
	if err := dc.partition(topic, partition).Apply(&r, time.Now()); err != nil {
		dc.t.Fatal(err)
	}
}

// marker appends the end of a transaction, as a coordinator does.
func (dc *dataCluster) marker(topic string, partition int32, m record.EndTxnMarker) {
	dc.t.Helper()
	dc.appendBatch(topic, partition, record.AppendEndTxnMarker(nil, m), log.OriginCoordinator)
}

// offsetRow is one row of ListOffsets as the tests write it.
type offsetRow struct {
	code              int16
	timestamp, offset int64
	epoch             int32
}

// missing is the row for a record that is not there, and failed the one for an error.
var missing = offsetRow{0, -1, -1, -1}

func failed(code int16) offsetRow { return offsetRow{code, -1, -1, -1} }

// listOffset asks for one partition.
func (dc *dataCluster) listOffset(version int16, topic string, partition int32, timestamp int64, change ...func(*kmsg.ListOffsetsRequest)) offsetRow {
	dc.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	t, p := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
	t.Topic, p.Partition, p.Timestamp = topic, partition, timestamp
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	for _, fn := range change {
		fn(req)
	}
	resp := dc.ask(version, req).(*kmsg.ListOffsetsResponse)
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 || resp.Topics[0].Topic != topic || resp.Topics[0].Partitions[0].Partition != partition {
		dc.t.Fatalf("%+v", resp)
	}
	row := resp.Topics[0].Partitions[0]
	return offsetRow{row.ErrorCode, row.Timestamp, row.Offset, row.LeaderEpoch}
}

// len returns the number of sessions.
func (c *fetchSessions) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.byID)
}
