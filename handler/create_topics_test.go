package handler

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/internal/security/acl"
)

// T104: rules 7.3 and 7.4, with the codes of Kafka 4.3.1.
func TestT104CreateTopicsErrors(t *testing.T) {
	cl := newCluster(t)
	cl.create(topic("a_b", 1, 1), topic("there", 1, 1))
	tests := []struct {
		topic kmsg.CreateTopicsRequestTopic
		want  *kerr.Error
	}{
		{topic("", 1, 1), kerr.InvalidTopicException},
		{topic(".", 1, 1), kerr.InvalidTopicException},
		{topic("..", 1, 1), kerr.InvalidTopicException},
		{topic("a b", 1, 1), kerr.InvalidTopicException},
		{topic(strings.Repeat("a", 250), 1, 1), kerr.InvalidTopicException},
		{topic(strings.Repeat("a", 249), 1, 1), nil},
		{topic("a.b", 1, 1), kerr.InvalidTopicException}, // collides with a_b
		{topic("there", 0, 0), kerr.TopicAlreadyExists},  // before what else is wrong
		{topic("a_b", 1, 1), kerr.TopicAlreadyExists},    // not a collision with itself
		{topic("p0", 0, 1), kerr.InvalidPartitions},
		{topic("p-2", -2, 1), kerr.InvalidPartitions},
		{topic("r0", 1, 0), kerr.InvalidReplicationFactor},
		{topic("r-2", 1, -2), kerr.InvalidReplicationFactor},
		{topic("r4", 1, 4), kerr.InvalidReplicationFactor},
		{topic("p0r0", 0, 0), kerr.InvalidReplicationFactor},
		{topic("defaults", -1, -1), nil},
		{assigned("gap", -1, -1, map[int32][]int32{0: {1}, 2: {1}}), kerr.InvalidReplicaAssignment},
		{assigned("negative", -1, -1, map[int32][]int32{-1: {1}}), kerr.InvalidReplicaAssignment},
		{assigned("none", -1, -1, map[int32][]int32{0: {}}), kerr.InvalidReplicaAssignment},
		{assigned("twice", -1, -1, map[int32][]int32{0: {1, 1}}), kerr.InvalidReplicaAssignment},
		{assigned("unknown", -1, -1, map[int32][]int32{0: {9}}), kerr.InvalidReplicaAssignment},
		{assigned("count", 1, -1, map[int32][]int32{0: {1}}), kerr.InvalidRequest},
		{assigned("factor", -1, 1, map[int32][]int32{0: {1}}), kerr.InvalidRequest},
		{assigned("good", -1, -1, map[int32][]int32{0: {1}, 1: {1}}), nil},
		{withConfig(topic("c1", 1, 1), "nope", new("1")), kerr.InvalidConfig},
		{withConfig(topic("c2", 0, 1), "retention.ms", new("x")), kerr.InvalidConfig}, // before the count
		{withConfig(topic("c3", 0, 1), "retention.ms", nil), kerr.InvalidConfig},
		{withConfig(withConfig(topic("c4", 1, 1), "retention.ms", new("1")), "retention.ms", new("2")), nil},
		{topic("__cluster_metadata", 1, 1), kerr.InvalidRequest},
		{topic("__transaction_state", 1, 1), nil},
	}
	for _, test := range tests {
		resp := cl.createTopics(7, test.topic)
		if len(resp.Topics) != 1 {
			t.Fatalf("%q: %d rows", test.topic.Topic, len(resp.Topics))
		}
		row := resp.Topics[0]
		checkCode(t, row.Topic, row.ErrorCode, test.want)
		if test.want != nil && (row.NumPartitions != -1 || row.ReplicationFactor != -1 || row.ErrorMessage == nil || len(row.Configs) != 0) {
			t.Errorf("%q: the row of an error is %+v", row.Topic, row)
		}
	}
	if got := cl.deps.Metadata.Load().Topic("c4"); len(got.Partitions) != 1 {
		t.Errorf("c4 is %+v", got)
	}
}

// checkCode compares an error code.
func checkCode(t *testing.T, what string, got int16, want *kerr.Error) {
	t.Helper()
	var code int16
	if want != nil {
		code = want.Code
	}
	if got != code {
		t.Errorf("%q: error %d (%v), want %d", what, got, kerr.ErrorForCode(got), code)
	}
}

// T104: a name that the request has twice; T104 and rule 7.3.2: only topics from before the request collide.
func TestT104NamesInOneRequest(t *testing.T) {
	cl := newCluster(t)
	resp := cl.createTopics(7, topic("d", 1, 1), topic("x.y", 1, 1), topic("d", 2, 1), topic("x_y", 1, 1))
	want := map[string]int16{"x.y": 0, "x_y": 0, "d": kerr.InvalidRequest.Code}
	if len(resp.Topics) != len(want) {
		t.Fatalf("%d rows, want one for each name: %+v", len(resp.Topics), resp.Topics)
	}
	for _, row := range resp.Topics {
		if row.ErrorCode != want[row.Topic] {
			t.Errorf("%s: error %d, want %d", row.Topic, row.ErrorCode, want[row.Topic])
		}
	}
	if cl.deps.Metadata.Load().Topic("d") != nil {
		t.Error("a topic that was named twice is there")
	}
}

// retention is the value and the source of retention.ms, which a created topic has among all the others.
func retention(row kmsg.CreateTopicsResponseTopic) string {
	for _, c := range row.Configs {
		if c.Name == "retention.ms" && len(row.Configs) == len(config.TopicKeys.Keys)-1 { // one is hidden
			return fmt.Sprint(text(c.Value), " ", c.Source)
		}
	}
	return "missing"
}

// T105: rules 7.4.7 and 7.4.8.
func TestT105ValidateOnly(t *testing.T) {
	cl := newCluster(t)
	req := kmsg.NewPtrCreateTopicsRequest()
	req.ValidateOnly, req.TimeoutMillis = true, 5000
	req.Topics = append(req.Topics, withConfig(topic("v", 3, 1), "retention.ms", new("7")))
	for v := int16(2); v <= 7; v++ {
		row := cl.ask(v, req).(*kmsg.CreateTopicsResponse).Topics[0]
		if row.ErrorCode != 0 || row.ErrorMessage != nil {
			t.Fatalf("v%d: error %d %s", v, row.ErrorCode, text(row.ErrorMessage))
		}
		if v >= 5 && (row.NumPartitions != 3 || row.ReplicationFactor != 1 || retention(row) != "7 1") {
			t.Errorf("v%d: %d partitions, %d replicas, retention.ms %s", v, row.NumPartitions, row.ReplicationFactor, retention(row))
		}
		if (v >= 7) == (row.TopicID == [16]byte{}) {
			t.Errorf("v%d: topic id %x", v, row.TopicID)
		}
	}
	if cl.deps.Metadata.Load().NumTopics() != 0 {
		t.Error("validate_only has created a topic")
	}
	cl.create(topic("v", 3, 1))
	checkCode(t, "v", cl.ask(7, req).(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode, kerr.TopicAlreadyExists)
}

// Rule 7.4.13: the request fails as a whole, also for what is wrong in another way.
func TestCreateTopicsTooMany(t *testing.T) {
	cl := newCluster(t)
	for _, topics := range [][]kmsg.CreateTopicsRequestTopic{
		{topic("big", 10_001, 1), topic("a b", 1, 1), topic("d", 1, 1), topic("d", 1, 1)},
		{topic("big", 6000, 1), topic("big2", 4001, 1)},
		{withConfig(topic("big", 10_000, 1), "retention.ms", new("1"))}, // one record too many
	} {
		resp := cl.createTopics(7, topics...)
		if len(resp.Topics) == 0 {
			t.Fatal("no rows")
		}
		for _, row := range resp.Topics {
			checkCode(t, row.Topic, row.ErrorCode, kerr.PolicyViolation)
		}
	}
	if n := cl.deps.Metadata.Load().NumTopics(); n != 0 {
		t.Errorf("%d topics were created", n)
	}
	if got := cl.create(topic("big", 9999, 1)); len(got[0].Partitions) != 9999 {
		t.Errorf("%d partitions", len(got[0].Partitions))
	}
}

// Rule 7.4.9, as Kafka 4.3.1 has it: without time nothing is tried.
func TestCreateTopicsWithoutTime(t *testing.T) {
	cl := newCluster(t)
	for _, timeout := range []int32{0, -1} {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis = timeout
		req.Topics = append(req.Topics, topic("t", 1, 1))
		row := cl.ask(7, req).(*kmsg.CreateTopicsResponse).Topics[0]
		checkCode(t, "t", row.ErrorCode, kerr.RequestTimedOut)
		if row.ErrorMessage != nil {
			t.Errorf("message %q", *row.ErrorMessage)
		}
	}
	cl.create(topic("t", 1, 1))
}

// Rules 7.4.1 and 7.4.8.
func TestCreateTopicsAuthorization(t *testing.T) {
	cl := newCluster(t)
	alice, bob := acl.Principal{Type: "User", Name: "alice"}, acl.Principal{Type: "User", Name: "bob"}
	g := grants{}
	g.grant(alice, acl.Create, acl.Topic, "hers")
	g.grant(bob, acl.Create, acl.Cluster, acl.ClusterName)
	g.grant(bob, acl.DescribeConfigs, acl.Topic, "his")
	cl.deps.Authorizer = g
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 5000
	req.Topics = append(req.Topics, topic("hers", 1, 1), topic("not-hers", 1, 1))
	for _, row := range cl.askAs(alice, 7, req).(*kmsg.CreateTopicsResponse).Topics {
		if row.Topic != "hers" {
			checkCode(t, row.Topic, row.ErrorCode, kerr.TopicAuthorizationFailed)
			continue
		}
		if row.ErrorCode != 0 || row.ConfigErrorCode != kerr.TopicAuthorizationFailed.Code || row.NumPartitions != -1 ||
			row.ReplicationFactor != -1 || row.Configs != nil {
			t.Errorf("without DESCRIBE_CONFIGS: %+v", row)
		}
	}
	req.Topics = []kmsg.CreateTopicsRequestTopic{topic("his", 2, 1)}
	row := cl.askAs(bob, 7, req).(*kmsg.CreateTopicsResponse).Topics[0]
	if row.ErrorCode != 0 || row.ConfigErrorCode != 0 || row.NumPartitions != 2 || retention(row) != "604800000 5" {
		t.Errorf("with DESCRIBE_CONFIGS: %+v", row)
	}
}
