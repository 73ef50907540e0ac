package kafkapeer

import (
	"bufio"
	"context"
	crand "crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
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
const startLimit = 2 * time.Minute

// Node is one running Kafka: broker and controller in one JVM.
type Node struct {
	jars   Jars
	cfg    Config
	owned  bool // Dir is ours to remove
	cmd    *exec.Cmd
	ready  chan struct{} // closed when Kafka says that it has started
	exited chan struct{} // closed when the process is gone; exit is set before
	exit   error
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
		n.cfg.Port = freePair()
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
func (n *Node) Bootstrap() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.cfg.Port)) }

// DataDir is the node's only log directory.
func (n *Node) DataDir() string { return filepath.Join(n.cfg.Dir, "data") }

// Config is what the node runs with, defaults filled in. Start with it again to restart the node after Stop or Kill.
func (n *Node) Config() Config { return n.cfg }

// PID is the JVM's process id.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Stop ends the node in an orderly way and waits for it.
func (n *Node) Stop() error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kafkapeer: stopping Kafka %d: %w", n.PID(), err)
	}
	<-n.exited
	return nil
}

// Kill ends the node with SIGKILL and waits for it.
func (n *Node) Kill() {
	n.cmd.Process.Kill() // an error means that it has exited, which the next line waits for anyway
	<-n.exited
}

// Close kills the node if it runs, and removes its directory if Start made it.
func (n *Node) Close() {
	if n.cmd != nil && n.cmd.Process != nil {
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
	n.cmd = exec.Command("java", append(jvm, "-cp", n.jars.ClassPath(), "kafka.Kafka", n.properties())...)
	n.cmd.SysProcAttr = dieWithParent()
	n.ready, n.exited = make(chan struct{}), make(chan struct{})
	started := make(chan error)
	go n.run(started)
	if err := <-started; err != nil {
		n.cmd = nil
		return fmt.Errorf("kafkapeer: starting java: %w", err)
	}
	select {
	case <-n.ready:
		return nil
	case <-n.exited:
		return fmt.Errorf("kafkapeer: Kafka on port %d exited while starting (%v):\n%s", n.cfg.Port, n.exit, n.logTail())
	case <-ctx.Done():
		return fmt.Errorf("kafkapeer: starting Kafka: %w", ctx.Err())
	case <-time.After(startLimit):
		return fmt.Errorf("kafkapeer: Kafka on port %d does not serve after %s:\n%s", n.cfg.Port, startLimit, n.logTail())
	}
}

// run starts the process, copies its output to kafka.log, and waits for its end, which ends run. It keeps its thread, on
// which dieWithParent depends.
func (n *Node) run(started chan<- error) {
	runtime.LockOSThread()
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		started <- err
		return
	}
	n.cmd.Stderr = n.cmd.Stdout
	if err := n.cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	n.copyLog(out)
	n.exit = n.cmd.Wait()
	close(n.exited)
}

func (n *Node) copyLog(out io.Reader) {
	file, err := os.Create(filepath.Join(n.cfg.Dir, "kafka.log"))
	if err != nil {
		file = os.Stderr
	} else {
		defer file.Close()
	}
	lines := bufio.NewReader(out)
	ready := n.ready
	for {
		line, err := lines.ReadString('\n')
		io.WriteString(file, line)
		if ready != nil && strings.Contains(line, "Kafka Server started") {
			close(ready)
			ready = nil
		}
		if err != nil {
			return
		}
	}
}

func (n *Node) logTail() string {
	text, _ := os.ReadFile(filepath.Join(n.cfg.Dir, "kafka.log"))
	const keep = 4000
	return string(text[max(0, len(text)-keep):])
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

// freePair finds a port whose successor is free as well. It stays below 32768, where Linux begins to give out ports to
// outgoing connections, which might take the port before Kafka does.
func freePair() int {
	for {
		port := 20000 + rand.IntN(12000)
		if free(port) && free(port+1) {
			return port
		}
	}
}

func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	l.Close()
	return true
}
