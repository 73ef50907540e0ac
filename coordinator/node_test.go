package coordinator

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/replica"
)

const testTopic = "__state"

// store is a machine that holds keys and values, and parks whoever asks for a key that is not there.
type store struct {
	values map[string]string
	parked map[string][]Reply
	ticks  int
	due    time.Time
	loaded bool
	open   map[int64]map[string]string // by producer
}

func (m *store) Replay(r *Replayed) error {
	if string(r.Key) == "poison" {
		panic("the machine has a fault")
	}
	if r.ProducerID >= 0 {
		if m.open[r.ProducerID] == nil {
			m.open[r.ProducerID] = map[string]string{}
		}
		m.open[r.ProducerID][string(r.Key)] = string(r.Value)
		return nil
	}
	if r.Value == nil {
		delete(m.values, string(r.Key))
		return nil
	}
	m.values[string(r.Key)] = string(r.Value)
	return nil
}

func (m *store) ReplayMarker(producerID int64, _ int16, commit bool) {
	if commit {
		maps.Copy(m.values, m.open[producerID])
	}
	delete(m.open, producerID)
}

func (m *store) Loaded(time.Time, *Effects) {
	if m.values["unloadable"] != "" {
		panic("the machine can't begin")
	}
	m.loaded = true
}

func (m *store) Deadline() time.Time { return m.due }

func (m *store) Tick(now time.Time, e *Effects) {
	m.ticks++
	m.due = time.Time{}
	e.Append([]byte("tick"), fmt.Append(nil, m.ticks))
}

func (m *store) Unload(err error) {
	for _, all := range m.parked {
		for _, r := range all {
			r(err)
		}
	}
}

// node is a broker with a topic of state, whose image is changed by hand.
type node struct {
	t        *testing.T
	disk     *simfs.FS
	logs     *log.Manager
	replicas *replica.Manager
	runtime  *Runtime[*store]
	codecs   *record.Codecs
	image    *metadata.Image
	config   log.Config
	codec    record.Codec
	id       metadata.UUID
}

// startNode starts a node on a disk. The topic has one partition, led in epoch.
func startNode(t *testing.T, disk *simfs.FS, epoch metadata.LeaderEpoch) *node {
	t.Helper()
	n := &node{t: t, disk: disk, codecs: record.NewCodecs(), image: &metadata.Image{}, config: log.DefaultConfig(), id: metadata.UUID{7}}
	n.config.Compact, n.config.Delete = true, false
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	var err error
	n.logs, err = log.Open(log.Options{FS: disk, Dirs: []string{"/data"}, Logger: logger, ClusterID: "c", NodeID: 1, Codecs: n.codecs})
	if err != nil {
		t.Fatal(err)
	}
	known := func(log.TopicPartition, [16]byte) (*log.Config, bool) { return &n.config, true }
	if err := n.logs.Load(t.Context(), known); err != nil {
		t.Fatal(err)
	}
	n.replicas = replica.NewManager(replica.Options{Self: 1, Logs: n.logs, Logger: logger,
		Resolve: func(string, map[string]string) (*replica.Settings, *log.Config) {
			return &replica.Settings{MinISR: 1}, &n.config
		}})
	n.runtime = NewRuntime(Options[*store]{
		Topic: testTopic, Self: 1, Codecs: n.codecs, Logger: logger,
		New: func(int32) *store {
			return &store{values: map[string]string{}, parked: map[string][]Reply{}, open: map[int64]map[string]string{}}
		},
		Lookup:      func(p int32) *replica.Partition { return n.replicas.LookupName(testTopic, p) },
		Compression: func() record.Compression { return record.Compression{Codec: n.codec} },
	})
	n.apply(&metadata.TopicRecord{Name: testTopic, ID: n.id}, n.led(1, epoch))
	synctest.Wait()
	return n
}

// led makes the partition, with its leader.
func (n *node) led(leader metadata.BrokerID, epoch metadata.LeaderEpoch) *metadata.PartitionRecord {
	return &metadata.PartitionRecord{Topic: n.id, PartitionRegistration: metadata.PartitionRegistration{
		Replicas: []metadata.BrokerID{1}, ISR: []metadata.BrokerID{1}, Leader: leader, LeaderEpoch: epoch, Directories: []metadata.UUID{{1}},
	}}
}

func (n *node) apply(records ...metadata.Record) {
	n.t.Helper()
	next, err := n.image.Apply(n.image.Index+1, records...)
	if err != nil {
		n.t.Fatal(err)
	}
	n.replicas.Apply(n.image, next)
	n.runtime.Apply(next)
	n.image = next
}

// elect changes the partition's leader, and with it the leader epoch.
func (n *node) elect(leader metadata.BrokerID) {
	n.t.Helper()
	n.apply(&metadata.PartitionChangeRecord{Topic: n.id, Leader: &leader})
	synctest.Wait()
}

func (n *node) stop() {
	n.runtime.Close()
	n.logs.Close(1)
}

// answer is where a reply goes: empty until it has come.
type answer struct{ got []error }

func (a *answer) reply(err error) { a.got = append(a.got, err) }

// is fails unless the reply has come once, with err.
func (a *answer) is(t *testing.T, what string, err error) {
	t.Helper()
	synctest.Wait()
	if len(a.got) != 1 || !errors.Is(a.got[0], err) {
		t.Errorf("%s: answered %.200v, want %v", what, a.got, err)
	}
}

// put writes a value, and answers when it is committed.
func (n *node) put(key, value string) *answer {
	a := &answer{}
	n.runtime.Do(0, func(_ *store, _ time.Time, e *Effects) {
		e.Append([]byte(key), []byte(value))
		e.Answer(a.reply)
	}, a.reply)
	return a
}

// get waits for the value of a key.
func (n *node) get(key string) (value string, err error) {
	n.t.Helper()
	a := &answer{}
	n.runtime.Do(0, func(m *store, _ time.Time, e *Effects) {
		value = m.values[key]
		e.Answer(a.reply)
	}, a.reply)
	synctest.Wait()
	if len(a.got) != 1 {
		n.t.Fatalf("a read was answered %v", a.got)
	}
	return value, a.got[0]
}

func (n *node) want(key, value string) {
	n.t.Helper()
	if got, err := n.get(key); got != value || err != nil {
		n.t.Errorf("%s is %.20q (%v), want %.20q", key, got, err, value)
	}
}

// park waits for a key that nobody writes.
func (n *node) park(key string) *answer {
	a := &answer{}
	n.runtime.Do(0, func(m *store, _ time.Time, _ *Effects) { m.parked[key] = append(m.parked[key], a.reply) }, a.reply)
	synctest.Wait()
	return a
}

// inBubble runs a test with time that stands still while somebody works.
func inBubble(t *testing.T, fn func(t *testing.T)) { synctest.Test(t, fn) }

// onNode runs a test in a bubble, on a node with an empty disk.
func onNode(t *testing.T, fn func(t *testing.T, n *node)) {
	inBubble(t, func(t *testing.T) {
		n := startNode(t, simfs.New(), 1)
		defer n.stop()
		fn(t, n)
	})
}
