package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// connection is the flags of commands that talk to a broker.
type connection struct {
	bootstrap []string
	timeout   time.Duration
}

func (c *connection) add(cmd *cobra.Command) {
	def := cmp.Or(os.Getenv("KBROKER_BOOTSTRAP"), "127.0.0.1:9092")
	cmd.PersistentFlags().StringSliceVarP(&c.bootstrap, "bootstrap", "b", strings.Split(def, ","),
		"HOST:PORT of brokers (or KBROKER_BOOTSTRAP)")
	cmd.PersistentFlags().DurationVar(&c.timeout, "timeout", 10*time.Second, "how long to wait for a broker's answer")
}

// open connects to a broker, and fails if none answers within the time-out.
func (c *connection) open(ctx context.Context, opts ...kgo.Opt) (*kgo.Client, error) {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.bootstrap...), kgo.ClientID("kbroker"), kgo.SoftwareNameAndVersion("kbroker-cli", softwareVersion()),
		kgo.RetryTimeout(c.timeout), kgo.DialTimeout(c.timeout),
	}, opts...)...)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		client.Close()
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, ctx.Err()
		}
		return nil, &exitError{exitUnreachable, fmt.Errorf("no broker answers at %s: %w; start one with kbroker start, or name another with -b",
			strings.Join(c.bootstrap, ","), err)}
	}
	return client, nil
}

// with runs do with a client, within the time-out.
func (c *connection) with(ctx context.Context, do func(context.Context, *kgo.Client) error) error {
	client, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return do(ctx, client)
}

// admin runs do with an administrative client, within the time-out.
func (c *connection) admin(ctx context.Context, do func(context.Context, *kadm.Client) error) error {
	return c.with(ctx, func(ctx context.Context, client *kgo.Client) error {
		a := kadm.NewClient(client)
		a.SetTimeoutMillis(int32(c.timeout.Milliseconds()))
		return do(ctx, a)
	})
}

// output is the -o flag of commands that list something.
type output struct{ format string }

func (o *output) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", "text", "text or json")
}

func (o *output) check() error {
	if o.format != "text" && o.format != "json" {
		return &exitError{exitUsage, fmt.Errorf("-o %s: write text or json", o.format)}
	}
	return nil
}

// print writes v as one line of JSON, or rows under a heading.
func (o *output) print(w io.Writer, v any, heading []string, rows [][]string) error {
	if o.format == "json" {
		return json.NewEncoder(w).Encode(v)
	}
	return printTable(w, heading, rows)
}

// describe writes v as one line of JSON, or what print makes of it for people.
func (o *output) describe(w io.Writer, v any, print func(io.Writer) error) error {
	if o.format == "json" {
		return o.print(w, v, nil, nil)
	}
	return print(w)
}

// printTable writes rows in columns, without blanks behind the last one.
func printTable(w io.Writer, heading []string, rows [][]string) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	if heading != nil {
		fmt.Fprintln(table, strings.Join(heading, "\t"))
	}
	for _, r := range rows {
		fmt.Fprintln(table, strings.Join(r, "\t"))
	}
	_ = table.Flush() // it writes to memory
	for line := range strings.Lines(text.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// done reports one thing that was done: a line of text, or of JSON with the verb as "result".
func (o *output) done(w io.Writer, verb, kind, name string) error {
	return o.print(w, map[string]string{kind: name, "result": verb}, nil, [][]string{{verb + " " + name}})
}
