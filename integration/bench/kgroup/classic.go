//go:build linux

package main

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Timeouts of the members: long enough that none expires because the machine is busy, or because members only heartbeat
// when there is something to learn.
const (
	sessionMillis   = 60_000
	rebalanceMillis = 60_000
)

// classicMember is a member of the classic protocol, as a consumer of today is one. Its requests are made once.
type classicMember struct {
	now   standing
	joins *kmsg.JoinGroupRequest
	syncs *kmsg.SyncGroupRequest
	beats *kmsg.HeartbeatRequest
}

func newClassicMember(o *options, group string) member {
	m := &classicMember{now: standing{epoch: none}}
	m.joins = kmsg.NewPtrJoinGroupRequest()
	m.joins.Version, m.joins.Group, m.joins.ProtocolType = 9, group, "consumer"
	m.joins.SessionTimeoutMillis, m.joins.RebalanceTimeoutMillis = sessionMillis, rebalanceMillis
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", subscription(o.topic)
	m.joins.Protocols = append(m.joins.Protocols, p)
	m.syncs = kmsg.NewPtrSyncGroupRequest()
	m.syncs.Version, m.syncs.Group = 5, group
	m.syncs.ProtocolType, m.syncs.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	m.beats = kmsg.NewPtrHeartbeatRequest()
	m.beats.Version, m.beats.Group = 4, group
	return m
}

func (m *classicMember) standing() standing { return m.now }

func (m *classicMember) join() kmsg.Request {
	m.now.epoch = none
	return m.joins
}

func (m *classicMember) heartbeat() kmsg.Request { return m.beats }

func (m *classicMember) leave() kmsg.Request {
	m.now.epoch = none
	q := kmsg.NewPtrLeaveGroupRequest()
	q.Version, q.Group = 5, m.joins.Group
	who := kmsg.NewLeaveGroupRequestMember()
	who.MemberID = m.joins.MemberID
	q.Members = append(q.Members, who)
	return q
}

// parked tells a member that has its id, and whose join therefore waits for the others.
func (m *classicMember) parked() bool { return m.joins.MemberID != "" }

func (m *classicMember) answered(r kmsg.Response) (next kmsg.Request) {
	switch r := r.(type) {
	case *kmsg.JoinGroupResponse:
		return m.joined(r)
	case *kmsg.SyncGroupResponse:
		if r.ErrorCode != 0 {
			return m.refused(r.ErrorCode)
		}
		m.now.epoch = m.syncs.Generation
		m.beats.Generation, m.beats.MemberID = m.syncs.Generation, m.syncs.MemberID
	case *kmsg.HeartbeatResponse:
		if r.ErrorCode != 0 {
			return m.refused(r.ErrorCode)
		}
	}
	return nil
}

// joined goes on to the sync; the leader has assignments for all.
func (m *classicMember) joined(r *kmsg.JoinGroupResponse) (next kmsg.Request) {
	if r.ErrorCode == kerr.MemberIDRequired.Code {
		m.joins.MemberID = r.MemberID
		return m.join()
	}
	if r.ErrorCode != 0 {
		return m.refused(r.ErrorCode)
	}
	m.joins.MemberID = r.MemberID
	m.syncs.Generation, m.syncs.MemberID = r.Generation, r.MemberID
	m.syncs.GroupAssignment = m.syncs.GroupAssignment[:0]
	for _, other := range r.Members {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = other.MemberID, assignment[:]
		m.syncs.GroupAssignment = append(m.syncs.GroupAssignment, a)
	}
	return m.syncs
}

// assignment is as large as that of a few partitions. A coordinator does not look into it.
var assignment [64]byte

// refused takes an error that sends a member back to the join.
func (m *classicMember) refused(code int16) (next kmsg.Request) {
	switch kerr.ErrorForCode(code) {
	case kerr.RebalanceInProgress, kerr.IllegalGeneration:
	case kerr.UnknownMemberID:
		m.joins.MemberID = ""
	default:
		retriable(code)
	}
	return m.join()
}

// subscription is the metadata of a consumer of one topic.
func subscription(topic string) []byte {
	s := kmsg.NewConsumerMemberMetadata()
	s.Topics = []string{topic}
	return s.AppendTo(nil)
}
