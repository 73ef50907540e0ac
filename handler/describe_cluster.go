package handler

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
)

// Endpoint types of DescribeCluster (rule 7.2.1).
const (
	brokerEndpoints     = 1
	controllerEndpoints = 2
)

// describeClusterAPI serves DescribeCluster (key 60, versions 0 to 2; rules 7.2.1, 7.2.2). It needs no permission; the
// checks are for the operations that it lists.
func describeClusterAPI(d *Deps) API {
	checks := []Check{{acl.Cluster, acl.Describe}}
	for _, op := range clusterOperations {
		if op != acl.Describe {
			checks = append(checks, Check{acl.Cluster, op})
		}
	}
	return api(0, 2, checks, d.describeCluster)
}

func (d *Deps) describeCluster(c *Context, req *kmsg.DescribeClusterRequest) *kmsg.DescribeClusterResponse {
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.ControllerID, resp.ClusterAuthorizedOperations = -1, noOperations
	if c.Version >= 1 && req.EndpointType != brokerEndpoints {
		err, message := kerr.UnsupportedEndpointType, fmt.Sprintf("endpoint type %d is unknown", req.EndpointType)
		if req.EndpointType == controllerEndpoints {
			err, message = kerr.MismatchedEndpointType, "this is a broker's endpoint, and the request asks for those of controllers"
		}
		resp.ErrorCode, resp.ErrorMessage = err.Code, &message
		return resp
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = d.clusterOperationsFor(c)
	}
	image := d.Metadata.Load()
	resp.ClusterID = image.ClusterID
	var alive []int32
	for _, b := range image.Brokers() {
		e, ok := d.endpoint(c, b)
		if !ok || b.Fenced && !(c.Version >= 2 && req.IncludeFencedBrokers) {
			continue
		}
		row := kmsg.NewDescribeClusterResponseBroker()
		row.NodeID, row.Host, row.Port, row.IsFenced = b.ID, e.Host, e.Port, b.Fenced
		if b.Rack != "" {
			row.Rack = &b.Rack
		}
		resp.Brokers = append(resp.Brokers, row)
		if !b.Fenced {
			alive = append(alive, b.ID)
		}
	}
	resp.ControllerID = anyBroker(alive)
	return resp
}
