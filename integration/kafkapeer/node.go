package kafkapeer

import (
	"context"
	crand "crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kbroker/kbroker/integration/process"
)

// Config says how to start a Node. The zero value is a fresh single node with a 1 GiB heap on free ports.
type Config struct {
	// Dir holds server.properties, the log and data/. Empty means a temporary directory that Close removes. A directory that
	// an earlier Node used is started again with its data.
	Dir string
	// Port is the client port on 127.0.0.1; the controller listens on Port+1. Zero means a free pair.
	Port int
	// Properties are added to server.properties as "key=value", and win over what the package sets.
	Properties []string
	// Heap is the JVM's -Xmx and -Xms, "1G" when empty, which is what Kafka's own script asks for.
	Heap string
	// JVM holds more options for the JVM.
	JVM []string
}

// startLimit is how long a start may take. It takes about five seconds on an idle machine; a loaded CI machine with two
// cores was seen to need thirty.
const startLimit = 5 * time.Minute

// stopLimit is how long an orderly stop may take before the process is killed.
const stopLimit = time.Minute

// Node is one running Kafka: broker and controller in one JVM.
type Node struct {
	jars    Jars
	cfg     Config
	owned   bool             // Dir is ours to remove
	process *process.Process // nil: it did not start
}

// Start formats the directory if it is blank, starts a node and waits until it serves.
func (j Jars) Start(ctx context.Context, cfg Config) (*Node, error) {
	n := &Node{jars: j, cfg: cfg}
	if n.cfg.Heap == "" {
		n.cfg.Heap = "1G"
	}
	if n.cfg.Dir == "" {
		dir, err := os.MkdirTemp("", "kafkapeer-")
		if err != nil {
			return nil, fmt.Errorf("kafkapeer: %w", err)
		}
		n.cfg.Dir, n.owned = dir, true
	}
	if n.cfg.Port == 0 {
		n.cfg.Port = process.FreePort(2)
	}
	if err := n.start(ctx); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// StartForTest installs Kafka, starts a node and ends it with the test, which fails if any of this does.
func StartForTest(tb testing.TB, cfg Config) *Node {
	tb.Helper()
	jars, err := Install(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	n, err := jars.Start(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(n.Close)
	return n
}

// Bootstrap is the address for clients, 127.0.0.1:PORT.
func (n *Node) Bootstrap() string { return process.Loopback(n.cfg.Port) }

// DataDir is the node's only log directory.
func (n *Node) DataDir() string { return filepath.Join(n.cfg.Dir, "data") }

// Config is what the node runs with, defaults filled in. Start with it again to restart the node after Stop or Kill.
func (n *Node) Config() Config { return n.cfg }

// PID is the JVM's process id.
func (n *Node) PID() int { return n.process.PID() }

// Stop ends the node in an orderly way and waits for it.
func (n *Node) Stop() error {
	// Which code a JVM ends with after a signal says nothing.
	if _, err := n.process.Stop(stopLimit); err != nil {
		return fmt.Errorf("kafkapeer: %w", err)
	}
	return nil
}

// Kill ends the node with SIGKILL and waits for it.
func (n *Node) Kill() { n.process.Kill() }

// Close kills the node if it runs, and removes its directory if Start made it.
func (n *Node) Close() {
	if n.process != nil {
		n.Kill()
	}
	if n.owned {
		os.RemoveAll(n.cfg.Dir)
	}
}

func (n *Node) start(ctx context.Context) error {
	if err := n.configure(ctx); err != nil {
		return err
	}
	jvm := []string{
		"-Xmx" + n.cfg.Heap, "-Xms" + n.cfg.Heap, "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
		"-XX:InitiatingHeapOccupancyPercent=35", "-Djava.awt.headless=true",
		"-Dlog4j2.configurationFile=" + filepath.Join(n.cfg.Dir, "log4j2.yaml"),
	}
	jvm = append(jvm, n.cfg.JVM...)
	var err error
	n.process, err = process.Start(ctx, process.Options{
		Name:    fmt.Sprintf("Kafka on port %d", n.cfg.Port),
		Command: exec.Command("java", append(jvm, "-cp", n.jars.ClassPath(), "kafka.Kafka", n.properties())...),
		Log:     filepath.Join(n.cfg.Dir, "kafka.log"), Ready: "Kafka Server started", Limit: startLimit,
	})
	if err != nil {
		return fmt.Errorf("kafkapeer: %w", err)
	}
	return nil
}

func (n *Node) properties() string { return filepath.Join(n.cfg.Dir, "server.properties") }

// configure writes the files that a start needs and formats a blank data directory.
func (n *Node) configure(ctx context.Context) error {
	lines := append([]string{
		"process.roles=broker,controller",
		"node.id=1",
		fmt.Sprintf("controller.quorum.voters=1@127.0.0.1:%d", n.cfg.Port+1),
		fmt.Sprintf("listeners=PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d", n.cfg.Port, n.cfg.Port+1),
		"controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
		"log.dirs=" + filepath.ToSlash(n.DataDir()),
		"offsets.topic.replication.factor=1",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"share.coordinator.state.topic.replication.factor=1",
		"share.coordinator.state.topic.min.isr=1",
		"group.initial.rebalance.delay.ms=0",
	}, n.cfg.Properties...)
	const log4j = `Configuration:
  status: WARN
  Appenders: {Console: {name: C, target: SYSTEM_OUT, PatternLayout: {pattern: "%d %p %c{1} %m%n"}}}
  Loggers: {Root: {level: INFO, AppenderRef: {ref: C}}}
`
	err := errors.Join(
		os.MkdirAll(n.cfg.Dir, 0o755),
		os.WriteFile(n.properties(), []byte(strings.Join(lines, "\n")+"\n"), 0o644),
		os.WriteFile(filepath.Join(n.cfg.Dir, "log4j2.yaml"), []byte(log4j), 0o644),
	)
	if err != nil {
		return fmt.Errorf("kafkapeer: %w", err)
	}
	if exists(filepath.Join(n.DataDir(), "meta.properties")) {
		return nil
	}
	format := n.jars.Command(ctx, "kafka.tools.StorageTool", "format", "-t", clusterID(), "-c", n.properties())
	if text, err := format.CombinedOutput(); err != nil {
		return fmt.Errorf("kafkapeer: formatting %s: %w\n%s", n.DataDir(), err, text)
	}
	return nil
}

// clusterID makes a cluster id as Kafka writes them: a random UUID in URL-safe base64 without padding.
func clusterID() string {
	for {
		var uuid [16]byte
		crand.Read(uuid[:])
		// A leading dash would look like an option to the format tool.
		if id := base64.RawURLEncoding.EncodeToString(uuid[:]); id[0] != '-' {
			return id
		}
	}
}
