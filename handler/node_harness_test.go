package handler

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/internal/quota"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/replica"
	"github.com/kbroker/kbroker/wire"
)

// dataNode is a broker with data and without a controller: its image is changed by hand.
type dataNode struct {
	t        testing.TB
	logs     *log.Manager
	replicas *replica.Manager
	groups   group.Config
	deps     *Deps
	service  *Service
	config   log.Config // of every topic
	index    uint64
}

func newDataNode(t testing.TB, durability log.Durability) *dataNode {
	return newDataNodeOn(t, simfs.New(), "/data", durability)
}

func newDataNodeOn(t testing.TB, fsys vfs.FS, dir string, durability log.Durability) *dataNode {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	logs, err := log.Open(log.Options{FS: fsys, Dirs: []string{dir}, Logger: logger, ClusterID: clusterID, NodeID: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { logs.Close(1) })
	n := &dataNode{t: t, logs: logs, config: log.DefaultConfig()}
	n.config.Durability = durability
	n.replicas = replica.NewManager(replica.Options{Self: 1, Logs: logs, Logger: logger,
		Resolve: func(string, map[string]string) (*replica.Settings, *log.Config) {
			return &replica.Settings{MinISR: 1}, &n.config
		}})
	n.deps = &Deps{NodeID: 1, Metadata: new(metadata.Cell), Authorizer: acl.AllowAll{}, Replicas: n.replicas, Codecs: record.NewCodecs(), Logger: logger,
		Quotas: quota.New(quota.Options{Samples: 11, Window: time.Second, MutationSamples: 11, MutationWindow: time.Second}),
		Limits: func() *Limits { return &testLimits }}
	n.coordinate()
	n.service = NewService(n.deps)
	return n
}

// coordinate gives the node a group coordinator.
func (n *dataNode) coordinate() {
	n.groups = group.Config{
		MinSessionTimeout: 6 * time.Second, MaxSessionTimeout: 30 * time.Minute, MaxSize: 1000, MaxBytes: 1 << 30, OffsetMetadataMaxBytes: 4096,
		OffsetsRetention: 7 * 24 * time.Hour, OffsetsRetentionCheck: 10 * time.Minute,
	}
	image, memory := n.deps.Metadata.Load, group.NewMemory(nil)
	machines := coordinator.NewRuntime(coordinator.Options[*group.Machine]{
		Topic: group.OffsetsTopic, Self: 1, Codecs: n.deps.Codecs, Logger: n.deps.Logger,
		New: func(int32) *group.Machine {
			return group.NewMachine(func() *group.Config { return &n.groups }, image, memory)
		},
		Lookup:      func(p int32) *replica.Partition { return n.replicas.LookupName(group.OffsetsTopic, p) },
		Compression: func() record.Compression { return record.Compression{} },
	})
	n.t.Cleanup(machines.Close)
	n.deps.Groups = group.NewCoordinator(machines, image)
}

var testLimits = Limits{FetchMaxBytes: 55 << 20, FetchSessionSlots: 4, FetchSessionAge: 2 * time.Minute, CommitTimeout: 5 * time.Second}

// apply changes the image and the partitions.
func (n *dataNode) apply(records ...metadata.Record) {
	n.t.Helper()
	n.index++
	prev := n.deps.Metadata.Load()
	next, err := prev.Apply(n.index, records...)
	if err != nil {
		n.t.Fatal(err)
	}
	n.deps.Metadata.Store(next)
	n.replicas.Apply(prev, next)
	n.deps.Groups.Apply(prev, next)
}

// topic creates a topic and returns its id.
func (n *dataNode) topic(name string, partitions int) metadata.UUID {
	n.t.Helper()
	id := metadata.NewUUID()
	records := []metadata.Record{&metadata.TopicRecord{Name: name, ID: id}}
	for i := range partitions {
		records = append(records, &metadata.PartitionRecord{Topic: id, Partition: int32(i), PartitionRegistration: metadata.PartitionRegistration{
			Replicas: []metadata.BrokerID{1}, ISR: []metadata.BrokerID{1}, Leader: 1, Directories: []metadata.UUID{{1}},
		}})
	}
	n.apply(records...)
	return id
}

// client is a connection to a dataNode without a network: requests go in by their bytes and come out so.
type client struct {
	n *dataNode
	wire.Session
}

func (n *dataNode) connect() *client {
	a := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	s := n.service.Connect(context.Background(), wire.ConnInfo{Listener: "PLAINTEXT", Local: a, Remote: a})
	n.t.Cleanup(s.Close)
	return &client{n, s}
}

// start runs stage one of a request.
func (c *client) start(req kmsg.Request) (wire.Reply, error) {
	h := &wire.Header{Key: req.Key(), Version: req.GetVersion(), Flexible: req.IsFlexible()}
	return c.Start(h, req.AppendTo(nil))
}

// startReused starts a request whose body is encoded already.
func startReused(t testing.TB, c *client, h *wire.Header, body []byte) wire.Reply {
	r, err := c.Start(h, body)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	return r
}

// ask runs both stages, and decodes the response.
func (c *client) ask(req kmsg.Request) kmsg.Response {
	c.n.t.Helper()
	r, err := c.start(req)
	if err != nil {
		c.n.t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		c.n.t.Fatal(err)
	}
	return c.finish(req, r)
}

// finish runs stage two.
func (c *client) finish(req kmsg.Request, r wire.Reply) kmsg.Response {
	c.n.t.Helper()
	if !r.Done() {
		r.Wait(nil)
	}
	var out wire.Out
	r.Append(&out)
	r.Release()
	var b bytes.Buffer
	if err := out.CopyTo(&b); err != nil {
		c.n.t.Fatal(err)
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if err := resp.ReadFrom(b.Bytes()); err != nil {
		c.n.t.Fatalf("%s v%d: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	return resp
}

// batch builds a batch of n records.
func batch(t testing.TB, n int, o record.BuilderOptions) []byte {
	t.Helper()
	b := record.NewBuilder(record.NewCodecs(), o)
	for i := range n {
		b.Append(record.Record{Key: []byte("k"), Value: fmt.Appendf(nil, "value %d", i), Timestamp: time.Now().UnixMilli()})
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// produceTo is a Produce request to one partition.
func produceTo(version int16, topic string, id metadata.UUID, partition int32, acks int16, records []byte) *kmsg.ProduceRequest {
	q := kmsg.NewPtrProduceRequest()
	q.SetVersion(version)
	q.Acks, q.TimeoutMillis = acks, 5000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	return q
}

// fetchFrom is a Fetch request for partitions 0 to n-1 from one offset.
func fetchFrom(version int16, topic string, id metadata.UUID, n int, offset int64) *kmsg.FetchRequest {
	q := kmsg.NewPtrFetchRequest()
	q.SetVersion(version)
	q.MaxWaitMillis, q.MinBytes, q.MaxBytes = 0, 1, 1<<30
	q.SessionEpoch = -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, id
	for i := range n {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = int32(i), offset, 1<<20
		t.Partitions = append(t.Partitions, p)
	}
	q.Topics = append(q.Topics, t)
	return q
}

func baseOffset(records []byte) int64 { return int64(binary.BigEndian.Uint64(records)) }
