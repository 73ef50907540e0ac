package handler

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/internal/security/acl"
)

// Election types of ElectLeaders (rule 7.8.1).
const (
	preferredElection = 0
	uncleanElection   = 1
)

// electLeadersAPI serves ElectLeaders (key 43, versions 0 to 2; rule 7.8.1).
//
//	1  error of the whole request, unclean elections    2  flexible
func electLeadersAPI(d *Deps) API {
	return api(0, 2, []Check{{acl.Cluster, acl.Alter}}, d.electLeaders)
}

func (d *Deps) electLeaders(c *Context, req *kmsg.ElectLeadersRequest) *kmsg.ElectLeadersResponse {
	e := election{d: d, c: c, resp: kmsg.NewPtrElectLeadersResponse()}
	e.read(req)
	switch {
	case !d.allowed(c, acl.Alter, acl.Cluster, acl.ClusterName):
		e.fail(kerr.ClusterAuthorizationFailed)
	case req.ElectionType != preferredElection && req.ElectionType != uncleanElection:
		e.fail(refuse(kerr.InvalidRequest, "there is no election of type %d", req.ElectionType))
	default:
		e.hold(req)
	}
	return e.resp
}

// election is one ElectLeaders request.
type election struct {
	d          *Deps
	c          *Context
	all        bool
	partitions []controller.PartitionName
	places     []int // parallel to partitions: their topics in the answer
	resp       *kmsg.ElectLeadersResponse
}

// read takes the partitions that the request names; null is all there are.
func (e *election) read(req *kmsg.ElectLeadersRequest) {
	if e.all = req.Topics == nil; e.all {
		for t := range e.d.Metadata.Load().Topics {
			e.topic(t.Name)
			for i := range t.Partitions {
				e.partition(t.Name, int32(i))
			}
		}
		return
	}
	for _, t := range req.Topics {
		e.topic(t.Topic)
		for _, p := range t.Partitions {
			e.partition(t.Topic, p)
		}
	}
}

// hold asks the controller.
func (e *election) hold(req *kmsg.ElectLeadersRequest) {
	if !e.all && len(req.Topics) == 0 {
		return
	}
	ctx, cancel, ok := adminContext(e.c, req.TimeoutMillis)
	if !ok {
		e.fail(kerr.RequestTimedOut)
		return
	}
	defer cancel()
	errs, err := e.d.Controller.ElectLeaders(ctx, e.partitions, req.ElectionType == uncleanElection)
	if err != nil {
		e.fail(err)
		return
	}
	for i, err := range errs {
		e.row(i, err)
	}
}

// fail answers the request as a whole, and each partition that it names.
func (e *election) fail(err error) {
	e.resp.ErrorCode, _ = e.d.explain(e.c, err)
	if e.all {
		e.resp.Topics = nil
		return
	}
	for i := range e.partitions {
		e.row(i, err)
	}
}

// topic begins the answer for a topic, which may have no partitions.
func (e *election) topic(name string) {
	t := kmsg.NewElectLeadersResponseTopic()
	t.Topic = name
	e.resp.Topics = append(e.resp.Topics, t)
}

// partition adds a partition of the topic that was begun last.
func (e *election) partition(topic string, index int32) {
	e.partitions = append(e.partitions, controller.PartitionName{Topic: topic, Partition: index})
	e.places = append(e.places, len(e.resp.Topics)-1)
}

// row adds the answer for the i-th partition. Of all partitions those that need no election have none.
func (e *election) row(i int, err error) {
	if e.all && errors.Is(err, kerr.ElectionNotNeeded) {
		return
	}
	row := kmsg.NewElectLeadersResponseTopicPartition()
	row.Partition = e.partitions[i].Partition
	row.ErrorCode, row.ErrorMessage = e.d.explain(e.c, err)
	t := &e.resp.Topics[e.places[i]]
	t.Partitions = append(t.Partitions, row)
}
