package twin

import (
	"fmt"
	"time"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// play waits until the broker coordinates the group: the first request for any coordinator makes __consumer_offsets, whose
// partitions are then loaded (rule 8.2.4).
func (g *groupName) play(p *player) error {
	c, err := p.conn(setupConn)
	if err != nil {
		return err
	}
	id := p.prefix + "-" + g.name
	p.out.vars[g.name] = id
	if err := p.waitCoordinated(c, id); err != nil || g.knows == nil {
		return err
	}
	return p.waitKnown(c, id, g.knows)
}

func (p *player) waitCoordinated(c *session, id string) error {
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorKeys = p.highest[find.Key()], []string{id}
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Version, describe.Groups = min(5, p.highest[describe.Key()]), []string{id} // version 6 has an error for a group that is not there
	var errs []string
	for deadline := time.Now().Add(eventuallyLimit); time.Now().Before(deadline); time.Sleep(pollEvery) {
		for _, req := range []kmsg.Request{find, describe} {
			resp, err := c.Do(req)
			if err != nil {
				return err
			}
			if errs = errorCodes(resp); len(errs) > 0 {
				break
			}
		}
		if len(errs) == 0 {
			return p.waitWritable(c, id)
		}
	}
	return fmt.Errorf("group %s has no coordinator after %s: %v", id, eventuallyLimit, errs)
}

// waitWritable waits until the coordinator of a group can write to its partition: Kafka's may answer before that. A group of
// the same coordinator, whose name belongs to no case, commits an offset for that.
func (p *player) waitWritable(c *session, group string) error {
	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Version, commit.Group, commit.Generation = 8, beside("writes", group), -1
	row := kmsg.NewOffsetCommitRequestTopic()
	row.Topic, row.Partitions = "__consumer_offsets", []kmsg.OffsetCommitRequestTopicPartition{kmsg.NewOffsetCommitRequestTopicPartition()}
	commit.Topics = append(commit.Topics, row)
	var errs []string
	for deadline := time.Now().Add(eventuallyLimit); time.Now().Before(deadline); time.Sleep(pollEvery) {
		resp, err := c.Do(commit)
		if err != nil {
			return err
		}
		if errs = errorCodes(resp); len(errs) == 0 {
			return nil
		}
	}
	return fmt.Errorf("the coordinator of group %s does not write after %s: %v", group, eventuallyLimit, errs)
}

// beside is the name of a group that has the same coordinator as another, since it has the same partition.
func beside(purpose, group string) string {
	id := purpose + "-" + group
	for i := 0; coordinatorOf(id) != coordinatorOf(group); i++ {
		id = fmt.Sprint(purpose, "-", group, "-", i)
	}
	return id
}

// coordinators is how many partitions __consumer_offsets has.
const coordinators = 50

// coordinatorOf is the partition of a group (rule 0.3.2).
func coordinatorOf(group string) int32 {
	hash := int32(0)
	for _, unit := range utf16.Encode([]rune(group)) {
		hash = 31*hash + int32(unit)
	}
	return max(hash, -hash) % coordinators
}

// waitKnown waits until the coordinator of a group knows topics, which Kafka's hears of some time after they serve. A group
// of the same coordinator, whose name belongs to no case, asks for them.
func (p *player) waitKnown(c *session, group string, topics value) error {
	l, ok := topics.(list)
	if !ok {
		return fmt.Errorf("want a list of topics that the group knows")
	}
	var names []string
	for _, t := range l {
		name, err := p.out.vars.bytes(t)
		if err != nil {
			return err
		}
		names = append(names, string(name))
	}
	id := beside("probe", group)
	beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	beat.Version, beat.Group, beat.MemberID = p.highest[beat.Key()], id, "probe"
	beat.RebalanceTimeoutMillis, beat.SubscribedTopicNames, beat.Topics = 60_000, names, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	known := 0
	for deadline := time.Now().Add(eventuallyLimit); known < len(names); time.Sleep(pollEvery) {
		resp, err := c.Do(beat)
		if err != nil {
			return err
		}
		r := resp.(*kmsg.ConsumerGroupHeartbeatResponse)
		if r.ErrorCode != 0 || time.Now().After(deadline) {
			return fmt.Errorf("the coordinator of group %s knows %d of %d topics after %s: %s", group, known, len(names), eventuallyLimit, errorName(r.ErrorCode))
		}
		if r.Assignment != nil {
			known = len(r.Assignment.Topics)
		}
		beat.MemberEpoch = r.MemberEpoch
		beat.RebalanceTimeoutMillis, beat.SubscribedTopicNames, beat.Topics = -1, nil, nil
	}
	beat.MemberEpoch = -1
	_, err := c.Do(beat)
	return err
}
