package handler

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
)

// describePage asks for one page and returns it as text: the topics with their error or the first partition and the
// number of partitions, and the cursor.
func (cl *cluster) describePage(limit int32, cursor string, partition int32, names ...string) string {
	cl.t.Helper()
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = limit
	for _, name := range names {
		t := kmsg.NewDescribeTopicPartitionsRequestTopic()
		t.Topic = name
		req.Topics = append(req.Topics, t)
	}
	if cursor != "" {
		c := kmsg.NewDescribeTopicPartitionsRequestCursor()
		c.Topic, c.Partition = cursor, partition
		req.Cursor = &c
	}
	resp := cl.ask(0, req).(*kmsg.DescribeTopicPartitionsResponse)
	var rows []string
	for _, t := range resp.Topics {
		switch {
		case t.ErrorCode != 0:
			rows = append(rows, fmt.Sprintf("%s:%s", *t.Topic, kerr.TypedErrorForCode(t.ErrorCode).Message))
		case len(t.Partitions) == 0:
			rows = append(rows, *t.Topic+":none")
		default:
			rows = append(rows, fmt.Sprintf("%s:%d+%d", *t.Topic, t.Partitions[0].Partition, len(t.Partitions)))
		}
		if t.ErrorCode != kerr.InvalidRequest.Code && t.AuthorizedOperations != 3576 {
			cl.t.Errorf("%s: operations %d", *t.Topic, t.AuthorizedOperations)
		}
		for _, p := range t.Partitions {
			if p.LeaderID != 1 || p.LeaderEpoch != 0 || !slices.Equal(p.Replicas, []int32{1}) || !slices.Equal(p.ISR, []int32{1}) ||
				p.EligibleLeaderReplicas == nil || p.LastKnownELR == nil {
				cl.t.Errorf("%s: %+v", *t.Topic, p)
			}
		}
	}
	if c := resp.NextCursor; c != nil {
		rows = append(rows, fmt.Sprintf("next %s/%d", c.Topic, c.Partition))
	}
	return strings.Join(rows, " ")
}

// T114 and rules 7.2.3 to 7.2.5; what is expected is what Kafka 4.3.1 answers, but for the last.
func TestT114DescribeTopicPartitions(t *testing.T) {
	cl := newCluster(t)
	cl.create(topic("b1", 5, 1), topic("b2", 1, 1), topic("q2", 3, 1))
	tests := []struct {
		limit     int32
		cursor    string
		partition int32
		names     []string
		want      string
	}{
		{100, "", 0, nil, "b1:0+5 b2:0+1 q2:0+3"},
		{3, "", 0, nil, "b1:0+3 next b1/3"},
		{3, "b1", 3, nil, "b1:3+2 b2:0+1 next q2/0"},
		{3, "q2", 0, nil, "q2:0+3"},
		{7, "", 0, []string{"q2", "b1", "b1"}, "b1:0+5 q2:0+2 next q2/2"},
		{5, "", 0, []string{"q2", "b1"}, "b1:0+5 next q2/0"},
		{5, "", 0, []string{"b1"}, "b1:0+5"},
		{8, "", 0, []string{"b1", "q2"}, "b1:0+5 q2:0+3"},
		{0, "", 0, []string{"b1"}, "b1:0+1 next b1/1"},
		{-1, "", 0, []string{"b1"}, "b1:0+1 next b1/1"},
		{1, "", 0, []string{"q2", "nope", "a b"}, "a b:INVALID_TOPIC_EXCEPTION nope:UNKNOWN_TOPIC_OR_PARTITION q2:0+1 next q2/1"},
		{5, "", 0, []string{"b1", "c-nope", "q2"}, "b1:0+5 next c-nope/0"},
		{10, "q2", 3, []string{"q2"}, "q2:none"},
		{10, "q2", 30, []string{"q2"}, "q2:none"},
		{3, "b1", 5, []string{"b1", "q2"}, "b1:none q2:0+3"},
		{10, "b1", 0, []string{"q2"}, "q2:INVALID_REQUEST"},
		{10, "q2", -1, []string{"q2"}, "q2:INVALID_REQUEST"},
		{10, "nope", 0, []string{"q2", "nope"}, "nope:UNKNOWN_TOPIC_OR_PARTITION q2:0+3"},
		{5, "q2", 0, []string{"a-nope", "q2", "z-nope"}, "q2:0+3 z-nope:UNKNOWN_TOPIC_OR_PARTITION"},
		{10, "c", 7, nil, "q2:0+3"},
		{10, "z", 0, nil, ""},
		{10, "", 0, []string{""}, ":INVALID_TOPIC_EXCEPTION"}, // Kafka fails with -1
	}
	for _, test := range tests {
		if got := cl.describePage(test.limit, test.cursor, test.partition, test.names...); got != test.want {
			t.Errorf("limit %d, cursor %q/%d, topics %q:\n got %s\nwant %s", test.limit, test.cursor, test.partition, test.names, got, test.want)
		}
	}
	cl.deps.Admin.MaxDescribedPartitions = 2
	if got := cl.describePage(100, "", 0); got != "b1:0+2 next b1/2" {
		t.Errorf("max.request.partition.size.limit: %s", got)
	}
}

// T114: pages give each partition once.
func TestT114Paging(t *testing.T) {
	cl := newCluster(t)
	for _, name := range []string{"a", "b", "c", "d"} {
		cl.create(topic(name, 5, 1))
	}
	seen := map[string]int{}
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = 3
	for pages := 0; ; pages++ {
		if pages > 20 {
			t.Fatal("the pages do not end")
		}
		resp := cl.ask(0, req).(*kmsg.DescribeTopicPartitionsResponse)
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				seen[fmt.Sprint(*topic.Topic, p.Partition)]++
			}
		}
		if resp.NextCursor == nil {
			break
		}
		c := kmsg.NewDescribeTopicPartitionsRequestCursor()
		c.Topic, c.Partition = resp.NextCursor.Topic, resp.NextCursor.Partition
		req.Cursor = &c
	}
	if len(seen) != 20 {
		t.Errorf("%d partitions were seen, want 20", len(seen))
	}
	for p, n := range seen {
		if n != 1 {
			t.Errorf("%s was seen %d times", p, n)
		}
	}
}

func TestDescribeTopicPartitionsAuthorization(t *testing.T) {
	cl := newCluster(t)
	cl.create(topic("hidden", 1, 1), topic("seen", 1, 1))
	alice := acl.Principal{Type: "User", Name: "alice"}
	g := grants{}
	g.grant(alice, acl.Describe, acl.Topic, "seen")
	cl.deps.Authorizer = g
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	resp := cl.askAs(alice, 0, req).(*kmsg.DescribeTopicPartitionsResponse)
	if len(resp.Topics) != 1 || *resp.Topics[0].Topic != "seen" || resp.NextCursor != nil || resp.Topics[0].AuthorizedOperations != 1<<acl.Describe {
		t.Errorf("all topics: %+v", resp)
	}
	for _, name := range []string{"hidden", "nope"} {
		r := kmsg.NewDescribeTopicPartitionsRequestTopic()
		r.Topic = name
		req.Topics = append(req.Topics, r)
	}
	for _, row := range cl.askAs(alice, 0, req).(*kmsg.DescribeTopicPartitionsResponse).Topics {
		checkCode(t, *row.Topic, row.ErrorCode, kerr.TopicAuthorizationFailed)
		if row.TopicID != [16]byte{} || row.AuthorizedOperations != noOperations {
			t.Errorf("%+v", row)
		}
	}
}

// Rules 7.2.1 and 7.2.2.
func TestDescribeCluster(t *testing.T) {
	cl := newCluster(t)
	for v := int16(0); v <= 2; v++ {
		for _, kind := range []int8{0, 1, 2, 3} {
			req := kmsg.NewPtrDescribeClusterRequest()
			req.EndpointType, req.IncludeClusterAuthorizedOperations = kind, true
			resp := cl.ask(v, req).(*kmsg.DescribeClusterResponse)
			want := kerr.UnsupportedEndpointType
			switch {
			case v == 0 || kind == 1:
				want = nil
			case kind == 2:
				want = kerr.MismatchedEndpointType
			}
			checkCode(t, fmt.Sprintf("v%d endpoint type %d", v, kind), resp.ErrorCode, want)
			if want != nil {
				if resp.ErrorMessage == nil || resp.ControllerID != -1 || len(resp.Brokers) != 0 || resp.ClusterAuthorizedOperations != noOperations {
					t.Errorf("v%d: %+v", v, resp)
				}
				continue
			}
			if resp.ClusterID != clusterID || resp.ControllerID != 1 || len(resp.Brokers) != 1 || resp.Brokers[0].Host != "broker-1" ||
				resp.ClusterAuthorizedOperations != 8096 {
				t.Errorf("v%d: %+v", v, resp)
			}
		}
	}
	cl.deps.Authorizer = grants{}
	req := kmsg.NewPtrDescribeClusterRequest()
	req.IncludeClusterAuthorizedOperations = true
	if resp := cl.ask(1, req).(*kmsg.DescribeClusterResponse); resp.ErrorCode != 0 || resp.ClusterAuthorizedOperations != 0 || len(resp.Brokers) != 1 {
		t.Errorf("without DESCRIBE: %+v", resp)
	}
}
