package group

import (
	"math"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group/assignor"
)

// OffsetCommit decides an OffsetCommit request (rules 8.4.1 to 8.4.3), of whose topics the name and, if it is known, the
// id are set, and which has only partitions that exist. reply gets a row for each of them when all is committed; rows may
// be refused one by one. What is kept of req is copied.
func (m *Machine) OffsetCommit(now time.Time, req *kmsg.OffsetCommitRequest, reply func([]kmsg.OffsetCommitResponseTopic, error), e *coordinator.Effects) {
	c := &commit{m: m, req: req, now: now, e: e}
	c.who = commitIdentity{version: req.Version, memberID: req.MemberID, instanceID: req.InstanceID, epoch: req.Generation}
	c.refused = m.checkCommit(now, req.Group, &c.who)
	rows := c.rows()
	e.Refused = func(error, *coordinator.Effects) {} // the offsets were never taken over
	e.Answer(func(err error) {
		if coordinator.TooLarge(err) {
			err = kerr.InvalidCommitOffsetSize // rule 8.4.8
		}
		reply(rows, err)
	})
}

// checkCommit says whether a commit is taken from who sends it (rule 8.4.2).
func (m *Machine) checkCommit(now time.Time, id string, who *commitIdentity) error {
	switch g := m.groups[id]; {
	case g != nil && g.members != nil:
		return g.members.checkCommit(now, who)
	case who.epoch < 0:
		return nil // a simple group, which its offsets alone make
	case g != nil:
		return kerr.UnknownMemberID
	case who.version >= 9:
		return kerr.GroupIDNotFound
	}
	return kerr.IllegalGeneration
}

// commit is one request to commit offsets while it is decided.
type commit struct {
	m       *Machine
	req     *kmsg.OffsetCommitRequest
	now     time.Time
	e       *coordinator.Effects
	who     commitIdentity
	refused error // for all rows
}

// rows decides every partition of the request. Their memory is one piece.
func (c *commit) rows() []kmsg.OffsetCommitResponseTopic {
	n := 0
	for i := range c.req.Topics {
		n += len(c.req.Topics[i].Partitions)
	}
	partitions := make([]kmsg.OffsetCommitResponseTopicPartition, 0, n)
	topics := make([]kmsg.OffsetCommitResponseTopic, len(c.req.Topics))
	for i := range c.req.Topics {
		t := &c.req.Topics[i]
		from := len(partitions)
		for j := range t.Partitions {
			row := kmsg.OffsetCommitResponseTopicPartition{Partition: t.Partitions[j].Partition}
			row.ErrorCode = code(c.row(t, &t.Partitions[j]))
			partitions = append(partitions, row)
		}
		topics[i] = kmsg.OffsetCommitResponseTopic{Topic: t.Topic, TopicID: t.TopicID, Partitions: partitions[from:len(partitions):len(partitions)]}
	}
	return topics
}

// row decides one partition.
func (c *commit) row(t *kmsg.OffsetCommitRequestTopic, p *kmsg.OffsetCommitRequestTopicPartition) error {
	if c.refused != nil {
		return c.refused
	}
	x := offset{committed: p.Offset, leaderEpoch: p.LeaderEpoch, commitTime: c.now.UnixMilli(), expireTime: -1, topicID: t.TopicID}
	if p.Metadata != nil {
		x.metadata = *p.Metadata
	}
	if utf16Len(x.metadata) > c.m.config().OffsetMetadataMaxBytes {
		return kerr.OffsetMetadataTooLarge
	}
	if g, ok := c.m.membersOf(c.req.Group).(*consumerGroup); ok {
		if err := g.checkCommitPartition(&c.who, assignor.Partition{Topic: t.TopicID, Index: p.Partition}); err != nil {
			return err
		}
	}
	if c.req.RetentionTimeMillis >= 0 { // rule 8.4.5
		x.expireTime = x.commitTime + min(c.req.RetentionTimeMillis, math.MaxInt64-x.commitTime) // "for ever" is not over yet
	}
	key := len(c.e.Buf)
	c.e.Buf = appendOffsetKey(c.e.Buf, c.req.Group, t.Topic, p.Partition)
	value := len(c.e.Buf)
	c.e.Buf = appendOffsetValue(c.e.Buf, &x)
	c.e.Append(c.e.Buf[key:value:value], c.e.Buf[value:len(c.e.Buf):len(c.e.Buf)])
	return nil
}

// utf16Len is the length of a string as Java counts it (rule 8.4.1).
func utf16Len(s string) int {
	n := utf8.RuneCountInString(s)
	for _, r := range s {
		if r > 0xffff {
			n++
		}
	}
	return n
}
