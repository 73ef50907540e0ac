package handler

import (
	"math"
	"path/filepath"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/replica"
)

// describeLogDirsAPI serves DescribeLogDirs (key 35, versions 1 to 5; rule 7.8.4).
//
//	2  flexible    3  top-level error    4  bytes of the volume    5  cordoned directories, of which there are none
func describeLogDirsAPI(d *Deps) API {
	return api(1, 5, []Check{{acl.Cluster, acl.Describe}}, d.describeLogDirs)
}

func (d *Deps) describeLogDirs(c *Context, req *kmsg.DescribeLogDirsRequest) *kmsg.DescribeLogDirsResponse {
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	if !d.allowed(c, acl.Describe, acl.Cluster, acl.ClusterName) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp
	}
	byDir := make(map[*log.Dir][]*replica.Partition)
	add := func(p *replica.Partition) bool {
		if p != nil {
			byDir[p.Log().Dir()] = append(byDir[p.Log().Dir()], p)
		}
		return true
	}
	if req.Topics == nil { // all there are
		d.Replicas.Each(add)
	} else {
		for _, tp := range distinctPartitions(req.Topics) {
			add(d.Replicas.LookupName(tp.Topic, tp.Partition))
		}
	}
	for _, dir := range d.Replicas.Dirs() {
		resp.Dirs = append(resp.Dirs, describeLogDir(dir, byDir[dir]))
	}
	return resp
}

// distinctPartitions returns what a request names, each partition once.
func distinctPartitions(topics []kmsg.DescribeLogDirsRequestTopic) []log.TopicPartition {
	var tps []log.TopicPartition
	for _, t := range topics {
		for _, p := range t.Partitions {
			tps = append(tps, log.TopicPartition{Topic: t.Topic, Partition: p})
		}
	}
	slices.SortFunc(tps, log.TopicPartition.Compare)
	return slices.Compact(tps)
}

// describeLogDir tells about one directory and the partitions in it. Nothing is told about those in a failed one.
func describeLogDir(dir *log.Dir, partitions []*replica.Partition) kmsg.DescribeLogDirsResponseDir {
	row := kmsg.NewDescribeLogDirsResponseDir()
	row.Dir = dir.Path()
	if abs, err := filepath.Abs(row.Dir); err == nil {
		row.Dir = abs
	}
	if dir.State() == log.DirFailed {
		row.ErrorCode = kerr.KafkaStorageError.Code
		return row
	}
	if free, total, err := dir.Space(); err == nil {
		row.UsableBytes, row.TotalBytes = int64(min(free, math.MaxInt64)), int64(min(total, math.MaxInt64))
	}
	slices.SortFunc(partitions, func(a, b *replica.Partition) int {
		return a.Log().TopicPartition().Compare(b.Log().TopicPartition())
	})
	for _, p := range partitions {
		if n := len(row.Topics); n == 0 || row.Topics[n-1].Topic != p.Topic {
			topic := kmsg.NewDescribeLogDirsResponseDirTopic()
			topic.Topic = p.Topic
			row.Topics = append(row.Topics, topic)
		}
		topic := &row.Topics[len(row.Topics)-1]
		part := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		part.Partition, part.Size = p.Index, p.Log().Size()
		part.OffsetLag = max(p.HighWatermark()-p.Log().End().Offset, 0)
		topic.Partitions = append(topic.Partitions, part)
	}
	return row
}
