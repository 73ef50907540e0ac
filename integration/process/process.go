// Package process runs a server as a child of a test: it waits until the server says that it serves, keeps what it
// prints, and never lets it outlive the test process.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// Options say how to start a Process.
type Options struct {
	Name    string    // what it is called in errors, such as "kbroker on port 20000"
	Command *exec.Cmd // stdout, stderr and SysProcAttr are set here
	// Log is the file that its output is appended to. What an earlier life wrote is kept, since a test that fails after a
	// restart wants both.
	Log string
	// Ready is in the line that it prints when it serves. That a port accepts connections would not do: it might be
	// somebody else's.
	Ready string
	// Limit is how long that may take.
	Limit time.Duration
}

// Process is a running child.
type Process struct {
	o      Options
	logged int64         // size of the log when this life began
	exited chan struct{} // closed when the process is gone; exit is set before
	exit   error
}

// Start starts a process and waits until it is ready. After an error nothing runs.
func Start(ctx context.Context, o Options) (*Process, error) {
	p := &Process{o: o, exited: make(chan struct{})}
	log, err := os.OpenFile(o.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", o.Name, err)
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", o.Name, err)
	}
	p.logged = info.Size()
	o.Command.Stdout, o.Command.Stderr, o.Command.SysProcAttr = log, log, dieWithParent()
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", o.Name, err)
	}
	if err := p.awaitReady(ctx); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// run starts the process and waits for its end, which ends run. It keeps its thread, on which dieWithParent depends.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	err := p.o.Command.Start()
	started <- err
	if err != nil {
		return
	}
	p.exit = p.o.Command.Wait()
	close(p.exited)
}

// pollInterval is the pause between two looks at the log.
const pollInterval = 5 * time.Millisecond

func (p *Process) awaitReady(ctx context.Context) error {
	deadline := time.After(p.o.Limit)
	for {
		text, err := os.ReadFile(p.o.Log)
		if err != nil {
			return fmt.Errorf("starting %s: %w", p.o.Name, err)
		}
		if bytes.Contains(text[p.logged:], []byte(p.o.Ready)) {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s exited while starting (%v):\n%s", p.o.Name, p.exit, Tail(p.o.Log))
		case <-ctx.Done():
			return fmt.Errorf("starting %s: %w", p.o.Name, ctx.Err())
		case <-deadline:
			return fmt.Errorf("%s is not ready after %s:\n%s", p.o.Name, p.o.Limit, Tail(p.o.Log))
		case <-time.After(pollInterval):
		}
	}
}

// PID is the process id.
func (p *Process) PID() int { return p.o.Command.Process.Pid }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Stop sends SIGTERM and waits for the end, which is to come within limit, else the process is killed. What it ended
// with is exit, nil for code 0; err says that it could not be stopped.
func (p *Process) Stop(limit time.Duration) (exit, err error) {
	if err := p.o.Command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil, fmt.Errorf("stopping %s: %w", p.o.Name, err)
	}
	select {
	case <-p.exited:
		return p.exit, nil
	case <-time.After(limit):
		p.Kill()
		return nil, fmt.Errorf("%s did not stop within %v of SIGTERM:\n%s", p.o.Name, limit, Tail(p.o.Log))
	}
}

// Kill ends the process with SIGKILL and waits for it.
func (p *Process) Kill() {
	p.o.Command.Process.Kill() // an error means that it has exited, which the next line waits for anyway
	<-p.exited
}

// Tail is the end of a log; empty if there is none.
func Tail(file string) string {
	text, _ := os.ReadFile(file)
	const keep = 4000
	return string(text[max(0, len(text)-keep):])
}

// Where free ports are looked for: below 32768, from where on Linux gives them out to outgoing connections, which might
// take one before the server does.
const firstPort, ports = 20000, 12000

// FreePort finds a port of loopback that is free with the n-1 ports after it.
func FreePort(n int) int {
	for {
		port := firstPort + rand.IntN(ports-n)
		if allFree(port, n) {
			return port
		}
	}
}

func allFree(port, n int) bool {
	for i := range n {
		l, err := net.Listen("tcp", Loopback(port+i))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// Loopback is the address of a port on this machine alone.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
