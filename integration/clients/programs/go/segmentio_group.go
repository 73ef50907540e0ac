package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
)

func (segmentio) member(ctx context.Context, g group) error {
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{g.bootstrap}, GroupID: g.id, Topic: g.topic, StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 300 * time.Millisecond, RebalanceTimeout: 6 * time.Second,
		ReadBackoffMin: 10 * time.Millisecond,
	})
	for {
		m, err := r.FetchMessage(ctx)
		if ctx.Err() != nil {
			return r.Close()
		}
		if err != nil {
			return err
		}
		got(int32(m.Partition), m.Offset)
		if err := r.CommitMessages(context.WithoutCancel(ctx), m); err != nil {
			return err
		}
		committed(int32(m.Partition), m.Offset+1)
	}
}

// groups can't seek as a member: the library's readers with a group refuse to.
func (segmentio) groups(ctx context.Context, g group) error {
	c := &kafka.Client{Addr: kafka.TCP(g.bootstrap), Timeout: patience}
	if there, err := segmentioListed(ctx, c, g.id); err != nil || !there {
		return fmt.Errorf("the group is not listed: %v", err)
	}
	described, err := c.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{g.id}})
	if err != nil || len(described.Groups) != 1 || described.Groups[0].GroupState != "Empty" {
		return fmt.Errorf("described as %+v: %v", described, err)
	}
	var all []int
	for p := range g.partitions {
		all = append(all, p)
	}
	offsets, err := c.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: g.id, Topics: map[string][]int{g.topic: all}})
	if err != nil || len(offsets.Topics[g.topic]) != g.partitions {
		return fmt.Errorf("offsets %+v: %v", offsets, err)
	}
	for _, p := range offsets.Topics[g.topic] {
		if p.Error != nil || p.CommittedOffset < 0 {
			return fmt.Errorf("partition %d has offset %d: %v", p.Partition, p.CommittedOffset, p.Error)
		}
	}
	deleted, err := c.OffsetDelete(ctx, &kafka.OffsetDeleteRequest{GroupID: g.id, Topics: map[string][]int{g.topic: {0}}})
	if err != nil || deleted.Error != nil {
		return fmt.Errorf("delete an offset: %v, %+v", err, deleted)
	}
	gone, err := c.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{g.id}})
	if err != nil || gone.Errors[g.id] != nil {
		return fmt.Errorf("delete the group: %v, %+v", err, gone)
	}
	if there, err := segmentioListed(ctx, c, g.id); err != nil || there {
		return fmt.Errorf("the deleted group is listed: %v", err)
	}
	return nil
}

func segmentioListed(ctx context.Context, c *kafka.Client, id string) (bool, error) {
	listed, err := c.ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(listed.Groups, func(g kafka.ListGroupsResponseGroup) bool { return g.GroupID == id }), listed.Error
}
