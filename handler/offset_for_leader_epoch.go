package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
)

// offsetForLeaderEpochAPI serves OffsetForLeaderEpoch (key 23, versions 2 to 4; rule 6.8). Followers need
// CLUSTER_ACTION, consumers DESCRIBE on the topic (KIP-320).
func offsetForLeaderEpochAPI(d *Deps) API {
	return api(2, 4, []Check{{acl.Cluster, acl.ClusterAction}, {acl.Topic, acl.Describe}}, d.offsetForLeaderEpoch)
}

func (d *Deps) offsetForLeaderEpoch(c *Context, req *kmsg.OffsetForLeaderEpochRequest) *kmsg.OffsetForLeaderEpochResponse {
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	follower := d.allowed(c, acl.ClusterAction, acl.Cluster, acl.ClusterName)
	for _, t := range req.Topics {
		topic := kmsg.NewOffsetForLeaderEpochResponseTopic()
		topic.Topic = t.Topic
		allowed := follower || d.allowed(c, acl.Describe, acl.Topic, t.Topic)
		for _, p := range t.Partitions {
			row := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			row.Partition = p.Partition
			err := error(kerr.TopicAuthorizationFailed)
			if allowed {
				row.LeaderEpoch, row.EndOffset, err = d.endOffsetForEpoch(t.Topic, &p)
			}
			row.ErrorCode, _ = d.explain(c, err)
			topic.Partitions = append(topic.Partitions, row)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// endOffsetForEpoch answers one row; with an error it is (-1, -1).
func (d *Deps) endOffsetForEpoch(topic string, p *kmsg.OffsetForLeaderEpochRequestTopicPartition) (int32, int64, error) {
	part := d.Replicas.LookupName(topic, p.Partition)
	if part == nil {
		return -1, -1, d.missingPartition(topic, p.Partition)
	}
	return part.EndOffsetForEpoch(p.CurrentLeaderEpoch, p.LeaderEpoch)
}
