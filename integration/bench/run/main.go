//go:build linux

// Command run is the benchmark: the same work done to kbroker, to Apache Kafka and to the limit server (kroof), in one
// interleaved run, printed as a table of medians and ratios. RESULTS.md beside it says how it measures and why, and
// keeps the table of a real run.
//
//	go run ./integration/bench/run                                            everything, about half an hour
//	go run ./integration/bench/run -quick -only kbroker,kroof -rows produce1m   while tuning
//
// It starts everything on loopback, bounds what it writes, and deletes it, also when it fails or is interrupted.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	only                  []contender
	rowNames              []string
	rounds, port          int
	quick, pin            bool
	binary, dir, json     string
	patience, kafkaWarmup time.Duration
}

func parseOptions() (options, error) {
	var o options
	only := flag.String("only", "kbroker,kafka,kroof", "contenders, separated by commas")
	names := flag.String("rows", "", "names of the rows to measure, separated by commas; empty means all")
	list := flag.Bool("list", false, "print the rows and exit")
	flag.IntVar(&o.rounds, "rounds", 0, "rounds that count; one more, the first, is dropped (0: 5, or 3 with -quick)")
	flag.IntVar(&o.port, "port", 22100, "first of the ports used; below 32768, where outgoing connections take theirs")
	flag.BoolVar(&o.quick, "quick", false, "shorter measurements and fewer rounds, for tuning")
	flag.BoolVar(&o.pin, "pin", false, "brokers on core 0 and the load generator on core 1")
	flag.StringVar(&o.binary, "binary", "", "kbroker to measure; empty builds the one of this source tree")
	flag.StringVar(&o.dir, "dir", "", "folder for the data, on the disk to be measured; empty means the system's folder for temporary files")
	flag.StringVar(&o.json, "json", "", "file for all samples")
	flag.DurationVar(&o.patience, "quiet", 15*time.Second, "how long to wait before a measurement until others leave the machine idle")
	flag.DurationVar(&o.kafkaWarmup, "kafka-warmup", 30*time.Second, "time for the JVM to warm up, besides the first round")
	flag.Parse()
	if *list {
		for _, r := range append(rows(1), startRow(1)) {
			fmt.Printf("%-14s %s (%s)\n", r.name, r.title, r.durability)
		}
		os.Exit(0)
	}
	if *names != "" {
		o.rowNames = strings.Split(*names, ",")
	}
	for name := range strings.SplitSeq(*only, ",") {
		if !slices.Contains(contenders, contender(name)) {
			return o, fmt.Errorf("-only: %q is none of %v", name, contenders)
		}
		o.only = append(o.only, contender(name))
	}
	if o.rounds == 0 {
		o.rounds = 5
		if o.quick {
			o.rounds = 3
		}
	}
	return o, nil
}

// choose returns the rows that were asked for.
func (o options) choose() ([]row, error) {
	s := size(1)
	if o.quick {
		s = 0.4
	}
	all := append(rows(s), startRow(s))
	if o.rowNames == nil {
		return all, nil
	}
	var some []row
	for _, name := range o.rowNames {
		i := slices.IndexFunc(all, func(r row) bool { return r.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-rows: no row %q; -list shows them", name)
		}
		some = append(some, all[i])
	}
	return some, nil
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) (err error) {
	o, err := parseOptions()
	if err != nil {
		return err
	}
	chosen, err := o.choose()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "kbroker-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the source tree (run this inside of it): %w", err)
	}
	built, err := buildTools(ctx, strings.TrimSpace(string(root)), dir, o.binary, o.only)
	if err != nil {
		return err
	}
	b := &bench{options: o, tools: built, dir: filepath.Join(dir, "data"), log: os.Stderr}
	start := time.Now()
	measureErr := b.run(ctx, chosen)
	if len(b.samples) > 0 { // what was measured before a failure is worth showing
		for _, line := range describe(built) {
			fmt.Fprintln(w, "- "+line)
		}
		fmt.Fprintf(w, "- %d rounds in %v\n\n", o.rounds, time.Since(start).Round(time.Second))
		report(w, b.samples, chosen)
	}
	if o.json != "" {
		text, err := json.MarshalIndent(b.samples, "", " ")
		measureErr = errors.Join(measureErr, err, os.WriteFile(o.json, text, 0o644))
	}
	return measureErr
}
