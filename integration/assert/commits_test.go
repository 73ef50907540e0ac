package assert

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// committing is about who may commit offsets, and what becomes of them (rules 8.4.2 and 8.6).
var committing = []assertion{
	{number: "T128", claim: "a commit is judged by member, generation and state of its group", try: commitMatrix},
	{number: "T133", claim: "a commit is a record of Kafka's format, in the partition that the group's name hashes to", try: offsetRecords},
}

// oneCommit is a request to commit offset 5 of partition 0. What is not said is as a consumer without a group says it.
type oneCommit struct {
	version    int16
	member     string
	instance   *string
	generation int32
}

func (g *groupOf) commitOne(n *conn, t topic, o oneCommit) int16 {
	g.c.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = o.version, g.id, o.member, o.instance, o.generation
	part := kmsg.NewOffsetCommitRequestTopicPartition()
	part.Offset = 5
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: t.name, Partitions: []kmsg.OffsetCommitRequestTopicPartition{part}}}
	return ask[*kmsg.OffsetCommitResponse](n, req).Topics[0].Partitions[0].ErrorCode
}

// commitMatrix goes through rule 8.4.2 row by row. The state Dead cannot be held from outside.
func commitMatrix(c *check) {
	t, n := c.topic(), c.dial()
	c.noGroup(n, t)
	g := c.group()
	wanted := func(state string, o oneCommit, want *kerr.Error) {
		c.Helper()
		for o.version = 8; o.version <= 9; o.version++ {
			c.wantCode(fmt.Sprintf("%s: a commit v%d of member %q in generation %d", state, o.version, o.member, o.generation), g.commitOne(n, t, o), want)
		}
	}
	m := g.member("range")
	m.join()
	wanted("CompletingRebalance", oneCommit{member: m.id, generation: m.generation}, kerr.RebalanceInProgress)
	m.sync(m.id, "all")
	wanted("Stable", oneCommit{member: m.id, generation: m.generation}, nil)
	wanted("Stable", oneCommit{member: m.id, generation: m.generation + 1}, kerr.IllegalGeneration)
	wanted("Stable", oneCommit{member: m.id, generation: m.generation - 1}, kerr.IllegalGeneration)
	wanted("Stable", oneCommit{member: "nobody", generation: m.generation}, kerr.UnknownMemberID)
	wanted("Stable", oneCommit{generation: -1}, kerr.UnknownMemberID)
	other := g.member("range")
	start(other.conn, other.joinRequest())
	g.awaitState("PreparingRebalance")
	wanted("PreparingRebalance", oneCommit{member: m.id, generation: m.generation}, nil)
	wanted("PreparingRebalance", oneCommit{member: m.id, generation: m.generation + 1}, kerr.IllegalGeneration)
	c.emptyGroup(n, t)
	c.staticCommits(n, t)
	c.commitsKeepAlive(n, t)
}

// noGroup: whoever has no generation makes a simple group, and nobody else does.
func (c *check) noGroup(n *conn, t topic) {
	g := c.group()
	for version, want := range map[int16]*kerr.Error{8: kerr.IllegalGeneration, 9: kerr.GroupIDNotFound} {
		c.wantCode(fmt.Sprintf("a commit v%d in a generation of no group", version), g.commitOne(n, t, oneCommit{version: version, member: "m"}), want)
	}
	equal(c, "state of the group after that", g.describe(n).State, "Dead")
	for version := int16(8); version <= 9; version++ {
		c.wantCode("a commit without a generation", g.commitOne(n, t, oneCommit{version: version, generation: -1}), nil)
	}
	equal(c, "state of a group that only has offsets", g.describe(n).State, "Empty")
	equal(c, "its protocol type", g.describe(n).ProtocolType, "")
	g.member("range").join() // it may become a group with members
}

// emptyGroup is about a group whose only member has left.
func (c *check) emptyGroup(n *conn, t topic) {
	g := c.group()
	m := g.member("range")
	m.join()
	m.sync()
	m.leave()
	c.wantCode("Empty: a commit without a generation", g.commitOne(n, t, oneCommit{version: 8, generation: -1}), nil)
	c.wantCode("Empty: a commit of the member that left", g.commitOne(n, t, oneCommit{version: 8, member: m.id, generation: m.generation}), kerr.UnknownMemberID)
}

func (c *check) staticCommits(n *conn, t topic) {
	g := c.group()
	m, instance, stranger := g.member("range"), "i", "j"
	m.instance = &instance
	m.join()
	m.sync()
	c.wantCode("a static member", g.commitOne(n, t, oneCommit{8, m.id, &instance, m.generation}), nil)
	c.wantCode("another member with its instance id", g.commitOne(n, t, oneCommit{8, "other", &instance, m.generation}), kerr.FencedInstanceID)
	c.wantCode("an instance that is not in the group", g.commitOne(n, t, oneCommit{8, m.id, &stranger, m.generation}), kerr.UnknownMemberID)
}

// commitsKeepAlive shows that commits restart the session timer: of two members with sessions of six seconds that send no
// heartbeats the one that commits is in its group after nine. On a machine that is too busy for that it tries again.
func (c *check) commitsKeepAlive(n *conn, t topic) {
	const session = 6 * time.Second // the shortest that is allowed
	for range 5 {
		var alive, silent *groupMember
		for _, m := range []**groupMember{&alive, &silent} {
			*m = c.group().member("range")
			req := (*m).joinRequest()
			req.SessionTimeoutMillis = int32(session.Milliseconds())
			(*m).joined(ask[*kmsg.JoinGroupResponse]((*m).conn, req))
			(*m).sync()
		}
		longest, last := time.Duration(0), time.Now()
		for begin := last; time.Since(begin) < session*3/2 && longest < session/2; time.Sleep(200 * time.Millisecond) {
			code := alive.g.commitOne(n, t, oneCommit{8, alive.id, nil, alive.generation})
			longest, last = max(longest, time.Since(last)), time.Now()
			if longest < session/2 {
				c.wantCode("a commit in place of heartbeats", code, nil)
			}
		}
		silent.g.awaitState("Empty")
		if longest < session/2 {
			return
		}
	}
	c.Error("five times the machine was too busy to commit every three seconds")
}

// javaHash is String.hashCode of Java: over UTF-16 units, wrapping around.
func javaHash(s string) (hash int32) {
	for _, unit := range utf16.Encode([]rune(s)) {
		hash = 31*hash + int32(unit)
	}
	return hash
}

// coordinators is how many partitions __consumer_offsets has.
const coordinators = 50

// coordinatorOf is the partition of a group (rule 0.3.2).
func coordinatorOf(group string) int32 {
	hash := javaHash(group)
	return max(hash, -hash) % coordinators
}

// offsetRecords looks for two groups: one whose name hashes to a negative number, so that clearing the sign bit would lead
// to another partition, and one with a character that is two UTF-16 units, so that hashing bytes or code points would.
func offsetRecords(c *check) {
	clearSign := func(s string) int32 { return int32(uint32(javaHash(s)) & 0x7fffffff % coordinators) }
	wideHash := func(s string) (hash int32) {
		for _, r := range s {
			hash = 31*hash + r
		}
		return max(hash, -hash) % coordinators
	}
	byteHash := func(s string) (hash int32) {
		for i := range len(s) {
			hash = 31*hash + int32(s[i])
		}
		return max(hash, -hash) % coordinators
	}
	t, n := c.topic(), c.dial()
	negative, clef := c.group(), c.group()
	for base := negative.id; javaHash(negative.id) >= 0 || clearSign(negative.id) == coordinatorOf(negative.id); base += "x" {
		negative.id = base
	}
	for base := clef.id + "\U0001d11e"; coordinatorOf(clef.id) == wideHash(clef.id) || coordinatorOf(clef.id) == byteHash(clef.id); base += "x" {
		clef.id = base
	}
	for _, g := range []*groupOf{negative, clef} {
		g.await()
		c.findsCommit(n, g, t, coordinatorOf(g.id))
	}
}

// findsCommit commits an offset, deletes it, and reads both as records of the group's partition (rules 8.6.1 to 8.6.3).
func (c *check) findsCommit(n *conn, g *groupOf, t topic, partition int32) {
	c.Helper()
	before := time.Now().UnixMilli()
	c.wantCode("a commit", g.commit(n, t, "", -1, "told")[0], nil)
	after := time.Now().UnixMilli()
	del := newest(c, kmsg.NewPtrOffsetDeleteRequest())
	del.Group = g.id
	del.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: t.name, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}}}
	c.wantCode("deleting the offset", ask[*kmsg.OffsetDeleteResponse](n, del).Topics[0].Partitions[0].ErrorCode, nil)

	str := func(b []byte, s string) []byte { return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...) }
	key := binary.BigEndian.AppendUint32(str(str([]byte{0, 1}, g.id), t.name), 0)
	var values [][]byte
	offsets := topic{name: "__consumer_offsets", id: n.metadataOf("__consumer_offsets").TopicID}
	for _, b := range n.readAll(offsets, partition) {
		for _, r := range b.Records {
			if bytes.Equal(r.Key, key) {
				values = append(values, r.Value)
			}
		}
	}
	if len(values) != 2 || values[1] != nil {
		c.Fatalf("group %q has values %x in partition %d, want that of the commit and a null one", g.id, values, partition)
	}
	// Version 4: offset, leader epoch, metadata as a compact string, time, and the topic's id as tag 0.
	want := []byte{0, 4, 0, 0, 0, 0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 5, 't', 'o', 'l', 'd'}
	v := values[0]
	if !bytes.HasPrefix(v, want) || len(v) != len(want)+8+3+16 {
		c.Fatalf("the value is %x, want %x, a time and a tag", v, want)
	}
	if at := int64(binary.BigEndian.Uint64(v[len(want):])); at < before || at > after {
		c.Errorf("the time of the commit is %d, want %d to %d", at, before, after)
	}
	if tags := v[len(want)+8:]; !bytes.Equal(tags, append([]byte{1, 0, 16}, t.id[:]...)) {
		c.Errorf("the tags are %x, want the topic's id %x as tag 0", tags, t.id)
	}
}
