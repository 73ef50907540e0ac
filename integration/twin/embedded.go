package twin

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// subscription evaluates subscription(topics…, field=value…): what a consumer says to its group in JoinGroup.
func (e env) subscription(c call) ([]byte, error) {
	sub := kmsg.NewConsumerMemberMetadata()
	sub.Version = 1
	for _, a := range c.args {
		name, err := e.bytes(a)
		if err != nil {
			return nil, err
		}
		sub.Topics = append(sub.Topics, string(name))
	}
	for _, m := range c.named {
		if err := e.subscriptionField(&sub, m); err != nil {
			return nil, fmt.Errorf("subscription: %s: %w", m.key, err)
		}
	}
	return sub.AppendTo(nil), nil
}

func (e env) subscriptionField(sub *kmsg.ConsumerMemberMetadata, m member) error {
	switch m.key {
	case "owned":
		if len(sub.Topics) == 0 {
			return fmt.Errorf("there is no topic that they are of")
		}
		partitions, err := e.partitions(m.value)
		sub.OwnedPartitions = []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: sub.Topics[0], Partitions: partitions}}
		return err
	case "rack":
		rack, err := e.bytes(m.value)
		sub.Rack = kmsg.StringPtr(string(rack))
		return err
	}
	n, err := e.integer(m.value)
	switch m.key {
	case "version":
		sub.Version = int16(n)
	case "generation":
		sub.Generation = int32(n)
	default:
		return fmt.Errorf("a subscription has no such field")
	}
	return err
}

// assignment evaluates assignment(topic, [partitions]).
func (e env) assignment(c call) ([]byte, error) {
	if len(c.args) != 2 {
		return nil, fmt.Errorf("assignment takes a topic and a list of partitions")
	}
	name, err := e.bytes(c.args[0])
	if err != nil {
		return nil, err
	}
	partitions, err := e.partitions(c.args[1])
	a := kmsg.NewConsumerMemberAssignment()
	a.Version = 1
	a.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: string(name), Partitions: partitions}}
	return a.AppendTo(nil), err
}

func (e env) partitions(v value) (all []int32, err error) {
	l, ok := v.(list)
	if !ok {
		return nil, fmt.Errorf("want a list of partitions, have %v", v)
	}
	for _, p := range l {
		n, err := e.integer(p)
		if err != nil {
			return nil, err
		}
		all = append(all, int32(n))
	}
	return all, nil
}
