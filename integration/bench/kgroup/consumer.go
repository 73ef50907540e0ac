//go:build linux

package main

import (
	"crypto/rand"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumerMember is a member of a group of KIP-848.
type consumerMember struct {
	o     *options
	board *board
	conn  *conn
	next  *kmsg.ConsumerGroupHeartbeatRequest
	owned []kmsg.ConsumerGroupHeartbeatRequestTopic
	now   standing
}

func newConsumerMember(o *options, b *board, group string) member {
	m := &consumerMember{o: o, board: b, conn: dial(o), now: standing{epoch: -1}}
	m.next = kmsg.NewPtrConsumerGroupHeartbeatRequest()
	m.next.Version, m.next.Group, m.next.MemberID = 1, group, rand.Text()
	m.rejoin()
	return m
}

// rejoin makes the next heartbeat one that joins.
func (m *consumerMember) rejoin() {
	m.stand(standing{epoch: -1})
	m.owned = nil
	m.next.MemberEpoch, m.next.RebalanceTimeoutMillis = 0, rebalanceMillis
	m.next.SubscribedTopicNames, m.next.Topics = []string{m.o.topic}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
}

func (m *consumerMember) stand(to standing) {
	m.board.move(m.now, to)
	m.now = to
}

func (m *consumerMember) run(leave <-chan struct{}) {
	defer m.conn.Close()
	for {
		if m.beat() {
			continue // what was assigned is confirmed at once, as clients do
		}
		select {
		case <-leave:
			m.stand(standing{epoch: -1})
			m.next.MemberEpoch, m.next.Topics = -1, nil
			call[*kmsg.ConsumerGroupHeartbeatResponse](m.conn, m.next)
			return
		case <-m.board.disagreed():
		case <-time.After(m.o.heartbeat):
		}
	}
}

// beat sends one heartbeat and takes over what it says. It reports whether the assignment changed.
func (m *consumerMember) beat() (changed bool) {
	r := call[*kmsg.ConsumerGroupHeartbeatResponse](m.conn, m.next)
	switch kerr.ErrorForCode(r.ErrorCode) {
	case nil:
	case kerr.FencedMemberEpoch, kerr.UnknownMemberID:
		m.rejoin()
		return true
	default:
		retriable(r.ErrorCode)
		return false
	}
	m.next.MemberEpoch, m.next.RebalanceTimeoutMillis, m.next.SubscribedTopicNames, m.next.Topics = r.MemberEpoch, -1, nil, nil
	to := standing{epoch: r.MemberEpoch, partitions: m.now.partitions}
	if r.Assignment != nil {
		m.owned = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		to.partitions = 0
		for _, t := range r.Assignment.Topics {
			own := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			own.TopicID, own.Partitions = t.TopicID, t.Partitions
			m.owned = append(m.owned, own)
			to.partitions += len(t.Partitions)
		}
		m.next.Topics = m.owned
	}
	m.stand(to)
	return r.Assignment != nil
}
