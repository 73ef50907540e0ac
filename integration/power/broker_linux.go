package power

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
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// program is a built kbroker.
type program struct {
	path string
	env  []string // beside the environment of this process
}

// build compiles cmd/kbroker into dir, with build tags if any are given.
func build(dir, tags string) (*program, error) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("go list -m: %w", err)
	}
	p := &program{path: filepath.Join(dir, "kbroker-"+tags)}
	cmd := exec.Command("go", "build", "-tags", tags, "-o", p.path, "./cmd/kbroker")
	cmd.Dir = string(bytes.TrimSpace(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building kbroker: %w\n%s", err, out)
	}
	return p, nil
}

// with returns the program with more environment variables.
func (p *program) with(env ...string) *program {
	return &program{path: p.path, env: slices.Concat(p.env, env)}
}

// broker is a kbroker that is started again and again on one directory and one port.
type broker struct {
	program *program
	data    string
	addr    string
	options []string // key=value, for -o

	process *process // the one that runs or ran last
}

// startTime bounds a start with recovery of what a cycle wrote.
const startTime = 60 * time.Second

// start starts the process and waits until it answers.
func (b *broker) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	args := []string{"start", "--data", b.data, "--listen", b.addr, "-o", "kbroker.http.listeners="}
	for _, o := range b.options {
		args = append(args, "-o", o)
	}
	cmd := exec.Command(b.program.path, args...)
	cmd.Env = append(os.Environ(), b.program.env...)
	p, err := launch(cmd)
	if err != nil {
		return err
	}
	b.process = p
	if err := b.answers(ctx); err != nil {
		return fmt.Errorf("%w; its last lines:\n%s", err, p.stderr)
	}
	return nil
}

// answers waits until the broker answers requests, or has exited.
func (b *broker) answers(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		err := client.Ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-b.process.ended:
			return fmt.Errorf("the broker exited at start: %v", b.process.err)
		case <-ctx.Done():
			return fmt.Errorf("the broker does not answer: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// kill ends the process with SIGKILL and waits for its end. It is fine if there is none.
func (b *broker) kill() {
	if b.process != nil {
		b.process.cmd.Process.Kill()
		<-b.process.ended
	}
}

// stop asks the process to stop and wants it to exit with 0.
func (b *broker) stop() error {
	if err := b.process.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-b.process.ended:
	case <-time.After(startTime):
		b.kill()
		return errors.New("the broker did not stop on SIGTERM")
	}
	if b.process.err != nil {
		return fmt.Errorf("stopping the broker: %w; its last lines:\n%s", b.process.err, b.process.stderr)
	}
	return nil
}

// process is a started command.
type process struct {
	cmd    *exec.Cmd
	stderr *tail
	ended  chan struct{} // closed at its end
	err    error         // of Wait, once ended
}

// launch starts cmd so that it dies with this process. The signal for that comes when the thread that started it ends,
// so a thread stays with it.
func launch(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, stderr: &tail{}, ended: make(chan struct{})}
	cmd.Stderr = p.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.ended)
		}
	}()
	return p, <-started
}

// tailBytes is how much of a broker's log is kept for messages.
const tailBytes = 8 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex // guards text
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(len(t.text)-tailBytes, 0):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// freeAddr returns a loopback address that nobody listens on, with a port that the system does not hand out by itself:
// the broker must get the same one after each cut.
func freeAddr() (string, error) {
	const first, last = 20000, 32000
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(last-first))
		if l, err := net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", fmt.Errorf("no free port between %d and %d", first, last)
}
