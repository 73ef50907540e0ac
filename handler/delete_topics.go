package handler

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// deleteTopicsAPI serves DeleteTopics (key 20, versions 1 to 6; rule 7.5).
func deleteTopicsAPI(d *Deps) API {
	return api(1, 6, []Check{{acl.Topic, acl.Delete}, {acl.Topic, acl.Describe}}, d.deleteTopics)
}

func (d *Deps) deleteTopics(c *Context, req *kmsg.DeleteTopicsRequest) *kmsg.DeleteTopicsResponse {
	del := deletion{d: d, c: c, image: d.Metadata.Load(), topics: deletedTopics(req)}
	if !d.Admin.DeleteTopics {
		// Rule 7.5.1: the error is newer than the first versions.
		err := kerr.TopicDeletionDisabled
		if c.Version < 3 {
			err = kerr.InvalidRequest
		}
		return del.fail(err.Code, new("delete.topic.enable is false on this broker"))
	}
	wanted := del.resolve()
	if !del.looked {
		return &del.resp
	}
	ctx, cancel, ok := adminContext(c, req.TimeoutMillis)
	if !ok {
		return del.fail(kerr.RequestTimedOut.Code, nil)
	}
	defer cancel()
	wanted = slices.DeleteFunc(wanted, func(t *metadata.Topic) bool {
		err := c.mutate(len(t.Partitions), c.Version >= 5)
		if err != nil {
			del.row(&t.Name, t.ID, err, "")
		}
		return err != nil
	})
	ids := make([]metadata.UUID, len(wanted))
	for i, t := range wanted {
		ids[i] = t.ID
	}
	errs, err := d.Controller.DeleteTopics(ctx, ids)
	if err != nil {
		code, message := d.explain(c, err)
		return del.fail(code, message)
	}
	for i, t := range wanted {
		del.row(&t.Name, t.ID, errs[i], "")
	}
	return &del.resp
}

// deletion is one DeleteTopics request.
type deletion struct {
	d      *Deps
	c      *Context
	image  *metadata.Image
	topics []kmsg.DeleteTopicsRequestTopic
	resp   kmsg.DeleteTopicsResponse
	// looked tells that a topic was looked for: what is wrong before that is told whatever the request's timeout, as
	// Kafka's controller does before it asks for the time.
	looked bool
}

// deletedTopics returns what the request names, in the form of its newest version.
func deletedTopics(req *kmsg.DeleteTopicsRequest) []kmsg.DeleteTopicsRequestTopic {
	topics := req.Topics
	for _, name := range req.TopicNames {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = &name
		topics = append(topics, t)
	}
	return topics
}

// row adds a row to the response. Without words of its own it has those of err.
func (del *deletion) row(name *string, id metadata.UUID, err error, message string) {
	row := kmsg.NewDeleteTopicsResponseTopic()
	row.Topic, row.TopicID = name, id
	row.ErrorCode, row.ErrorMessage = del.d.explain(del.c, err)
	if message != "" {
		row.ErrorMessage = &message
	}
	del.resp.Topics = append(del.resp.Topics, row)
}

// fail gives every topic of the request the same error.
func (del *deletion) fail(code int16, message *string) *kmsg.DeleteTopicsResponse {
	del.resp.Topics = nil
	for _, t := range del.topics {
		row := kmsg.NewDeleteTopicsResponseTopic()
		row.Topic, row.TopicID, row.ErrorCode, row.ErrorMessage = t.Topic, t.TopicID, code, message
		del.resp.Topics = append(del.resp.Topics, row)
	}
	return &del.resp
}

// resolve returns the topics to delete, and adds rows for what names none (rules 7.5.2, 7.5.3).
func (del *deletion) resolve() []*metadata.Topic {
	names, ids := map[string]int{}, map[metadata.UUID]int{} // how often each is named
	for _, t := range del.topics {
		switch id := metadata.UUID(t.TopicID); {
		case t.Topic == nil:
			ids[id]++
		case id.IsZero():
			names[*t.Topic]++
		}
	}
	told := map[string]bool{} // names and ids, in text form, that have a row because they are named twice
	var wanted []*metadata.Topic
	for _, t := range del.topics {
		switch id := metadata.UUID(t.TopicID); {
		case t.Topic != nil && !id.IsZero():
			del.row(t.Topic, id, kerr.InvalidRequest, "a topic is named by its name or by its id, not by both")
		case t.Topic == nil && id.IsZero():
			del.row(nil, id, kerr.InvalidRequest, "a topic is named by its name or by its id, and here is neither")
		case t.Topic != nil && names[*t.Topic] > 1:
			if key := "name " + *t.Topic; !told[key] {
				told[key] = true
				del.row(t.Topic, id, kerr.InvalidRequest, "the request names this topic more than once")
			}
		case t.Topic == nil && ids[id] > 1:
			if key := "id " + id.String(); !told[key] {
				told[key] = true
				del.row(nil, id, kerr.InvalidRequest, "the request names this topic id more than once")
			}
		case t.Topic != nil:
			topic := del.byName(*t.Topic)
			if topic != nil && ids[topic.ID] > 0 {
				del.row(t.Topic, topic.ID, kerr.InvalidRequest, "the request names this topic by its name and by its id")
			} else if topic != nil {
				wanted = append(wanted, topic)
			}
		default:
			if topic := del.byID(id); topic != nil && names[topic.Name] == 0 {
				wanted = append(wanted, topic)
			}
		}
	}
	return wanted
}

// byName returns the topic called name if the caller may delete it, and else adds a row. Whether the topic exists is
// not told to a caller who may not delete it.
func (del *deletion) byName(name string) *metadata.Topic {
	del.looked = true
	if !del.allowed(acl.Delete, name) {
		del.row(&name, metadata.UUID{}, kerr.TopicAuthorizationFailed, "")
		return nil
	}
	topic := del.image.Topic(name)
	if topic == nil {
		del.row(&name, metadata.UUID{}, kerr.UnknownTopicOrPartition, "there is no such topic")
	}
	return topic
}

// byID returns the topic with an id if the caller may delete it, and else adds a row, which has the topic's name only
// for a caller who may know it.
func (del *deletion) byID(id metadata.UUID) *metadata.Topic {
	del.looked = true
	topic := del.image.TopicByID(id)
	switch {
	case topic == nil || !del.allowed(acl.Delete, topic.Name) && !del.allowed(acl.Describe, topic.Name):
		del.row(nil, id, kerr.UnknownTopicID, "there is no topic with this id")
		return nil
	case !del.allowed(acl.Delete, topic.Name):
		del.row(&topic.Name, id, kerr.TopicAuthorizationFailed, "")
		return nil
	}
	return topic
}

func (del *deletion) allowed(op acl.Operation, topic string) bool {
	return del.d.allowed(del.c, op, acl.Topic, topic)
}
