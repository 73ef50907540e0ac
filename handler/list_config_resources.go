package handler

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// listConfigResourcesAPI serves ListConfigResources (key 74, versions 0 and 1; rule 7.7.11). Version 0 knows no types
// and lists the resources of client metrics, after which it was named then.
func listConfigResourcesAPI(d *Deps) API {
	return api(0, 1, []Check{{acl.Cluster, acl.DescribeConfigs}}, d.listConfigResources)
}

// listedTypes are the types of resources in the order in which they are listed.
var listedTypes = []metadata.ConfigType{
	metadata.ConfigGroup, metadata.ConfigClientMetrics, configResourceBrokerLogger, metadata.ConfigBroker, metadata.ConfigTopic,
}

func (d *Deps) listConfigResources(c *Context, req *kmsg.ListConfigResourcesRequest) *kmsg.ListConfigResourcesResponse {
	resp := kmsg.NewPtrListConfigResourcesResponse()
	if !d.allowed(c, acl.DescribeConfigs, acl.Cluster, acl.ClusterName) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp
	}
	wanted := listedTypes
	switch {
	case c.Version == 0:
		wanted = []metadata.ConfigType{metadata.ConfigClientMetrics}
	case len(req.ResourceTypes) > 0:
		wanted = nil
		for _, t := range req.ResourceTypes {
			if !slices.Contains(listedTypes, metadata.ConfigType(t)) {
				resp.ErrorCode = kerr.UnsupportedVersion.Code
				return resp
			}
			wanted = append(wanted, metadata.ConfigType(t))
		}
	}
	image := d.Metadata.Load()
	for _, t := range listedTypes {
		if slices.Contains(wanted, t) {
			d.addConfigResources(c, image, t, resp)
		}
	}
	return resp
}

// addConfigResources adds the resources of one type: topics and brokers whether they have configs of their own or not,
// groups and client metrics only if they have some.
func (d *Deps) addConfigResources(c *Context, image *metadata.Image, t metadata.ConfigType, resp *kmsg.ListConfigResourcesResponse) {
	add := func(name string) {
		row := kmsg.NewListConfigResourcesResponseConfigResource()
		row.Type, row.Name = int8(t), name
		resp.ConfigResources = append(resp.ConfigResources, row)
	}
	switch t {
	case metadata.ConfigTopic:
		for topic := range image.Topics {
			add(topic.Name)
		}
	case metadata.ConfigBroker, configResourceBrokerLogger:
		for _, b := range image.Brokers() {
			if _, ok := d.endpoint(c, b); ok && !b.Fenced {
				add(strconv.Itoa(int(b.ID)))
			}
		}
	default:
		for r := range image.ConfigResources {
			if r.Type == t {
				add(r.Name)
			}
		}
	}
}
