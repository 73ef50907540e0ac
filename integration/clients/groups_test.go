package clients

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	groupPartitions = 6
	groupMembers    = 3
	groupPatience   = 2 * time.Minute
)

// awaitCoordinator waits until the group's coordinator serves. Kafka names it before it does, and not every client copes
// well with that.
func awaitCoordinator(t *testing.T, bootstrap, group string) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		_, err := kadm.NewClient(c).FetchOffsets(t.Context(), group)
		if err == nil {
			return
		}
		if time.Since(start) > groupPatience {
			t.Fatalf("the coordinator of %s does not serve: %v", group, err)
		}
	}
}

// place is a record's partition and offset.
type place struct {
	partition int32
	offset    int64
}

// TestGroups has three members of every client consume a topic that grows meanwhile, and kills one of them with SIGKILL.
// Every record must be received at least once, and none that was committed a second time: what is received twice was
// received by the killed member after its last commit.
func TestGroups(t *testing.T) {
	// A member of KIP-848 that was killed is missed after the broker's session timeout, not one of its own. The heartbeat
	// interval is how long librdkafka waits for an answer, so it must do for a machine that has much else to do.
	bootstrap := startBroker(t, "group.consumer.min.session.timeout.ms=6000", "group.consumer.session.timeout.ms=6000",
		"group.consumer.min.heartbeat.interval.ms=2000", "group.consumer.heartbeat.interval.ms=2000")
	var running sync.WaitGroup
	for _, p := range installed(t) {
		for _, protocol := range p.groups {
			// Not t.Parallel, which runs as many as there are cores: these wait for timeouts most of the time.
			running.Go(func() {
				t.Run(p.name+"/"+protocol, func(t *testing.T) {
					g := &groupTest{program: p, bootstrap: bootstrap, topic: fmt.Sprintf("group-%s-%s", p.name, protocol), protocol: protocol}
					g.run(t)
				})
			})
		}
	}
	running.Wait()
}

// groupTest is the group of one client.
type groupTest struct {
	*program
	bootstrap, topic, protocol string

	mu      sync.Mutex // guards what follows
	members []*groupMember
	by      map[place][]*groupMember
	changed chan struct{} // closed and made anew when something was received
}

// groupMember is one process.
type groupMember struct {
	cmd      *exec.Cmd
	stop     io.Closer       // its input
	done     chan struct{}   // closed when its output has ended
	received int             // guarded by groupTest.mu, as the rest
	last     map[int32]int64 // committed offsets
	said     string          // its last words
}

func (g *groupTest) spec() string {
	return fmt.Sprintf("%s:%d:%s:%s", g.topic, groupPartitions, g.topic, g.protocol)
}

func (g *groupTest) run(t *testing.T) {
	g.by, g.changed = map[place][]*groupMember{}, make(chan struct{})
	create(t, g.bootstrap, groupPartitions, g.topic)
	awaitCoordinator(t, g.bootstrap, g.topic)
	feed := startFeed(t, g.bootstrap, g.topic)
	for range groupMembers {
		g.start(t)
	}
	g.await(t, "all three members to receive something", func() bool {
		for _, m := range g.members {
			if m.received < 20 {
				return false
			}
		}
		return true
	})
	victim := g.members[1]
	if err := victim.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-victim.done
	time.Sleep(time.Second)
	ends := feed.stop(t)
	g.await(t, "every record to be received", func() bool {
		for p, end := range ends {
			for o := range end {
				if len(g.by[place{int32(p), o}]) == 0 {
					return false
				}
			}
		}
		return true
	})
	for _, m := range g.members {
		if m != victim {
			g.leave(t, m)
		}
	}
	g.check(t, victim, ends)
	report(t, g.groupProgram(), "groups", g.bootstrap, []string{g.spec()})
}

// groupProgram is the program that knows the verbs of groups.
func (g *groupTest) groupProgram() *program { return &program{name: g.name, command: g.groupCommand} }

// check looks at what was received more than once.
func (g *groupTest) check(t *testing.T, victim *groupMember, ends []int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	total, again := int64(0), 0
	for _, end := range ends {
		total += end
	}
	for at, by := range g.by {
		if len(by) == 1 {
			continue
		}
		again++
		fromVictim := 0
		for _, m := range by {
			if m == victim {
				fromVictim++
			}
		}
		switch {
		case fromVictim != len(by)-1:
			t.Errorf("partition %d offset %d was received %d times, %d of them by the killed member", at.partition, at.offset, len(by), fromVictim)
		case at.offset < victim.last[at.partition]:
			t.Errorf("partition %d offset %d was received again, and the killed member had committed %d", at.partition, at.offset, victim.last[at.partition])
		}
	}
	t.Logf("%s %s: %d records by three members, one of them killed; %d received again", g.name, g.protocol, total, again)
}

// start starts a member and follows what it says.
func (g *groupTest) start(t *testing.T) {
	t.Helper()
	args := append(append([]string{}, g.groupCommand...), "member", g.bootstrap, g.spec())
	m := &groupMember{cmd: exec.CommandContext(context.WithoutCancel(t.Context()), args[0], args[1:]...), done: make(chan struct{}), last: map[int32]int64{}}
	var stderr strings.Builder
	m.cmd.Stderr = &stderr
	in, err := m.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.stop = in
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.cmd.Process.Kill()
		<-m.done
		if t.Failed() {
			t.Logf("a member of %s said last: %s\n%s", g.name, m.said, stderr.String())
		}
	})
	go func() { // ends with the process
		defer close(m.done)
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				break // a line without its end is one that was cut
			}
			g.take(m, strings.TrimSpace(line))
		}
		_ = m.cmd.Wait()
	}()
	g.mu.Lock()
	g.members = append(g.members, m)
	g.mu.Unlock()
}

// take takes a line of a member's output.
func (g *groupTest) take(m *groupMember, line string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var word string
	var at place
	if n, _ := fmt.Sscan(line, &word, &at.partition, &at.offset); n == 3 && word == "got" {
		g.by[at] = append(g.by[at], m)
		m.received++
	} else if n == 3 && word == "committed" {
		m.last[at.partition] = max(m.last[at.partition], at.offset)
	} else {
		m.said = line
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

// await waits until holds, which is asked whenever something was received. A member that ended meanwhile is a failure.
func (g *groupTest) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	late := time.After(groupPatience)
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for {
		g.mu.Lock()
		ok, changed := holds(), g.changed
		var failed string
		for _, m := range g.members {
			if strings.HasPrefix(m.said, "FAIL") {
				failed = m.said
			}
		}
		g.mu.Unlock()
		if ok {
			return
		}
		if failed != "" {
			t.Fatalf("a member gave up while waiting for %s: %s", what, failed)
		}
		select {
		case <-changed:
			<-pause.C
		case <-pause.C:
		case <-late:
			g.mu.Lock()
			var counts []int
			for _, m := range g.members {
				counts = append(counts, m.received)
			}
			g.mu.Unlock()
			t.Fatalf("waited %v in vain for %s; the members received %v records", groupPatience, what, counts)
		}
	}
}

// leave ends a member's input, upon which it leaves the group and ends.
func (g *groupTest) leave(t *testing.T, m *groupMember) {
	t.Helper()
	_ = m.stop.Close()
	select {
	case <-m.done:
	case <-time.After(groupPatience):
		t.Fatalf("a member did not end within %v of its input's end", groupPatience)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !strings.HasPrefix(m.said, "ok ") {
		t.Errorf("a member ended with %q", m.said)
	}
}

// feed writes to a topic, all partitions in turn, until it is stopped.
type feed struct {
	client *kgo.Client
	quit   chan struct{}
	done   chan struct{}
	ends   [groupPartitions]int64 // read after done
	err    error
}

func startFeed(t *testing.T, bootstrap, topic string) *feed {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	f := &feed{client: c, quit: make(chan struct{}), done: make(chan struct{})}
	go f.run() // ends with stop, or with the client
	return f
}

func (f *feed) run() {
	defer close(f.done)
	const pause = 10 * time.Millisecond // for one record to each partition
	for n := 0; ; n++ {
		select {
		case <-f.quit:
			return
		case <-time.After(pause):
		}
		var records []*kgo.Record
		for p := range int32(groupPartitions) {
			records = append(records, &kgo.Record{Partition: p, Value: fmt.Appendf(nil, "record %d", n)})
		}
		if f.err = f.client.ProduceSync(context.Background(), records...).FirstErr(); f.err != nil {
			return
		}
		for p := range f.ends {
			f.ends[p]++
		}
	}
}

// stop ends the feed and returns the offsets at which the partitions end.
func (f *feed) stop(t *testing.T) []int64 {
	t.Helper()
	close(f.quit)
	<-f.done
	if f.err != nil {
		t.Fatalf("feed the topic: %v", f.err)
	}
	return f.ends[:]
}
