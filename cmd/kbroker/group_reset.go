package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// resetFlags are those of `kbroker group reset`.
type resetFlags struct {
	output
	topics              []string
	allTopics           bool
	execute, dry        bool
	earliest, latest    bool
	offset, shift       int64
	datetime, byElapsed string
}

func groupResetCommand(c *connection) *cobra.Command {
	f := &resetFlags{}
	cmd := &cobra.Command{
		Use: "reset GROUP", Short: "Move the committed offsets of a group", Args: arguments(1, 1, "one group"),
		Long: `Move the committed offsets of a group. Without --execute nothing is changed: the old and the new offsets are shown.
The group must have no members. An offset outside of a partition becomes its start or its end.`,
		Example: `  kbroker group reset reports --all-topics --to-earliest
  kbroker group reset reports --topic clicks:0,2 --to-datetime 2026-11-24T08:00:00Z --execute
  kbroker group reset reports --topic clicks --by-duration 2h --execute`,
		RunE: func(cmd *cobra.Command, args []string) error {
			target, selections, err := f.parse(cmd)
			if err != nil {
				return err
			}
			return c.with(cmd.Context(), func(ctx context.Context, client *kgo.Client) error {
				return f.run(ctx, cmd, client, args[0], target, selections)
			})
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&f.topics, "topic", nil, "TOPIC or TOPIC:PARTITIONS, such as clicks:0,2,5-7; may be repeated")
	flags.BoolVar(&f.allTopics, "all-topics", false, "every partition that the group has committed an offset of")
	flags.BoolVar(&f.earliest, "to-earliest", false, "to the first record")
	flags.BoolVar(&f.latest, "to-latest", false, "to the end")
	flags.Int64Var(&f.offset, "to-offset", 0, "to an offset")
	flags.StringVar(&f.datetime, "to-datetime", "", "to the first record at or after a time, such as 2026-11-24T08:00:00Z")
	flags.StringVar(&f.byElapsed, "by-duration", "", "to the first record of the time since, such as 90m, 7d or PT1H")
	flags.Int64Var(&f.shift, "shift-by", 0, "by a number of records; negative: back")
	flags.BoolVar(&f.execute, "execute", false, "do it")
	flags.BoolVar(&f.dry, "dry-run", false, "only show what would be done, which is the default")
	return cmd
}

// targets are the flags of which exactly one says where to.
var targets = []string{"to-earliest", "to-latest", "to-offset", "to-datetime", "by-duration", "shift-by"}

// parse reads the flags.
func (f *resetFlags) parse(cmd *cobra.Command) (t resetTarget, selections []selection, err error) {
	if err := f.check(); err != nil {
		return t, nil, err
	}
	given := slices.DeleteFunc(slices.Clone(targets), func(name string) bool { return !cmd.Flags().Changed(name) })
	if len(given) != 1 {
		return t, nil, usageError(cmd, fmt.Errorf("say where to with one of --%s", strings.Join(targets, ", --")))
	}
	if f.execute && f.dry {
		return t, nil, usageError(cmd, errors.New("--execute and --dry-run are opposites: leave one of them out"))
	}
	if f.allTopics == (len(f.topics) > 0) {
		return t, nil, usageError(cmd, errors.New("say what to move with --topic or --all-topics"))
	}
	if selections, err = parseSelections(f.topics); err != nil {
		return t, nil, err
	}
	switch given[0] {
	case "to-earliest":
		t.kind = toEarliest
	case "to-latest":
		t.kind = toLatest
	case "to-offset":
		t.kind, t.n = toOffset, f.offset
	case "shift-by":
		t.kind, t.n = shiftBy, f.shift
	case "to-datetime":
		t.kind = toTime
		t.at, err = parseTime(f.datetime)
	case "by-duration":
		var d time.Duration
		d, err = parseDuration(f.byElapsed)
		t.kind, t.at = toTime, time.Now().Add(-d)
	}
	if err != nil {
		return t, nil, &exitError{exitUsage, fmt.Errorf("--%s: %w", given[0], err)}
	}
	return t, selections, nil
}

// resetResult is what reset prints as JSON.
type resetResult struct {
	Group    string     `json:"group"`
	Executed bool       `json:"executed"`
	Offsets  []resetRow `json:"offsets"`
}

func (f *resetFlags) run(ctx context.Context, cmd *cobra.Command, client *kgo.Client, group string, t resetTarget, selections []selection) error {
	groups, err := listGroups(ctx, client, nil)
	if err != nil {
		return err
	}
	if busy := inUse(groups, group); busy != nil && f.execute {
		return busy
	} else if busy != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %v\n", busy)
	}
	a := kadm.NewClient(client)
	all, err := collectOffsets(ctx, a, group, t, selections)
	if err != nil {
		return err
	}
	rows, err := t.plan(all)
	if err != nil {
		return err
	}
	if f.execute {
		if err := commit(ctx, a, group, rows); err != nil {
			return err
		}
	}
	return f.show(cmd, resetResult{group, f.execute, rows})
}

// inUse is the error of a group that has members: only they may commit.
func inUse(groups []groupSummary, group string) error {
	for _, g := range groups {
		if g.Name != group {
			continue
		}
		if g.Type == "share" || g.Type == "streams" {
			return fmt.Errorf("group %s is a %s group, which kbroker group does not reset yet", group, g.Type)
		}
		if g.State != "Empty" && g.State != "Dead" {
			return fmt.Errorf("group %s is in use (%s): stop its consumers first, or nothing can be reset", group, g.State)
		}
	}
	return nil
}

// collectOffsets finds the partitions that are meant, and what has to be known of them.
func collectOffsets(ctx context.Context, a *kadm.Client, group string, t resetTarget, selections []selection) ([]partitionOffsets, error) {
	committed, err := fetchOffsets(ctx, a, group)
	if err != nil {
		return nil, groupError("asking for the committed offsets of", group, err)
	}
	set, err := selected(ctx, a, committed, selections)
	if err != nil {
		return nil, err
	}
	if len(set) == 0 {
		return nil, &exitError{exitNotFound, fmt.Errorf("group %s has committed no offsets; name topics with --topic", group)}
	}
	b, err := listBounds(ctx, a, set.Topics())
	if err != nil {
		return nil, err
	}
	var found kadm.ListedOffsets
	if t.kind == toTime {
		if found, err = a.ListOffsetsAfterMilli(ctx, t.at.UnixMilli(), set.Topics()...); err != nil {
			return nil, fmt.Errorf("asking for the offsets at %s: %w", t.at.Format(time.RFC3339), err)
		}
	}
	var all []partitionOffsets
	for _, x := range set.Sorted() {
		for _, partition := range x.Partitions {
			p := partitionOffsets{topic: x.Topic, partition: partition, committed: -1, found: -1}
			if p.start, p.end = b.of(x.Topic, partition); p.start < 0 || p.end < 0 {
				return nil, &exitError{exitNotFound, fmt.Errorf("topic %s has no partition %d that a leader answers for", x.Topic, partition)}
			}
			if c, ok := committed.Lookup(x.Topic, partition); ok {
				p.committed = c.At
			}
			// Where there is no such record kadm answers with the end of the partition, and no timestamp.
			if o, ok := found.Lookup(x.Topic, partition); ok && o.Err == nil && o.Timestamp >= 0 {
				p.found = o.Offset
			}
			all = append(all, p)
		}
	}
	return all, nil
}

// selected is the partitions that are meant: all that have a committed offset when none are named.
func selected(ctx context.Context, a *kadm.Client, committed kadm.OffsetResponses, selections []selection) (kadm.TopicsSet, error) {
	set := kadm.TopicsSet{}
	if len(selections) == 0 {
		committed.Each(func(o kadm.OffsetResponse) { set.Add(o.Topic, o.Partition) })
		return set, nil
	}
	for _, s := range selections {
		topics, err := a.ListTopicsWithInternal(ctx, s.topic)
		if err == nil {
			err = topics[s.topic].Err
		}
		if err != nil {
			return nil, topicError("looking for", s.topic, err, "")
		}
		partitions := s.partitions
		if partitions == nil {
			partitions = topics[s.topic].Partitions.Numbers()
		}
		set.Add(s.topic, partitions...)
	}
	return set, nil
}

// commit moves the offsets. A group that is not there comes into being, as an empty one.
func commit(ctx context.Context, a *kadm.Client, group string, rows []resetRow) error {
	offsets := kadm.Offsets{}
	for _, r := range rows {
		offsets.Add(kadm.Offset{Topic: r.Topic, Partition: r.Partition, At: r.New, LeaderEpoch: -1})
	}
	done, err := a.CommitOffsets(ctx, group, offsets)
	if err == nil {
		err = done.Error()
	}
	if err != nil {
		return groupError("resetting", group, err)
	}
	return nil
}

func (f *resetFlags) show(cmd *cobra.Command, result resetResult) error {
	var rows [][]string
	for _, r := range result.Offsets {
		rows = append(rows, []string{r.Topic, fmt.Sprint(r.Partition), numberOrDash(r.Old), fmt.Sprint(r.New), fmt.Sprint(r.Lag), r.Note})
	}
	if err := f.print(cmd.OutOrStdout(), result, []string{"TOPIC", "PARTITION", "OLD", "NEW", "LAG", "NOTE"}, rows); err != nil {
		return err
	}
	if !result.Executed && f.format == "text" {
		fmt.Fprintln(cmd.ErrOrStderr(), "nothing was changed; add --execute to do it")
	}
	return nil
}
