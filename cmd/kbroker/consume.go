package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// consumeFlags are those of `kbroker consume`.
type consumeFlags struct {
	connection
	output
	from      string
	partition int32
	count     int
	untilEnd  bool
	separator string
	layout    string
	committed bool
}

// consumeCommand is `kbroker consume`.
func consumeCommand() *cobra.Command {
	f := &consumeFlags{}
	cmd := &cobra.Command{
		Use: "consume TOPIC", Short: "Write the records of a topic to the standard output", Args: arguments(1, 1, "one topic"),
		Long: `Write the value of each record as a line, and wait for more until interrupted.

With -o json a line is an object with all that a record has. With -f it is what a format says, in which %t is the topic,
%p the partition, %o the offset, %k the key, %v the value, %h{%k=%v } the headers and %d the time, and \n ends the line.`,
		Example: `  kbroker consume demo
  kbroker consume demo -e -o json
  kbroker consume demo --from -10 -n 10 -f '%p %o %k %v\n'
  kbroker consume demo --from 2026-11-24T08:00:00Z`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.connection.add(cmd)
	f.output.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "start", "where to begin: start, end, an offset, -N for N before the end, or a time such as 2026-11-24T08:00:00Z;\nin a partition that has no such offset: at its nearer end")
	flags.Int32VarP(&f.partition, "partition", "p", -1, "the partition; -1: all")
	flags.IntVarP(&f.count, "count", "n", 0, "stop after so many records; 0: do not stop")
	flags.BoolVarP(&f.untilEnd, "exit-at-end", "e", false, "stop at what is the end when the command starts")
	flags.StringVarP(&f.separator, "key-separator", "K", "", "print the key and this before the value")
	flags.StringVarP(&f.layout, "format", "f", "", "print records in this format")
	flags.BoolVar(&f.committed, "committed", false, "leave out records of transactions that are not committed")
	return cmd
}

func (f *consumeFlags) run(cmd *cobra.Command, topic string) error {
	c := &consumption{topic: topic, left: f.count}
	var err error
	if c.write, err = f.writer(cmd); err != nil {
		return err
	}
	start, err := parseFrom(f.from)
	if err != nil {
		return err
	}
	switch {
	case f.count < 0:
		return &exitError{exitUsage, fmt.Errorf("-n %d: write a number of records, or 0 for all", f.count)}
	case f.partition < -1:
		return &exitError{exitUsage, fmt.Errorf("-p %d: write the number of a partition, or -1 for all", f.partition)}
	}
	isolation := kgo.ReadUncommitted()
	if f.committed {
		isolation = kgo.ReadCommitted()
	}
	client, err := f.open(cmd.Context(), kgo.FetchIsolationLevel(isolation), kgo.KeepControlRecords())
	if err != nil {
		return err
	}
	defer client.Close()
	if err := c.look(cmd.Context(), kadm.NewClient(client), f, start); err != nil {
		return err
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: c.starts})
	return c.run(cmd.Context(), client)
}

// writer returns what prints a record.
func (f *consumeFlags) writer(cmd *cobra.Command) (*recordWriter, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	w := &recordWriter{out: bufio.NewWriter(cmd.OutOrStdout())}
	if f.format == "json" {
		w.add = func(line []byte, r *kgo.Record) []byte {
			j, _ := json.Marshal(toJSON(r)) // has no value that could fail
			return append(append(line, j...), '\n')
		}
		return w, nil
	}
	layout := `%v\n`
	if f.separator != "" {
		layout = "%k" + escapeLayout(f.separator) + `%v\n`
	}
	if f.layout != "" {
		layout = f.layout
	}
	formatter, err := kgo.NewRecordFormatter(layout)
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("-f %s: %w", layout, err)}
	}
	w.add = formatter.AppendRecord
	return w, nil
}

// escapeLayout makes text stand for itself in a format.
func escapeLayout(text string) string {
	return strings.NewReplacer("%", "%%", "{", "%{", "}", "%}", `\`, `\\`).Replace(text)
}

// recordWriter prints records.
type recordWriter struct {
	out  *bufio.Writer
	line []byte
	add  func([]byte, *kgo.Record) []byte
}

func (w *recordWriter) write(r *kgo.Record) error {
	w.line = w.add(w.line[:0], r)
	_, err := w.out.Write(w.line)
	return err
}

// consumption reads one topic.
type consumption struct {
	topic  string
	write  *recordWriter
	left   int                  // records still to print; 0 from the beginning: no limit
	starts map[int32]kgo.Offset // by partition
	ends   map[int32]int64      // where to stop, by partition not yet done; nil: never
}

// look finds the partitions to read, and their ends where it is to stop there.
func (c *consumption) look(ctx context.Context, a *kadm.Client, f *consumeFlags, start beginning) error {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	topics, err := a.ListTopicsWithInternal(ctx, c.topic)
	if err == nil {
		err = topics[c.topic].Err
	}
	if err != nil {
		return topicError("reading", c.topic, err, "")
	}
	partitions := topics[c.topic].Partitions.Numbers()
	if f.partition >= 0 {
		if !slices.Contains(partitions, f.partition) {
			return &exitError{exitNotFound, fmt.Errorf("topic %s has no partition %d; it has %d", c.topic, f.partition, len(partitions))}
		}
		partitions = []int32{f.partition}
	}
	spans, err := start.spans(ctx, a, c.topic, partitions)
	if err != nil {
		return err
	}
	c.starts = map[int32]kgo.Offset{}
	for p, s := range spans {
		c.starts[p] = kgo.NewOffset().At(s.from)
	}
	if f.untilEnd {
		c.ends = map[int32]int64{}
		for p, s := range spans {
			if s.from < s.to {
				c.ends[p] = s.to
			}
		}
	}
	return nil
}

// errDone ends a consumption that has all it wants.
var errDone = errors.New("done")

// run prints records until it has all it wants, or is interrupted.
func (c *consumption) run(ctx context.Context, client *kgo.Client) error {
	for c.ends == nil || len(c.ends) > 0 {
		fetches := client.PollFetches(ctx)
		err := ctx.Err()
		for _, e := range fetches.Errors() {
			if err == nil {
				err = fmt.Errorf("reading %s-%d: %w", e.Topic, e.Partition, e.Err)
			}
		}
		for it := fetches.RecordIter(); !it.Done() && err == nil; {
			err = c.take(it.Next())
		}
		if flush := c.write.out.Flush(); err == nil {
			err = flush
		}
		if errors.Is(err, errDone) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// take prints a record, unless it lies behind the end or is no record of a user.
func (c *consumption) take(r *kgo.Record) error {
	if c.ends != nil {
		end, ok := c.ends[r.Partition]
		if !ok || r.Offset >= end {
			delete(c.ends, r.Partition)
			return nil
		}
		if r.Offset == end-1 {
			delete(c.ends, r.Partition)
		}
	}
	if r.Attrs.IsControl() {
		return nil
	}
	if err := c.write.write(r); err != nil {
		return fmt.Errorf("writing to the standard output: %w", err)
	}
	if c.left > 0 {
		if c.left--; c.left == 0 {
			return errDone
		}
	}
	return nil
}
