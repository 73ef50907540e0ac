package handler

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/metadata"
)

// cluster is a broker without data: a real controller on a disk in memory, and the handlers of this package.
type cluster struct {
	t          *testing.T
	fs         vfs.FS
	controller *controller.Controller
	deps       *Deps
	rows       []API
}

const clusterID = "MkU3OEVBNTcwNTJENDM2Qk"

// newCluster starts node 1, registered and not fenced.
func newCluster(t *testing.T) *cluster { return restartCluster(t, simfs.New()) }

// restartCluster starts node 1 on a disk that may have been used before.
func restartCluster(t *testing.T, fsys vfs.FS) *cluster {
	t.Helper()
	if err := errors.Join(fsys.MkdirAll("/data", 0o755), fsys.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	image, settings := new(metadata.Cell), testConfig(t)
	directory := metadata.UUID{0: 1, 8: 0x80, 15: 200}
	c, err := controller.Open(controller.Config{
		FS: fsys, DataDir: "/data", DirectoryID: directory, NodeID: 1, ClusterID: clusterID, Metadata: image, Logger: logger,
		Rules: controller.Rules{NumPartitions: 1, ReplicationFactor: 1, ValidateTopicConfig: settings.CheckTopic,
			Features: map[string]controller.LevelRange{"group.version": {Min: 0, Max: 1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Start()
	t.Cleanup(func() { c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := c.Client().RegisterBroker(ctx, metadata.Broker{
		ID: 1, Incarnation: metadata.NewUUID(), Directories: []metadata.UUID{directory},
		Listeners: []metadata.Listener{
			{Name: "PLAINTEXT", Host: "broker-1", Port: 9092},
			{Name: "EXTERNAL", Host: "example.com", Port: 19092},
		},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Client().Heartbeat(ctx, controller.Heartbeat{}); err != nil {
		t.Fatal(err)
	}
	loggers := config.NewLoggers(slog.DiscardHandler, slog.LevelInfo)
	loggers.Logger("wire")
	d := &Deps{NodeID: 1, Metadata: image, Controller: c.Client(), Authorizer: acl.AllowAll{}, Logger: logger, Config: settings, Loggers: loggers, Admin: Admin{
		AutoCreateTopics: true, DeleteTopics: true, MaxDescribedPartitions: 2000,
		Addresses:    Addresses{Explicit: map[string]bool{"PLAINTEXT": true, "EXTERNAL": true}},
		TopicConfigs: topicConfigs(settings),
		InternalTopic: func(name string) (controller.NewTopic, bool) {
			return controller.NewTopic{Name: name, Partitions: 50, ReplicationFactor: 1}, name == "__consumer_offsets"
		},
	}}
	cl := &cluster{t: t, fs: fsys, controller: c, deps: d, rows: []API{
		metadataAPI(d), createTopicsAPI(d), deleteTopicsAPI(d), createPartitionsAPI(d), initProducerIDAPI(d),
		describeClusterAPI(d), describeTopicPartitionsAPI(d), describeConfigsAPI(d), alterConfigsAPI(d), incrementalAlterConfigsAPI(d),
		electLeadersAPI(d), alterReassignmentsAPI(d), listReassignmentsAPI(d), describeClientQuotasAPI(d), alterClientQuotasAPI(d),
		describeScramCredentialsAPI(d), alterScramCredentialsAPI(d), describeQuorumAPI(d), updateFeaturesAPI(d), findCoordinatorAPI(d)}}
	cl.rows = append(cl.rows, apiVersionsAPI(d, func() []API { return cl.rows }))
	return cl
}

// topicConfigs is Admin.TopicConfigs as the broker has it.
func topicConfigs(store *config.Store) func(string, map[string]string) []TopicConfigEntry {
	return func(_ string, overrides map[string]string) []TopicConfigEntry {
		var entries []TopicConfigEntry
		for _, e := range store.TopicAtCreation(overrides) {
			entries = append(entries, TopicConfigEntry{Name: e.Name, Value: e.Value, ReadOnly: e.ReadOnly, Source: int8(e.Source), Sensitive: e.Sensitive})
		}
		return entries
	}
}

// ask gives a request to its handler as a connection would, in the given version, and checks that the response can be
// written in that version.
func (cl *cluster) ask(version int16, req kmsg.Request) kmsg.Response {
	cl.t.Helper()
	return cl.askAs(acl.Anonymous, version, req)
}

// askAs asks in the name of a principal.
func (cl *cluster) askAs(p acl.Principal, version int16, req kmsg.Request) kmsg.Response {
	cl.t.Helper()
	session := &Session{Principal: p, RemoteHost: "127.0.0.1", ListenerName: "PLAINTEXT",
		Remote: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000}, Local: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9092}}
	return cl.askOn(session, version, req)
}

// askOn is ask on a connection.
func (cl *cluster) askOn(session *Session, version int16, req kmsg.Request) kmsg.Response {
	cl.t.Helper()
	for _, row := range cl.rows {
		if row.Key != req.Key() {
			continue
		}
		if version < row.Min || version > row.Max {
			cl.t.Fatalf("version %d of API %d is not served", version, row.Key)
		}
		// Through the wire's encoding, so that fields which a version does not have are not there.
		req.SetVersion(version)
		sent := kmsg.RequestForKey(row.Key)
		sent.SetVersion(version)
		if err := sent.ReadFrom(req.AppendTo(nil)); err != nil {
			cl.t.Fatal(err)
		}
		resp := row.Handle(&Context{Session: session, Ctx: cl.t.Context(), Key: row.Key, Version: version, ClientID: "test"}, sent)
		resp.SetVersion(version)
		got := kmsg.ResponseForKey(row.Key)
		got.SetVersion(version)
		if err := got.ReadFrom(resp.AppendTo(nil)); err != nil {
			cl.t.Fatal(err)
		}
		return got
	}
	cl.t.Fatalf("API %d has no row", req.Key())
	return nil
}

// create creates topics that must be all right, and returns the topics.
func (cl *cluster) create(topics ...kmsg.CreateTopicsRequestTopic) []*metadata.Topic {
	cl.t.Helper()
	resp := cl.createTopics(7, topics...)
	var created []*metadata.Topic
	for _, row := range resp.Topics {
		if row.ErrorCode != 0 {
			cl.t.Fatalf("create %s: error %d %s", row.Topic, row.ErrorCode, text(row.ErrorMessage))
		}
		// The caller's next look at the metadata has it (rule 7.4.8 and the contract of controller.Client).
		created = append(created, cl.deps.Metadata.Load().Topic(row.Topic))
	}
	return created
}

func (cl *cluster) createTopics(version int16, topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsResponse {
	cl.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics, req.TimeoutMillis = topics, 10_000
	return cl.ask(version, req).(*kmsg.CreateTopicsResponse)
}

// topic is a topic of a CreateTopics request.
func topic(name string, partitions int32, factor int16) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, factor
	return t
}

// withConfig is t with a config.
func withConfig(t kmsg.CreateTopicsRequestTopic, name string, value *string) kmsg.CreateTopicsRequestTopic {
	c := kmsg.NewCreateTopicsRequestTopicConfig()
	c.Name, c.Value = name, value
	t.Configs = append(t.Configs, c)
	return t
}

// assigned is a topic with partitions assigned by hand.
func assigned(name string, partitions int32, factor int16, assignments map[int32][]int32) kmsg.CreateTopicsRequestTopic {
	t := topic(name, partitions, factor)
	for p, replicas := range assignments {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = p, replicas
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	}
	return t
}

func text(s *string) string {
	if s == nil {
		return "<null>"
	}
	return *s
}

// grants is an authorizer that allows what it lists: "WRITE topic x" by operation code, resource type and name.
type grants map[acl.Request]bool

func (g grants) Allowed(r *acl.Request) bool {
	q := *r
	q.Host = ""
	return g[q]
}

// grant allows p an operation.
func (g grants) grant(p acl.Principal, op acl.Operation, res acl.ResourceType, name string) {
	g[acl.Request{Principal: p, Operation: op, Resource: res, Name: name}] = true
}

// eventually waits until ok, which something that is under way brings about.
func (cl *cluster) eventually(what string, ok func() bool) {
	cl.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			cl.t.Fatalf("not so after 20 s: %s", what)
		}
	}
}
