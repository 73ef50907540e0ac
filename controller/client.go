package controller

import (
	"context"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/metadata"
)

// Client is how a broker asks the controller for changes.
//
// A call returns after the metadata image of this node has the change and every subscriber has seen it: the caller's
// next look at the metadata shows what it did. When its context ends first the error is REQUEST_TIMED_OUT, and the
// change may still happen (rule 7.4.9); while this node is not the active controller it is NOT_CONTROLLER. All errors
// wrap a *kerr.Error, and their text is fit for a client's eyes.
type Client struct {
	controller *Controller
	node       metadata.BrokerID
	epoch      atomic.Int64 // of the registration that RegisterBroker made last
}

// CreateTopics creates topics, or with validateOnly says what would become of them (rule 7.4). The results are in the
// order of topics, and each topic stands for itself. The error is for the request as a whole.
func (c *Client) CreateTopics(ctx context.Context, topics []NewTopic, validateOnly bool) ([]CreatedTopic, error) {
	cmd := &createTopics{topics: topics, validateOnly: validateOnly}
	if err := c.controller.do(ctx, cmd); err != nil {
		return nil, err
	}
	return cmd.results, nil
}

// DeleteTopics deletes the topics with the given ids (rule 7.5). The errors are in the order of ids, nil for a topic
// that is gone now; the last result is for the request as a whole.
func (c *Client) DeleteTopics(ctx context.Context, ids []metadata.UUID) ([]error, error) {
	cmd := &deleteTopics{ids: ids}
	if err := c.controller.do(ctx, cmd); err != nil {
		return nil, err
	}
	return cmd.errs, nil
}

// CreatePartitions adds partitions to topics (rule 7.6). The errors are in the order of topics; the last result is for
// the request as a whole.
func (c *Client) CreatePartitions(ctx context.Context, topics []MorePartitions, validateOnly bool) ([]error, error) {
	cmd := &createPartitions{topics: topics, validateOnly: validateOnly}
	if err := c.controller.do(ctx, cmd); err != nil {
		return nil, err
	}
	return cmd.errs, nil
}

// AlterConfigs changes dynamic configs, all of one resource or none (rule 7.7.6). The errors are in the order of
// alterations.
func (c *Client) AlterConfigs(ctx context.Context, alterations []ConfigAlteration, validateOnly bool) []error {
	cmd := &alterConfigs{alterations: alterations, validateOnly: validateOnly}
	if err := c.controller.do(ctx, cmd); err != nil {
		errs := make([]error, len(alterations))
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	return cmd.errs
}

// AlterClientQuotas changes quotas (rule 7.9.1). The errors are in the order of alterations; the last result is for the
// request as a whole.
func (c *Client) AlterClientQuotas(ctx context.Context, alterations []QuotaAlteration, validateOnly bool) ([]error, error) {
	cmd := &alterClientQuotas{alterations: alterations, validateOnly: validateOnly}
	if err := c.controller.do(ctx, cmd); err != nil {
		return nil, err
	}
	return cmd.errs, nil
}

// AlterScramCredentials changes credentials (rule 7.10). The errors are in the order of alterations; the last result is
// for the request as a whole.
func (c *Client) AlterScramCredentials(ctx context.Context, alterations []ScramAlteration) ([]error, error) {
	cmd := &alterScram{alterations: alterations}
	if err := c.controller.do(ctx, cmd); err != nil {
		return nil, err
	}
	return cmd.errs, nil
}

// UpdateFeatures finalizes features at other levels, all of them or none (rule 7.12.1). With an error failed is the
// update that it is about, -1 when it is about none of them.
func (c *Client) UpdateFeatures(ctx context.Context, updates []FeatureUpdate, validateOnly bool) (failed int, err error) {
	cmd := &updateFeatures{updates: updates, validateOnly: validateOnly, failed: -1}
	if err := c.controller.do(ctx, cmd); err != nil {
		return cmd.failed, err
	}
	return -1, nil
}

// ElectLeaders makes the first replica of partitions their leader, or, with unclean, gives partitions without a leader
// any that is alive (rule 7.8.1). The errors are in the order of partitions; the last result is for the request as a
// whole.
func (c *Client) ElectLeaders(ctx context.Context, partitions []PartitionName, unclean bool) ([]error, error) {
	cmd := &electLeaders{partitions: partitions, unclean: unclean}
	if err := c.controller.do(ctx, cmd); err != nil {
		return nil, err
	}
	return cmd.errs, nil
}

// Reassign begins or calls off moves of partitions to other brokers (rule 7.8.2). With sameFactor moves that change the
// number of replicas are refused. The errors are in the order of moves; the last result is for the request as a whole.
func (c *Client) Reassign(ctx context.Context, moves []Reassignment, sameFactor bool) ([]error, error) {
	cmd := &reassign{moves: moves, sameFactor: sameFactor}
	if err := c.controller.do(ctx, cmd); err != nil {
		return nil, err
	}
	return cmd.errs, nil
}

// UnregisterBroker forgets a broker that is not alive.
func (c *Client) UnregisterBroker(ctx context.Context, id metadata.BrokerID) error {
	return c.controller.do(ctx, &unregisterBroker{broker: id})
}

// AllocateProducerIDs gives this broker a block of producer ids that nobody has had and nobody will: first and the
// count-1 ids behind it (rule 4.5.6).
func (c *Client) AllocateProducerIDs(ctx context.Context) (first int64, count int32, err error) {
	cmd := &allocateProducerIDs{broker: c.node, epoch: c.epoch.Load()}
	if err := c.controller.do(ctx, cmd); err != nil {
		return 0, 0, err
	}
	return cmd.first, producerIDBlock, nil
}

// RegisterBroker makes or renews the registration of this node, which is fenced until its first Heartbeat. b.Epoch and
// b.Fenced are not looked at. It returns the epoch of the registration.
func (c *Client) RegisterBroker(ctx context.Context, b metadata.Broker) (epoch int64, err error) {
	if err := c.controller.do(ctx, &registerBroker{broker: b}); err != nil {
		return 0, err
	}
	// The epoch is the index of the record, which only the applied image knows.
	r := c.controller.Image().Broker(b.ID)
	if r == nil || r.Incarnation != b.Incarnation {
		return 0, refuse(kerr.DuplicateBrokerRegistration, "broker %d was registered by another process at the same time", b.ID)
	}
	c.epoch.Store(r.Epoch)
	return r.Epoch, nil
}

// Heartbeat says what state this broker wants to be in, and returns the state that it is in now.
func (c *Client) Heartbeat(ctx context.Context, h Heartbeat) (BrokerState, error) {
	cmd := &heartbeat{broker: c.node, epoch: c.epoch.Load(), want: h}
	if err := c.controller.do(ctx, cmd); err != nil {
		return BrokerState{}, err
	}
	return cmd.state, nil
}

// AlterPartitions proposes the ISRs of partitions that this broker leads. The outcomes are in the order of proposals.
func (c *Client) AlterPartitions(ctx context.Context, proposals []ISRProposal) ([]ISROutcome, error) {
	cmd := &alterPartitions{broker: c.node, epoch: c.epoch.Load(), proposals: proposals}
	if err := c.controller.do(ctx, cmd); err != nil {
		return nil, err
	}
	return cmd.outcomes, nil
}
