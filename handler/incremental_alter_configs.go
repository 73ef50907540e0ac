package handler

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/metadata"
)

// incrementalAlterConfigsAPI serves IncrementalAlterConfigs (key 44, versions 0 and 1; rule 7.7.6).
func incrementalAlterConfigsAPI(d *Deps) API {
	return api(0, 1, alterConfigsChecks, d.incrementalAlterConfigs)
}

func (d *Deps) incrementalAlterConfigs(c *Context, req *kmsg.IncrementalAlterConfigsRequest) *kmsg.IncrementalAlterConfigsResponse {
	resources := make([]configAlteration, len(req.Resources))
	for i, r := range req.Resources {
		resources[i].resource = metadata.ConfigResource{Type: metadata.ConfigType(r.ResourceType), Name: r.ResourceName}
		for _, s := range r.Configs {
			resources[i].alterations = append(resources[i].alterations, config.Alteration{Name: s.Name, Op: config.Op(s.Op), Value: s.Value})
		}
	}
	d.alterAll(c, resources, req.ValidateOnly)
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	for i, r := range req.Resources {
		row := kmsg.NewIncrementalAlterConfigsResponseResource()
		row.ResourceType, row.ResourceName = r.ResourceType, r.ResourceName
		row.ErrorCode, row.ErrorMessage = d.explain(c, resources[i].err)
		resp.Resources = append(resp.Resources, row)
	}
	return resp
}
