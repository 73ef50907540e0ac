package handler

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/replica"
)

// Timestamps of ListOffsets that replica does not know, as they are about tiered storage (rule 6.7.1).
const (
	earliestLocalTimestamp         = -4
	latestTieredTimestamp          = -5
	earliestPendingUploadTimestamp = -6
)

// specialTimestamps are the versions of ListOffsets in which each special timestamp appeared.
var specialTimestamps = map[int64]int16{
	replica.LatestOffset: 1, replica.EarliestOffset: 1, replica.MaxTimestampOffset: 7,
	earliestLocalTimestamp: 8, latestTieredTimestamp: 9, earliestPendingUploadTimestamp: 11,
}

// Replica ids of requests that are no follower's.
const (
	consumerReplica  = -1
	debuggingReplica = -2
)

// listOffsetsAPI serves ListOffsets (key 2, versions 1 to 11; rule 6.7).
//
//	2  isolation level        6  flexible                 9  latest tiered (-5)
//	4  leader epochs          7  largest timestamp (-3)  10  timeout, for remote storage: without effect
//	5  error 78               8  earliest local (-4)     11  earliest pending upload (-6)
func listOffsetsAPI(d *Deps) API {
	return api(1, 11, []Check{{acl.Topic, acl.Describe}}, d.listOffsets)
}

func (d *Deps) listOffsets(c *Context, req *kmsg.ListOffsetsRequest) *kmsg.ListOffsetsResponse {
	resp := kmsg.NewPtrListOffsetsResponse()
	times := make(map[log.TopicPartition]int) // that each partition is asked for; 0 once it was answered
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			times[log.TopicPartition{Topic: t.Topic, Partition: p.Partition}]++
		}
	}
	rows := make(map[string]int, len(req.Topics)) // place in resp.Topics: a topic that is named twice has one row
	for _, t := range req.Topics {
		if len(t.Partitions) == 0 {
			continue
		}
		at, ok := rows[t.Topic]
		if !ok {
			at = len(resp.Topics)
			rows[t.Topic] = at
			row := kmsg.NewListOffsetsResponseTopic()
			row.Topic = t.Topic
			resp.Topics = append(resp.Topics, row)
		}
		allowed := d.allowed(c, acl.Describe, acl.Topic, t.Topic)
		for i := range t.Partitions {
			tp := log.TopicPartition{Topic: t.Topic, Partition: t.Partitions[i].Partition}
			n := times[tp]
			if n == 0 {
				continue
			}
			times[tp] = 0
			var found replica.FoundOffset
			err := error(kerr.TopicAuthorizationFailed)
			if allowed {
				err = kerr.InvalidRequest // asked for twice (rule 6.7.8)
			}
			if allowed && n == 1 {
				found, err = d.findOffset(c, req, t.Topic, &t.Partitions[i])
			}
			resp.Topics[at].Partitions = append(resp.Topics[at].Partitions, d.listedOffset(c, tp.Partition, found, err))
		}
	}
	return resp
}

// findOffset answers one row.
func (d *Deps) findOffset(c *Context, req *kmsg.ListOffsetsRequest, topic string, p *kmsg.ListOffsetsRequestTopicPartition) (replica.FoundOffset, error) {
	none := replica.FoundOffset{Offset: -1, Timestamp: -1, LeaderEpoch: -1}
	if since, special := specialTimestamps[p.Timestamp]; p.Timestamp < 0 && (!special || c.Version < since) {
		return none, kerr.UnsupportedVersion
	}
	q := replica.OffsetQuery{
		Timestamp: p.Timestamp, CurrentLeaderEpoch: p.CurrentLeaderEpoch,
		Isolation: replica.ReadLog, AnyReplica: req.ReplicaID == debuggingReplica,
	}
	if req.ReplicaID == consumerReplica {
		if q.Isolation = replica.Isolation(req.IsolationLevel); q.Isolation != replica.ReadUncommitted && q.Isolation != replica.ReadCommitted {
			return none, kerr.InvalidRequest // where Kafka fails with UNKNOWN_SERVER_ERROR
		}
	}
	part := d.Replicas.LookupName(topic, p.Partition)
	if part == nil {
		return none, d.missingPartition(topic, p.Partition)
	}
	switch p.Timestamp {
	case earliestLocalTimestamp: // all of the log is local
		q.Timestamp = replica.EarliestOffset
	case latestTieredTimestamp, earliestPendingUploadTimestamp: // and none of it is not
		_, err := part.FindOffset(&replica.OffsetQuery{Timestamp: replica.EarliestOffset, CurrentLeaderEpoch: q.CurrentLeaderEpoch, AnyReplica: q.AnyReplica})
		return none, err
	}
	return part.FindOffset(&q)
}

// listedOffset writes one row.
func (d *Deps) listedOffset(c *Context, partition int32, found replica.FoundOffset, err error) kmsg.ListOffsetsResponseTopicPartition {
	row := kmsg.NewListOffsetsResponseTopicPartition()
	row.Partition = partition
	if err == nil {
		row.Offset, row.Timestamp, row.LeaderEpoch = found.Offset, found.Timestamp, found.LeaderEpoch
		return row
	}
	if errors.Is(err, kerr.OffsetNotAvailable) && c.Version < 5 {
		err = kerr.LeaderNotAvailable
	}
	row.ErrorCode, _ = d.explain(c, err)
	return row
}

// missingPartition is the error for a partition of which this node has no replica.
func (d *Deps) missingPartition(topic string, partition int32) error {
	return missingIn(d.Metadata.Load().Topic(topic), partition)
}

// missingIn tells a partition that does not exist from one that lives elsewhere. t is nil for an unknown topic.
func missingIn(t *metadata.Topic, partition int32) error {
	if t == nil || partition < 0 || int(partition) >= len(t.Partitions) {
		return kerr.UnknownTopicOrPartition
	}
	return kerr.NotLeaderForPartition
}
