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

// consumerGroupHeartbeatAPI serves ConsumerGroupHeartbeat (key 68, versions 0 and 1; rule 8.7).
func consumerGroupHeartbeatAPI(d *Deps) API {
	return deferred(0, 1, []Check{{acl.Group, acl.Read}, {acl.Topic, acl.Describe}}, d.consumerGroupHeartbeat)
}

func (d *Deps) consumerGroupHeartbeat(c *Context, req *kmsg.ConsumerGroupHeartbeatRequest, p *Pending) {
	fail := func(err error) {
		resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
		resp.ErrorCode, resp.ErrorMessage = d.explain(c, err)
		p.Answer(resp)
	}
	if err := d.admitHeartbeat(c, req); err != nil {
		fail(err)
		return
	}
	// What the session is like is asked about after this request too, so it is taken along.
	session := *c
	q := &group.ConsumerHeartbeat{Request: req, From: clientOf(c), MayDescribe: func(topic string) bool {
		return d.allowed(&session, acl.Describe, acl.Topic, topic)
	}}
	d.Groups.Do(req.Group, func(m *group.Machine, now time.Time, e *coordinator.Effects) {
		m.ConsumerGroupHeartbeat(now, q, answerOr[*kmsg.ConsumerGroupHeartbeatResponse](p, fail), e)
	}, fail)
}

// admitHeartbeat says what keeps a heartbeat from the coordinator (rule 8.7.2). A client of version 0 may leave its
// member id to us.
func (d *Deps) admitHeartbeat(c *Context, req *kmsg.ConsumerGroupHeartbeatRequest) error {
	if !d.consumerProtocol() {
		return kerr.UnsupportedVersion
	}
	if !d.allowed(c, acl.Read, acl.Group, req.Group) {
		return kerr.GroupAuthorizationFailed
	}
	for _, topic := range req.SubscribedTopicNames {
		if !d.allowed(c, acl.Describe, acl.Topic, topic) {
			return kerr.TopicAuthorizationFailed
		}
	}
	if c.Version == 0 && req.MemberID == "" && req.MemberEpoch == 0 {
		req.MemberID = metadata.NewUUID().String()
	}
	return group.CheckConsumerHeartbeat(req, d.Config.Broker().Groups.Consumer.Assignors)
}

// consumerProtocol reports whether groups may use the protocol of KIP-848: the cluster has finalized it, and the broker
// is not told otherwise.
func (d *Deps) consumerProtocol() bool {
	return d.Metadata.Load().Features()["group.version"] >= 1 && slices.Contains(d.Config.Broker().Groups.Protocols, "consumer")
}
