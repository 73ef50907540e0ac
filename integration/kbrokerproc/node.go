package kbrokerproc

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kbroker/kbroker/integration/process"
)

// Config says how to start a Node. The zero value is a fresh node on a free port.
type Config struct {
	// Dir holds kbroker.log and data/. Empty means a temporary directory that Close removes. A directory that an earlier
	// Node used is started again with its data.
	Dir string
	// Port is the client port on 127.0.0.1. Zero means a free one.
	Port int
	// Properties are settings, as "key=value". The HTTP listener is off unless one of them turns it on. One that sets
	// listeners replaces the client port's listener and must have it in its list.
	Properties []string
	// Env holds more environment variables, as "NAME=value".
	Env []string
}

// startLimit is how long a start may take, recovery included. It takes some milliseconds on an idle machine.
const startLimit = time.Minute

// stopLimit is how long an orderly stop may take before the process is killed.
const stopLimit = 30 * time.Second

// Node is one running kbroker.
type Node struct {
	binary  string
	cfg     Config
	owned   bool             // Dir is ours to remove
	process *process.Process // nil: it did not start
}

// Start starts kbroker and waits until it is ready.
func Start(ctx context.Context, binary string, cfg Config) (*Node, error) {
	n := &Node{binary: binary, cfg: cfg}
	if n.cfg.Dir == "" {
		dir, err := os.MkdirTemp("", "kbrokerproc-")
		if err != nil {
			return nil, fmt.Errorf("kbrokerproc: %w", err)
		}
		n.cfg.Dir, n.owned = dir, true
	}
	if n.cfg.Port == 0 {
		n.cfg.Port = process.FreePort(1)
	}
	if err := n.start(ctx); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// Bootstrap is the address for clients, 127.0.0.1:PORT.
func (n *Node) Bootstrap() string { return process.Loopback(n.cfg.Port) }

// DataDir is the node's only data directory.
func (n *Node) DataDir() string { return filepath.Join(n.cfg.Dir, "data") }

// Config is what the node runs with, defaults filled in. Start with it again to restart the node after Stop or Kill.
func (n *Node) Config() Config { return n.cfg }

// PID is the process id.
func (n *Node) PID() int { return n.process.PID() }

// Stop ends the node in an orderly way. It is an error if the node does not end in time or with exit code 0.
func (n *Node) Stop() error {
	exit, err := n.process.Stop(stopLimit)
	if err == nil && exit != nil {
		err = fmt.Errorf("kbroker %d stopped with %w:\n%s", n.PID(), exit, n.LogTail())
	}
	if err != nil {
		return fmt.Errorf("kbrokerproc: %w", err)
	}
	return nil
}

// Kill ends the node with SIGKILL and waits for it.
func (n *Node) Kill() { n.process.Kill() }

// Exited is closed when the process has ended.
func (n *Node) Exited() <-chan struct{} { return n.process.Exited() }

// Close kills the node if it runs, and removes its directory if Start made it.
func (n *Node) Close() {
	if n.process != nil {
		n.Kill()
	}
	if n.owned {
		os.RemoveAll(n.cfg.Dir)
	}
}

// LogTail is the end of what the node has logged.
func (n *Node) LogTail() string { return process.Tail(n.logFile()) }

// Logged returns the lines that the node has logged and that contain text.
func (n *Node) Logged(text string) (lines []string, err error) {
	all, err := os.ReadFile(n.logFile())
	for line := range strings.Lines(string(all)) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines, err
}

func (n *Node) logFile() string { return filepath.Join(n.cfg.Dir, "kbroker.log") }

func (n *Node) start(ctx context.Context) error {
	if err := os.MkdirAll(n.cfg.Dir, 0o755); err != nil {
		return fmt.Errorf("kbrokerproc: %w", err)
	}
	args := []string{"start", "--data", n.DataDir(), "-o", "kbroker.http.listeners="}
	if !slices.ContainsFunc(n.cfg.Properties, func(p string) bool { return strings.HasPrefix(p, "listeners=") }) {
		args = append(args, "--listen", n.Bootstrap())
	}
	for _, p := range n.cfg.Properties {
		args = append(args, "-o", p)
	}
	cmd := exec.Command(n.binary, args...)
	cmd.Env = append(os.Environ(), n.cfg.Env...)
	var err error
	n.process, err = process.Start(ctx, process.Options{
		Name: fmt.Sprintf("kbroker on port %d", n.cfg.Port), Command: cmd, Log: n.logFile(), Ready: readyLine, Limit: startLimit,
	})
	if err != nil {
		return fmt.Errorf("kbrokerproc: %w", err)
	}
	return nil
}

// readyLine is in the line that kbroker logs when it serves clients.
const readyLine = `"event":"ready"`
