package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/replica"
)

// Special timestamps of ListOffsets, and the version of the request that brought each (rule 6.7.1).
const (
	latestTimestamp        = -1
	earliestTimestamp      = -2
	maxTimestamp           = -3
	earliestLocalTimestamp = -4
	latestTieredTimestamp  = -5
	earliestPendingUpload  = -6
)

// specialSince is the first version that knows each special timestamp.
var specialSince = map[int64]int16{
	latestTimestamp: 1, earliestTimestamp: 1, maxTimestamp: 7, earliestLocalTimestamp: 8, latestTieredTimestamp: 9,
	earliestPendingUpload: 11,
}

// debugReplica is the id of a debugging consumer, which sees the whole log (rule 6.7.4).
const debugReplica = -2

// listOffsetsAPI serves ListOffsets (key 2, versions 1 to 11; rule 6.7):
// 2 isolation level, 4 leader epochs, 5 error 78, 6 flexible, 7 to 9 and 11 special timestamps, 10 timeout (for remote
// storage, which there is none of).
func listOffsetsAPI(d *Deps) API {
	return api(1, 11, topicChecks(acl.Describe), d.listOffsets)
}

func (d *Deps) listOffsets(c *Context, req *kmsg.ListOffsetsRequest) *kmsg.ListOffsetsResponse {
	resp := kmsg.NewPtrListOffsetsResponse()
	type key struct {
		topic     string
		partition int32
	}
	seen := map[key]int{}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			seen[key{t.Topic, p.Partition}]++
		}
	}
	for _, t := range req.Topics {
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic = t.Topic
		allowed := d.allowed(c, acl.Describe, acl.Topic, t.Topic)
		for _, p := range t.Partitions {
			row := kmsg.NewListOffsetsResponseTopicPartition()
			row.Partition = p.Partition
			row.Timestamp, row.Offset, row.LeaderEpoch = -1, -1, -1
			var err error
			switch {
			case !allowed:
				err = kerr.TopicAuthorizationFailed
			case seen[key{t.Topic, p.Partition}] > 1:
				err = kerr.InvalidRequest // rule 6.7.8
			default:
				err = d.listOffset(c, req, t.Topic, &p, &row)
			}
			if err != nil {
				row.ErrorCode, _ = d.explain(c, err)
				row.Timestamp, row.Offset, row.LeaderEpoch = -1, -1, -1
			}
			rt.Partitions = append(rt.Partitions, row)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// listOffset answers one partition.
func (d *Deps) listOffset(c *Context, req *kmsg.ListOffsetsRequest, topic string, q *kmsg.ListOffsetsRequestTopicPartition, row *kmsg.ListOffsetsResponseTopicPartition) error {
	if q.Timestamp < 0 {
		if since, ok := specialSince[q.Timestamp]; !ok || c.Version < since {
			return kerr.UnsupportedVersion
		}
	}
	p, err := d.leaderFor(topic, q.Partition, q.CurrentLeaderEpoch)
	if err != nil {
		return err
	}
	l := p.Log()
	switch q.Timestamp {
	case earliestTimestamp, earliestLocalTimestamp:
		row.Offset = l.StartOffset()
		row.LeaderEpoch = l.EpochForOffset(row.Offset)
		return nil
	case latestTieredTimestamp, earliestPendingUpload:
		return nil // nothing is tiered
	}
	end, err := p.FetchableEnd(isolationOf(req))
	if err != nil {
		if c.Version < 5 && err == error(kerr.OffsetNotAvailable) {
			return kerr.LeaderNotAvailable // rule 0.5.1
		}
		return err
	}
	if q.Timestamp == latestTimestamp {
		row.Offset, row.LeaderEpoch = end, p.LeaderEpoch()
		return nil
	}
	at, ok, err := searchTimestamp(l, q.Timestamp)
	if err != nil || !ok || at.Offset >= end { // rule 6.7.5
		return err
	}
	row.Offset, row.Timestamp, row.LeaderEpoch = at.Offset, at.Timestamp, at.LeaderEpoch
	return nil
}

func searchTimestamp(l *log.Log, timestamp int64) (log.TimestampOffset, bool, error) {
	if timestamp == maxTimestamp {
		return l.MaxTimestamp()
	}
	return l.OffsetForTimestamp(timestamp)
}

// isolationOf is how far the asker sees: replicas and debuggers to the log's end (rule 6.7.4).
func isolationOf(req *kmsg.ListOffsetsRequest) replica.Isolation {
	switch {
	case req.ReplicaID >= 0 || req.ReplicaID == debugReplica:
		return replica.ReadLog
	case req.IsolationLevel == int8(replica.ReadCommitted):
		return replica.ReadCommitted
	}
	return replica.ReadUncommitted
}

// leaderFor returns this node's replica of a partition if it leads, after the check of the epoch in which the client
// believes. Unlike Fetch only -1 means that there is none (rule 6.3.4).
func (d *Deps) leaderFor(topic string, partition, currentLeaderEpoch int32) (*replica.Partition, error) {
	p := d.Replicas.LookupName(topic, partition)
	if p == nil {
		t := d.Metadata.Load().Topic(topic)
		if t == nil || partition < 0 || int(partition) >= len(t.Partitions) {
			return nil, kerr.UnknownTopicOrPartition
		}
		return nil, kerr.NotLeaderForPartition
	}
	if currentLeaderEpoch < -1 {
		return nil, kerr.FencedLeaderEpoch
	}
	return p, p.CheckLeader(currentLeaderEpoch)
}
