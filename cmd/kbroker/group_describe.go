package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// groupDescription is what describe shows.
type groupDescription struct {
	groupSummary
	Assignor string            `json:"assignor"`
	Members  []memberSummary   `json:"members"`
	Offsets  []committedOffset `json:"offsets"`
	Lag      int64             `json:"lag"` // of all partitions with a committed offset
}

type memberSummary struct {
	ID         string             `json:"id"`
	Instance   string             `json:"instance,omitempty"` // group.instance.id
	Client     string             `json:"client"`
	Host       string             `json:"host"`
	Partitions map[string][]int32 `json:"partitions"`
}

// committedOffset is one partition that the group has committed an offset of, or that a member is assigned.
type committedOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed *int64 `json:"committed"` // null: none
	Start     int64  `json:"start_offset"`
	End       int64  `json:"end_offset"`
	Lag       *int64 `json:"lag"` // null: nothing is committed
	Metadata  string `json:"metadata,omitempty"`
	Member    string `json:"member,omitempty"`
}

func groupDescribeCommand(c *connection) *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "describe GROUP...", Short: "Show members, committed offsets and lag of groups", Args: arguments(1, 0, "at least one group"),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return c.with(cmd.Context(), func(ctx context.Context, client *kgo.Client) error {
				for _, name := range names {
					g, err := describeGroup(ctx, client, name)
					if err != nil {
						return groupError("describing", name, err)
					}
					if err := o.describe(cmd.OutOrStdout(), g, g.print); err != nil {
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

func describeGroup(ctx context.Context, client *kgo.Client, name string) (*groupDescription, error) {
	a := kadm.NewClient(client)
	groups, err := listGroups(ctx, client, nil)
	g := &groupDescription{groupSummary: groupSummary{Name: name}, Members: []memberSummary{}, Offsets: []committedOffset{}}
	for _, s := range groups {
		if s.Name == name {
			g.groupSummary = s
		}
	}
	switch g.Type {
	case "":
		return nil, cmp.Or(err, error(kerr.GroupIDNotFound))
	case "consumer":
		err = g.describeConsumer(ctx, a)
	case "classic":
		err = g.describeClassic(ctx, a)
	default:
		return nil, fmt.Errorf("it is a %s group, which kbroker group does not describe yet", g.Type)
	}
	if err != nil {
		return nil, err
	}
	return g, g.describeOffsets(ctx, a)
}

func (g *groupDescription) describeClassic(ctx context.Context, a *kadm.Client) error {
	all, err := a.DescribeGroups(ctx, g.Name)
	if err == nil {
		err = all[g.Name].Err
	}
	if err != nil {
		return err
	}
	d := all[g.Name]
	g.State, g.Assignor = d.State, d.Protocol
	for _, m := range d.Members {
		s := memberSummary{ID: m.MemberID, Client: m.ClientID, Host: m.ClientHost, Partitions: map[string][]int32{}}
		if m.InstanceID != nil {
			s.Instance = *m.InstanceID
		}
		if assigned, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range assigned.Topics {
				s.Partitions[t.Topic] = slices.Sorted(slices.Values(t.Partitions))
			}
		}
		g.Members = append(g.Members, s)
	}
	return nil
}

func (g *groupDescription) describeConsumer(ctx context.Context, a *kadm.Client) error {
	all, err := a.DescribeConsumerGroups(ctx, g.Name)
	if err == nil {
		err = all[g.Name].Err
	}
	if err != nil {
		return err
	}
	d := all[g.Name]
	g.State, g.Assignor = d.State, d.AssignorName
	for _, m := range d.Members {
		s := memberSummary{ID: m.MemberID, Client: m.ClientID, Host: m.ClientHost, Partitions: map[string][]int32{}}
		if m.InstanceID != nil {
			s.Instance = *m.InstanceID
		}
		for _, t := range m.Assignment.Sorted() {
			s.Partitions[t.Topic] = t.Partitions
		}
		g.Members = append(g.Members, s)
	}
	return nil
}

// describeOffsets adds the partitions that the group has to do with.
func (g *groupDescription) describeOffsets(ctx context.Context, a *kadm.Client) error {
	committed, err := fetchOffsets(ctx, a, g.Name)
	if err != nil {
		return fmt.Errorf("asking for its committed offsets: %w", err)
	}
	set := kadm.TopicsSet{}
	owners := map[string]string{}
	for _, m := range g.Members {
		for topic, partitions := range m.Partitions {
			set.Add(topic, partitions...)
			for _, p := range partitions {
				owners[fmt.Sprint(topic, "-", p)] = m.ID
			}
		}
	}
	committed.Each(func(o kadm.OffsetResponse) { set.Add(o.Topic, o.Partition) })
	if len(set) == 0 {
		return nil
	}
	bounds, err := listBounds(ctx, a, set.Topics())
	if err != nil {
		return err
	}
	for _, t := range set.Sorted() {
		for _, p := range t.Partitions {
			o := committedOffset{Topic: t.Topic, Partition: p, Start: -1, End: -1, Member: owners[fmt.Sprint(t.Topic, "-", p)]}
			o.Start, o.End = bounds.of(t.Topic, p)
			if c, ok := committed.Lookup(t.Topic, p); ok && c.At >= 0 {
				o.Committed, o.Metadata = &c.At, c.Metadata
				if o.End >= 0 {
					lag := max(o.End-max(c.At, o.Start), 0) // what retention has taken is not behind any more
					o.Lag = &lag
					g.Lag += lag
				}
			}
			g.Offsets = append(g.Offsets, o)
		}
	}
	return nil
}

// bounds are the first and the next offset of partitions.
type bounds struct{ starts, ends kadm.ListedOffsets }

// listBounds asks for the bounds of topics. A topic that is gone has none.
func listBounds(ctx context.Context, a *kadm.Client, topics []string) (b bounds, err error) {
	if b.starts, err = a.ListStartOffsets(ctx, topics...); err != nil {
		return b, fmt.Errorf("asking for start offsets: %w", err)
	}
	if b.ends, err = a.ListEndOffsets(ctx, topics...); err != nil {
		return b, fmt.Errorf("asking for end offsets: %w", err)
	}
	return b, nil
}

// of returns -1 for what is not known.
func (b *bounds) of(topic string, partition int32) (start, end int64) {
	start, end = -1, -1
	if o, ok := b.starts.Lookup(topic, partition); ok && o.Err == nil {
		start = o.Offset
	}
	if o, ok := b.ends.Lookup(topic, partition); ok && o.Err == nil {
		end = o.Offset
	}
	return start, end
}

// err is why the bounds of a partition are not known.
func (b *bounds) err(topic string, partition int32) error {
	for _, listed := range []kadm.ListedOffsets{b.starts, b.ends} {
		o, ok := listed.Lookup(topic, partition)
		if !ok {
			return kerr.UnknownTopicOrPartition
		}
		if o.Err != nil {
			return o.Err
		}
	}
	return nil
}

func (g *groupDescription) print(w io.Writer) error {
	fmt.Fprintf(w, "group        %s\ntype         %s\nstate        %s\n", g.Name, g.Type, g.State)
	if g.Assignor != "" {
		fmt.Fprintf(w, "assignor     %s\n", g.Assignor)
	}
	fmt.Fprintf(w, "coordinator  %d\nlag          %s\n", g.Coordinator, g.lag())
	var members, offsets [][]string
	for _, m := range g.Members {
		members = append(members, []string{m.ID, cmp.Or(m.Instance, "-"), m.Client, m.Host, assignment(m.Partitions)})
	}
	for _, o := range g.Offsets {
		offsets = append(offsets, []string{o.Topic, fmt.Sprint(o.Partition), numberOrDash(o.Committed), knownOffset(o.Start), knownOffset(o.End),
			numberOrDash(o.Lag), cmp.Or(o.Member, "-")})
	}
	var err error
	if len(members) > 0 {
		fmt.Fprintln(w)
		err = printTable(w, []string{"MEMBER", "INSTANCE", "CLIENT", "HOST", "PARTITIONS"}, members)
	}
	if len(offsets) > 0 {
		fmt.Fprintln(w)
		err = errors.Join(err, printTable(w, []string{"TOPIC", "PARTITION", "COMMITTED", "START", "END", "LAG", "MEMBER"}, offsets))
	}
	return err
}

// lag is the sum as people read it: a group that has read and committed nothing has a lag nobody knows, and a 0 would
// say that it is up to date.
func (g *groupDescription) lag() string {
	if known := func(o committedOffset) bool { return o.Lag != nil }; len(g.Offsets) > 0 && !slices.ContainsFunc(g.Offsets, known) {
		return "-"
	}
	return strconv.FormatInt(g.Lag, 10)
}

// assignment is the partitions of a member as TOPIC:0,1.
func assignment(partitions map[string][]int32) string {
	var all []string
	for topic, numbers := range partitions {
		all = append(all, topic+":"+ids(numbers))
	}
	slices.Sort(all)
	return cmp.Or(strings.Join(all, " "), "-")
}

func numberOrDash(n *int64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(*n, 10)
}

func knownOffset(n int64) string {
	if n < 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}
