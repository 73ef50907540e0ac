package handler

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestTableGolden holds the protocol surface against its golden file: a change of it is a change for users.
func TestTableGolden(t *testing.T) {
	n := newCluster(t)
	var b strings.Builder
	last := int16(-1)
	for _, a := range Table(n.deps) {
		if a.Key <= last {
			t.Errorf("API key %d stands behind %d", a.Key, last)
		}
		last = a.Key
		fmt.Fprintf(&b, "%d %s %d-%d", a.Key, kmsg.NameForKey(a.Key), a.Min, a.Max)
		for _, c := range a.Checks {
			fmt.Fprintf(&b, " %s:%s", resourceNames[c.Resource], operationNames[c.Operation])
		}
		b.WriteByte('\n')
	}
	const golden = "testdata/apis.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the API table is\n%s\nand %s says\n%s\n(go test ./handler -run TableGolden -update)", &b, golden, want)
	}
}

var resourceNames = map[acl.ResourceType]string{acl.Topic: "topic", acl.Group: "group", acl.Cluster: "cluster", acl.TransactionalID: "transactional-id"}

var operationNames = map[acl.Operation]string{
	acl.Read: "read", acl.Write: "write", acl.Create: "create", acl.Delete: "delete", acl.Alter: "alter", acl.Describe: "describe",
	acl.ClusterAction: "cluster-action", acl.DescribeConfigs: "describe-configs", acl.AlterConfigs: "alter-configs",
	acl.IdempotentWrite: "idempotent-write",
}

// spy denies everything and remembers what it was asked.
type spy struct{ asked []Check }

func (s *spy) Allowed(r *acl.Request) bool {
	s.asked = append(s.asked, Check{r.Resource, r.Operation})
	return false
}

// unchecked are the APIs that need no permission (appendix C), and ones whose permission only optional fields ask for.
var unchecked = map[kmsg.Key]bool{kmsg.ApiVersions: true, kmsg.DescribeCluster: true}

// TestEveryRowAuthorizes drives every row with an authorizer that denies: each asks, only what its row lists, and a
// topic that may not be seen is never answered with data.
func TestEveryRowAuthorizes(t *testing.T) {
	n := newDataNode(t, 0)
	n.topic("t", 1)
	cl := newCluster(t)
	im, err := n.deps.Metadata.Load().Apply(n.deps.Metadata.Load().Index+1, &metadata.FeatureLevelRecord{Name: "group.version", Level: 1})
	if err != nil {
		t.Fatal(err)
	}
	n.deps.Metadata.Store(im)
	s := &spy{}
	n.deps.Authorizer, n.deps.Controller, n.deps.Admin, n.deps.Config, n.deps.Loggers = s, cl.deps.Controller, cl.deps.Admin, cl.deps.Config, cl.deps.Loggers
	n.service = NewService(n.deps)
	for _, a := range Table(n.deps) {
		s.asked = nil
		c := n.connect()
		req := oneTopicRequest(a.Key)
		req.SetVersion(min(a.Max, 12))
		if r, err := c.start(req); err != nil {
			t.Errorf("%s: %v", kmsg.NameForKey(a.Key), err)
		} else if err := c.Flush(); err == nil && r != nil {
			r.Release()
		}
		if len(s.asked) == 0 && !unchecked[kmsg.Key(a.Key)] {
			t.Errorf("%s asks nothing", kmsg.NameForKey(a.Key))
		}
		for _, q := range s.asked {
			if !slices.Contains(a.Checks, q) {
				t.Errorf("%s asks for %s:%s, which its row does not list", kmsg.NameForKey(a.Key), resourceNames[q.Resource], operationNames[q.Operation])
			}
		}
	}
}

// oneTopicRequest is a request of an API that names topic t.
func oneTopicRequest(key int16) kmsg.Request {
	topic := "t"
	req := kmsg.RequestForKey(key)
	switch q := req.(type) {
	case *kmsg.ProduceRequest:
		q.Acks = 1
		q.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{}}}}
	case *kmsg.FetchRequest:
		q.Topics = []kmsg.FetchRequestTopic{{Topic: topic, Partitions: []kmsg.FetchRequestTopicPartition{kmsg.NewFetchRequestTopicPartition()}}}
	case *kmsg.ListOffsetsRequest:
		q.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{{}}}}
	case *kmsg.MetadataRequest:
		q.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
	case *kmsg.CreateTopicsRequest:
		q.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "new", NumPartitions: 1, ReplicationFactor: 1}}
		q.TimeoutMillis = 1000
	case *kmsg.DeleteTopicsRequest:
		q.TopicNames, q.TimeoutMillis = []string{topic}, 1000
		q.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &topic}}
	case *kmsg.DeleteRecordsRequest:
		q.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{}}}}
	case *kmsg.OffsetForLeaderEpochRequest:
		q.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{}}}}
	case *kmsg.DescribeConfigsRequest:
		q.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic}}
	case *kmsg.AlterConfigsRequest:
		q.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic}}
	case *kmsg.IncrementalAlterConfigsRequest:
		q.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic}}
	case *kmsg.CreatePartitionsRequest:
		q.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: topic, Count: 2}}
		q.TimeoutMillis = 1000
	case *kmsg.ConsumerGroupHeartbeatRequest:
		q.Group, q.SubscribedTopicNames = "g", []string{topic}
	case *kmsg.ConsumerGroupDescribeRequest:
		q.Groups = []string{"g"}
	case *kmsg.DescribeACLsRequest:
		q.ResourceType, q.ResourcePatternType, q.Operation, q.PermissionType = 1, 1, 1, 1
	case *kmsg.CreateACLsRequest:
		q.Creations = []kmsg.CreateACLsRequestCreation{{ResourceType: 2, ResourcePatternType: 3, Operation: 3, PermissionType: 3}}
	case *kmsg.DeleteACLsRequest:
		q.Filters = []kmsg.DeleteACLsRequestFilter{{ResourceType: 2, ResourcePatternType: 3, Operation: 3, PermissionType: 3}}
	case *kmsg.AlterClientQuotasRequest:
		q.Entries = []kmsg.AlterClientQuotasRequestEntry{{}}
	case *kmsg.AlterUserSCRAMCredentialsRequest:
		q.Deletions = []kmsg.AlterUserSCRAMCredentialsRequestDeletion{{Name: "u"}}
	case *kmsg.DescribeProducersRequest:
		q.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: topic, Partitions: []int32{0}}}
	case *kmsg.OffsetCommitRequest:
		q.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{}}}}
	case *kmsg.OffsetFetchRequest:
		q.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g"}}
	case *kmsg.FindCoordinatorRequest:
		q.CoordinatorKeys = []string{"g"}
	case *kmsg.SyncGroupRequest:
		q.ProtocolType, q.Protocol = new("consumer"), new("range") // without them version 5 is refused whoever asks
	case *kmsg.DescribeGroupsRequest:
		q.Groups = []string{"g"}
	case *kmsg.DeleteGroupsRequest:
		q.Groups = []string{"g"}
	case *kmsg.DescribeTopicPartitionsRequest:
		q.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: topic}}
	}
	return req
}
