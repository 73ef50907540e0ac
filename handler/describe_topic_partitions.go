package handler

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// describeTopicPartitionsAPI serves DescribeTopicPartitions (key 75, version 0; rules 7.2.3 to 7.2.5).
func describeTopicPartitionsAPI(d *Deps) API {
	return api(0, 0, topicChecks(acl.Describe), d.describeTopicPartitions)
}

// topicChecks are the checks of an API that needs op on a topic and lists the operations that are allowed on it.
func topicChecks(op acl.Operation) []Check { return checksOf(acl.Topic, op, topicOperations) }

// checksOf are the checks of an API that needs op on a resource and lists which of all operations are allowed on it.
func checksOf(res acl.ResourceType, op acl.Operation, all []acl.Operation) []Check {
	checks := []Check{{res, op}}
	for _, o := range all {
		if o != op {
			checks = append(checks, Check{res, o})
		}
	}
	return checks
}

func (d *Deps) describeTopicPartitions(c *Context, req *kmsg.DescribeTopicPartitionsRequest) *kmsg.DescribeTopicPartitionsResponse {
	p := page{d: d, c: c, image: d.Metadata.Load(),
		left: int(max(1, min(d.Admin.MaxDescribedPartitions, req.ResponsePartitionLimit)))}
	names := make([]string, len(req.Topics))
	for i, t := range req.Topics {
		names[i] = t.Topic
	}
	if cur := req.Cursor; cur != nil {
		if cur.Partition < 0 || len(names) > 0 && !slices.Contains(names, cur.Topic) {
			return refusePage(names)
		}
		p.fromTopic, p.fromPartition = cur.Topic, int(cur.Partition)
	}
	if len(names) == 0 {
		p.image.TopicsFrom(p.fromTopic, func(t *metadata.Topic) bool {
			return !d.allowed(c, acl.Describe, acl.Topic, t.Name) || p.topic(t)
		})
		return &p.resp
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if name >= p.fromTopic && !p.named(name) {
			break
		}
	}
	return &p.resp
}

// refusePage answers a request whose cursor makes no sense.
func refusePage(names []string) *kmsg.DescribeTopicPartitionsResponse {
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	for _, name := range names {
		row := kmsg.NewDescribeTopicPartitionsResponseTopic()
		row.Topic, row.ErrorCode, row.AuthorizedOperations = &name, kerr.InvalidRequest.Code, noOperations
		resp.Topics = append(resp.Topics, row)
	}
	return resp
}

// page is one DescribeTopicPartitions response in the making.
type page struct {
	d     *Deps
	c     *Context
	image *metadata.Image

	left          int // partitions that still fit
	fromTopic     string
	fromPartition int // in fromTopic
	resp          kmsg.DescribeTopicPartitionsResponse
}

// named adds the topic that the request names, and reports whether the page goes on.
func (p *page) named(name string) bool {
	if p.left == 0 {
		p.next(name, 0)
		return false
	}
	if !p.d.allowed(p.c, acl.Describe, acl.Topic, name) {
		p.row(&name, kerr.TopicAuthorizationFailed).AuthorizedOperations = noOperations
		return true
	}
	if t := p.image.Topic(name); t != nil {
		return p.topic(t)
	}
	p.row(&name, unknownTopic(name)).IsInternal = metadata.InternalTopic(name)
	return true
}

// topic adds what fits of a topic, and reports whether the page goes on.
func (p *page) topic(t *metadata.Topic) bool {
	if p.left == 0 {
		p.next(t.Name, 0)
		return false
	}
	row := p.row(&t.Name, nil)
	row.TopicID, row.IsInternal = t.ID, metadata.InternalTopic(t.Name)
	first := 0
	if t.Name == p.fromTopic {
		first = min(p.fromPartition, len(t.Partitions))
	}
	last := min(first+p.left, len(t.Partitions))
	row.Partitions = make([]kmsg.DescribeTopicPartitionsResponseTopicPartition, 0, last-first)
	view := partitionView{d: p.d, c: p.c, image: p.image}
	for i := first; i < last; i++ {
		reg := t.Partitions[i]
		r := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		r.Partition, r.LeaderEpoch = int32(i), int32(reg.LeaderEpoch)
		r.LeaderID, r.ErrorCode = view.leader(reg, kerr.ListenerNotFound)
		r.Replicas, r.ISR, r.OfflineReplicas = reg.Replicas, reg.ISR, view.offline(reg)
		r.EligibleLeaderReplicas, r.LastKnownELR = orEmpty(reg.ELR), orEmpty(reg.LastKnownELR)
		row.Partitions = append(row.Partitions, r)
	}
	p.left -= last - first
	if last < len(t.Partitions) {
		p.next(t.Name, last)
		return false
	}
	return true
}

// orEmpty returns a list that is not null on the wire.
func orEmpty(ids []metadata.BrokerID) []metadata.BrokerID {
	if ids == nil {
		return []metadata.BrokerID{}
	}
	return ids
}

// row adds a row.
func (p *page) row(name *string, err *kerr.Error) *kmsg.DescribeTopicPartitionsResponseTopic {
	row := kmsg.NewDescribeTopicPartitionsResponseTopic()
	row.Topic = name
	if err != nil {
		row.ErrorCode = err.Code
	}
	row.AuthorizedOperations = p.d.authorizedOperations(p.c, acl.Topic, *name, topicOperations)
	p.resp.Topics = append(p.resp.Topics, row)
	return &p.resp.Topics[len(p.resp.Topics)-1]
}

// next says where the next page begins.
func (p *page) next(topic string, partition int) {
	cur := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	cur.Topic, cur.Partition = topic, int32(partition)
	p.resp.NextCursor = &cur
}
