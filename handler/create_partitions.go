package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// createPartitionsAPI serves CreatePartitions (key 37, versions 0 to 3; rule 7.6).
func createPartitionsAPI(d *Deps) API {
	return api(0, 3, []Check{{acl.Topic, acl.Alter}}, d.createPartitions)
}

func (d *Deps) createPartitions(c *Context, req *kmsg.CreatePartitionsRequest) *kmsg.CreatePartitionsResponse {
	resp := kmsg.NewPtrCreatePartitionsResponse()
	row := func(topic string, code int16, message *string) {
		r := kmsg.NewCreatePartitionsResponseTopic()
		r.Topic, r.ErrorCode, r.ErrorMessage = topic, code, message
		resp.Topics = append(resp.Topics, r)
	}
	ctx, cancel, inTime := adminContext(c, req.TimeoutMillis)
	defer cancel()
	times := make(map[string]int, len(req.Topics))
	for _, t := range req.Topics {
		times[t.Topic]++
	}
	var wanted []controller.MorePartitions
	for i := range req.Topics {
		t := &req.Topics[i]
		switch n := times[t.Topic]; {
		case n == 0: // told already
		case n > 1:
			times[t.Topic] = 0
			row(t.Topic, kerr.InvalidRequest.Code, new("the request names this topic more than once"))
		case !d.allowed(c, acl.Alter, acl.Topic, t.Topic):
			row(t.Topic, kerr.TopicAuthorizationFailed.Code, nil)
		case !inTime:
			return createNoPartitions(req, kerr.RequestTimedOut.Code)
		default:
			if !req.ValidateOnly {
				if err := c.mutate(d.added(t), c.Version >= 3); err != nil {
					row(t.Topic, kerr.ThrottlingQuotaExceeded.Code, new(err.Error()))
					continue
				}
			}
			wanted = append(wanted, morePartitions(t))
		}
	}
	if len(wanted) == 0 {
		return resp
	}
	errs, err := d.Controller.CreatePartitions(ctx, wanted, req.ValidateOnly)
	for i, t := range wanted {
		if err == nil {
			code, message := d.explain(c, errs[i])
			row(t.Topic, code, message)
			continue
		}
		code, message := d.explain(c, err)
		row(t.Topic, code, message)
	}
	return resp
}

// createNoPartitions gives every row of the request the same error.
func createNoPartitions(req *kmsg.CreatePartitionsRequest, code int16) *kmsg.CreatePartitionsResponse {
	resp := kmsg.NewPtrCreatePartitionsResponse()
	for _, t := range req.Topics {
		r := kmsg.NewCreatePartitionsResponseTopic()
		r.Topic, r.ErrorCode = t.Topic, code
		resp.Topics = append(resp.Topics, r)
	}
	return resp
}

// added is how many partitions a topic of the request would get.
func (d *Deps) added(t *kmsg.CreatePartitionsRequestTopic) int {
	topic := d.Metadata.Load().Topic(t.Topic)
	if topic == nil {
		return 0
	}
	return max(int(t.Count)-len(topic.Partitions), 0)
}

// morePartitions puts a topic of the request into the controller's terms.
func morePartitions(t *kmsg.CreatePartitionsRequestTopic) controller.MorePartitions {
	m := controller.MorePartitions{Topic: t.Topic, Count: t.Count}
	if t.Assignment != nil {
		m.Assignments = make([][]metadata.BrokerID, len(t.Assignment))
		for i, a := range t.Assignment {
			m.Assignments[i] = a.Replicas
		}
	}
	return m
}
