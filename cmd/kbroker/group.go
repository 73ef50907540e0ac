package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/term"
)

// groupCommand is `kbroker group`.
func groupCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "group", Short: "List, describe, reset and delete consumer groups"}
	c := &connection{}
	c.add(cmd)
	cmd.AddCommand(groupListCommand(c), groupDescribeCommand(c), groupResetCommand(c), groupDeleteCommand(c))
	return cmd
}

// groupSummary is a group in a list.
type groupSummary struct {
	Name        string `json:"name"`
	Type        string `json:"type"`     // classic, consumer, share or streams
	Protocol    string `json:"protocol"` // of a classic group: "consumer", "connect" or what else its members agreed on
	State       string `json:"state"`
	Coordinator int32  `json:"coordinator"`
}

func groupListCommand(c *connection) *cobra.Command {
	var o output
	var states []string
	cmd := &cobra.Command{
		Use: "list", Short: "List groups", Args: cobra.NoArgs,
		Example: "  kbroker group list --state empty",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return c.with(cmd.Context(), func(ctx context.Context, client *kgo.Client) error {
				groups, err := listGroups(ctx, client, states)
				rows := [][]string{}
				for _, g := range groups {
					rows = append(rows, []string{g.Name, g.Type, g.State, cmp.Or(g.Protocol, "-"), fmt.Sprint(g.Coordinator)})
				}
				return errors.Join(o.print(cmd.OutOrStdout(), groups, []string{"NAME", "TYPE", "STATE", "PROTOCOL", "COORDINATOR"}, rows), err)
			})
		},
	}
	o.add(cmd)
	cmd.Flags().StringSliceVar(&states, "state", nil, "only groups in one of these states, such as stable or empty")
	return cmd
}

// coordinatorPause is the pause before a coordinator is asked again.
const coordinatorPause = 50 * time.Millisecond

// whenReady repeats do while a coordinator is not ready, which passes: its topic is being made, on a cluster that never
// had a group, or its groups are being loaded after a start.
func whenReady[T any](ctx context.Context, do func() (T, error)) (T, error) {
	for {
		v, err := do()
		if !isAny(err, kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.NotCoordinator) {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, err
		case <-time.After(coordinatorPause):
		}
	}
}

// fetchOffsets returns the committed offsets of a group.
func fetchOffsets(ctx context.Context, a *kadm.Client, group string) (kadm.OffsetResponses, error) {
	return whenReady(ctx, func() (kadm.OffsetResponses, error) { return a.FetchOffsets(ctx, group) })
}

// listGroups asks all brokers for the groups that they coordinate. What some answered comes with the others' errors.
func listGroups(ctx context.Context, client *kgo.Client, states []string) ([]groupSummary, error) {
	return whenReady(ctx, func() ([]groupSummary, error) { return askForGroups(ctx, client, states) })
}

func askForGroups(ctx context.Context, client *kgo.Client, states []string) ([]groupSummary, error) {
	q := kmsg.NewPtrListGroupsRequest()
	q.StatesFilter = states
	groups := []groupSummary{}
	var problems []error
	for _, shard := range client.RequestSharded(ctx, q) {
		err := shard.Err
		resp, _ := shard.Resp.(*kmsg.ListGroupsResponse)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("listing the groups of broker %d: %w", shard.Meta.NodeID, err))
			continue
		}
		for _, g := range resp.Groups {
			// Brokers before version 5 of the answer know classic groups only.
			groups = append(groups, groupSummary{g.Group, strings.ToLower(cmp.Or(g.GroupType, "classic")), g.ProtocolType, g.GroupState, shard.Meta.NodeID})
		}
	}
	slices.SortFunc(groups, func(a, b groupSummary) int { return cmp.Compare(a.Name, b.Name) })
	return groups, errors.Join(problems...)
}

// groupError says what failed with which group.
func groupError(doing, name string, err error) error {
	switch {
	case errors.Is(err, kerr.GroupIDNotFound):
		return &saidError{fmt.Sprintf("%s group %s: there is no such group", doing, name), err}
	case errors.Is(err, kerr.NonEmptyGroup):
		return &saidError{fmt.Sprintf("%s group %s: it has members; stop its consumers first", doing, name), err}
	case errors.Is(err, kerr.GroupSubscribedToTopic):
		return &saidError{fmt.Sprintf("%s group %s: its members are subscribed to that topic; stop them first", doing, name), err}
	case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.StaleMemberEpoch):
		return &saidError{fmt.Sprintf("%s group %s: it is in use; stop its consumers first", doing, name), err}
	}
	return fmt.Errorf("%s group %s: %w", doing, name, err)
}

// deletedGroup is the outcome of a deletion.
type deletedGroup struct {
	Group   string   `json:"group"`
	Result  string   `json:"result"`            // deleted
	Offsets []string `json:"offsets,omitempty"` // partitions whose committed offsets were deleted; none: the whole group
}

func groupDeleteCommand(c *connection) *cobra.Command {
	var o output
	var topics []string
	var ifExists, yes bool
	cmd := &cobra.Command{
		Use: "delete GROUP...", Short: "Delete groups, or their committed offsets of some topics", Args: arguments(1, 0, "at least one group"),
		Example: `  kbroker group delete reports
  kbroker group delete reports --topic clicks:0,1   # its committed offsets of two partitions`,
		RunE: func(cmd *cobra.Command, groups []string) error {
			if err := o.check(); err != nil {
				return err
			}
			selections, err := parseSelections(topics)
			if err != nil {
				return err
			}
			what := strings.Join(groups, ", ")
			if len(topics) > 0 {
				what = "the committed offsets of " + what + " for " + strings.Join(topics, ", ")
			}
			if !yes && term.IsTerminal(int(os.Stdin.Fd())) && !confirm(cmd, "delete "+what+"?") {
				return &exitError{exitFailed, errors.New("nothing was deleted")}
			}
			return c.admin(cmd.Context(), func(ctx context.Context, a *kadm.Client) error {
				deleted, err := deleteGroups(ctx, a, groups, selections, ifExists)
				for _, d := range deleted {
					if e := o.print(cmd.OutOrStdout(), d, nil, [][]string{{"deleted " + strings.Join(append([]string{d.Group}, d.Offsets...), " ")}}); e != nil {
						return e
					}
				}
				return err
			})
		},
	}
	o.add(cmd)
	cmd.Flags().StringArrayVar(&topics, "topic", nil, "delete only the committed offsets of TOPIC or TOPIC:PARTITIONS; may be repeated")
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "leave alone what does not exist")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func parseSelections(texts []string) (all []selection, err error) {
	for _, text := range texts {
		s, err := parseSelection(text)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// deleteGroups deletes groups, or only what is selected of their committed offsets.
func deleteGroups(ctx context.Context, a *kadm.Client, groups []string, selections []selection, ifExists bool) (deleted []deletedGroup, err error) {
	var problems []error
	for _, g := range groups {
		d := deletedGroup{Group: g, Result: "deleted"}
		var err error
		if len(selections) == 0 {
			_, err = a.DeleteGroup(ctx, g)
		} else {
			d.Offsets, err = deleteOffsets(ctx, a, g, selections)
		}
		switch {
		case err == nil:
			deleted = append(deleted, d)
		case !ifExists || !errors.Is(err, kerr.GroupIDNotFound):
			problems = append(problems, groupError("deleting", g, err))
		}
	}
	return deleted, errors.Join(problems...)
}

// deleteOffsets deletes committed offsets of a group and returns their partitions.
func deleteOffsets(ctx context.Context, a *kadm.Client, group string, selections []selection) ([]string, error) {
	committed, err := fetchOffsets(ctx, a, group)
	if err != nil {
		return nil, err
	}
	set := kadm.TopicsSet{}
	for _, s := range selections {
		partitions := s.partitions
		if partitions == nil {
			for p := range committed[s.topic] {
				partitions = append(partitions, p)
			}
		}
		if len(partitions) == 0 {
			return nil, &exitError{exitNotFound, fmt.Errorf("it has committed no offsets of topic %s", s.topic)}
		}
		set.Add(s.topic, partitions...)
	}
	deleted, err := a.DeleteOffsets(ctx, group, set)
	if err != nil {
		return nil, err
	}
	var names []string
	var problems []error
	for topic, partitions := range deleted {
		for p, err := range partitions {
			if name := fmt.Sprintf("%s-%d", topic, p); err == nil {
				names = append(names, name)
			} else {
				problems = append(problems, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	slices.Sort(names)
	return names, errors.Join(problems...)
}
