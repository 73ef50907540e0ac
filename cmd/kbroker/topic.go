package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/term"
)

// topicCommand is `kbroker topic`.
func topicCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "topic", Short: "Create, list, describe, alter and delete topics"}
	c := &connection{}
	c.add(cmd)
	cmd.AddCommand(topicCreateCommand(c), topicListCommand(c), topicDescribeCommand(c), topicAlterCommand(c), topicDeleteCommand(c))
	return cmd
}

func topicCreateCommand(c *connection) *cobra.Command {
	var partitions int32
	var replicas int16
	var settings []string
	var ifNotExists bool
	var o output
	cmd := &cobra.Command{
		Use: "create TOPIC...", Short: "Create topics", Args: arguments(1, 0, "at least one topic"),
		Example: "  kbroker topic create clicks -p 12 -c retention.ms=3600000",
		RunE: func(cmd *cobra.Command, args []string) error {
			configs, err := parseSettings(settings)
			if err = errors.Join(o.check(), err); err != nil {
				return err
			}
			return c.admin(cmd.Context(), func(ctx context.Context, a *kadm.Client) error {
				created, err := a.CreateTopics(ctx, partitions, replicas, configs, args...)
				if err != nil {
					return fmt.Errorf("creating topics: %w", err)
				}
				var all []error
				for _, name := range args {
					if t := created[name]; t.Err == nil {
						all = append(all, o.done(cmd.OutOrStdout(), "created", "topic", name))
					} else if !ifNotExists || !errors.Is(t.Err, kerr.TopicAlreadyExists) {
						all = append(all, topicError("creating", name, t.Err, t.ErrMessage))
					}
				}
				return errors.Join(all...)
			})
		},
	}
	cmd.Flags().Int32VarP(&partitions, "partitions", "p", -1, "number of partitions; -1: the broker's num.partitions")
	cmd.Flags().Int16VarP(&replicas, "replicas", "r", -1, "number of replicas; -1: the broker's default.replication.factor")
	cmd.Flags().Int16Var(&replicas, "replication-factor", -1, "as --replicas, for those who know it from Kafka's tools")
	o.add(cmd)
	cmd.Flags().StringArrayVarP(&settings, "config", "c", nil, "a setting of the topics as KEY=VALUE; may be repeated")
	cmd.Flags().BoolVar(&ifNotExists, "if-not-exists", false, "leave alone what exists")
	return cmd
}

func parseSettings(settings []string) (map[string]*string, error) {
	configs := map[string]*string{}
	for _, s := range settings {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, &exitError{exitUsage, fmt.Errorf("-c %s: write it as KEY=VALUE", s)}
		}
		configs[name] = &value
	}
	return configs, nil
}

// topicError says what failed with which topic. The broker's own words are better than the error's.
func topicError(doing, name string, err error, message string) error {
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		message = "there is no such topic"
	}
	if message == "" {
		return fmt.Errorf("%s topic %s: %w", doing, name, err)
	}
	return &saidError{fmt.Sprintf("%s topic %s: %s", doing, name, message), err}
}

// saidError has a broker's words for an error.
type saidError struct {
	text string
	err  error
}

func (e *saidError) Error() string { return e.text }
func (e *saidError) Unwrap() error { return e.err }

func topicListCommand(c *connection) *cobra.Command {
	var o output
	var internal bool
	cmd := &cobra.Command{
		Use: "list", Short: "List topics", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return c.admin(cmd.Context(), func(ctx context.Context, a *kadm.Client) error {
				topics, err := a.ListTopicsWithInternal(ctx)
				if err != nil {
					return fmt.Errorf("listing topics: %w", err)
				}
				if !internal {
					topics.FilterInternal()
				}
				list, rows := []topicSummary{}, [][]string{}
				for _, t := range topics.Sorted() {
					s := topicSummary{t.Topic, topicID(t.ID), len(t.Partitions), t.Partitions.NumReplicas(), t.IsInternal}
					list = append(list, s)
					rows = append(rows, []string{s.Name, strconv.Itoa(s.Partitions), strconv.Itoa(s.Replicas)})
				}
				return o.print(cmd.OutOrStdout(), list, []string{"NAME", "PARTITIONS", "REPLICAS"}, rows)
			})
		},
	}
	o.add(cmd)
	cmd.Flags().BoolVar(&internal, "internal", false, "list internal topics too")
	return cmd
}

// topicID is a topic's id in the text form that Kafka's tools print (rule 0.4.1).
func topicID(id kadm.TopicID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// topicSummary is a topic in a list.
type topicSummary struct {
	Name       string `json:"name"`
	ID         string `json:"id"`
	Partitions int    `json:"partitions"`
	Replicas   int    `json:"replicas"`
	Internal   bool   `json:"internal"`
}

func topicDeleteCommand(c *connection) *cobra.Command {
	var ifExists, yes bool
	var o output
	cmd := &cobra.Command{
		Use: "delete TOPIC...", Short: "Delete topics and their records", Args: arguments(1, 0, "at least one topic"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if !yes && term.IsTerminal(int(os.Stdin.Fd())) && !confirm(cmd, "delete "+strings.Join(args, ", ")+" with all records?") {
				return &exitError{exitFailed, errors.New("nothing was deleted")}
			}
			return c.admin(cmd.Context(), func(ctx context.Context, a *kadm.Client) error {
				deleted, err := a.DeleteTopics(ctx, args...)
				if err != nil {
					return fmt.Errorf("deleting topics: %w", err)
				}
				var all []error
				for _, name := range args {
					if t := deleted[name]; t.Err == nil {
						all = append(all, o.done(cmd.OutOrStdout(), "deleted", "topic", name))
					} else if !ifExists || !errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
						all = append(all, topicError("deleting", name, t.Err, t.ErrMessage))
					}
				}
				return errors.Join(all...)
			})
		},
	}
	o.add(cmd)
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "leave alone what does not exist")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// confirm asks on the terminal.
func confirm(cmd *cobra.Command, question string) bool {
	fmt.Fprintf(cmd.ErrOrStderr(), "%s [y/N] ", question)
	line, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	return slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(line)))
}

func topicDescribeCommand(c *connection) *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "describe TOPIC...", Short: "Show partitions, offsets and settings of topics", Args: arguments(1, 0, "at least one topic"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return c.admin(cmd.Context(), func(ctx context.Context, a *kadm.Client) error {
				topics, err := describeTopics(ctx, a, args)
				if err != nil {
					return err
				}
				for _, t := range topics {
					if err := o.describe(cmd.OutOrStdout(), t, t.print); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	o.add(cmd)
	return cmd
}

// topicDescription is what describe shows.
type topicDescription struct {
	Name       string                 `json:"name"`
	ID         string                 `json:"id"`
	Partitions []partitionDescription `json:"partitions"`
	Config     map[string]string      `json:"config"` // what the topic itself sets
}

type partitionDescription struct {
	Partition   int32   `json:"partition"`
	Leader      int32   `json:"leader"`
	LeaderEpoch int32   `json:"leader_epoch"`
	Replicas    []int32 `json:"replicas"`
	ISR         []int32 `json:"isr"`
	Start       int64   `json:"start_offset"` // -1: not known, since nobody leads the partition
	End         int64   `json:"end_offset"`
}

func describeTopics(ctx context.Context, a *kadm.Client, names []string) ([]topicDescription, error) {
	topics, err := a.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("describing topics: %w", err)
	}
	for _, name := range names {
		if err := topics[name].Err; err != nil {
			return nil, topicError("describing", name, err, "")
		}
	}
	offsets, err := listBounds(ctx, a, names)
	if err != nil {
		return nil, err
	}
	configs, err := a.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("asking for the settings: %w", err)
	}
	var all []topicDescription
	for _, t := range topics.Sorted() {
		d := topicDescription{Name: t.Topic, ID: topicID(t.ID), Config: map[string]string{}}
		for _, p := range t.Partitions.Sorted() {
			start, end := offsets.of(t.Topic, p.Partition)
			d.Partitions = append(d.Partitions, partitionDescription{p.Partition, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR, start, end})
		}
		config, err := configs.On(t.Topic, nil)
		if err == nil {
			err = config.Err
		}
		if err != nil {
			return nil, topicError("asking for the settings of", t.Topic, err, config.ErrMessage)
		}
		for _, s := range config.Configs {
			if s.Source == kmsg.ConfigSourceDynamicTopicConfig && s.Value != nil {
				d.Config[s.Key] = *s.Value
			}
		}
		all = append(all, d)
	}
	return all, nil
}

func (t *topicDescription) print(out io.Writer) error {
	fmt.Fprintf(out, "topic   %s\nid      %s\n", t.Name, t.ID)
	for _, name := range slices.Sorted(maps.Keys(t.Config)) {
		fmt.Fprintf(out, "config  %s=%s\n", name, t.Config[name])
	}
	var rows [][]string
	for _, p := range t.Partitions {
		rows = append(rows, []string{fmt.Sprint(p.Partition), fmt.Sprint(p.Leader), fmt.Sprint(p.LeaderEpoch), ids(p.Replicas), ids(p.ISR),
			knownOffset(p.Start), knownOffset(p.End)})
	}
	return printTable(out, []string{"PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "START", "END"}, rows)
}

func ids(brokers []int32) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(brokers), " ", ","), "[]")
}
