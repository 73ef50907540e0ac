package group

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group/assignor"
	"github.com/kbroker/kbroker/metadata"
)

func partitionOf(o []kmsg.ConsumerGroupHeartbeatRequestTopic) assignor.Partition {
	return assignor.Partition{Topic: metadata.UUID(o[0].TopicID), Index: o[0].Partitions[0]}
}

// subscriptionBytes is what a classic consumer tells the leader.
func subscriptionBytes(version int16, topics []string, owned []kmsg.ConsumerGroupHeartbeatRequestTopic) []byte {
	v := kmsg.NewConsumerMemberMetadata()
	v.Version, v.Topics = version, topics
	for _, o := range owned {
		row := kmsg.NewConsumerMemberMetadataOwnedPartition()
		row.Topic, row.Partitions = strings.TrimRight(string(o.TopicID[:]), "\x00"), o.Partitions
		v.OwnedPartitions = append(v.OwnedPartitions, row)
	}
	return v.AppendTo(nil)
}

// classicArgs are the arguments of a step of the classic protocol.
type classicArgs struct {
	id       string
	gen      int32
	subs     []string
	owned    []kmsg.ConsumerGroupHeartbeatRequestTopic
	instance *string
	typ      string
	protocol string
	give     string
	version  int16
}

func readClassicArgs(d *datadriven.TestData) classicArgs {
	a := classicArgs{id: d.CmdArgs[0].Key, typ: "consumer", protocol: "cooperative-sticky", version: 9}
	if a.id == "-" {
		a.id = ""
	}
	for _, arg := range d.CmdArgs[1:] {
		v := strings.Join(arg.Vals, ",")
		switch arg.Key {
		case "gen":
			n, _ := strconv.Atoi(v)
			a.gen = int32(n)
		case "subs":
			a.subs = arg.Vals
		case "owned":
			a.owned = ownedTopics(v)
		case "instance":
			a.instance = &v
		case "type":
			a.typ = v
		case "protocol":
			a.protocol = v
		case "give":
			a.give = v
		case "version":
			n, _ := strconv.Atoi(v)
			a.version = int16(n)
		}
	}
	return a
}

// classic runs a step of the classic protocol.
func (s *consumerScript) classic(d *datadriven.TestData) string {
	a := readClassicArgs(d)
	answer := "parked"
	s.decide(func(e *coordinator.Effects) {
		switch d.Cmd {
		case "join":
			req := kmsg.NewPtrJoinGroupRequest()
			req.Version, req.Group, req.MemberID, req.InstanceID = a.version, "g", a.id, a.instance
			req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = 10_000, 20_000, a.typ
			p := kmsg.NewJoinGroupRequestProtocol()
			p.Name, p.Metadata = a.protocol, subscriptionBytes(3, a.subs, a.owned)
			req.Protocols = append(req.Protocols, p)
			s.m.JoinGroup(s.now, req, Client{"lab", "/192.0.2.1"}, func(r *kmsg.JoinGroupResponse, _ error) {
				answer = fmt.Sprintf("%s generation=%d leader=%q member=%s of %d", errorName(r.ErrorCode), r.Generation, r.LeaderID, r.MemberID, len(r.Members))
			}, e)
		case "sync":
			req := kmsg.NewPtrSyncGroupRequest()
			req.Version, req.Group, req.MemberID, req.Generation, req.InstanceID = 5, "g", a.id, a.gen, a.instance
			req.ProtocolType, req.Protocol = &a.typ, &a.protocol
			if a.give != "" {
				row := kmsg.NewSyncGroupRequestGroupAssignment()
				row.MemberID, row.MemberAssignment = a.id, givenBytes(a.give)
				req.GroupAssignment = append(req.GroupAssignment, row)
			}
			s.m.SyncGroup(s.now, req, func(r *kmsg.SyncGroupResponse, _ error) {
				has, _ := readAssignment(s.im, r.MemberAssignment)
				answer = fmt.Sprintf("%s %s", errorName(r.ErrorCode), setString(has))
			}, e)
		case "beat":
			req := kmsg.NewPtrHeartbeatRequest()
			req.Version, req.Group, req.MemberID, req.Generation, req.InstanceID = 4, "g", a.id, a.gen, a.instance
			s.m.Heartbeat(s.now, req, func(r *kmsg.HeartbeatResponse, _ error) { answer = errorName(r.ErrorCode) }, e)
		case "leave":
			req := kmsg.NewPtrLeaveGroupRequest()
			req.Version, req.Group = 5, "g"
			row := kmsg.NewLeaveGroupRequestMember()
			row.MemberID, row.InstanceID = a.id, a.instance
			req.Members = append(req.Members, row)
			s.m.LeaveGroup(s.now, req, func(r *kmsg.LeaveGroupResponse, _ error) { answer = errorName(r.Members[0].ErrorCode) }, e)
		default:
			s.t.Fatalf("%s: there is no step %s", d.Pos, d.Cmd)
		}
	})
	return answer + "\n" + s.records()
}

// givenBytes is what a classic leader gives a member.
func givenBytes(text string) []byte {
	v := kmsg.NewConsumerMemberAssignment()
	for _, o := range ownedTopics(text) {
		row := kmsg.NewConsumerMemberAssignmentTopic()
		row.Topic, row.Partitions = strings.TrimRight(string(o.TopicID[:]), "\x00"), o.Partitions
		v.Topics = append(v.Topics, row)
	}
	return v.AppendTo(nil)
}
