package handler

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// offsetCommitAPI serves OffsetCommit (key 8, versions 2 to 10; rules 8.4.1 to 8.4.8).
func offsetCommitAPI(d *Deps) API {
	return deferred(2, 10, []Check{{acl.Group, acl.Read}, {acl.Topic, acl.Read}}, d.offsetCommit)
}

func (d *Deps) offsetCommit(c *Context, req *kmsg.OffsetCommitRequest, p *Pending) {
	a := commitAnswer{d: d, c: c, image: d.Metadata.Load()}
	if !d.allowed(c, acl.Read, acl.Group, req.Group) {
		p.Answer(a.merge(commitRows(req.Topics, kerr.GroupAuthorizationFailed)))
		return
	}
	req.Topics = a.admit(req.Topics)
	if len(req.Topics) == 0 {
		p.Answer(a.merge(nil))
		return
	}
	topics := req.Topics
	fail := func(err error) { p.Answer(a.merge(commitRows(topics, err))) }
	p.Expect(time.Now().Add(d.Limits().CommitTimeout), func() kmsg.Response {
		return a.merge(commitRows(topics, coordinator.ClientError(kerr.RequestTimedOut)))
	})
	d.Groups.Do(req.Group, func(m *group.Machine, now time.Time, e *coordinator.Effects) {
		m.OffsetCommit(now, req, func(rows []kmsg.OffsetCommitResponseTopic, err error) {
			if err != nil {
				fail(err)
				return
			}
			p.Answer(a.merge(rows))
		}, e)
	}, fail)
}

// commitAnswer is the answer to one OffsetCommit, so far as the coordinator has no part in it.
type commitAnswer struct {
	d     *Deps
	c     *Context
	image *metadata.Image
	// refused has the rows that the coordinator is not asked about. Like Kafka the response begins with them.
	refused []kmsg.OffsetCommitResponseTopic
}

// admit returns the topics that the coordinator is asked about, with names and ids, and answers the rest (rule 8.4.1).
func (a *commitAnswer) admit(topics []kmsg.OffsetCommitRequestTopic) []kmsg.OffsetCommitRequestTopic {
	admitted := topics[:0:0]
	for i := range topics {
		t := topics[i]
		known, err := a.topic(&t)
		if err != nil {
			a.refused = append(a.refused, commitRows([]kmsg.OffsetCommitRequestTopic{t}, err)...)
			continue
		}
		t.Partitions = a.partitions(&t, len(known.Partitions))
		if len(t.Partitions) > 0 {
			admitted = append(admitted, t)
		}
	}
	return admitted
}

// topic finds a topic, and completes its name and id.
func (a *commitAnswer) topic(t *kmsg.OffsetCommitRequestTopic) (*metadata.Topic, error) {
	var known *metadata.Topic
	if a.c.Version >= 10 {
		if known = a.image.TopicByID(t.TopicID); known == nil {
			return nil, kerr.UnknownTopicID
		}
		t.Topic = known.Name
	}
	if !a.d.allowed(a.c, acl.Read, acl.Topic, t.Topic) {
		return nil, kerr.TopicAuthorizationFailed
	}
	if known == nil {
		if known = a.image.Topic(t.Topic); known == nil {
			return nil, kerr.UnknownTopicOrPartition
		}
		t.TopicID = known.ID
	}
	return known, nil
}

// partitions returns those of a topic that exist, and answers the others.
func (a *commitAnswer) partitions(t *kmsg.OffsetCommitRequestTopic, n int) []kmsg.OffsetCommitRequestTopicPartition {
	exists := func(p int32) bool { return p >= 0 && int(p) < n }
	all := true
	for i := range t.Partitions {
		all = all && exists(t.Partitions[i].Partition)
	}
	if all {
		return t.Partitions
	}
	var known, unknown []kmsg.OffsetCommitRequestTopicPartition
	for _, p := range t.Partitions {
		if exists(p.Partition) {
			known = append(known, p)
		} else {
			unknown = append(unknown, p)
		}
	}
	missing := *t
	missing.Partitions = unknown
	a.refused = append(a.refused, commitRows([]kmsg.OffsetCommitRequestTopic{missing}, kerr.UnknownTopicOrPartition)...)
	return known
}

// commitRows gives every partition the same error.
func commitRows(topics []kmsg.OffsetCommitRequestTopic, err error) []kmsg.OffsetCommitResponseTopic {
	rows := make([]kmsg.OffsetCommitResponseTopic, len(topics))
	for i, t := range topics {
		rows[i] = kmsg.OffsetCommitResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
		rows[i].Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(t.Partitions))
		for j, p := range t.Partitions {
			rows[i].Partitions[j] = kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: code(err)}
		}
	}
	return rows
}

// merge makes the response: a topic of which some partitions were refused, or that the request names in several rows of
// which some were, has one row all the same. Without refusals the rows are the request's.
func (a *commitAnswer) merge(rows []kmsg.OffsetCommitResponseTopic) kmsg.Response {
	resp := kmsg.NewPtrOffsetCommitResponse()
	if len(a.refused) == 0 {
		resp.Topics = rows
		return resp
	}
	places := make(map[commitTopic]int, len(a.refused))
	for _, row := range slices.Concat(a.refused, rows) {
		key := commitTopic{row.Topic, row.TopicID}
		at, ok := places[key]
		if !ok {
			places[key] = len(resp.Topics)
			resp.Topics = append(resp.Topics, row)
			continue
		}
		t := &resp.Topics[at]
		t.Partitions = append(t.Partitions[:len(t.Partitions):len(t.Partitions)], row.Partitions...)
	}
	return resp
}

// commitTopic is what a row of an answer is about: requests before version 10 name topics, later ones may have an id that
// stands for none.
type commitTopic struct {
	name string
	id   [16]byte
}
