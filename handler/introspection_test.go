package handler

import (
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
)

// endOffset asks OffsetForLeaderEpoch for one partition.
func (dc *dataCluster) endOffset(version int16, topic string, partition, current, epoch int32) (code int16, known int32, end int64) {
	dc.t.Helper()
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	t, p := kmsg.NewOffsetForLeaderEpochRequestTopic(), kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	t.Topic, p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = topic, partition, current, epoch
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	row := dc.ask(version, req).(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]
	return row.ErrorCode, row.LeaderEpoch, row.EndOffset
}

// T095: rule 6.8.
func TestT095OffsetForLeaderEpoch(t *testing.T) {
	dc := newDataCluster(t)
	dc.topic("a", 1)
	one := []metadata.BrokerID{1}
	for _, epoch := range []metadata.LeaderEpoch{2, 5, 7} {
		dc.register("a", 0, metadata.PartitionRegistration{Replicas: one, ISR: one, Leader: 1, LeaderEpoch: epoch})
		dc.append("a", 0, record.BuilderOptions{}, 1000, 1001, 1002)
	}
	first := dc.partition("a", 0).Log().EpochForOffset(0)
	for _, q := range []struct {
		epoch, known int32
		end          int64
	}{
		{7, 7, 9}, {8, -1, -1}, {-1, -1, -1}, {6, 5, 6}, {5, 5, 6}, {4, 2, 3}, {2, 2, 3},
	} {
		for version := int16(2); version <= 4; version++ {
			if code, known, end := dc.endOffset(version, "a", 0, -1, q.epoch); code != 0 || known != q.known || end != q.end {
				t.Errorf("v%d, epoch %d: error %d (%d, %d), not (%d, %d)", version, q.epoch, code, known, end, q.known, q.end)
			}
		}
	}
	if first != 2 {
		t.Errorf("offset 0 has epoch %d", first)
	}
	if code, known, end := dc.endOffset(4, "a", 0, -1, -2); code != 0 || known != -2 || end != 0 { // below the first: echoed
		t.Errorf("error %d (%d, %d)", code, known, end)
	}
	for _, q := range []struct {
		topic              string
		partition, current int32
		want               *kerr.Error
	}{
		{"a", 0, 7, nil}, {"a", 0, 6, kerr.FencedLeaderEpoch}, {"a", 0, 8, kerr.UnknownLeaderEpoch}, {"a", 0, -2, kerr.FencedLeaderEpoch},
		{"a", 1, -1, kerr.UnknownTopicOrPartition}, {"nope", 0, -1, kerr.UnknownTopicOrPartition},
	} {
		code, known, end := dc.endOffset(4, q.topic, q.partition, q.current, 7)
		checkCode(t, q.topic, code, q.want)
		if q.want != nil && (known != -1 || end != -1) {
			t.Errorf("an error comes with (%d, %d)", known, end)
		}
	}
	two := []metadata.BrokerID{1, 2}
	dc.register("a", 0, metadata.PartitionRegistration{Replicas: two, ISR: two, Leader: 2, LeaderEpoch: 8})
	code, _, _ := dc.endOffset(4, "a", 0, -1, 7)
	checkCode(t, "a follower is asked", code, kerr.NotLeaderForPartition)

	authorizer := grants{}
	dc.deps.Authorizer = authorizer
	code, _, _ = dc.endOffset(4, "a", 0, -1, 7)
	checkCode(t, "without rights", code, kerr.TopicAuthorizationFailed)
	authorizer.grant(acl.Anonymous, acl.Describe, acl.Topic, "a")
	code, _, _ = dc.endOffset(4, "a", 0, -1, 7)
	checkCode(t, "a consumer", code, kerr.NotLeaderForPartition)
	clear(authorizer)
	authorizer.grant(acl.Anonymous, acl.ClusterAction, acl.Cluster, acl.ClusterName)
	code, _, _ = dc.endOffset(4, "a", 0, -1, 7)
	checkCode(t, "a broker", code, kerr.NotLeaderForPartition)
}

// TestDescribeProducers is rule 5.11.3.
func TestDescribeProducers(t *testing.T) {
	dc := newDataCluster(t)
	dc.topic("a", 2)
	dc.append("a", 0, record.BuilderOptions{Producer: &record.Producer{ID: 9, Epoch: 1, BaseSequence: 0}}, 1000, 2000)
	dc.append("a", 0, record.BuilderOptions{Producer: &record.Producer{ID: 4, Epoch: 3, BaseSequence: 0}, Transactional: true}, 500)
	describe := func(name string, partitions ...int32) []kmsg.DescribeProducersResponseTopicPartition {
		t.Helper()
		req, topic := kmsg.NewPtrDescribeProducersRequest(), kmsg.NewDescribeProducersRequestTopic()
		topic.Topic, topic.Partitions = name, partitions
		req.Topics = append(req.Topics, topic)
		resp := dc.ask(0, req).(*kmsg.DescribeProducersResponse)
		if len(resp.Topics) != 1 || resp.Topics[0].Topic != name || len(resp.Topics[0].Partitions) != len(partitions) {
			t.Fatalf("%+v", resp)
		}
		return resp.Topics[0].Partitions
	}
	producer := func(id int64, epoch, sequence int32, timestamp int64, coordinator int32, txn int64) kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
		p := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		p.ProducerID, p.ProducerEpoch, p.LastSequence, p.LastTimestamp, p.CoordinatorEpoch, p.CurrentTxnStartOffset = id, epoch, sequence, timestamp, coordinator, txn
		return p
	}
	same := func(a, b kmsg.DescribeProducersResponseTopicPartitionActiveProducer) bool {
		return reflect.DeepEqual(a, b)
	}
	check := func(want ...kmsg.DescribeProducersResponseTopicPartitionActiveProducer) {
		t.Helper()
		if rows := describe("a", 0, 1, 0); rows[0].ErrorCode != 0 || rows[0].ErrorMessage != nil || len(rows[1].ActiveProducers) != 0 ||
			!slices.EqualFunc(rows[0].ActiveProducers, want, same) || !slices.EqualFunc(rows[2].ActiveProducers, want, same) {
			t.Errorf("%+v", rows)
		}
	}
	check(producer(4, 3, 0, 500, -1, 2), producer(9, 1, 1, 2000, -1, -1))
	dc.marker("a", 0, record.EndTxnMarker{ProducerID: 4, ProducerEpoch: 4, CoordinatorEpoch: 7, Timestamp: 800})
	check(producer(4, 4, -1, 800, 7, -1), producer(9, 1, 1, 2000, -1, -1))

	rows := describe("a", 2, -1)
	for _, row := range rows {
		checkCode(t, "unknown partition", row.ErrorCode, kerr.UnknownTopicOrPartition)
		if row.ErrorMessage != nil {
			t.Errorf("a message: %s", *row.ErrorMessage)
		}
	}
	row := describe("nope", 0)[0]
	checkCode(t, "unknown topic", row.ErrorCode, kerr.UnknownTopicOrPartition)
	if text(row.ErrorMessage) != "This server does not host this topic-partition." { // seen on Kafka 4.3.1
		t.Errorf("unknown topic: %s", text(row.ErrorMessage))
	}
	checkCode(t, "bad name", describe("a b", 0)[0].ErrorCode, kerr.InvalidTopicException)
	dc.deps.Authorizer = grants{}
	checkCode(t, "without READ", describe("a", 0)[0].ErrorCode, kerr.TopicAuthorizationFailed)
	checkCode(t, "a bad name is told all the same", describe("a b", 0)[0].ErrorCode, kerr.InvalidTopicException)
	dc.deps.Authorizer = acl.AllowAll{}
	two := []metadata.BrokerID{1, 2}
	dc.register("a", 0, metadata.PartitionRegistration{Replicas: two, ISR: two, Leader: 2, LeaderEpoch: 8})
	checkCode(t, "a follower is asked", describe("a", 0)[0].ErrorCode, kerr.NotLeaderForPartition)
}

// TestDescribeLogDirs is rule 7.8.4.
func TestDescribeLogDirs(t *testing.T) {
	dc := newDataCluster(t)
	dc.topic("b", 1)
	dc.topic("a", 3)
	dc.append("a", 1, record.BuilderOptions{}, 1000)
	size := dc.partition("a", 1).Log().Size()
	type row struct {
		topic     string
		partition int32
		size      int64
	}
	describe := func(version int16, topics []kmsg.DescribeLogDirsRequestTopic) (code int16, rows []row, dir *kmsg.DescribeLogDirsResponseDir) {
		t.Helper()
		req := kmsg.NewPtrDescribeLogDirsRequest()
		req.Topics = topics
		resp := dc.ask(version, req).(*kmsg.DescribeLogDirsResponse)
		for i := range resp.Dirs {
			dir = &resp.Dirs[i]
			for _, topic := range dir.Topics {
				for _, p := range topic.Partitions {
					if p.IsFuture || p.OffsetLag != 0 {
						t.Errorf("%+v", p)
					}
					rows = append(rows, row{topic.Topic, p.Partition, p.Size})
				}
			}
		}
		return resp.ErrorCode, rows, dir
	}
	topicOf := func(name string, partitions ...int32) kmsg.DescribeLogDirsRequestTopic {
		topic := kmsg.NewDescribeLogDirsRequestTopic()
		topic.Topic, topic.Partitions = name, partitions
		return topic
	}
	all := []row{{"a", 0, 0}, {"a", 1, size}, {"a", 2, 0}, {"b", 0, 0}}
	for version := int16(1); version <= 5; version++ {
		code, rows, dir := describe(version, nil)
		if code != 0 || !slices.Equal(rows, all) || dir == nil || dir.Dir != "/logs" || dir.ErrorCode != 0 || dir.IsCordoned {
			t.Errorf("v%d: %d %+v %+v", version, code, rows, dir)
		}
		if known := dir.TotalBytes >= dir.UsableBytes && dir.UsableBytes > 0; known != (version >= 4) {
			t.Errorf("v%d: %d of %d bytes", version, dir.UsableBytes, dir.TotalBytes)
		}
	}
	if _, rows, dir := describe(5, []kmsg.DescribeLogDirsRequestTopic{}); len(rows) != 0 || dir == nil {
		t.Errorf("no topic: %+v", rows)
	}
	_, rows, _ := describe(5, []kmsg.DescribeLogDirsRequestTopic{topicOf("b", 0, 7), topicOf("a", 1, 1), topicOf("nope", 0), topicOf("a", 0, 1)})
	if want := []row{{"a", 0, 0}, {"a", 1, size}, {"b", 0, 0}}; !slices.Equal(rows, want) {
		t.Errorf("%+v, not %+v", rows, want)
	}
	dc.deps.Authorizer = grants{}
	if code, _, dir := describe(3, nil); code != kerr.ClusterAuthorizationFailed.Code || dir != nil {
		t.Errorf("without DESCRIBE on the cluster: %d %+v", code, dir)
	}
	if code, _, dir := describe(2, nil); code != 0 || dir != nil { // a field of version 3
		t.Errorf("without DESCRIBE on the cluster: %d %+v", code, dir)
	}
}
