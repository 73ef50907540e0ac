package handler

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// configAlteration is one resource of AlterConfigs or IncrementalAlterConfigs.
type configAlteration struct {
	resource    metadata.ConfigResource
	alterations []config.Alteration
	replace     bool // the alterations are the complete set (AlterConfigs, rule 7.7.7)
	err         error
}

// alterAll alters every resource by itself: all of it or nothing (rule 7.7.6). What is wrong with it is in its err then.
func (d *Deps) alterAll(c *Context, resources []configAlteration, validateOnly bool) {
	times := make(map[metadata.ConfigResource]int, len(resources))
	for _, r := range resources {
		times[r.resource]++
	}
	image := d.Metadata.Load()
	var ready []*configAlteration
	var wanted []controller.ConfigAlteration
	for i := range resources {
		r := &resources[i]
		if times[r.resource] > 1 {
			r.err = refuse(kerr.InvalidRequest, "the request names this resource more than once")
			continue
		}
		var changes config.Changes
		if changes, r.err = d.changesOf(c, image, r, validateOnly); r.err == nil && len(changes) > 0 {
			ready = append(ready, r)
			wanted = append(wanted, controller.ConfigAlteration{Resource: r.resource, Set: changes})
		}
	}
	if len(wanted) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(c.Ctx, maxAdminWait)
	defer cancel()
	for i, err := range d.Controller.AlterConfigs(ctx, wanted, validateOnly) {
		if ready[i].err = err; err == nil && !validateOnly {
			d.sayWithoutEffect(c, wanted[i])
		}
	}
}

// sayWithoutEffect logs which of the altered settings change nothing in kbroker: they are kept, and never swallowed.
func (d *Deps) sayWithoutEffect(c *Context, altered controller.ConfigAlteration) {
	table := config.BrokerKeys
	if altered.Resource.Type == metadata.ConfigTopic {
		table = config.TopicKeys
	}
	for _, name := range slices.Sorted(maps.Keys(altered.Set)) {
		if k := table.Key(name); k != nil && k.Class != config.Works {
			d.Logger.Warn("a setting was altered that has no effect", "setting", name, "resource", altered.Resource.Name,
				"because", k.Note, "client", c.ClientID)
		}
	}
}

// changesOf checks one resource and returns what the controller is to change. Loggers, which are of this process, have
// been altered then.
func (d *Deps) changesOf(c *Context, image *metadata.Image, r *configAlteration, validateOnly bool) (config.Changes, error) {
	if err := config.CheckAlterations(r.alterations); err != nil {
		return nil, err
	}
	if r.replace && r.resource.Type == configResourceBrokerLogger {
		return nil, refuse(kerr.InvalidRequest, "the levels of loggers can be altered one by one only")
	}
	if err := d.authorizeConfigs(c, acl.AlterConfigs, r.resource); err != nil {
		return nil, err
	}
	now, alterations := image.Config(r.resource), r.alterations
	if r.replace {
		alterations = config.Replace(now, alterations)
	}
	if r.resource.Type == metadata.ConfigTopic && r.resource.Name != "" {
		return d.changesOfTopic(image, r.resource.Name, now, alterations)
	}
	if err := d.checkAltered(r.resource); err != nil {
		return nil, err
	}
	switch r.resource.Type {
	case configResourceBrokerLogger:
		return nil, d.Loggers.Alter(r.alterations, validateOnly)
	case metadata.ConfigGroup:
		return d.Config.AlterGroup(now, alterations)
	case metadata.ConfigClientMetrics:
		return d.Config.AlterClientMetrics(now, alterations)
	}
	if err := checkEligibleReplicas(image, r.resource.Name, alterations); err != nil {
		return nil, err
	}
	return d.Config.AlterBroker(r.resource.Name == "", now, alterations)
}

// checkAltered checks that a resource, unless it is a topic with a name, can have configs of its own.
func (d *Deps) checkAltered(res metadata.ConfigResource) error {
	switch {
	case res.Type == metadata.ConfigBroker && res.Name == "":
		return nil
	case res.Type == metadata.ConfigBroker, res.Type == configResourceBrokerLogger:
		return d.checkThisBroker(res.Name)
	case res.Name == "":
		return refuse(kerr.InvalidRequest, "there are no defaults for resources of type %d: name one", res.Type)
	}
	return nil
}

// changesOfTopic checks alterations of a topic. As Kafka does it looks at the settings before it asks whether there is
// such a topic.
func (d *Deps) changesOfTopic(image *metadata.Image, name string, now map[string]string, alterations []config.Alteration) (config.Changes, error) {
	if err := metadata.CheckTopicName(name); err != nil {
		return nil, refuse(kerr.InvalidTopicException, "%v", err)
	}
	changes, err := d.Config.AlterTopic(now, alterations)
	if err == nil && image.Topic(name) == nil {
		err = refuse(kerr.UnknownTopicOrPartition, "there is no topic %s", name)
	}
	return changes, err
}

// checkEligibleReplicas keeps one value of min.insync.replicas for all brokers where the controller chooses leaders by
// it (KIP-966): a broker cannot have its own, and the cluster cannot be without.
func checkEligibleReplicas(image *metadata.Image, broker string, alterations []config.Alteration) error {
	const feature, key = "eligible.leader.replicas.version", "min.insync.replicas"
	if image.Features()[feature] == 0 {
		return nil
	}
	for _, a := range alterations {
		switch {
		case a.Name != key:
		case broker != "":
			return refuse(kerr.InvalidConfig, "%s is one for all brokers while %s is on: alter the default, or a topic", key, feature)
		case a.Op == config.Delete:
			return refuse(kerr.InvalidConfig, "%s cannot be deleted while %s is on: set another value", key, feature)
		}
	}
	return nil
}
