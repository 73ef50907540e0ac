package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
)

func more(name string, count int32, assignments ...[]int32) kmsg.CreatePartitionsRequestTopic {
	t := kmsg.NewCreatePartitionsRequestTopic()
	t.Topic, t.Count = name, count
	for _, replicas := range assignments {
		a := kmsg.NewCreatePartitionsRequestTopicAssignment()
		a.Replicas = replicas
		t.Assignment = append(t.Assignment, a)
	}
	return t
}

func (cl *cluster) createPartitions(p acl.Principal, version int16, validate bool, topics ...kmsg.CreatePartitionsRequestTopic) map[string]int16 {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Topics, req.ValidateOnly, req.TimeoutMillis = topics, validate, 5000
	codes := map[string]int16{}
	for _, row := range cl.askAs(p, version, req).(*kmsg.CreatePartitionsResponse).Topics {
		if _, twice := codes[row.Topic]; twice {
			cl.t.Errorf("two rows for %s", row.Topic)
		}
		codes[row.Topic] = row.ErrorCode
	}
	return codes
}

// T107: rule 7.6.
func TestT107CreatePartitions(t *testing.T) {
	cl := newCluster(t)
	cl.create(topic("p", 2, 1))
	tests := []struct {
		topic kmsg.CreatePartitionsRequestTopic
		want  *kerr.Error
	}{
		{more("p", 2), kerr.InvalidPartitions},
		{more("p", 1), kerr.InvalidPartitions},
		{more("p", 0), kerr.InvalidPartitions},
		{more("p", -1), kerr.InvalidPartitions},
		{more("nope", 2), kerr.UnknownTopicOrPartition},
		{more("a b", 2), kerr.UnknownTopicOrPartition},
		{more("p", 4, []int32{1}), kerr.InvalidReplicaAssignment},
		{more("p", 3, []int32{1}, []int32{1}), kerr.InvalidReplicaAssignment},
		{more("p", 3, []int32{}), kerr.InvalidReplicaAssignment},
		{more("p", 3, []int32{2}), kerr.InvalidReplicaAssignment},
		{more("p", 3, []int32{1, 1}), kerr.InvalidReplicaAssignment},
		{more("p", 10_003), kerr.PolicyViolation},
		{more("p", 1<<31-1), kerr.PolicyViolation},
	}
	for _, test := range tests {
		checkCode(t, test.topic.Topic, cl.createPartitions(acl.Anonymous, 3, false, test.topic)[test.topic.Topic], test.want)
	}
	for v := int16(0); v <= 3; v++ {
		n := int32(3 + 2*v)
		for _, validate := range []bool{true, false} {
			if codes := cl.createPartitions(acl.Anonymous, v, validate, more("p", n)); codes["p"] != 0 {
				t.Errorf("v%d: %v", v, codes)
			}
			if got := len(cl.deps.Metadata.Load().Topic("p").Partitions); (got == int(n)) == validate {
				t.Errorf("v%d: %d partitions after a request for %d with validate_only %t", v, got, n, validate)
			}
		}
		cl.createPartitions(acl.Anonymous, v, false, more("p", n+1, []int32{1}))
	}
	if got := len(cl.deps.Metadata.Load().Topic("p").Partitions); got != 10 {
		t.Errorf("%d partitions, want 10", got)
	}
}

// Rule 7.6.1: each topic stands for itself.
func TestCreatePartitionsTogether(t *testing.T) {
	cl := newCluster(t)
	cl.create(topic("p", 2, 1), topic("q", 2, 1), topic("r", 2, 1))
	codes := cl.createPartitions(acl.Anonymous, 3, false, more("p", 3), more("q", 3), more("p", 4), more("r", 10_003))
	want := map[string]int16{"p": kerr.InvalidRequest.Code, "q": 0, "r": kerr.PolicyViolation.Code}
	for name, code := range want {
		if codes[name] != code {
			t.Errorf("%s: error %d, want %d", name, codes[name], code)
		}
	}
	alice := acl.Principal{Type: "User", Name: "alice"}
	g := grants{}
	g.grant(alice, acl.Alter, acl.Topic, "q")
	cl.deps.Authorizer = g
	codes = cl.createPartitions(alice, 3, false, more("p", 5), more("q", 5), more("nope", 5))
	if codes["q"] != 0 || codes["p"] != kerr.TopicAuthorizationFailed.Code || codes["nope"] != kerr.TopicAuthorizationFailed.Code {
		t.Errorf("authorization: %v", codes)
	}
	cl.deps.Authorizer = acl.AllowAll{}
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Topics, req.TimeoutMillis = append(req.Topics, more("q", 9)), 0
	checkCode(t, "no time", cl.ask(3, req).(*kmsg.CreatePartitionsResponse).Topics[0].ErrorCode, kerr.RequestTimedOut)
}
