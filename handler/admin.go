package handler

import (
	"context"
	"time"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/internal/security/acl"
)

// Admin is what the handlers of metadata and topics need of the broker's configuration.
type Admin struct {
	Addresses Addresses
	// AutoCreateTopics is auto.create.topics.enable, DeleteTopics is delete.topic.enable.
	AutoCreateTopics, DeleteTopics bool
	// MaxDescribedPartitions is max.request.partition.size.limit: how many partitions one DescribeTopicPartitions
	// answers with (rule 7.2.4).
	MaxDescribedPartitions int32
	// TopicConfigs returns the effective configs of a topic that has the given overrides, by name.
	TopicConfigs func(topic string, overrides map[string]string) []TopicConfigEntry
	// InternalTopic returns how a topic that belongs to a coordinator is created (rule 7.1.7), and false for one whose
	// coordinator this broker does not have.
	InternalTopic func(name string) (controller.NewTopic, bool)
}

// TopicConfigEntry is one effective config of a topic.
type TopicConfigEntry struct {
	Name      string
	Value     *string // nil when it is sensitive
	ReadOnly  bool
	Source    int8 // rule 7.7.2
	Sensitive bool
}

// maxAdminWait bounds what one request may hold up its connection for, whatever timeout it asks for.
const maxAdminWait = 60 * time.Second

// adminContext bounds a request by its own timeout, in milliseconds. Without one the result is false, and what the
// request would ask of the controller is refused (rule 7.4.9); what is wrong with it before that is told all the same.
func adminContext(c *Context, timeoutMillis int32) (context.Context, context.CancelFunc, bool) {
	if timeoutMillis <= 0 {
		return nil, func() {}, false
	}
	ctx, cancel := context.WithTimeout(c.Ctx, min(time.Duration(timeoutMillis)*time.Millisecond, maxAdminWait))
	return ctx, cancel, true
}

// noOperations is how a response says that authorized operations were not asked for.
const noOperations = -1 << 31

// Operations that a resource type knows, and that a response may name as authorized (rule 7.1.12).
var (
	topicOperations = []acl.Operation{acl.Read, acl.Write, acl.Create, acl.Delete, acl.Alter, acl.Describe,
		acl.DescribeConfigs, acl.AlterConfigs}
	clusterOperations = []acl.Operation{acl.Create, acl.Alter, acl.Describe, acl.ClusterAction, acl.DescribeConfigs,
		acl.AlterConfigs, acl.IdempotentWrite}
)

// authorizedOperations returns a bit set of the operations that the caller may do on a resource: bit n is operation n.
func (d *Deps) authorizedOperations(c *Context, res acl.ResourceType, name string, ops []acl.Operation) int32 {
	var set int32
	for _, op := range ops {
		if d.allowed(c, op, res, name) {
			set |= 1 << op
		}
	}
	return set
}

// clusterOperationsFor returns the operations that the caller may do on the cluster; without DESCRIBE it is told none.
func (d *Deps) clusterOperationsFor(c *Context) int32 {
	if !d.allowed(c, acl.Describe, acl.Cluster, acl.ClusterName) {
		return 0
	}
	return d.authorizedOperations(c, acl.Cluster, acl.ClusterName, clusterOperations)
}
