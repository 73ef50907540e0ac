package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// topicChange is one thing about a topic, before and after.
type topicChange struct {
	Topic string `json:"topic"`
	Name  string `json:"name"` // of the setting, or "partitions"
	Old   string `json:"old"`
	New   string `json:"new"`
}

// alterFlags are those of `kbroker topic alter`.
type alterFlags struct {
	output
	set        []string
	reset      []string
	partitions int
	dry        bool
}

func topicAlterCommand(c *connection) *cobra.Command {
	f := &alterFlags{}
	cmd := &cobra.Command{
		Use: "alter TOPIC...", Short: "Change settings of topics, or add partitions", Args: arguments(1, 0, "at least one topic"),
		Example: `  kbroker topic alter clicks -c retention.ms=3600000 --delete-config cleanup.policy
  kbroker topic alter clicks -p 12 --dry-run`,
		RunE: func(cmd *cobra.Command, topics []string) error {
			alterations, err := f.parse(cmd)
			if err != nil {
				return err
			}
			return c.admin(cmd.Context(), func(ctx context.Context, a *kadm.Client) error {
				before, err := describeState(ctx, a, topics)
				if err == nil {
					err = f.alter(ctx, a, topics, alterations)
				}
				if err != nil {
					return err
				}
				after := before
				if !f.dry {
					if after, err = describeState(ctx, a, topics); err != nil {
						return err
					}
				}
				return f.show(cmd, topics, before, after)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringArrayVarP(&f.set, "config", "c", nil, "a setting as KEY=VALUE; may be repeated")
	cmd.Flags().StringArrayVar(&f.reset, "delete-config", nil, "take a setting back to its default; may be repeated")
	cmd.Flags().IntVarP(&f.partitions, "partitions", "p", 0, "number of partitions to grow to")
	cmd.Flags().BoolVar(&f.dry, "dry-run", false, "only check, and show what would change")
	return cmd
}

// parse reads the flags into alterations.
func (f *alterFlags) parse(cmd *cobra.Command) (all []kadm.AlterConfig, err error) {
	settings, err := parseSettings(f.set)
	if err = errors.Join(f.check(), err); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		all = append(all, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: settings[name]})
	}
	for _, name := range f.reset {
		if settings[name] != nil {
			return nil, usageError(cmd, fmt.Errorf("%s is to be set and to be deleted", name))
		}
		all = append(all, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name})
	}
	if len(all) == 0 && f.partitions == 0 {
		return nil, usageError(cmd, errors.New("say what to change with --config, --delete-config or --partitions"))
	}
	return all, nil
}

// alter changes what is asked for, or with --dry-run has the broker check it. Settings come first: they can be refused,
// and partitions cannot be taken away again.
func (f *alterFlags) alter(ctx context.Context, a *kadm.Client, topics []string, alterations []kadm.AlterConfig) error {
	if len(alterations) > 0 {
		do := a.AlterTopicConfigs
		if f.dry {
			do = a.ValidateAlterTopicConfigs
		}
		altered, err := do(ctx, alterations, topics...)
		if err != nil {
			return fmt.Errorf("altering the settings: %w", err)
		}
		var problems []error
		for _, r := range altered {
			if r.Err != nil {
				problems = append(problems, topicError("altering", r.Name, r.Err, r.ErrMessage))
			}
		}
		if err := errors.Join(problems...); err != nil {
			return err
		}
	}
	if f.partitions == 0 {
		return nil
	}
	do := a.UpdatePartitions
	if f.dry {
		do = a.ValidateUpdatePartitions
	}
	grown, err := do(ctx, f.partitions, topics...)
	if err != nil {
		return fmt.Errorf("adding partitions: %w", err)
	}
	var problems []error
	for _, r := range grown.Sorted() {
		if r.Err != nil && !errors.Is(r.Err, kerr.InvalidPartitions) {
			problems = append(problems, topicError("adding partitions to", r.Topic, r.Err, r.ErrMessage))
		} else if r.Err != nil {
			problems = append(problems, topicError("adding partitions to", r.Topic, r.Err, cmp.Or(r.ErrMessage, "the number of partitions can only grow")))
		}
	}
	return errors.Join(problems...)
}

// topicState is what alter can change of a topic: its number of partitions and effective settings, by name.
type topicState map[string]string

func describeState(ctx context.Context, a *kadm.Client, names []string) (map[string]topicState, error) {
	topics, err := a.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("describing topics: %w", err)
	}
	for _, name := range names {
		if err := topics[name].Err; err != nil {
			return nil, topicError("altering", name, err, "")
		}
	}
	configs, err := a.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("asking for the settings: %w", err)
	}
	all := map[string]topicState{}
	for _, c := range configs {
		if c.Err != nil {
			return nil, topicError("asking for the settings of", c.Name, c.Err, c.ErrMessage)
		}
		s := topicState{"partitions": strconv.Itoa(len(topics[c.Name].Partitions))}
		for _, x := range c.Configs {
			s[x.Key] = x.MaybeValue()
		}
		all[c.Name] = s
	}
	return all, nil
}

// show prints what was named, before and after. Only what a setting is after its deletion has to be asked for, which a dry
// run cannot.
func (f *alterFlags) show(cmd *cobra.Command, topics []string, before, after map[string]topicState) error {
	changes, rows := []topicChange{}, [][]string{}
	add := func(topic, name, wanted string) {
		c := topicChange{topic, name, before[topic][name], wanted}
		changes = append(changes, c)
		rows = append(rows, []string{c.Topic, c.Name, cmp.Or(c.Old, "-"), cmp.Or(c.New, "-")})
	}
	settings, _ := parseSettings(f.set) // they were read before
	for _, topic := range topics {
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			add(topic, name, *settings[name])
		}
		for _, name := range f.reset {
			now := "(default)"
			if !f.dry {
				now = after[topic][name]
			}
			add(topic, name, now)
		}
		if f.partitions != 0 {
			add(topic, "partitions", strconv.Itoa(f.partitions))
		}
	}
	if err := f.print(cmd.OutOrStdout(), changes, []string{"TOPIC", "NAME", "OLD", "NEW"}, rows); err != nil {
		return err
	}
	if f.dry && f.format == "text" {
		fmt.Fprintln(cmd.ErrOrStderr(), "nothing was changed: --dry-run")
	}
	return nil
}
