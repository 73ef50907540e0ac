package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func (franz) grouped(g group, more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(more, kgo.SeedBrokers(g.bootstrap), kgo.ConsumerGroup(g.id), kgo.ConsumeTopics(g.topic),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(300*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
}

func (f franz) member(ctx context.Context, g group) error {
	c, err := f.grouped(g)
	if err != nil {
		return err
	}
	defer c.CloseAllowingRebalance()
	for ctx.Err() == nil {
		fetches := c.PollRecords(ctx, 50)
		next := map[int32]int64{}
		fetches.EachRecord(func(r *kgo.Record) {
			got(r.Partition, r.Offset)
			next[r.Partition] = r.Offset + 1
		})
		if err := fetches.Err(); err != nil && ctx.Err() == nil {
			return err
		}
		if len(next) > 0 {
			// Also while leaving: what was got is committed.
			if err := c.CommitRecords(context.WithoutCancel(ctx), fetches.Records()...); err != nil {
				return err
			}
			for p, o := range next {
				committed(p, o)
			}
		}
		c.AllowRebalance()
	}
	return nil
}

func (f franz) groups(ctx context.Context, g group) error {
	if err := f.seek(ctx, g); err != nil {
		return err
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(g.bootstrap))
	if err != nil {
		return err
	}
	defer c.Close()
	a := kadm.NewClient(c)
	listed, err := a.ListGroups(ctx)
	if _, ok := listed[g.id]; err != nil || !ok {
		return fmt.Errorf("listed %v, want %s: %v", listed.Groups(), g.id, err)
	}
	described, err := a.DescribeGroups(ctx, g.id)
	if err != nil || described[g.id].State != "Empty" {
		return fmt.Errorf("described as %+v: %v", described[g.id], err)
	}
	offsets, err := a.FetchOffsets(ctx, g.id)
	if err != nil || len(offsets[g.topic]) != g.partitions {
		return fmt.Errorf("fetched offsets %v: %v", offsets, err)
	}
	var change kadm.Offsets
	change.AddOffset(g.topic, 0, 5, -1)
	if err := a.CommitAllOffsets(ctx, g.id, change); err != nil {
		return err
	}
	if offsets, err = a.FetchOffsets(ctx, g.id); err != nil || offsets[g.topic][0].At != 5 {
		return fmt.Errorf("the altered offset is %v: %v", offsets[g.topic][0], err)
	}
	if _, err := a.DeleteGroup(ctx, g.id); err != nil {
		return err
	}
	if listed, err = a.ListGroups(ctx); err != nil || len(listed[g.id].Group) > 0 {
		return fmt.Errorf("the deleted group is listed: %v", err)
	}
	return nil
}

func (f franz) seek(ctx context.Context, g group) error {
	assigned := make(chan struct{}, 1)
	c, err := f.grouped(g, kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) {
		select {
		case assigned <- struct{}{}:
		default:
		}
	}))
	if err != nil {
		return err
	}
	defer c.CloseAllowingRebalance()
	select {
	case <-assigned:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.SetOffsets(map[string]map[int32]kgo.EpochOffset{g.topic: {0: {Epoch: -1, Offset: soughtOffset}}})
	for {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return err
		}
		for _, r := range fetches.Records() {
			if r.Partition == 0 {
				return sought(r.Offset)
			}
		}
		c.AllowRebalance()
	}
}
