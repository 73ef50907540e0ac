package handler

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
)

func readCommitted(req *kmsg.ListOffsetsRequest) { req.IsolationLevel = 1 }

func asReplica(id int32) func(*kmsg.ListOffsetsRequest) {
	return func(req *kmsg.ListOffsetsRequest) { req.ReplicaID = id }
}

func inEpoch(epoch int32) func(*kmsg.ListOffsetsRequest) {
	return func(req *kmsg.ListOffsetsRequest) { req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch }
}

// T093: special timestamps, times between and after records that are in no order (rules 6.7.1 to 6.7.3, 6.7.11).
func TestT093ListOffsets(t *testing.T) {
	dc := newDataCluster(t)
	dc.topic("a", 2)
	for _, ts := range []int64{1000, 5000, 3000} {
		dc.append("a", 0, record.BuilderOptions{}, ts)
	}
	dc.append("a", 0, record.BuilderOptions{Codec: record.Zstd}, 2000, 9000, 4000, 9000)
	for _, q := range []struct {
		timestamp int64
		want      offsetRow
	}{
		{-1, offsetRow{0, -1, 7, 0}}, {-2, offsetRow{0, -1, 0, 0}}, {-3, offsetRow{0, 9000, 4, 0}}, {-4, offsetRow{0, -1, 0, 0}},
		{-5, missing}, {-6, missing}, {-7, failed(35)}, {-1 << 63, failed(35)},
		{0, offsetRow{0, 1000, 0, 0}}, {1000, offsetRow{0, 1000, 0, 0}}, {1001, offsetRow{0, 5000, 1, 0}},
		{5000, offsetRow{0, 5000, 1, 0}}, {5001, offsetRow{0, 9000, 4, 0}}, {9000, offsetRow{0, 9000, 4, 0}}, {9001, missing},
	} {
		if got := dc.listOffset(11, "a", 0, q.timestamp); got != q.want {
			t.Errorf("timestamp %d: %+v, not %+v", q.timestamp, got, q.want)
		}
	}
	for _, q := range []struct {
		timestamp int64
		want      offsetRow
	}{{-1, offsetRow{0, -1, 0, 0}}, {-2, offsetRow{0, -1, 0, 0}}, {-3, missing}, {0, missing}} {
		if got := dc.listOffset(11, "a", 1, q.timestamp); got != q.want {
			t.Errorf("empty, timestamp %d: %+v, not %+v", q.timestamp, got, q.want)
		}
	}
	if err := dc.partition("a", 0).Log().RaiseStart(2); err != nil {
		t.Fatal(err)
	}
	if got, want := dc.listOffset(11, "a", 0, -2), (offsetRow{0, -1, 2, 0}); got != want {
		t.Errorf("earliest %+v, not %+v", got, want)
	}
	if got, want := dc.listOffset(11, "a", 0, 0), (offsetRow{0, 3000, 2, 0}); got != want {
		t.Errorf("the first record %+v, not %+v", got, want)
	}
}

// T093: a partition that is asked for twice has one row, with 42, also when its topic is named twice; a topic without
// partitions has none (rule 6.7.8, and seen on Kafka 4.3.1).
func TestT093ListOffsetsDuplicates(t *testing.T) {
	dc := newDataCluster(t)
	dc.topic("a", 2)
	dc.topic("b", 1)
	req := kmsg.NewPtrListOffsetsRequest()
	for _, name := range []string{"a", "b", "a", "c"} {
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = name
		for _, index := range map[string][]int32{"a": {0, 9}, "b": {0, 1, 1}}[name] {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = index, -1
			topic.Partitions = append(topic.Partitions, p)
		}
		req.Topics = append(req.Topics, topic)
	}
	resp := dc.ask(11, req).(*kmsg.ListOffsetsResponse)
	type row struct {
		topic     string
		partition int32
		code      int16
	}
	var got []row
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			got = append(got, row{topic.Topic, p.Partition, p.ErrorCode})
		}
	}
	if want := []row{{"a", 0, 42}, {"a", 9, 42}, {"b", 0, 0}, {"b", 1, 42}}; !slices.Equal(got, want) || len(resp.Topics) != 2 {
		t.Errorf("%+v, not %+v", got, want)
	}
}

// T094: a special timestamp that the version does not have is 35, before anything else is looked at; leader epochs come
// with version 4 (rules 6.7.1 and 6.7.2).
func TestT094ListOffsetsVersions(t *testing.T) {
	dc := newDataCluster(t)
	dc.topic("a", 1)
	dc.append("a", 0, record.BuilderOptions{}, 1000)
	since := map[int64]int16{-1: 1, -2: 1, -3: 7, -4: 8, -5: 9, -6: 11}
	for version := int16(1); version <= 11; version++ {
		for ts, first := range since {
			got := dc.listOffset(version, "a", 0, ts)
			if version < first && got != failed(35) || version >= first && got.code != 0 {
				t.Errorf("v%d, timestamp %d: %+v", version, ts, got)
			}
			if ts == -1 && (got.epoch == 0) != (version >= 4) {
				t.Errorf("v%d: leader epoch %d", version, got.epoch)
			}
		}
	}
	if got := dc.listOffset(6, "nope", 0, -3); got != failed(35) {
		t.Errorf("an unknown topic: %+v", got)
	}
}

// TestListOffsetsSeesWhatAReaderMay is rules 6.7.4, 6.7.5 and 5.8.6: consumers see up to the high watermark or the last
// stable offset, everybody else the whole log.
func TestListOffsetsSeesWhatAReaderMay(t *testing.T) {
	dc := newDataCluster(t)
	dc.topic("a", 1)
	dc.append("a", 0, record.BuilderOptions{}, 1000)
	dc.append("a", 0, record.BuilderOptions{Producer: &record.Producer{ID: 5}, Transactional: true}, 2000, 3000)
	dc.append("a", 0, record.BuilderOptions{}, 1500)
	for _, q := range []struct {
		what      string
		timestamp int64
		change    []func(*kmsg.ListOffsetsRequest)
		want      offsetRow
	}{
		{"high watermark", -1, nil, offsetRow{0, -1, 4, 0}},
		{"last stable offset", -1, []func(*kmsg.ListOffsetsRequest){readCommitted}, offsetRow{0, -1, 1, 0}},
		{"a follower has no isolation", -1, []func(*kmsg.ListOffsetsRequest){readCommitted, asReplica(5)}, offsetRow{0, -1, 4, 0}},
		{"nor has debugging", -1, []func(*kmsg.ListOffsetsRequest){readCommitted, asReplica(-2)}, offsetRow{0, -1, 4, 0}},
		{"stable record", 1000, []func(*kmsg.ListOffsetsRequest){readCommitted}, offsetRow{0, 1000, 0, 0}},
		{"the first one later than that is not stable", 1200, []func(*kmsg.ListOffsetsRequest){readCommitted}, missing},
		{"the largest timestamp does not fall back to a stable record", -3, []func(*kmsg.ListOffsetsRequest){readCommitted}, missing},
		{"the largest timestamp", -3, nil, offsetRow{0, 3000, 2, 0}},
		{"the largest timestamp for a follower", -3, []func(*kmsg.ListOffsetsRequest){readCommitted, asReplica(5)}, offsetRow{0, 3000, 2, 0}},
		{"an isolation level that does not exist", -1, []func(*kmsg.ListOffsetsRequest){func(r *kmsg.ListOffsetsRequest) { r.IsolationLevel = 2 }}, failed(kerr.InvalidRequest.Code)},
	} {
		if got := dc.listOffset(11, "a", 0, q.timestamp, q.change...); got != q.want {
			t.Errorf("%s: %+v, not %+v", q.what, got, q.want)
		}
	}
	dc.marker("a", 0, record.EndTxnMarker{Commit: true, ProducerID: 5})
	if got, want := dc.listOffset(11, "a", 0, -1, readCommitted), (offsetRow{0, -1, 5, 0}); got != want {
		t.Errorf("after the commit: %+v, not %+v", got, want)
	}
}

// TestListOffsetsErrors is rules 6.7.6 to 6.7.8.
func TestListOffsetsErrors(t *testing.T) {
	dc := newDataCluster(t)
	dc.topic("a", 1)
	dc.append("a", 0, record.BuilderOptions{}, 1000)
	one := []metadata.BrokerID{1}
	dc.register("a", 0, metadata.PartitionRegistration{Replicas: one, ISR: one, Leader: 1, LeaderEpoch: 3})
	for _, q := range []struct {
		topic     string
		partition int32
		epoch     int32
		want      *kerr.Error
	}{
		{"a", 0, -1, nil}, {"a", 0, 3, nil}, {"a", 0, 2, kerr.FencedLeaderEpoch}, {"a", 0, 4, kerr.UnknownLeaderEpoch},
		{"a", 0, -5, kerr.FencedLeaderEpoch},
		{"a", 1, 3, kerr.UnknownTopicOrPartition}, {"a", -1, 3, kerr.UnknownTopicOrPartition},
		{"nope", 0, 3, kerr.UnknownTopicOrPartition}, {"", 0, 3, kerr.UnknownTopicOrPartition}, {"a b", 0, 3, kerr.UnknownTopicOrPartition},
	} {
		for _, ts := range []int64{-1, -2, -3, -5, 0} {
			checkCode(t, q.topic, dc.listOffset(11, q.topic, q.partition, ts, inEpoch(q.epoch)).code, q.want)
		}
	}

	// Another leads: only debugging gets an answer.
	two := []metadata.BrokerID{1, 2}
	dc.register("a", 0, metadata.PartitionRegistration{Replicas: two, ISR: two, Leader: 2, LeaderEpoch: 4})
	for _, ts := range []int64{-1, -2, -3, -5, 0} {
		checkCode(t, "a follower is asked", dc.listOffset(11, "a", 0, ts).code, kerr.NotLeaderForPartition)
		checkCode(t, "a follower is debugged", dc.listOffset(11, "a", 0, ts, asReplica(-2)).code, nil)
	}
	checkCode(t, "the epoch comes first", dc.listOffset(11, "a", 0, -1, inEpoch(3)).code, kerr.FencedLeaderEpoch)

	// Back in office, with a follower that has not fetched yet: nothing is known to be committed (KIP-207). The high
	// watermark is the old one, 1, and the epoch starts at 2.
	dc.register("a", 0, metadata.PartitionRegistration{Replicas: one, ISR: one, Leader: 1, LeaderEpoch: 5})
	dc.register("a", 0, metadata.PartitionRegistration{Replicas: two, ISR: two, Leader: 1, LeaderEpoch: 5, PartitionEpoch: 1})
	dc.append("a", 0, record.BuilderOptions{}, 2000)
	dc.register("a", 0, metadata.PartitionRegistration{Replicas: two, ISR: two, Leader: 1, LeaderEpoch: 6, PartitionEpoch: 2})
	for _, q := range []struct {
		version   int16
		timestamp int64
		want      *kerr.Error
	}{
		{11, -1, kerr.OffsetNotAvailable}, {5, -1, kerr.OffsetNotAvailable}, {4, -1, kerr.LeaderNotAvailable}, {11, -2, nil},
		{11, 1000, nil}, {11, 1500, kerr.OffsetNotAvailable}, {11, -3, kerr.OffsetNotAvailable}, {11, 3000, nil},
	} {
		checkCode(t, "while the high watermark lags", dc.listOffset(q.version, "a", 0, q.timestamp).code, q.want)
	}
	checkCode(t, "a follower does not care", dc.listOffset(11, "a", 0, -1, asReplica(2)).code, nil)

	dc.deps.Authorizer = grants{}
	checkCode(t, "without DESCRIBE", dc.listOffset(11, "a", 0, -1).code, kerr.TopicAuthorizationFailed)
	dc.deps.Authorizer.(grants).grant(acl.Anonymous, acl.Describe, acl.Topic, "a")
	checkCode(t, "with DESCRIBE", dc.listOffset(11, "a", 0, -2).code, nil)
}
