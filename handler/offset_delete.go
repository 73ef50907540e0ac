package handler

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/internal/security/acl"
)

// offsetDeleteAPI serves OffsetDelete (key 47, version 0; rule 8.4.15).
func offsetDeleteAPI(d *Deps) API {
	return deferred(0, 0, []Check{{acl.Group, acl.Delete}, {acl.Topic, acl.Read}}, d.offsetDelete)
}

func (d *Deps) offsetDelete(c *Context, req *kmsg.OffsetDeleteRequest, p *Pending) {
	fail := func(err error) {
		resp := kmsg.NewPtrOffsetDeleteResponse()
		resp.ErrorCode = code(err)
		p.Answer(resp)
	}
	if !d.allowed(c, acl.Delete, acl.Group, req.Group) {
		fail(kerr.GroupAuthorizationFailed)
		return
	}
	if req.Group == "" {
		fail(kerr.InvalidGroupID)
		return
	}
	resp := kmsg.NewPtrOffsetDeleteResponse()
	// The coordinator is asked even if nothing is left: whether there is such a group comes first.
	req.Topics, resp.Topics = d.admitOffsetDelete(c, req.Topics)
	d.Groups.Do(req.Group, func(m *group.Machine, _ time.Time, e *coordinator.Effects) {
		m.OffsetDelete(req, func(rows []kmsg.OffsetDeleteResponseTopic, err error) {
			if err != nil {
				fail(err)
				return
			}
			resp.Topics = mergeOffsetDelete(resp.Topics, rows)
			p.Answer(resp)
		}, e)
	}, fail)
}

// admitOffsetDelete returns the partitions that the coordinator is asked about, and rows for the others.
func (d *Deps) admitOffsetDelete(c *Context, topics []kmsg.OffsetDeleteRequestTopic) (admitted []kmsg.OffsetDeleteRequestTopic, refused []kmsg.OffsetDeleteResponseTopic) {
	image := d.Metadata.Load()
	for _, t := range topics {
		n, err, admits := 0, kerr.UnknownTopicOrPartition, false
		if !d.allowed(c, acl.Read, acl.Topic, t.Topic) {
			err = kerr.TopicAuthorizationFailed
		} else if known := image.Topic(t.Topic); known != nil {
			n, admits = len(known.Partitions), true
		}
		ask, row := kmsg.NewOffsetDeleteRequestTopic(), kmsg.NewOffsetDeleteResponseTopic()
		ask.Topic, row.Topic = t.Topic, t.Topic
		for _, p := range t.Partitions {
			if p.Partition >= 0 && int(p.Partition) < n {
				ask.Partitions = append(ask.Partitions, p)
				continue
			}
			r := kmsg.NewOffsetDeleteResponseTopicPartition()
			r.Partition, r.ErrorCode = p.Partition, err.Code
			row.Partitions = append(row.Partitions, r)
		}
		if len(ask.Partitions) > 0 {
			admitted = append(admitted, ask)
		}
		if len(row.Partitions) > 0 || !admits {
			refused = append(refused, row)
		}
	}
	return admitted, refused
}

// mergeOffsetDelete adds the coordinator's rows to those that it was not asked about. If there are such, a topic has one
// row, however often the request names it.
func mergeOffsetDelete(refused, rows []kmsg.OffsetDeleteResponseTopic) []kmsg.OffsetDeleteResponseTopic {
	if len(refused) == 0 {
		return rows
	}
	var merged []kmsg.OffsetDeleteResponseTopic
	at := map[string]int{}
	for _, t := range slices.Concat(refused, rows) {
		i, ok := at[t.Topic]
		if !ok {
			at[t.Topic] = len(merged)
			merged = append(merged, t)
			continue
		}
		merged[i].Partitions = append(merged[i].Partitions, t.Partitions...)
	}
	return merged
}
