package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// alterReassignmentsAPI serves AlterPartitionReassignments (key 45, versions 0 and 1; rule 7.8.2).
func alterReassignmentsAPI(d *Deps) API {
	return api(0, 1, []Check{{acl.Cluster, acl.Alter}}, d.alterReassignments)
}

func (d *Deps) alterReassignments(c *Context, req *kmsg.AlterPartitionAssignmentsRequest) *kmsg.AlterPartitionAssignmentsResponse {
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	if !d.allowed(c, acl.Alter, acl.Cluster, acl.ClusterName) {
		failReassignments(resp, req, kerr.ClusterAuthorizationFailed.Code, nil)
		return resp
	}
	if len(req.Topics) == 0 {
		resp.ErrorMessage = new("") // as Kafka answers, which does not look at the request further
		return resp
	}
	ctx, cancel, ok := adminContext(c, req.TimeoutMillis)
	if !ok {
		failReassignments(resp, req, kerr.RequestTimedOut.Code, nil)
		return resp
	}
	defer cancel()
	var moves []controller.Reassignment
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			moves = append(moves, controller.Reassignment{
				PartitionName: controller.PartitionName{Topic: t.Topic, Partition: p.Partition}, Replicas: p.Replicas,
			})
		}
	}
	errs, err := d.Controller.Reassign(ctx, moves, c.Version >= 1 && !req.AllowReplicationFactorChange)
	if err != nil {
		code, message := d.explain(c, err)
		failReassignments(resp, req, code, message)
		return resp
	}
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	for _, t := range req.Topics {
		topic := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			row := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			row.Partition = p.Partition
			row.ErrorCode, row.ErrorMessage = d.explain(c, errs[0])
			errs = errs[1:]
			topic.Partitions = append(topic.Partitions, row)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// failReassignments answers the request as a whole, and each partition that it names.
func failReassignments(resp *kmsg.AlterPartitionAssignmentsResponse, req *kmsg.AlterPartitionAssignmentsRequest, code int16, message *string) {
	resp.ErrorCode, resp.ErrorMessage = code, message
	for _, t := range req.Topics {
		topic := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			row := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			row.Partition, row.ErrorCode, row.ErrorMessage = p.Partition, code, message
			topic.Partitions = append(topic.Partitions, row)
		}
		resp.Topics = append(resp.Topics, topic)
	}
}

// listReassignmentsAPI serves ListPartitionReassignments (key 46, version 0; rule 7.8.3).
func listReassignmentsAPI(d *Deps) API {
	return api(0, 0, []Check{{acl.Cluster, acl.Describe}}, d.listReassignments)
}

func (d *Deps) listReassignments(c *Context, req *kmsg.ListPartitionReassignmentsRequest) *kmsg.ListPartitionReassignmentsResponse {
	resp := kmsg.NewPtrListPartitionReassignmentsResponse()
	if !d.allowed(c, acl.Describe, acl.Cluster, acl.ClusterName) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp
	}
	image := d.Metadata.Load()
	list := func(t *metadata.Topic, partitions []int32) {
		if topic := movingPartitions(t, partitions); len(topic.Partitions) > 0 {
			resp.Topics = append(resp.Topics, topic)
		}
	}
	if req.Topics == nil {
		for t := range image.Topics {
			all := make([]int32, len(t.Partitions))
			for i := range all {
				all[i] = int32(i)
			}
			list(t, all)
		}
		return resp
	}
	for _, t := range req.Topics {
		if topic := image.Topic(t.Topic); topic != nil {
			list(topic, t.Partitions)
		}
	}
	return resp
}

// movingPartitions returns those of some partitions of a topic that are on their way to other brokers.
func movingPartitions(t *metadata.Topic, partitions []int32) kmsg.ListPartitionReassignmentsResponseTopic {
	topic := kmsg.NewListPartitionReassignmentsResponseTopic()
	topic.Topic = t.Name
	for _, i := range partitions {
		if i < 0 || int(i) >= len(t.Partitions) {
			continue
		}
		p := t.Partitions[i]
		if len(p.AddingReplicas)+len(p.RemovingReplicas) == 0 {
			continue
		}
		row := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
		row.Partition, row.Replicas, row.AddingReplicas, row.RemovingReplicas = i, p.Replicas, p.AddingReplicas, p.RemovingReplicas
		topic.Partitions = append(topic.Partitions, row)
	}
	return topic
}
