package handler

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// configResourceBrokerLogger is the resource type of a broker's loggers, which are no metadata: they are of the process.
const configResourceBrokerLogger metadata.ConfigType = 8

// describeConfigsAPI serves DescribeConfigs (key 32, versions 1 to 4; rules 7.7.1 to 7.7.5).
func describeConfigsAPI(d *Deps) API {
	return api(1, 4, []Check{{acl.Topic, acl.DescribeConfigs}, {acl.Group, acl.DescribeConfigs}, {acl.Cluster, acl.DescribeConfigs}},
		d.describeConfigs)
}

func (d *Deps) describeConfigs(c *Context, req *kmsg.DescribeConfigsRequest) *kmsg.DescribeConfigsResponse {
	resp := kmsg.NewPtrDescribeConfigsResponse()
	var refused error // of the whole request: one type without configs fails all of its resources, as in Kafka
	for _, r := range req.Resources {
		if err := checkConfigType(metadata.ConfigType(r.ResourceType)); err != nil {
			refused = err
		}
	}
	for _, r := range req.Resources {
		row := kmsg.NewDescribeConfigsResponseResource()
		row.ResourceType, row.ResourceName = r.ResourceType, r.ResourceName
		res := metadata.ConfigResource{Type: metadata.ConfigType(r.ResourceType), Name: r.ResourceName}
		var entries []config.Entry
		err := refused
		if err == nil {
			entries, err = d.describeResource(c, res, config.Named(r.ConfigNames))
		}
		row.ErrorCode, row.ErrorMessage = d.explainFully(c, err)
		for i := range entries {
			row.Configs = append(row.Configs, describedConfig(&entries[i], req))
		}
		resp.Resources = append(resp.Resources, row)
	}
	return resp
}

// describedConfig writes an entry as far as the request asks for it.
func describedConfig(e *config.Entry, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Value, out.ReadOnly, out.IsSensitive = e.Name, e.Value, e.ReadOnly, e.Sensitive
	out.Source, out.ConfigType = kmsg.ConfigSource(e.Source), kmsg.ConfigType(e.Type)
	if req.IncludeDocumentation && e.Doc != "" {
		out.Documentation = &e.Doc
	}
	if !req.IncludeSynonyms {
		return out
	}
	for _, s := range e.Synonyms {
		syn := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
		syn.Name, syn.Value, syn.Source = s.Name, s.Value, kmsg.ConfigSource(s.Source)
		out.ConfigSynonyms = append(out.ConfigSynonyms, syn)
	}
	return out
}

// describeResource authorizes and describes one resource.
func (d *Deps) describeResource(c *Context, res metadata.ConfigResource, filter config.Filter) ([]config.Entry, error) {
	if err := d.authorizeConfigs(c, acl.DescribeConfigs, res); err != nil {
		return nil, err
	}
	image := d.Metadata.Load()
	switch res.Type {
	case metadata.ConfigTopic:
		if err := metadata.CheckTopicName(res.Name); err != nil {
			return nil, refuse(kerr.InvalidTopicException, "%v", err)
		}
		if image.Topic(res.Name) == nil {
			return nil, kerr.UnknownTopicOrPartition
		}
		return d.Config.DescribeTopic(image.Config(res), filter), nil
	case metadata.ConfigBroker:
		if res.Name == "" {
			return d.Config.DescribeClusterDefault(filter), nil
		}
		if err := d.checkThisBroker(res.Name); err != nil {
			return nil, err
		}
		return d.Config.DescribeBroker(filter), nil
	case configResourceBrokerLogger:
		if err := d.checkThisBroker(res.Name); err != nil {
			return nil, err
		}
		return d.Loggers.Describe(filter), nil
	}
	if res.Name == "" {
		return nil, refuse(kerr.InvalidRequest, "a resource of type %d needs a name", res.Type)
	}
	if res.Type == metadata.ConfigGroup {
		return d.Config.DescribeGroup(image.Config(res), filter), nil
	}
	return d.Config.DescribeClientMetrics(image.Config(res), filter), nil
}

// checkThisBroker refuses requests about another broker: they must go to that one (rule 7.7.1).
func (d *Deps) checkThisBroker(name string) error {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return refuse(kerr.InvalidRequest, "a broker is named by its number, and not by %q", name)
	}
	if metadata.BrokerID(id) != d.NodeID {
		return refuse(kerr.InvalidRequest, "this is broker %d: ask broker %d about itself", d.NodeID, id)
	}
	return nil
}

// checkConfigType refuses types of resource that have no configs.
func checkConfigType(t metadata.ConfigType) error {
	switch t {
	case metadata.ConfigTopic, metadata.ConfigGroup, metadata.ConfigBroker, configResourceBrokerLogger, metadata.ConfigClientMetrics:
		return nil
	}
	return refuse(kerr.InvalidRequest, "there is no resource type %d with configs", t)
}

// authorizeConfigs asks whether the caller may op, DESCRIBE_CONFIGS or ALTER_CONFIGS, on the configs of a resource. It
// refuses types of resource that have none.
func (d *Deps) authorizeConfigs(c *Context, op acl.Operation, res metadata.ConfigResource) error {
	switch res.Type {
	case metadata.ConfigTopic:
		if !d.allowed(c, op, acl.Topic, res.Name) {
			return kerr.TopicAuthorizationFailed
		}
	case metadata.ConfigGroup:
		if !d.allowed(c, op, acl.Group, res.Name) {
			return kerr.GroupAuthorizationFailed
		}
	case metadata.ConfigBroker, configResourceBrokerLogger, metadata.ConfigClientMetrics:
		if !d.allowed(c, op, acl.Cluster, acl.ClusterName) {
			return kerr.ClusterAuthorizationFailed
		}
	}
	return checkConfigType(res.Type)
}
