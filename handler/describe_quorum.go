package handler

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// describeQuorumAPI serves DescribeQuorum (key 55, versions 0 to 2).
//
//	1  time of the last fetch    2  directories and nodes
//
// kbroker's quorum has no partition that could be fetched, but it has what the answer is about: a leader and its term,
// a log and how far each voter has it.
func describeQuorumAPI(d *Deps) API {
	return api(0, 2, []Check{{acl.Cluster, acl.Describe}}, d.describeQuorum)
}

func (d *Deps) describeQuorum(c *Context, req *kmsg.DescribeQuorumRequest) *kmsg.DescribeQuorumResponse {
	resp := kmsg.NewPtrDescribeQuorumResponse()
	if !d.allowed(c, acl.Describe, acl.Cluster, acl.ClusterName) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp
	}
	resp.ErrorMessage = new("")
	if !asksForQuorum(req) {
		for _, t := range req.Topics {
			resp.Topics = append(resp.Topics, unknownQuorum(&t))
		}
		return resp
	}
	ctx, cancel := context.WithTimeout(c.Ctx, maxAdminWait)
	defer cancel()
	topic := kmsg.NewDescribeQuorumResponseTopic()
	topic.Topic = metadata.ClusterMetadataTopic
	row := kmsg.NewDescribeQuorumResponseTopicPartition()
	status, err := d.Controller.QuorumStatus(ctx)
	if row.ErrorCode, row.ErrorMessage = d.explainFully(c, err); err == nil {
		describeVoters(status, &row)
		for _, v := range status.Voters {
			node := kmsg.NewDescribeQuorumResponseNode()
			node.NodeID = v.Node
			resp.Nodes = append(resp.Nodes, node) // its listeners are for other voters, and none of Kafka's
		}
	}
	topic.Partitions = append(topic.Partitions, row)
	resp.Topics = append(resp.Topics, topic)
	return resp
}

// asksForQuorum reports whether a request names the one partition that there is to tell about, and nothing else.
func asksForQuorum(req *kmsg.DescribeQuorumRequest) bool {
	return len(req.Topics) == 1 && req.Topics[0].Topic == metadata.ClusterMetadataTopic &&
		len(req.Topics[0].Partitions) == 1 && req.Topics[0].Partitions[0].Partition == 0
}

// unknownQuorum answers for a topic that is not the quorum's.
func unknownQuorum(t *kmsg.DescribeQuorumRequestTopic) kmsg.DescribeQuorumResponseTopic {
	topic := kmsg.NewDescribeQuorumResponseTopic()
	topic.Topic = t.Topic
	for _, p := range t.Partitions {
		row := kmsg.NewDescribeQuorumResponseTopicPartition()
		row.Partition, row.ErrorCode = p.Partition, kerr.UnknownTopicOrPartition.Code
		row.ErrorMessage = new("the quorum is partition 0 of " + metadata.ClusterMetadataTopic)
		topic.Partitions = append(topic.Partitions, row)
	}
	return topic
}

// describeVoters fills a row with the state of the quorum.
func describeVoters(s *controller.QuorumStatus, row *kmsg.DescribeQuorumResponseTopicPartition) {
	row.LeaderID, row.LeaderEpoch, row.HighWatermark = s.Leader, int32(s.Term), s.HighWatermark
	now := time.Now().UnixMilli()
	for _, v := range s.Voters {
		r := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		r.ReplicaID, r.ReplicaDirectoryID, r.LogEndOffset = v.Node, v.Directory, v.LogEndOffset
		r.LastFetchTimestamp, r.LastCaughtUpTimestamp = -1, -1
		if v.Leads {
			r.LastFetchTimestamp, r.LastCaughtUpTimestamp = now, now
		}
		row.CurrentVoters = append(row.CurrentVoters, r)
	}
}
