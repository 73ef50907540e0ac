//go:build linux

package main

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Timeouts of the members: long enough that none expires because the machine is busy.
const (
	sessionMillis   = 60_000
	rebalanceMillis = 60_000
)

// classicMember is a member of the classic protocol, as a consumer of today is one.
type classicMember struct {
	o     *options
	board *board
	conn  *conn
	group string
	id    string
	now   standing
}

func newClassicMember(o *options, b *board, group string) member {
	return &classicMember{o: o, board: b, group: group, conn: dial(o), now: standing{epoch: -1}}
}

func (m *classicMember) stand(epoch int32) {
	to := standing{epoch: epoch}
	m.board.move(m.now, to)
	m.now = to
}

func (m *classicMember) run(leave <-chan struct{}) {
	defer m.conn.Close()
	for {
		if !m.join() {
			continue
		}
		if m.follow(leave) {
			m.leave()
			return
		}
	}
}

// join takes part in one rebalance, and reports whether the member has its assignment.
func (m *classicMember) join() bool {
	q := kmsg.NewPtrJoinGroupRequest()
	q.Version, q.Group, q.MemberID, q.ProtocolType = 9, m.group, m.id, "consumer"
	q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = sessionMillis, rebalanceMillis
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", subscription(m.o.topic)
	q.Protocols = append(q.Protocols, p)
	r := call[*kmsg.JoinGroupResponse](m.conn, q)
	switch kerr.ErrorForCode(r.ErrorCode) {
	case nil:
	case kerr.MemberIDRequired:
		m.id = r.MemberID
		return false
	case kerr.UnknownMemberID:
		m.id = ""
		return false
	default:
		retriable(r.ErrorCode)
		return false
	}
	m.id = r.MemberID
	s := kmsg.NewPtrSyncGroupRequest()
	s.Version, s.Group, s.Generation, s.MemberID = 5, m.group, r.Generation, m.id
	s.ProtocolType, s.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	for _, other := range r.Members {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = other.MemberID, make([]byte, 64)
		s.GroupAssignment = append(s.GroupAssignment, a)
	}
	got := call[*kmsg.SyncGroupResponse](m.conn, s)
	if got.ErrorCode != 0 {
		m.refused(got.ErrorCode)
		return false
	}
	m.stand(r.Generation)
	return true
}

// follow heartbeats until the group rebalances, or until the member is to leave, which it reports.
func (m *classicMember) follow(leave <-chan struct{}) (left bool) {
	q := kmsg.NewPtrHeartbeatRequest()
	q.Version, q.Group, q.Generation, q.MemberID = 4, m.group, m.now.epoch, m.id
	for {
		select {
		case <-leave:
			return true
		case <-m.board.disagreed():
		case <-time.After(m.o.heartbeat):
		}
		if r := call[*kmsg.HeartbeatResponse](m.conn, q); r.ErrorCode != 0 {
			m.refused(r.ErrorCode)
			m.stand(-1)
			return false
		}
	}
}

// refused takes an error that sends a member back to the join.
func (m *classicMember) refused(code int16) {
	switch kerr.ErrorForCode(code) {
	case kerr.RebalanceInProgress, kerr.IllegalGeneration:
	case kerr.UnknownMemberID:
		m.id = ""
	default:
		retriable(code)
	}
}

func (m *classicMember) leave() {
	m.stand(-1)
	q := kmsg.NewPtrLeaveGroupRequest()
	q.Version, q.Group = 5, m.group
	who := kmsg.NewLeaveGroupRequestMember()
	who.MemberID = m.id
	q.Members = append(q.Members, who)
	call[*kmsg.LeaveGroupResponse](m.conn, q)
}

// subscription is the metadata of a consumer of one topic.
func subscription(topic string) []byte {
	s := kmsg.NewConsumerMemberMetadata()
	s.Topics = []string{topic}
	return s.AppendTo(nil)
}
