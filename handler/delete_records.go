package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/replica"
)

// deleteRecordsAPI serves DeleteRecords (key 21, versions 0 to 2; rule 3.7).
func deleteRecordsAPI(d *Deps) API {
	return api(0, 2, []Check{{acl.Topic, acl.Delete}}, d.deleteRecords)
}

// deleteRecords raises all the log starts in memory, and answers when they are on the disk: what a client was told to be
// deleted does not come back after a crash. Kafka writes them within a minute. With one replica there is nobody else to
// wait for, so that the request's timeout never ends (rule 3.7.4).
func (d *Deps) deleteRecords(c *Context, req *kmsg.DeleteRecordsRequest) *kmsg.DeleteRecordsResponse {
	resp := kmsg.NewPtrDeleteRecordsResponse()
	var raised []*replica.Partition
	for _, t := range distinctDeletions(req.Topics) {
		topic := kmsg.NewDeleteRecordsResponseTopic()
		topic.Topic = t.Topic
		denied := !d.allowed(c, acl.Delete, acl.Topic, t.Topic)
		for _, p := range t.Partitions {
			row := kmsg.NewDeleteRecordsResponseTopicPartition()
			row.Partition, row.LowWatermark = p.Partition, -1
			err := d.refusesDeletionFrom(denied, t.Topic, p.Partition)
			if err == nil {
				var part *replica.Partition
				if part, row.LowWatermark, err = d.deleteRecordsOf(t.Topic, &p); err == nil {
					raised = append(raised, part)
				}
			}
			row.ErrorCode, _ = d.explain(c, err)
			topic.Partitions = append(topic.Partitions, row)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	if err := replica.KeepLogStarts(raised); err != nil {
		d.failDeletions(c, resp, err)
	}
	return resp
}

// distinctDeletions returns what is asked for, each partition once: of several offsets the last one counts, and a topic
// without partitions gets no answer (seen on Kafka 4.3.1).
func distinctDeletions(topics []kmsg.DeleteRecordsRequestTopic) []kmsg.DeleteRecordsRequestTopic {
	type place struct{ topic, partition int }
	type key struct {
		topic     string
		partition int32
	}
	var distinct []kmsg.DeleteRecordsRequestTopic
	places, names := map[key]place{}, map[string]int{}
	for _, t := range topics {
		for _, p := range t.Partitions {
			at, twice := places[key{t.Topic, p.Partition}]
			if twice {
				distinct[at.topic].Partitions[at.partition].Offset = p.Offset
				continue
			}
			i, known := names[t.Topic]
			if !known {
				i = len(distinct)
				names[t.Topic] = i
				distinct = append(distinct, kmsg.DeleteRecordsRequestTopic{Topic: t.Topic})
			}
			places[key{t.Topic, p.Partition}] = place{i, len(distinct[i].Partitions)}
			distinct[i].Partitions = append(distinct[i].Partitions, p)
		}
	}
	return distinct
}

// refusesDeletionFrom returns why no records of a partition may be deleted, nil when they may (rule 3.7.2). What there is
// not is told before what is internal.
func (d *Deps) refusesDeletionFrom(denied bool, topic string, partition int32) error {
	switch t := d.Metadata.Load().Topic(topic); {
	case denied:
		return kerr.TopicAuthorizationFailed
	case t == nil || partition < 0 || int(partition) >= len(t.Partitions):
		return kerr.UnknownTopicOrPartition
	case isInternal(topic):
		return kerr.InvalidTopicException
	}
	return nil
}

// deleteRecordsOf answers one row; with an error the low watermark is -1.
func (d *Deps) deleteRecordsOf(topic string, p *kmsg.DeleteRecordsRequestTopicPartition) (*replica.Partition, int64, error) {
	part := d.Replicas.LookupName(topic, p.Partition)
	if part == nil {
		return nil, -1, d.missingPartition(topic, p.Partition)
	}
	low, err := part.DeleteRecords(p.Offset)
	return part, low, err
}

// failDeletions makes an error of the disk that of every row that has none of its own.
func (d *Deps) failDeletions(c *Context, resp *kmsg.DeleteRecordsResponse, err error) {
	code, _ := d.explain(c, err)
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if row := &resp.Topics[i].Partitions[j]; row.ErrorCode == 0 {
				row.ErrorCode, row.LowWatermark = code, -1
			}
		}
	}
}
