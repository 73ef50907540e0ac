package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

func saramaGroupConfig() *sarama.Config {
	c := saramaConfig()
	c.Consumer.Group.Session.Timeout = 6 * time.Second
	c.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	return c
}

// saramaMember handles the claims of one member.
type saramaMember struct {
	assigned func(sarama.ConsumerGroupSession)             // at the start of a session; may be nil
	each     func(m *sarama.ConsumerMessage) (commit bool) // for every message
}

func (h saramaMember) Setup(s sarama.ConsumerGroupSession) error {
	if h.assigned != nil {
		h.assigned(s)
	}
	return nil
}

func (saramaMember) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h saramaMember) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			if s.Context().Err() != nil { // the session ends: this one is for its next owner
				return nil
			}
			if h.each(m) {
				s.MarkMessage(m, "")
				s.Commit()
				committed(m.Partition, m.Offset+1)
			}
		case <-s.Context().Done():
			return nil
		}
	}
}

func (saramaClient) member(ctx context.Context, g group) error {
	c, err := sarama.NewConsumerGroup([]string{g.bootstrap}, g.id, saramaGroupConfig())
	if err != nil {
		return err
	}
	defer c.Close()
	h := saramaMember{each: func(m *sarama.ConsumerMessage) bool {
		got(m.Partition, m.Offset)
		return true
	}}
	for ctx.Err() == nil {
		if err := c.Consume(ctx, []string{g.topic}, h); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (s saramaClient) groups(ctx context.Context, g group) error {
	if err := s.seek(ctx, g); err != nil {
		return err
	}
	a, err := sarama.NewClusterAdmin([]string{g.bootstrap}, saramaConfig())
	if err != nil {
		return err
	}
	defer a.Close()
	listed, err := a.ListConsumerGroups()
	if _, ok := listed[g.id]; err != nil || !ok {
		return fmt.Errorf("listed %v, want %s: %v", listed, g.id, err)
	}
	described, err := a.DescribeConsumerGroups([]string{g.id})
	if err != nil || len(described) != 1 || described[0].State != "Empty" {
		return fmt.Errorf("described as %v: %v", described, err)
	}
	offsets, err := a.ListConsumerGroupOffsets(g.id, nil)
	if err != nil || len(offsets.Blocks[g.topic]) != g.partitions {
		return fmt.Errorf("offsets %v: %v", offsets, err)
	}
	if err := a.DeleteConsumerGroupOffset(g.id, g.topic, 0); err != nil {
		return err
	}
	offsets, err = a.ListConsumerGroupOffsets(g.id, nil)
	if err != nil || offsets.Blocks[g.topic][0] != nil {
		return fmt.Errorf("the deleted offset is still there: %v", err)
	}
	if err := a.DeleteConsumerGroup(g.id); err != nil {
		return err
	}
	if listed, err = a.ListConsumerGroups(); err != nil || listed[g.id] != "" {
		return fmt.Errorf("the deleted group is listed: %v", err)
	}
	return nil
}

// errFound ends a session.
var errFound = errors.New("found")

func (saramaClient) seek(ctx context.Context, g group) error {
	c, err := sarama.NewConsumerGroup([]string{g.bootstrap}, g.id, saramaGroupConfig())
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, found := context.WithCancelCause(ctx)
	defer found(nil)
	var result error
	h := saramaMember{
		assigned: func(s sarama.ConsumerGroupSession) { s.ResetOffset(g.topic, 0, soughtOffset, "") },
		each: func(m *sarama.ConsumerMessage) bool {
			if m.Partition == 0 && ctx.Err() == nil {
				result = sought(m.Offset)
				found(errFound)
			}
			return false
		},
	}
	if err := c.Consume(ctx, []string{g.topic}, h); err != nil && ctx.Err() == nil {
		return err
	}
	if context.Cause(ctx) != errFound {
		return fmt.Errorf("no record that was sought: %v", context.Cause(ctx))
	}
	return result
}
