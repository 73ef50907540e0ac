package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
)

// unregisterBrokerAPI serves UnregisterBroker (key 64, version 0). A broker that is alive is not forgotten.
func unregisterBrokerAPI(d *Deps) API {
	return api(0, 0, []Check{{acl.Cluster, acl.Alter}}, d.unregisterBroker)
}

func (d *Deps) unregisterBroker(c *Context, req *kmsg.UnregisterBrokerRequest) *kmsg.UnregisterBrokerResponse {
	resp := kmsg.NewPtrUnregisterBrokerResponse()
	if !d.allowed(c, acl.Alter, acl.Cluster, acl.ClusterName) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp
	}
	ctx, cancel := context.WithTimeout(c.Ctx, maxAdminWait)
	defer cancel()
	resp.ErrorCode, resp.ErrorMessage = d.explain(c, d.Controller.UnregisterBroker(ctx, req.BrokerID))
	return resp
}
