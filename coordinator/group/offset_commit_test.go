package group

import (
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestRetentionForEver: a commit that is to be kept for as long as a request can say (rule 8.4.5) has not expired.
func TestRetentionForEver(t *testing.T) {
	l := newLab()
	l.config.OffsetMetadataMaxBytes = 100
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation, req.RetentionTimeMillis = 4, labGroup, -1, math.MaxInt64
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.Partitions = "t", []kmsg.OffsetCommitRequestTopicPartition{{Partition: 0, Offset: 7}}
	req.Topics = append(req.Topics, topic)
	l.decide(func(e *effects) {
		l.m.OffsetCommit(l.now, req, func([]kmsg.OffsetCommitResponseTopic, error) {}, e)
	})
	x, ok := l.m.groups[labGroup].offsets.get("t", 0)
	if !ok || x.committed != 7 || x.expireTime != math.MaxInt64 {
		t.Errorf("committed: %v, %+v", ok, x)
	}
}
