package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// createTopicsAPI serves CreateTopics (key 19, versions 2 to 7; rule 7.4).
func createTopicsAPI(d *Deps) API {
	return api(2, 7, []Check{{acl.Cluster, acl.Create}, {acl.Topic, acl.Create}, {acl.Topic, acl.DescribeConfigs}}, d.createTopics)
}

func (d *Deps) createTopics(c *Context, req *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse {
	resp := kmsg.NewPtrCreateTopicsResponse()
	ctx, cancel, inTime := adminContext(c, req.TimeoutMillis)
	defer cancel()
	wanted, refused := d.creatable(c, req, inTime && !req.ValidateOnly)
	switch {
	case len(wanted) == 0:
		resp.Topics = refused
		return resp
	case !inTime:
		failCreateTopics(resp, req, kerr.RequestTimedOut.Code, nil)
		return resp
	}
	results, err := d.Controller.CreateTopics(ctx, wanted, req.ValidateOnly)
	if err != nil {
		code, message := d.explain(c, err)
		failCreateTopics(resp, req, code, message)
		return resp
	}
	for i, r := range results {
		row := newTopicRow(wanted[i].Name)
		if r.Err != nil {
			if !req.ValidateOnly {
				c.Quota.Refund(float64(d.partitionsOf(c, &wanted[i])))
			}
			row.ErrorCode, row.ErrorMessage = d.explain(c, r.Err)
		} else {
			d.describeCreated(c, &row, &r)
		}
		resp.Topics = append(resp.Topics, row)
	}
	resp.Topics = append(resp.Topics, refused...)
	return resp
}

// newTopicRow is a row of a topic that was not created.
func newTopicRow(name string) kmsg.CreateTopicsResponseTopic {
	row := kmsg.NewCreateTopicsResponseTopic()
	row.Topic = name
	row.NumPartitions, row.ReplicationFactor = -1, -1
	row.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
	return row
}

// failCreateTopics gives every topic of the request the same error.
func failCreateTopics(resp *kmsg.CreateTopicsResponse, req *kmsg.CreateTopicsRequest, code int16, message *string) {
	for _, t := range req.Topics {
		row := newTopicRow(t.Topic)
		row.ErrorCode, row.ErrorMessage = code, message
		resp.Topics = append(resp.Topics, row)
	}
}

// creatable divides the request into the topics that the caller may create and rows for those that are refused before
// the controller hears of them (rules 7.4.1, 7.3.3). charge tells whether the partitions count for the caller's quota.
func (d *Deps) creatable(c *Context, req *kmsg.CreateTopicsRequest, charge bool) ([]controller.NewTopic, []kmsg.CreateTopicsResponseTopic) {
	var wanted []controller.NewTopic
	var refused []kmsg.CreateTopicsResponseTopic
	refuse := func(name string, err *kerr.Error, message string) {
		row := newTopicRow(name)
		row.ErrorCode, row.ErrorMessage = err.Code, &message
		refused = append(refused, row)
	}
	times := make(map[string]int, len(req.Topics))
	for _, t := range req.Topics {
		times[t.Topic]++
	}
	everything := d.allowed(c, acl.Create, acl.Cluster, acl.ClusterName)
	for i := range req.Topics {
		t := &req.Topics[i]
		switch {
		case times[t.Topic] == 0: // told already
		case times[t.Topic] > 1:
			times[t.Topic] = 0
			refuse(t.Topic, kerr.InvalidRequest, "the request names this topic more than once")
		case t.Topic == metadata.ClusterMetadataTopic:
			refuse(t.Topic, kerr.InvalidRequest, "this name belongs to the cluster's own metadata")
		case !everything && !d.allowed(c, acl.Create, acl.Topic, t.Topic):
			refuse(t.Topic, kerr.TopicAuthorizationFailed, "creating this topic is not allowed")
		default:
			n := newTopic(t)
			if charge {
				if err := c.mutate(d.partitionsOf(c, &n), c.Version >= 6); err != nil {
					refuse(t.Topic, kerr.ThrottlingQuotaExceeded, err.Error())
					continue
				}
			}
			wanted = append(wanted, n)
		}
	}
	return wanted, refused
}

// partitionsOf is how many partitions a new topic is charged for, if anybody is.
func (d *Deps) partitionsOf(c *Context, n *controller.NewTopic) int {
	switch {
	case c.Quota == nil:
		return 0
	case len(n.Assignments) > 0:
		return len(n.Assignments)
	case n.Partitions == -1:
		return int(d.Config.Broker().Topics.Partitions)
	}
	return max(int(n.Partitions), 0)
}

// newTopic puts a topic of the request into the controller's terms.
func newTopic(t *kmsg.CreateTopicsRequestTopic) controller.NewTopic {
	n := controller.NewTopic{Name: t.Topic, Partitions: t.NumPartitions, ReplicationFactor: t.ReplicationFactor}
	for _, a := range t.ReplicaAssignment {
		n.Assignments = append(n.Assignments, controller.Assignment{Partition: a.Partition, Replicas: a.Replicas})
	}
	for _, s := range t.Configs {
		n.Configs = append(n.Configs, controller.ConfigSetting{Name: s.Name, Value: s.Value})
	}
	return n
}

// describeCreated fills the row of a topic that was created, or would have been (rules 7.4.7, 7.4.8).
func (d *Deps) describeCreated(c *Context, row *kmsg.CreateTopicsResponseTopic, r *controller.CreatedTopic) {
	row.TopicID = r.ID
	if c.Version < 5 {
		return
	}
	if !d.allowed(c, acl.DescribeConfigs, acl.Topic, row.Topic) {
		row.ConfigErrorCode = kerr.TopicAuthorizationFailed.Code
		row.Configs = nil
		return
	}
	row.NumPartitions, row.ReplicationFactor = r.Partitions, r.ReplicationFactor
	for _, e := range d.Admin.TopicConfigs(row.Topic, r.Configs) {
		entry := kmsg.NewCreateTopicsResponseTopicConfig()
		entry.Name, entry.Value, entry.ReadOnly, entry.Source, entry.IsSensitive = e.Name, e.Value, e.ReadOnly, e.Source, e.Sensitive
		row.Configs = append(row.Configs, entry)
	}
}
