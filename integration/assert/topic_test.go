package assert

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// topic is a topic of a check.
type topic struct {
	name string
	id   [16]byte
}

// topic creates a topic with one partition, and waits until it serves. configs are "name=value".
func (c *check) topic(configs ...string) topic {
	c.Helper()
	return c.topicOf(1, configs...)
}

// newName is a topic name that nobody uses.
func (c *check) newName() string {
	c.topics++
	return fmt.Sprintf("%s-%d", c.id, c.topics)
}

func (c *check) topicOf(partitions int32, configs ...string) topic {
	c.Helper()
	row := kmsg.NewCreateTopicsRequestTopic()
	row.Topic, row.NumPartitions, row.ReplicationFactor = c.newName(), partitions, 1
	for _, text := range configs {
		key, value, _ := strings.Cut(text, "=")
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = key, &value
		row.Configs = append(row.Configs, config)
	}
	return c.create(row)
}

// create creates a topic and waits until it serves. One that was deleted before serves by its old id for a while: Kafka's
// metadata forgets it before its log goes.
func (c *check) create(row kmsg.CreateTopicsRequestTopic) topic {
	c.Helper()
	n := c.dial()
	defer n.Close()
	created := ask[*kmsg.CreateTopicsResponse](n, createTopics(c, row)).Topics[0]
	if created.ErrorCode != 0 {
		c.Fatalf("creating %s: %s", row.Topic, codeName(created.ErrorCode))
	}
	t := topic{row.Topic, created.TopicID}
	n.eventually("the topic serves by its new id", func() bool { return n.fetch(at(t, 0)).ErrorCode == 0 })
	n.awaitServing(t, row.NumPartitions)
	return t
}

// awaitServing waits until every partition of a topic answers ListOffsets: a broker learns of a new topic some time
// after its creation was answered (rule 7.1.15), and of its own leaderships some time after its start.
func (n *conn) awaitServing(t topic, partitions int32) {
	n.c.Helper()
	var asked []query
	for p := range partitions {
		asked = append(asked, query{t, p, latest})
	}
	n.eventually("the topic serves", func() bool {
		return !slices.ContainsFunc(n.listOffsets(asked...), func(row kmsg.ListOffsetsResponseTopicPartition) bool { return row.ErrorCode != 0 })
	})
}

// dialAgain connects after a restart and waits until the topics, of one partition each, serve.
func (c *check) dialAgain(topics ...topic) *conn {
	c.Helper()
	n := c.dial()
	for _, t := range topics {
		n.awaitServing(t, 1)
	}
	return n
}

func createTopics(c *check, rows ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsRequest {
	req := newest(c, kmsg.NewPtrCreateTopicsRequest())
	req.TimeoutMillis, req.Topics = 10_000, rows
	return req
}

// deleteTopic deletes a topic and waits until metadata has forgotten it.
func (n *conn) deleteTopic(t topic) {
	n.c.Helper()
	req := newest(n.c, kmsg.NewPtrDeleteTopicsRequest())
	req.TimeoutMillis = 10_000
	row := kmsg.NewDeleteTopicsRequestTopic()
	row.TopicID = t.id
	req.Topics = append(req.Topics, row)
	n.c.wantCode("deleting a topic", ask[*kmsg.DeleteTopicsResponse](n, req).Topics[0].ErrorCode, nil)
	n.eventually("metadata forgets a deleted topic", func() bool { return n.metadataOf(t.name).ErrorCode != 0 })
}

// metadataOf asks for one topic by name, creating nothing.
func (n *conn) metadataOf(topicName string) kmsg.MetadataResponseTopic {
	n.c.Helper()
	req := newest(n.c, kmsg.NewPtrMetadataRequest())
	row := kmsg.NewMetadataRequestTopic()
	row.Topic = &topicName
	req.Topics = append(req.Topics, row)
	return ask[*kmsg.MetadataResponse](n, req).Topics[0]
}
