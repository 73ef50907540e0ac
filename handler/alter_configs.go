package handler

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// alterConfigsChecks are what AlterConfigs and IncrementalAlterConfigs ask the authorizer (rule 7.7.8).
var alterConfigsChecks = []Check{{acl.Topic, acl.AlterConfigs}, {acl.Group, acl.AlterConfigs}, {acl.Cluster, acl.AlterConfigs}}

// alterConfigsAPI serves AlterConfigs (key 33, versions 0 to 2; rule 7.7.7).
func alterConfigsAPI(d *Deps) API { return api(0, 2, alterConfigsChecks, d.alterConfigs) }

func (d *Deps) alterConfigs(c *Context, req *kmsg.AlterConfigsRequest) *kmsg.AlterConfigsResponse {
	resources := make([]configAlteration, len(req.Resources))
	for i, r := range req.Resources {
		resources[i].resource = metadata.ConfigResource{Type: metadata.ConfigType(r.ResourceType), Name: r.ResourceName}
		resources[i].replace = true
		for _, s := range r.Configs {
			resources[i].alterations = append(resources[i].alterations, config.Alteration{Name: s.Name, Op: config.Set, Value: s.Value})
		}
	}
	d.alterAll(c, resources, req.ValidateOnly)
	resp := kmsg.NewPtrAlterConfigsResponse()
	for i, r := range req.Resources {
		row := kmsg.NewAlterConfigsResponseResource()
		row.ResourceType, row.ResourceName = r.ResourceType, r.ResourceName
		row.ErrorCode, row.ErrorMessage = d.explain(c, resources[i].err)
		resp.Resources = append(resp.Resources, row)
	}
	return resp
}
