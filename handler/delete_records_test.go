package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/log/record"
)

// deleteRecords asks for one partition.
func (dc *dataCluster) deleteRecords(topic string, partition int32, offset int64) (low int64, code int16) {
	dc.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 1000
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: offset}}}}
	row := dc.ask(2, req).(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0]
	return row.LowWatermark, row.ErrorCode
}

// TestDeleteRecords checks rules 3.7.1 to 3.7.4. The twin test compares more with Kafka.
func TestDeleteRecords(t *testing.T) {
	dc := newDataCluster(t)
	dc.topic("a", 1)
	dc.topic("__consumer_offsets", 1)
	for range 3 {
		dc.append("a", 0, record.BuilderOptions{}, 1000, 1001)
	}
	l := dc.partition("a", 0).Log()
	for _, q := range []struct {
		topic     string
		partition int32
		offset    int64
		low       int64
		want      *kerr.Error
	}{
		{"a", 0, 0, 0, nil},
		{"a", 0, 3, 3, nil},
		{"a", 0, 2, 3, nil},
		{"a", 0, 7, -1, kerr.OffsetOutOfRange},
		{"a", 0, -2, -1, kerr.OffsetOutOfRange},
		{"a", 1, 0, -1, kerr.UnknownTopicOrPartition},
		{"b", 0, 0, -1, kerr.UnknownTopicOrPartition},
		{"__consumer_offsets", 0, 0, -1, kerr.InvalidTopicException},
		{"a", 0, -1, 6, nil},
	} {
		code := int16(0)
		if q.want != nil {
			code = q.want.Code
		}
		if low, got := dc.deleteRecords(q.topic, q.partition, q.offset); low != q.low || got != code {
			t.Errorf("%s-%d below %d: low watermark %d, error %d; want %d, %d", q.topic, q.partition, q.offset, low, got, q.low, code)
		}
	}
	compacted := *l.Config()
	compacted.Compact, compacted.Delete = true, false
	l.SetConfig(&compacted)
	if low, got := dc.deleteRecords("a", 0, -1); low != -1 || got != kerr.PolicyViolation.Code {
		t.Errorf("of a compacted topic: low watermark %d, error %d", low, got)
	}
	if start, end := l.StartOffset(), l.End().Offset; start != 6 || end != 6 {
		t.Errorf("the log is [%d, %d)", start, end)
	}
}
