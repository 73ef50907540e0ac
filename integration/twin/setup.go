package twin

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/integration/rawconn"
)

// setupConn is the connection for steps that prepare a case. A script cannot name it.
const setupConn = " setup"

// play creates the topic and waits until each partition answers, since a broker learns of a new topic some time after the
// creation was answered (rule 7.1.15).
func (t *topic) play(p *player) error {
	c, err := p.conn(setupConn)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	req.Version = p.highest[req.Key()]
	row := kmsg.NewCreateTopicsRequestTopic()
	row.Topic, row.NumPartitions, row.ReplicationFactor = p.prefix+"-"+t.name, t.partitions, 1
	for _, m := range t.configs {
		b, err := p.out.vars.bytes(m.value)
		if err != nil {
			return err
		}
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = m.key, kmsg.StringPtr(string(b))
		row.Configs = append(row.Configs, config)
	}
	req.Topics = append(req.Topics, row)
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	created := resp.(*kmsg.CreateTopicsResponse).Topics[0]
	if created.ErrorCode != 0 {
		return fmt.Errorf("creating %s: %s", row.Topic, errorName(created.ErrorCode))
	}
	p.out.vars[t.name] = row.Topic
	p.out.vars[t.name+".id"] = created.TopicID
	return p.waitServing(c, row.Topic, t.partitions)
}

// waitServing waits until every partition of a topic answers ListOffsets, which asks the log and not only the metadata.
func (p *player) waitServing(c *session, topic string, partitions int32) error {
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version = p.highest[req.Key()]
	req.ReplicaID = -1
	row := kmsg.NewListOffsetsRequestTopic()
	row.Topic = topic
	for i := range partitions {
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp = i, -1
		row.Partitions = append(row.Partitions, part)
	}
	req.Topics = append(req.Topics, row)
	var errs []string
	for deadline := time.Now().Add(eventuallyLimit); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		resp, err := c.Do(req)
		if err != nil {
			return err
		}
		if errs = errorCodes(resp); len(errs) == 0 {
			return nil
		}
	}
	return fmt.Errorf("%s does not serve after %s: %v", topic, eventuallyLimit, errs)
}

func (pr *producer) play(p *player) error {
	c, err := p.conn(setupConn)
	if err != nil {
		return err
	}
	id, epoch, err := newProducer(c.Conn, p.highest[int16(kmsg.InitProducerID)])
	p.out.vars[pr.name], p.out.vars[pr.name+".epoch"] = id, int64(epoch)
	return err
}

func newProducer(c *rawconn.Conn, version int16) (id int64, epoch int16, err error) {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version = version
	answer, err := c.Do(req)
	if err != nil {
		return 0, 0, err
	}
	resp := answer.(*kmsg.InitProducerIDResponse)
	if resp.ErrorCode != 0 {
		return 0, 0, fmt.Errorf("getting a producer id: %s", errorName(resp.ErrorCode))
	}
	return resp.ProducerID, resp.ProducerEpoch, nil
}
