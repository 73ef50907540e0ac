package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// offsetFetchAPI serves OffsetFetch (key 9, versions 1 to 10; rules 8.4.9 to 8.4.11).
func offsetFetchAPI(d *Deps) API {
	return large(deferred(1, 10, []Check{{acl.Group, acl.Describe}, {acl.Topic, acl.Describe}}, d.offsetFetch))
}

func (d *Deps) offsetFetch(c *Context, req *kmsg.OffsetFetchRequest, p *Pending) {
	groups := req.Groups
	if c.Version < 8 {
		groups = []kmsg.OffsetFetchRequestGroup{singleGroup(c.Version, req)}
	}
	rows := make([]kmsg.OffsetFetchResponseGroup, len(groups))
	var fetches []*groupFetch
	var ids []string
	image := d.Metadata.Load()
	named := tellings{}
	for i := range groups {
		f := &groupFetch{d: d, c: c, image: image, asked: &groups[i], row: &rows[i]}
		if err := f.admit(named); err != nil {
			*f.row = f.failed(err)
			continue
		}
		fetches, ids = append(fetches, f), append(ids, f.asked.Group)
	}
	all := &gather{done: func() { p.Answer(offsetFetchResponse(c.Version, rows)) }}
	all.expect(len(fetches))
	fail := func(i int, err error) { all.part(i, func() { *fetches[i].row = fetches[i].failed(err) }) }
	d.eachGroup(ids, func(i int, m *group.Machine, e *coordinator.Effects) {
		f := fetches[i]
		m.OffsetFetch(&f.ask, req.RequireStable, func(row kmsg.OffsetFetchResponseGroup, err error) {
			if err != nil {
				fail(i, err)
				return
			}
			all.part(i, func() { *f.row = f.complete(row) })
		}, e)
	}, fail)
}

// singleGroup is a request before version 8 in the form of the newest.
func singleGroup(version int16, req *kmsg.OffsetFetchRequest) kmsg.OffsetFetchRequestGroup {
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = req.Group
	if req.Topics != nil || version < 2 {
		g.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, len(req.Topics))
	}
	for i, t := range req.Topics {
		g.Topics[i].Topic, g.Topics[i].Partitions = t.Topic, t.Partitions
	}
	return g
}

// offsetFetchResponse puts the groups' rows into the form of a version (rule 8.4.11).
func offsetFetchResponse(version int16, rows []kmsg.OffsetFetchResponseGroup) kmsg.Response {
	resp := kmsg.NewPtrOffsetFetchResponse()
	if version >= 8 {
		resp.Groups = rows
		return resp
	}
	resp.ErrorCode = rows[0].ErrorCode
	for _, t := range rows[0].Topics {
		topic := kmsg.OffsetFetchResponseTopic{Topic: t.Topic, Partitions: make([]kmsg.OffsetFetchResponseTopicPartition, len(t.Partitions))}
		for i, p := range t.Partitions {
			topic.Partitions[i] = kmsg.OffsetFetchResponseTopicPartition{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode,
			}
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// groupFetch is what a request asks of one group.
type groupFetch struct {
	d     *Deps
	c     *Context
	image *metadata.Image
	asked *kmsg.OffsetFetchRequestGroup
	ask   kmsg.OffsetFetchRequestGroup   // what the coordinator is asked about
	row   *kmsg.OffsetFetchResponseGroup // the answer's
	// refused has the topics that the coordinator is not asked about. Like Kafka the row ends with them.
	refused []kmsg.OffsetFetchResponseGroupTopic
}

// admit says what keeps the group's coordinator from being asked, and completes what it is asked.
func (f *groupFetch) admit(named tellings) error {
	switch {
	case !named.another(f.asked.Group):
		return kerr.InvalidRequest
	case !f.d.allowed(f.c, acl.Describe, acl.Group, f.asked.Group):
		return kerr.GroupAuthorizationFailed
	}
	f.ask = *f.asked
	if f.ask.Topics != nil {
		f.ask.Topics = f.topics(f.ask.Topics)
	}
	return nil
}

// failed is the row of a group that has an error. Version 1 has no place for it but the partitions (rule 8.4.11).
func (f *groupFetch) failed(err error) kmsg.OffsetFetchResponseGroup {
	row := kmsg.NewOffsetFetchResponseGroup()
	row.Group, row.ErrorCode = f.asked.Group, code(err)
	if f.c.Version < 2 {
		for i := range f.asked.Topics {
			row.Topics = append(row.Topics, refusedFetch(&f.asked.Topics[i], err))
		}
	}
	return row
}

// refusedFetch is the row of a topic that has an error.
func refusedFetch(t *kmsg.OffsetFetchRequestGroupTopic, err error) kmsg.OffsetFetchResponseGroupTopic {
	row := kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic, TopicID: t.TopicID}
	for _, p := range t.Partitions {
		row.Partitions = append(row.Partitions, kmsg.OffsetFetchResponseGroupTopicPartition{
			Partition: p, Offset: -1, LeaderEpoch: -1, Metadata: new(string), ErrorCode: code(err),
		})
	}
	return row
}

// topics returns the topics that the coordinator is asked about, with names and ids, and answers the rest.
func (f *groupFetch) topics(topics []kmsg.OffsetFetchRequestGroupTopic) []kmsg.OffsetFetchRequestGroupTopic {
	admitted := make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(topics))
	for i := range topics {
		t := topics[i]
		var err error
		switch known := f.topic(&t); {
		case f.c.Version >= 10 && known == nil:
			err = kerr.UnknownTopicID
		case !f.d.allowed(f.c, acl.Describe, acl.Topic, t.Topic):
			err = kerr.TopicAuthorizationFailed
		}
		if err != nil {
			f.refused = append(f.refused, refusedFetch(&t, err))
			continue
		}
		admitted = append(admitted, t)
	}
	return admitted
}

// topic finds a topic, and completes its name and id. Offsets of a topic that does not exist may be asked for by name.
func (f *groupFetch) topic(t *kmsg.OffsetFetchRequestGroupTopic) *metadata.Topic {
	var known *metadata.Topic
	if f.c.Version >= 10 {
		known = f.image.TopicByID(t.TopicID)
	} else {
		known = f.image.Topic(t.Topic)
	}
	if known != nil {
		t.Topic, t.TopicID = known.Name, known.ID
	}
	return known
}

// complete adds to the coordinator's row what it was not asked about, and leaves out what the client may not see.
func (f *groupFetch) complete(row kmsg.OffsetFetchResponseGroup) kmsg.OffsetFetchResponseGroup {
	if row.ErrorCode != 0 {
		return f.failed(kerr.ErrorForCode(row.ErrorCode))
	}
	if f.asked.Topics != nil {
		row.Topics = append(row.Topics, f.refused...)
		return row
	}
	seen := row.Topics[:0]
	for _, t := range row.Topics {
		if f.c.Version >= 10 {
			known := f.image.Topic(t.Topic)
			if known == nil {
				continue // it has no id any more
			}
			t.TopicID = known.ID
		}
		if f.d.allowed(f.c, acl.Describe, acl.Topic, t.Topic) {
			seen = append(seen, t)
		}
	}
	row.Topics = seen
	return row
}
