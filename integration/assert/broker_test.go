package assert

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/integration/kafkapeer"
	"github.com/kbroker/kbroker/integration/kbrokerproc"
	"github.com/kbroker/kbroker/integration/rawconn"
)

// target is a kind of broker.
type target int

const (
	kafka target = iota
	kbroker
)

func (k target) String() string { return [...]string{"Kafka " + kafkapeer.Version(), "kbroker"}[k] }

// process is a broker's running process, as kafkapeer and kbrokerproc have it.
type process interface {
	Bootstrap() string
	DataDir() string
	PID() int
	Stop() error
	Kill()
	Close()
}

// broker is what assertions are made about. Its fields do not change while assertions run, except in a restart, which
// all that use it wait for.
type broker struct {
	target  target
	address string // of its first listener
	second  string // of its second listener; empty if somebody else started it
	process process
	start   func(ctx context.Context, properties ...string) (process, error) // starts it on its old data
	apis    map[int16]kmsg.ApiVersionsResponseApiKey
}

// ours says that this test started the broker, and may stop it and look into its files.
func (b *broker) ours() bool { return b.process != nil }

// startBroker starts a fresh broker with two listeners.
func startBroker(t *testing.T, k target) *broker {
	t.Helper()
	b := &broker{target: k}
	ports := freePorts(3)
	b.address, b.second = local(ports[0]), local(ports[2])
	listeners := fmt.Sprintf("listeners=PLAINTEXT://%s,SECOND://%s", b.address, b.second)
	var err error
	switch dir := t.TempDir(); k {
	case kafka:
		b.start, err = kafkaStarter(t.Context(), dir, ports, listeners)
	case kbroker:
		b.start, err = kbrokerStarter(t.Context(), dir, ports, listeners)
	}
	if err == nil {
		err = b.revive(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n, ok := b.process.(*kbrokerproc.Node); ok && t.Failed() {
			t.Logf("the end of kbroker's log:\n%s", n.LogTail())
		}
		b.process.Close()
	})
	return b
}

// kafkaStarter says how Kafka is started. Its controller needs a listener of its own, and kafkapeer wants it on the port
// after the first.
func kafkaStarter(ctx context.Context, dir string, ports []int, listeners string) (func(context.Context, ...string) (process, error), error) {
	jars, err := kafkapeer.Install(ctx)
	return func(ctx context.Context, more ...string) (process, error) {
		return jars.Start(ctx, kafkapeer.Config{
			Dir: dir, Port: ports[0], Heap: "512M",
			// The JVM is to compile quickly rather than well, which suits a run of a minute on two cores.
			JVM: []string{"-XX:TieredStopAtLevel=1"},
			Properties: append([]string{
				fmt.Sprintf("%s,CONTROLLER://%s", listeners, local(ports[1])),
				"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECOND:PLAINTEXT",
				// Kafka otherwise deletes segments with old timestamps thirty seconds after its start.
				"log.initial.task.delay.ms=86400000", groupDelay, cleanOften, cleanSmall,
			}, more...),
		})
	}, err
}

func kbrokerStarter(ctx context.Context, dir string, ports []int, listeners string) (func(context.Context, ...string) (process, error), error) {
	binary, err := kbrokerproc.Build(ctx)
	return func(ctx context.Context, more ...string) (process, error) {
		return kbrokerproc.Start(ctx, binary, kbrokerproc.Config{
			Dir: dir, Port: ports[0],
			Properties: append([]string{
				listeners, "node.id=1", groupDelay, cleanOften, cleanSmall, // Kafka's id is 1 as well
				"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SECOND:PLAINTEXT",
			}, more...),
		})
	}, err
}

// groupDelay gives the first members of a group a time to come together that a test can wait for, and can notice.
var groupDelay = fmt.Sprintf("group.initial.rebalance.delay.ms=%d", rebalanceDelay.Milliseconds())

// The cleaner is to look often, and to take no memory that assertions about memory could notice.
const (
	cleanOften = "log.cleaner.backoff.ms=100"
	cleanSmall = "log.cleaner.dedupe.buffer.size=8388608"
)

// revive starts the broker on its data and asks it what it serves.
func (b *broker) revive(ctx context.Context, properties ...string) error {
	p, err := b.start(ctx, properties...)
	if err != nil {
		return err
	}
	b.process = p
	return b.ask()
}

// ask fills apis.
func (b *broker) ask() error {
	c, err := rawconn.Dial(b.address)
	if err != nil {
		return err
	}
	defer c.Close()
	resp, err := c.Do(kmsg.NewPtrApiVersionsRequest())
	if err != nil {
		return fmt.Errorf("asking %s at %s for its API versions: %w", b.target, b.address, err)
	}
	b.apis = map[int16]kmsg.ApiVersionsResponseApiKey{}
	for _, row := range resp.(*kmsg.ApiVersionsResponse).ApiKeys {
		b.apis[row.ApiKey] = row
	}
	return nil
}

// memory is the broker's resident set, in bytes.
func (b *broker) memory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.process.PID()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if kib, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kib), "kB")), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("no VmRSS in /proc/PID/status")
}

// partitionDir is the directory of partition 0 of a topic.
func (b *broker) partitionDir(t topic) string { return filepath.Join(b.process.DataDir(), t.name+"-0") }

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePorts finds free ports in a row. They stay below 32768, where Linux begins to give out ports to outgoing
// connections.
func freePorts(n int) []int {
	for {
		first := 20000 + rand.IntN(12000)
		ports := []int{}
		for port := first; port < first+n && free(port); port++ {
			ports = append(ports, port)
		}
		if len(ports) == n {
			return ports
		}
	}
}

func free(port int) bool {
	l, err := net.Listen("tcp", local(port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}
