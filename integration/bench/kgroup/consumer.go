//go:build linux

package main

import (
	"crypto/rand"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumerMember is a member of a group of KIP-848.
type consumerMember struct {
	topic string
	now   standing
	next  *kmsg.ConsumerGroupHeartbeatRequest
}

func newConsumerMember(o *options, group string) member {
	m := &consumerMember{topic: o.topic, now: standing{epoch: none}}
	m.next = kmsg.NewPtrConsumerGroupHeartbeatRequest()
	m.next.Version, m.next.Group, m.next.MemberID = 1, group, rand.Text()
	return m
}

func (m *consumerMember) standing() standing { return m.now }

func (m *consumerMember) join() kmsg.Request {
	m.now = standing{epoch: none}
	m.next.MemberEpoch, m.next.RebalanceTimeoutMillis = 0, rebalanceMillis
	m.next.SubscribedTopicNames, m.next.Topics = []string{m.topic}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	return m.next
}

func (m *consumerMember) heartbeat() kmsg.Request { return m.next }

func (m *consumerMember) leave() kmsg.Request {
	m.now = standing{epoch: none}
	m.next.MemberEpoch, m.next.Topics = -1, nil
	return m.next
}

// parked is false: nothing waits in this protocol.
func (m *consumerMember) parked() bool { return false }

// answered takes over what a heartbeat said. What was assigned is confirmed at once, as clients do.
func (m *consumerMember) answered(answer kmsg.Response) (next kmsg.Request) {
	r := answer.(*kmsg.ConsumerGroupHeartbeatResponse)
	switch kerr.ErrorForCode(r.ErrorCode) {
	case nil:
	case kerr.FencedMemberEpoch, kerr.UnknownMemberID:
		return m.join()
	default:
		retriable(r.ErrorCode)
		return nil
	}
	if r.MemberEpoch < 0 { // it has left
		return nil
	}
	m.next.MemberEpoch, m.next.RebalanceTimeoutMillis, m.next.SubscribedTopicNames, m.next.Topics = r.MemberEpoch, -1, nil, nil
	m.now.epoch = r.MemberEpoch
	if r.Assignment == nil {
		return nil
	}
	m.now.partitions = 0
	m.next.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, t := range r.Assignment.Topics {
		own := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		own.TopicID, own.Partitions = t.TopicID, t.Partitions
		m.next.Topics = append(m.next.Topics, own)
		m.now.partitions += len(t.Partitions)
	}
	return m.next
}
