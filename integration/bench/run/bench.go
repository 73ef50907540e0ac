//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// tools are the paths of the programs that take part.
type tools struct{ kblast, kroof, startup, kgroup, kbroker string }

// buildTools builds what is not given into dir.
func buildTools(ctx context.Context, root, dir, kbrokerBinary string, only []contender) (tools, error) {
	t := tools{kblast: filepath.Join(dir, "kblast"), kroof: filepath.Join(dir, "kroof"), startup: filepath.Join(dir, "startup"), kgroup: filepath.Join(dir, "kgroup")}
	packages := []string{"./integration/bench/kblast", "./integration/bench/kroof", "./integration/bench/startup", "./integration/bench/kgroup"}
	if slices.Contains(only, kbroker) {
		t.kbroker = kbrokerBinary
		if kbrokerBinary == "" {
			t.kbroker = filepath.Join(dir, "kbroker")
			packages = append(packages, "./cmd/kbroker")
		}
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-o", dir + string(os.PathSeparator)}, packages...)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return t, fmt.Errorf("build the benchmark's programs: %w\n%s", err, out)
	}
	return t, nil
}

// bench is one run of the benchmark.
type bench struct {
	options
	tools
	dir     string // everything the run writes lies here
	log     io.Writer
	samples series
}

// run measures all rows that were asked for. Servers live as long as their durability's rows, as brokers do, and every
// topic is deleted after its measurement.
func (b *bench) run(ctx context.Context, rows []row) error {
	for _, d := range []durability{pageCache, synced} {
		these := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.durability != d || r.starts || r.fresh })
		if len(these) == 0 {
			continue
		}
		if err := b.runRows(ctx, d, these); err != nil {
			return err
		}
	}
	for _, r := range rows {
		var err error
		switch {
		case r.fresh:
			err = b.runFresh(ctx, r)
		case r.starts:
			err = b.runStarts(ctx, r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// runFresh measures a row once on each contender that takes part, each alone and on a data directory of its own.
func (b *bench) runFresh(ctx context.Context, r row) error {
	for _, c := range b.only {
		if !r.by(c) {
			continue
		}
		s, err := b.start(ctx, c, r.durability, freePort(b.port))
		if err != nil {
			return err
		}
		before := readCPU([]int{s.pid})
		out, err := output(ctx, slices.Concat([]string{b.kgroup, "-addr", s.addr, "-pid", strconv.Itoa(s.pid)}, r.measure))
		if err == nil {
			b.keep(sample{Row: r.name, Contender: c, Round: 1, Others: readCPU([]int{s.pid}).others(before), Values: parseOutput(out)}, out)
		} else {
			err = fmt.Errorf("%s on %s: %w\nThe end of its output:\n%s", r.name, c, err, s.log())
		}
		s.stop()
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) runRows(ctx context.Context, d durability, rows []row) error {
	var servers []*server
	defer func() { stopAll(servers) }()
	port := b.port
	for _, c := range b.only {
		port = freePort(port)
		s, err := b.start(ctx, c, d, port)
		port += portsEach
		if err != nil {
			return err
		}
		servers = append(servers, s)
	}
	if err := b.warmKafka(ctx, servers, rows); err != nil {
		return err
	}
	// Round 0 warms everything up and is dropped.
	for round := 0; round <= b.rounds; round++ {
		for _, r := range rows {
			for i := range servers {
				s := servers[(i+round)%len(servers)]
				if !r.by(s.contender) {
					continue
				}
				if err := b.measure(ctx, r, s, servers, round); err != nil {
					return fmt.Errorf("%s on %s (%s), round %d: %w\nThe end of its output:\n%s", r.name, s.contender, d, round, err, s.log())
				}
			}
		}
	}
	return nil
}

func (b *bench) start(ctx context.Context, c contender, d durability, port int) (*server, error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("%s-%d", c, port))
	addr := "127.0.0.1:" + strconv.Itoa(port)
	var s *server
	var err error
	switch c {
	case kafka:
		s, err = startKafka(ctx, dir, port, d)
	case kbroker:
		s, err = startProcess(ctx, c, dir, addr, kbrokerCommand(b.tools.kbroker, dir, addr, d))
	default:
		s, err = startProcess(ctx, c, dir, addr, limitCommand(b.kroof, dir, addr, d))
	}
	if err == nil && b.pin {
		err = pin(s.pid, 0)
	}
	return s, err
}

// warmKafka lets the JVM compile what it is about to be measured on.
func (b *bench) warmKafka(ctx context.Context, servers []*server, rows []row) error {
	for _, s := range servers {
		if s.contender != kafka {
			continue
		}
		for start := time.Now(); time.Since(start) < b.kafkaWarmup; {
			for _, r := range rows {
				if err := b.measure(ctx, r, s, servers, 0); err != nil {
					return fmt.Errorf("warm up Kafka with %s: %w", r.name, err)
				}
			}
		}
	}
	return nil
}

// measure does one row on one server and deletes its topic, also when it fails.
func (b *bench) measure(ctx context.Context, r row, s *server, servers []*server, round int) (err error) {
	topic := fmt.Sprintf("%s-%d", r.name, time.Now().UnixNano())
	common := []string{"-addr", s.addr, "-topic", topic, "-pid", strconv.Itoa(s.pid)}
	defer func() {
		if r.groups { // kgroup deletes its topic
			return
		}
		_, deleteErr := b.blast(context.WithoutCancel(ctx), slices.Concat(common, []string{"-mode", "delete"}))
		if err == nil {
			err = deleteErr
		}
		if err == nil {
			err = s.waitForSpace(ctx)
		}
	}()
	var pids []int
	for _, other := range servers {
		pids = append(pids, other.pid)
	}
	if round > 0 {
		waitForQuiet(ctx, pids, b.patience)
	}
	warmMemory(r.writesMB)
	create := []string{"-create"}
	if r.groups {
		create = nil
	}
	if r.prepare != nil {
		if _, err := b.blast(ctx, slices.Concat(common, create, r.prepare)); err != nil {
			return err
		}
		create = nil
	}
	before := readCPU(pids)
	out, err := b.load(ctx, r, slices.Concat(common, create, r.measure))
	if err != nil {
		return err
	}
	b.keep(sample{Row: r.name, Contender: s.contender, Round: round, Others: readCPU(pids).others(before), Values: parseOutput(out)}, out)
	return nil
}

// keep logs a measurement and stores it, unless it was for warming up.
func (b *bench) keep(x sample, out string) {
	fmt.Fprintf(b.log, "round %d %s others=%.2f %s", x.Round, x.Contender, x.Others, out)
	if x.Round > 0 {
		b.samples = append(b.samples, x)
	}
}

// blastPatience bounds one run of kblast, which bounds itself to much less.
const blastPatience = 4 * time.Minute

// load runs the load generator of a row.
func (b *bench) load(ctx context.Context, r row, flags []string) (string, error) {
	if r.groups {
		return output(ctx, append([]string{b.kgroup}, flags...))
	}
	return b.blast(ctx, flags)
}

func (b *bench) blast(ctx context.Context, flags []string) (string, error) {
	command := append([]string{b.kblast}, flags...)
	if b.pin {
		command = append([]string{"taskset", "-c", "1"}, command...)
	}
	return output(ctx, command)
}

// output runs a command and returns what it prints.
func output(ctx context.Context, command []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, blastPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%q: %w\n%s", command, err, stderr.String())
	}
	return string(out), nil
}

// runStarts measures starts, one contender after the other, each alone.
func (b *bench) runStarts(ctx context.Context, r row) error {
	for round := 0; round <= b.rounds; round++ {
		for i := range b.only {
			if err := b.measureStart(ctx, r, b.only[(i+round)%len(b.only)], round); err != nil {
				return err
			}
		}
	}
	return nil
}

// measureStart starts a contender on a directory without topics and removes that, except for Kafka's, whose
// configuration is kept for the next round.
func (b *bench) measureStart(ctx context.Context, r row, c contender, round int) error {
	port := freePort(b.port)
	addr := "127.0.0.1:" + strconv.Itoa(port)
	dir := filepath.Join(b.dir, "start-"+string(c))
	var command []string
	var err error
	switch c {
	case kafka:
		command, err = kafkaCommand(ctx, dir, port)
	case kbroker:
		command = kbrokerCommand(b.tools.kbroker, dir, addr, synced)
	default:
		command = limitCommand(b.kroof, dir, addr, pageCache)
	}
	if err != nil {
		return err
	}
	if c != kafka {
		defer os.RemoveAll(dir)
	}
	waitForQuiet(ctx, nil, b.patience)
	before := readCPU(nil)
	out, err := output(ctx, slices.Concat([]string{b.startup, "-addr", addr}, r.measure, []string{"--"}, command))
	if err != nil {
		return err
	}
	b.keep(sample{Row: r.name, Contender: c, Round: round, Others: readCPU(nil).others(before), Values: parseOutput(out)}, out)
	return nil
}
