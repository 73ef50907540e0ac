package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/internal/security/acl"
)

// consumerGroupDescribeAPI serves ConsumerGroupDescribe (key 69, versions 0 and 1; rule 8.7.12).
func consumerGroupDescribeAPI(d *Deps) API {
	checks := []Check{{acl.Group, acl.Describe}, {acl.Topic, acl.Describe}}
	for _, op := range groupOperations {
		if op != acl.Describe {
			checks = append(checks, Check{acl.Group, op})
		}
	}
	return large(deferred(0, 1, checks, d.consumerGroupDescribe))
}

// consumerGroupDescribe answers with the groups that are refused at once, and then with those that their coordinators
// were asked about.
func (d *Deps) consumerGroupDescribe(c *Context, req *kmsg.ConsumerGroupDescribeRequest, p *Pending) {
	resp := kmsg.NewPtrConsumerGroupDescribeResponse()
	var asked []string
	named := tellings{}
	for _, id := range req.Groups {
		switch {
		case !d.consumerProtocol():
			resp.Groups = append(resp.Groups, d.undescribed(c, id, kerr.UnsupportedVersion))
		case !d.allowed(c, acl.Describe, acl.Group, id):
			resp.Groups = append(resp.Groups, d.undescribed(c, id, kerr.GroupAuthorizationFailed))
		case id == "":
			resp.Groups = append(resp.Groups, d.undescribed(c, id, kerr.InvalidGroupID))
		case !named.another(id):
			resp.Groups = append(resp.Groups, d.undescribed(c, id, kerr.InvalidRequest))
		default:
			asked = append(asked, id)
		}
	}
	rows := make([]kmsg.ConsumerGroupDescribeResponseGroup, len(asked))
	done := func() {
		resp.Groups = append(resp.Groups, rows...)
		p.Answer(resp)
	}
	all := &gather{done: done}
	all.expect(len(asked))
	fail := func(i int, err error) { all.part(i, func() { rows[i] = d.undescribed(c, asked[i], err) }) }
	d.eachGroup(asked, func(i int, m *group.Machine, e *coordinator.Effects) {
		row, refused := m.DescribeConsumerGroup(asked[i])
		e.Answer(func(err error) {
			switch {
			case err != nil:
				fail(i, err)
			case refused != nil:
				fail(i, refused)
			default:
				all.part(i, func() { rows[i] = d.visible(c, req, row) })
			}
		})
	}, fail)
}

// undescribed is the row of a group that is not described.
func (d *Deps) undescribed(c *Context, id string, err error) kmsg.ConsumerGroupDescribeResponseGroup {
	row := kmsg.NewConsumerGroupDescribeResponseGroup()
	row.Group = id
	row.ErrorCode, row.ErrorMessage = d.explain(c, err)
	return row
}

// visible is a described group as the caller may see it: a topic that it may not know of hides the whole group.
func (d *Deps) visible(c *Context, req *kmsg.ConsumerGroupDescribeRequest, row *kmsg.ConsumerGroupDescribeResponseGroup) kmsg.ConsumerGroupDescribeResponseGroup {
	known := map[string]bool{}
	see := func(topic string) {
		if _, ok := known[topic]; !ok {
			known[topic] = d.allowed(c, acl.Describe, acl.Topic, topic)
		}
	}
	for i := range row.Members {
		m := &row.Members[i]
		for _, t := range m.SubscribedTopics {
			see(t)
		}
		for _, a := range []*kmsg.Assignment{&m.Assignment, &m.TargetAssignment} {
			for _, t := range a.TopicPartitions {
				see(t.Topic)
			}
		}
	}
	for _, ok := range known {
		if !ok {
			return d.undescribed(c, row.Group, refuse(kerr.TopicAuthorizationFailed, "the group has topics that you may not describe"))
		}
	}
	if req.IncludeAuthorizedOperations {
		row.AuthorizedOperations = d.authorizedOperations(c, acl.Group, row.Group, groupOperations)
	}
	return *row
}
