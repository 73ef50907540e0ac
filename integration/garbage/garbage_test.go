//go:build linux

package garbage

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kbroker/kbroker/integration/kbrokerproc"
)

// maxGrowth is how much more memory the broker may hold while it is attacked, at any moment, all attacks together.
const maxGrowth = 64 << 20

// attack is one kind of garbage. It returns how many times it struck.
type attack struct {
	name string
	run  func(t *testing.T, addr string) int
}

var attacks = []attack{
	{"idle connections", idleConnections},
	{"random bytes", randomBytes},
	{"oversized frames", oversizedFrames},
	{"truncated frames", truncatedFrames},
	{"lying lengths and tags", lyingLengths},
	{"decompression bombs", bombs},
}

// TestGarbage runs the attacks one after another on one broker, with a client beside them.
func TestGarbage(t *testing.T) {
	node := kbrokerproc.StartForTest(t, kbrokerproc.Config{})
	createTopics(t, node.Bootstrap())
	beside := startBystander(t, node.Bootstrap())
	beside.settle(t)
	memory := watchMemory(t, node.PID())
	start := memory.now(t)
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			memory.reset()
			began := time.Now()
			n := a.run(t, node.Bootstrap())
			select {
			case <-node.Exited():
				t.Fatalf("the broker has ended:\n%s", node.LogTail())
			default:
			}
			grown := memory.peak() - start
			t.Logf("%d in %v; memory grew by at most %.1f MiB", n, time.Since(began).Round(time.Millisecond), float64(grown)/(1<<20))
			if grown > maxGrowth {
				t.Errorf("memory grew by %.1f MiB, from %.1f MiB; at most %d are allowed", float64(grown)/(1<<20), float64(start)/(1<<20), maxGrowth>>20)
			}
		})
	}
	beside.finish(t)
	if err := node.Stop(); err != nil {
		t.Errorf("the broker does not stop in order after all this: %v", err)
	}
}

// Topics that are attacked.
const (
	targetTopic     = "target"     // takes batches as they are
	recompressTopic = "recompress" // has the broker unpack and pack every batch
	besideTopic     = "beside"     // the bystander's
)

func createTopics(t *testing.T, addr string) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	gzip := "gzip"
	admin := kadm.NewClient(c)
	for name, configs := range map[string]map[string]*string{
		targetTopic: nil, recompressTopic: {"compression.type": &gzip}, besideTopic: nil,
	} {
		if _, err := admin.CreateTopic(t.Context(), 1, 1, configs, name); err != nil {
			t.Fatalf("create topic %s: %v", name, err)
		}
	}
}

// memory samples the resident memory of a process.
type memory struct {
	pid     int
	highest atomic.Int64 // bytes, since the last reset
}

// watchMemory samples until the test ends.
func watchMemory(t *testing.T, pid int) *memory {
	t.Helper()
	m := &memory{pid: pid}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				if rss, err := m.read(); err == nil {
					m.highest.Store(max(m.highest.Load(), rss))
				}
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped })
	return m
}

// read returns VmRSS.
func (m *memory) read() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[0] == "VmRSS:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS", m.pid)
}

func (m *memory) now(t *testing.T) int64 {
	t.Helper()
	rss, err := m.read()
	if err != nil {
		t.Fatal(err)
	}
	return rss
}

func (m *memory) reset()      { m.highest.Store(0) }
func (m *memory) peak() int64 { return m.highest.Load() }
