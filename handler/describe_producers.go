package handler

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/metadata"
)

// describeProducersAPI serves DescribeProducers (key 61, version 0; rule 5.11.3).
func describeProducersAPI(d *Deps) API {
	return api(0, 0, []Check{{acl.Topic, acl.Read}}, d.describeProducers)
}

func (d *Deps) describeProducers(c *Context, req *kmsg.DescribeProducersRequest) *kmsg.DescribeProducersResponse {
	resp := kmsg.NewPtrDescribeProducersResponse()
	for _, t := range req.Topics {
		topic := kmsg.NewDescribeProducersResponseTopic()
		topic.Topic = t.Topic
		refused := d.refusesProducersOf(c, t.Topic)
		for _, p := range t.Partitions {
			row := kmsg.NewDescribeProducersResponseTopicPartition()
			row.Partition = p
			infos, err := []log.ProducerInfo(nil), refused
			if err == nil {
				infos, err = d.producersOf(t.Topic, p)
			}
			row.ErrorCode, row.ErrorMessage = d.explain(c, err)
			for _, info := range infos {
				row.ActiveProducers = append(row.ActiveProducers, activeProducer(info))
			}
			topic.Partitions = append(topic.Partitions, row)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// refusesProducersOf returns why nothing is told about a topic, nil when it may be asked about. Other than an unknown
// partition, an unknown topic comes with words, as with Kafka.
func (d *Deps) refusesProducersOf(c *Context, topic string) error {
	if err := metadata.CheckTopicName(topic); err != nil {
		return refuse(kerr.InvalidTopicException, "%v", err)
	}
	if !d.allowed(c, acl.Read, acl.Topic, topic) {
		return refuse(kerr.TopicAuthorizationFailed, "Topic authorization failed.")
	}
	if d.Metadata.Load().Topic(topic) == nil {
		return refuse(kerr.UnknownTopicOrPartition, "%s", kerr.UnknownTopicOrPartition.Description)
	}
	return nil
}

// producersOf returns the producers of a partition by their ids.
func (d *Deps) producersOf(topic string, partition int32) ([]log.ProducerInfo, error) {
	part := d.Replicas.LookupName(topic, partition)
	if part == nil {
		return nil, d.missingPartition(topic, partition)
	}
	infos, err := part.ActiveProducers()
	slices.SortFunc(infos, func(a, b log.ProducerInfo) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return infos, err
}

func activeProducer(info log.ProducerInfo) kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
	p := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
	p.ProducerID, p.ProducerEpoch = info.ProducerID, int32(info.Epoch)
	p.LastSequence, p.LastTimestamp = info.LastSequence, info.LastTimestamp
	p.CoordinatorEpoch, p.CurrentTxnStartOffset = info.CoordinatorEpoch, info.TxnStartOffset
	return p
}
