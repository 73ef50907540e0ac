//go:build linux

package main

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// contender is one of the programs that are compared.
type contender string

const (
	kbroker contender = "kbroker"
	kafka   contender = "kafka"
	limit   contender = "kroof" // the limit server
)

var contenders = []contender{kbroker, kafka, limit}

// server is a running contender. Whoever starts it calls stop, which also deletes its data.
type server struct {
	contender contender
	addr      string
	dir       string // all its data
	pid       int
	stop      func()
	log       func() string // the end of what it printed
}

// Commands. A port is chosen by the caller; everything listens on loopback.

// limitCommand gives the limit server the settings that were found best.
func limitCommand(binary, dir, addr string, d durability) []string {
	sync := "none"
	if d == synced {
		sync = "group"
	}
	return []string{binary, "-dir", dir, "-addr", addr, "-rbuf", "131072", "-coalesce", "-more", "-cc", "reno", "-sync", sync}
}

// kbrokerCommand changes nothing but what the comparison needs: the durability, and that deleted topics free their
// space soon.
func kbrokerCommand(binary, dir, addr string, d durability) []string {
	setting := "replicated"
	if d == synced {
		setting = "fsync"
	}
	command := []string{binary, "start", "--listen", addr, "--data", dir, "-o", "kbroker.durability=" + setting,
		"-o", "kbroker.http.listeners=", "-o", "log.segment.delete.delay.ms=1000"}
	for _, s := range groupTimers {
		command = append(command, "-o", s)
	}
	return command
}

// startProcess runs a command that serves on addr and waits until it accepts connections.
func startProcess(ctx context.Context, c contender, dir, addr string, command []string) (*server, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	cmd := exec.Command(command[0], command[1:]...)
	output := &tailBuffer{}
	cmd.Stdout, cmd.Stderr = output, output
	exited := make(chan struct{})
	started := make(chan error)
	go runTied(cmd, started, exited)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c, err)
	}
	s := &server{contender: c, addr: addr, dir: dir, pid: cmd.Process.Pid, log: output.String}
	s.stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(stopPatience):
			_ = cmd.Process.Kill()
			<-exited
		}
		_ = os.RemoveAll(dir)
	}
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return s, nil
		}
		select {
		case <-exited:
			s.stop()
			return nil, fmt.Errorf("%s did not come to listen on %s: %s", c, addr, s.log())
		case <-ctx.Done():
			s.stop()
			return nil, ctx.Err()
		default:
		}
		if time.Since(start) > startPatience {
			s.stop()
			return nil, fmt.Errorf("%s did not come to listen on %s within %v: %s", c, addr, startPatience, s.log())
		}
	}
}

// tailBuffer keeps the end of what is written to it.
type tailBuffer struct {
	mu   sync.Mutex // guards tail
	tail []byte
}

func (b *tailBuffer) Write(p []byte) (int, error) {
	const keep = 4000
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tail = append(b.tail, p...)
	b.tail = b.tail[max(0, len(b.tail)-keep):]
	return len(p), nil
}

func (b *tailBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.tail)
}

const (
	startPatience = 20 * time.Second
	stopPatience  = 20 * time.Second
)

// runTied runs cmd so that the kernel kills it when this process dies: a benchmark must leave nothing behind that
// writes. The signal is tied to the starting thread, so that is kept until the child is gone.
func runTied(cmd *exec.Cmd, started chan<- error, exited chan<- struct{}) {
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := cmd.Start()
	started <- err
	if err == nil {
		_ = cmd.Wait()
		close(exited)
	}
}

// portsEach is how many ports a contender takes: Kafka's controller has one of its own.
const portsEach = 2

// freePort returns the first port from the given one on whose next portsEach-1 are free as well. Another benchmark may
// be running on this machine.
func freePort(port int) int {
	for ; ; port += portsEach {
		free := true
		for i := range portsEach {
			l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port+i))
			if err != nil {
				free = false
				continue
			}
			l.Close()
		}
		if free {
			return port
		}
	}
}

// pin moves all threads of a process to one core; new threads inherit it.
func pin(pid, core int) error {
	out, err := exec.Command("taskset", "-a", "-c", "-p", strconv.Itoa(core), strconv.Itoa(pid)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pin process %d: %w: %s", pid, err, out)
	}
	return nil
}

// diskMB is what lies below dir, in MB, without committed offsets, which stay until they are compacted. Files may vanish
// while it looks.
func diskMB(dir string) float64 {
	var blocks int64
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // vanished
		}
		if e.IsDir() && strings.HasPrefix(e.Name(), "__consumer_offsets-") {
			return fs.SkipDir
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			blocks += info.Sys().(*syscall.Stat_t).Blocks
		}
		return nil
	})
	const blockBytes = 512 // the unit of st_blocks
	return float64(blocks) * blockBytes / 1e6
}

// waitForSpace waits until the deleted topics have left the disk.
func (s *server) waitForSpace(ctx context.Context) error {
	const enough, patience = 100, 30 * time.Second
	for start := time.Now(); diskMB(s.dir) > enough; time.Sleep(100 * time.Millisecond) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(start) > patience {
			return fmt.Errorf("%s: %.0f MB are still in %s %v after the topics were deleted", s.contender, diskMB(s.dir), s.dir, patience)
		}
	}
	return nil
}

// stopAll stops servers, also those that were never started.
func stopAll(servers []*server) {
	for _, s := range servers {
		if s != nil {
			s.stop()
		}
	}
}
