package controller

import (
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/metadata"
)

// ConfigAlteration changes the dynamic configs of one resource.
type ConfigAlteration struct {
	Resource metadata.ConfigResource
	Set      map[string]*string // nil takes the override back
}

// alterConfigs is AlterConfigs and IncrementalAlterConfigs (rules 7.7.6, 7.7.7): what the wire's operations come to is
// worked out by the handler.
type alterConfigs = alterEach[ConfigAlteration]

func (a ConfigAlteration) settings() int { return len(a.Set) }

func (a ConfigAlteration) decide(d *decision) ([]metadata.Record, error) {
	if err := checkConfigResource(d.head, a.Resource); err != nil {
		return nil, err
	}
	overrides := maps.Clone(d.head.Config(a.Resource))
	if overrides == nil {
		overrides = map[string]string{}
	}
	var records []metadata.Record
	for _, name := range slices.Sorted(maps.Keys(a.Set)) { // sorted: the same request gives the same records
		value := a.Set[name]
		old, was := overrides[name]
		switch {
		case value == nil && was:
			delete(overrides, name)
		case value != nil && (!was || old != *value):
			overrides[name] = *value
		default:
			continue
		}
		records = append(records, &metadata.ConfigRecord{Resource: a.Resource, Name: name, Value: value})
	}
	return records, d.rules.validate(a.Resource, overrides)
}

// validate looks at the complete overrides of a resource.
func (r *Rules) validate(res metadata.ConfigResource, overrides map[string]string) error {
	var err error
	switch {
	case res.Type == metadata.ConfigTopic && r.ValidateTopicConfig != nil:
		err = r.ValidateTopicConfig(overrides)
	case res.Type != metadata.ConfigTopic && r.ValidateConfig != nil:
		err = r.ValidateConfig(res, overrides)
	}
	if err == nil {
		return nil
	}
	if code := kafkaError(err); code != nil {
		return err
	}
	return refuse(kerr.InvalidConfig, "%v", err)
}

// checkConfigResource checks that there is something that configs could hang on.
func checkConfigResource(im *metadata.Image, r metadata.ConfigResource) error {
	switch r.Type {
	case metadata.ConfigTopic:
		if im.Topic(r.Name) == nil {
			return errUnknownTopic(r.Name)
		}
	case metadata.ConfigBroker:
		if r.Name == "" {
			return nil
		}
		id, err := strconv.ParseInt(r.Name, 10, 32)
		if err != nil {
			return refuse(kerr.InvalidRequest, "broker %q is not a node id", r.Name)
		}
		if im.Broker(metadata.BrokerID(id)) == nil {
			return refuse(kerr.BrokerIDNotRegistered, "no broker with id %d is registered", id)
		}
	case metadata.ConfigClientMetrics, metadata.ConfigGroup:
		if r.Name == "" {
			return refuse(kerr.InvalidRequest, "a config resource of type %d needs a name", r.Type)
		}
	default:
		return refuse(kerr.InvalidRequest, "config resource type %d has no dynamic configs", r.Type)
	}
	return nil
}
