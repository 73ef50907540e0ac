package kbrokerproc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
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
	binary string
	cfg    Config
	owned  bool // Dir is ours to remove
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone; exit is set before
	exit   error
	logged int64 // size of the log when this life began
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
		n.cfg.Port = freePort()
	}
	if err := n.start(ctx); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// Bootstrap is the address for clients, 127.0.0.1:PORT.
func (n *Node) Bootstrap() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.cfg.Port)) }

// DataDir is the node's only data directory.
func (n *Node) DataDir() string { return filepath.Join(n.cfg.Dir, "data") }

// Config is what the node runs with, defaults filled in. Start with it again to restart the node after Stop or Kill.
func (n *Node) Config() Config { return n.cfg }

// PID is the process id.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Stop ends the node in an orderly way. It is an error if the node does not end in time or with exit code 0.
func (n *Node) Stop() error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kbrokerproc: stopping kbroker %d: %w", n.PID(), err)
	}
	select {
	case <-n.exited:
	case <-time.After(stopLimit):
		n.Kill()
		return fmt.Errorf("kbrokerproc: kbroker %d did not stop within %v of SIGTERM:\n%s", n.PID(), stopLimit, n.LogTail())
	}
	if n.exit != nil {
		return fmt.Errorf("kbrokerproc: kbroker %d stopped with %w:\n%s", n.PID(), n.exit, n.LogTail())
	}
	return nil
}

// Kill ends the node with SIGKILL and waits for it.
func (n *Node) Kill() {
	n.cmd.Process.Kill() // an error means that it has exited, which the next line waits for anyway
	<-n.exited
}

// Exited is closed when the process has ended.
func (n *Node) Exited() <-chan struct{} { return n.exited }

// Close kills the node if it runs, and removes its directory if Start made it.
func (n *Node) Close() {
	if n.cmd != nil && n.cmd.Process != nil {
		n.Kill()
	}
	if n.owned {
		os.RemoveAll(n.cfg.Dir)
	}
}

// LogTail is the end of what the node has logged.
func (n *Node) LogTail() string {
	text, _ := os.ReadFile(n.logFile())
	const keep = 4000
	return string(text[max(0, len(text)-keep):])
}

func (n *Node) logFile() string { return filepath.Join(n.cfg.Dir, "kbroker.log") }

func (n *Node) start(ctx context.Context) error {
	if err := os.MkdirAll(n.cfg.Dir, 0o755); err != nil {
		return fmt.Errorf("kbrokerproc: %w", err)
	}
	// The log of an earlier life is kept, since a test that fails after a restart wants both.
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("kbrokerproc: %w", err)
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return fmt.Errorf("kbrokerproc: %w", err)
	}
	n.logged = info.Size()
	args := []string{"start", "--data", n.DataDir(), "-o", "kbroker.http.listeners="}
	if !slices.ContainsFunc(n.cfg.Properties, func(p string) bool { return strings.HasPrefix(p, "listeners=") }) {
		args = append(args, "--listen", n.Bootstrap())
	}
	for _, p := range n.cfg.Properties {
		args = append(args, "-o", p)
	}
	n.cmd = exec.Command(n.binary, args...)
	n.cmd.Env = append(os.Environ(), n.cfg.Env...)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.SysProcAttr = dieWithParent()
	n.exited = make(chan struct{})
	started := make(chan error)
	go n.run(started)
	if err := <-started; err != nil {
		n.cmd = nil
		return fmt.Errorf("kbrokerproc: starting %s: %w", n.binary, err)
	}
	return n.awaitReady(ctx)
}

// run starts the process and waits for its end, which ends run. It keeps its thread, on which dieWithParent depends.
func (n *Node) run(started chan<- error) {
	runtime.LockOSThread()
	err := n.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	n.exit = n.cmd.Wait()
	close(n.exited)
}

// readyLine is in the line that kbroker logs when it serves clients. That the port accepts connections would not do:
// it might be somebody else's.
const readyLine = `"event":"ready"`

func (n *Node) awaitReady(ctx context.Context) error {
	deadline := time.After(startLimit)
	for {
		text, err := os.ReadFile(n.logFile())
		if err != nil {
			return fmt.Errorf("kbrokerproc: %w", err)
		}
		if bytes.Contains(text[n.logged:], []byte(readyLine)) {
			return nil
		}
		select {
		case <-n.exited:
			return fmt.Errorf("kbrokerproc: kbroker on port %d exited while starting (%v):\n%s", n.cfg.Port, n.exit, n.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("kbrokerproc: starting kbroker: %w", ctx.Err())
		case <-deadline:
			return fmt.Errorf("kbrokerproc: kbroker on port %d is not ready after %s:\n%s", n.cfg.Port, startLimit, n.LogTail())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// freePort finds a port. It stays below 32768, where Linux begins to give out ports to outgoing connections, which
// might take the port before kbroker does.
func freePort() int {
	for {
		port := 20000 + rand.IntN(12000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			l.Close()
			return port
		}
	}
}
