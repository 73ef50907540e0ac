package coordinator

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

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

// TestReload: what is acknowledged is there after a power cut, in every codec, and what was parked is not.
func TestReload(t *testing.T) {
	for codec := range record.Zstd + 1 {
		inBubble(t, func(t *testing.T) {
			disk := simfs.New()
			n := startNode(t, disk, 1)
			n.codec = codec
			for i := range 3000 { // a few reads of the log
				n.put(fmt.Sprint("k", i%1000), strings.Repeat("v", 200)+fmt.Sprint(i))
			}
			n.runtime.Do(0, func(_ *store, _ time.Time, e *Effects) { e.Append([]byte("k0"), nil) }, func(error) {})
			n.put("last", "x").is(t, "put", nil)
			crashed := disk.CrashWorst()
			n.stop()
			again := startNode(t, crashed, 1)
			defer again.stop()
			again.want("k999", strings.Repeat("v", 200)+"2999")
			again.want("k0", "")
			again.want("last", "x")
		})
	}
}

// TestReplyWaitsForTheDisk: a reply is held back until its records are synced, and so is a read that saw them.
func TestReplyWaitsForTheDisk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		disk := simfs.New()
		n := startNode(t, disk, 1)
		defer n.stop()
		n.put("a", "1").is(t, "put", nil) // makes the files
		held := make(chan struct{})
		disk.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "*.log", Times: 1, Before: func() { <-held }})
		put, soft, read := n.put("a", "2"), &answer{}, &answer{}
		n.runtime.Do(0, func(_ *store, _ time.Time, e *Effects) { e.AnswerNow(soft.reply) }, soft.reply)
		n.runtime.Do(0, func(_ *store, _ time.Time, e *Effects) { e.Answer(read.reply) }, read.reply)
		soft.is(t, "a soft reply", nil)
		if len(put.got)+len(read.got) > 0 {
			t.Error("answered before the records were synced")
		}
		close(held)
		put.is(t, "put", nil)
		read.is(t, "read", nil)
	})
}

// TestOneFlush: decisions that are queued share a write and a sync.
func TestOneFlush(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		disk := simfs.New()
		n := startNode(t, disk, 1)
		defer n.stop()
		n.put("a", "1").is(t, "put", nil)
		held, writes := make(chan struct{}), 0
		disk.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "*.log", Times: 1, Before: func() { <-held }})
		first := n.put("first", "1")
		synctest.Wait()
		disk.Inject(simfs.Rule{Ops: simfs.OpWrite, Pattern: "*.log", Before: func() { writes++ }})
		n.runtime.mu.RLock()
		s := n.runtime.shards[0]
		n.runtime.mu.RUnlock()
		s.mu.Lock() // the shard cannot take what is queued
		var answers []*answer
		var tasks []task[*store]
		for i := range 100 {
			a := &answer{}
			answers = append(answers, a)
			tasks = append(tasks, task[*store]{func(_ *store, _ time.Time, e *Effects) {
				e.Append(fmt.Append(nil, "k", i), []byte("v"))
				e.Answer(a.reply)
			}, a.reply})
		}
		s.queue = append(s.queue, tasks...)
		s.startLocked()
		s.mu.Unlock()
		synctest.Wait()
		if writes != 1 {
			t.Errorf("%d writes for decisions that were queued together", writes)
		}
		close(held)
		first.is(t, "first", nil)
		for _, a := range answers {
			a.is(t, "queued", nil)
		}
		if len(s.queue) > 0 || s.running || s.work != nil {
			t.Error("an idle shard keeps a goroutine or its memory")
		}
	})
}

// TestFailedWrite: a write that fails takes the machine with it: whoever waits is told, and the machine is what the log
// says.
func TestFailedWrite(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		disk := simfs.New()
		n := startNode(t, disk, 1)
		defer n.stop()
		n.put("a", "1").is(t, "put", nil)
		parked := n.park("b")
		disk.Inject(simfs.Rule{Ops: simfs.OpWrite, Pattern: "*.log", Times: 1, Err: syscall.ENOSPC, Partial: 30})
		n.put("a", "2").is(t, "a failed put", kerr.NotCoordinator)
		parked.is(t, "what was parked", kerr.NotCoordinator)
		n.want("a", "1")
		n.put("a", "3").is(t, "put", nil)
		n.want("a", "3")
	})
}

// TestFailedSync: after a failed sync nothing is served, and nothing hangs.
func TestFailedSync(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		disk := simfs.New()
		n := startNode(t, disk, 1)
		defer n.stop()
		n.put("a", "1").is(t, "put", nil)
		disk.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "*.log", Err: syscall.EIO})
		n.put("a", "2").is(t, "a put that is not synced", kerr.NotCoordinator)
		n.put("a", "3").is(t, "a later put", kerr.NotCoordinator)
	})
}

// TestFullDisk: the reserve pays for coordinators while clients are refused.
func TestFullDisk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		disk := simfs.New()
		disk.SetCapacity(16 << 20)
		n := startNode(t, disk, 1)
		defer n.stop()
		n.put("a", "0").is(t, "put", nil)
		time.Sleep(5 * time.Second) // the reserve is made
		fill, err := disk.OpenFile("/data/other", syscall.O_CREAT|syscall.O_RDWR, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		for at, chunk := int64(0), make([]byte, 64<<10); ; at += int64(len(chunk)) {
			if _, err := fill.WriteAt(chunk, at); err != nil {
				break
			}
		}
		refused := 0
		for i := range 50 {
			a := n.put("a", fmt.Sprint(i))
			synctest.Wait()
			time.Sleep(time.Second) // the directory notices, and gives the reserve up
			if len(a.got) != 1 {
				t.Fatalf("put %d was answered %v", i, a.got)
			}
			if a.got[0] != nil {
				refused++
			}
		}
		if refused == 0 || refused > 5 {
			t.Errorf("%d of 50 were refused on a full disk", refused)
		}
		n.want("a", "49")
	})
}

// TestLeadership: a shard lives for one leader epoch.
func TestLeadership(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := startNode(t, simfs.New(), 1)
		defer n.stop()
		n.put("a", "1").is(t, "put", nil)
		parked := n.park("b")
		n.elect(1) // again
		parked.is(t, "what was parked", kerr.NotCoordinator)
		n.want("a", "1")
		n.put("a", "2").is(t, "put", nil)
		parked = n.park("b")
		n.elect(2)
		parked.is(t, "what was parked", kerr.NotCoordinator)
		n.put("a", "3").is(t, "a put at a follower", kerr.NotCoordinator)
		n.elect(1)
		n.want("a", "2")
		// The partition's epoch is over before the runtime has heard of it.
		reg := *n.image.Topic(testTopic).Partitions[0]
		reg.LeaderEpoch++
		if err := n.replicas.LookupName(testTopic, 0).Apply(&reg, time.Now()); err != nil {
			t.Fatal(err)
		}
		n.put("a", "4").is(t, "a put of an older epoch", kerr.NotCoordinator)
		n.elect(1)
		n.want("a", "2")
		if got := n.runtime.Partitions(); len(got) != 1 {
			t.Errorf("coordinates %v", got)
		}
	})
}

// TestTopicDeleted: the machine goes with its topic.
func TestTopicDeleted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := startNode(t, simfs.New(), 1)
		defer n.stop()
		n.put("a", "1").is(t, "put", nil)
		parked := n.park("b")
		n.apply(&metadata.RemoveTopicRecord{ID: n.id})
		parked.is(t, "what was parked", kerr.NotCoordinator)
		n.put("a", "2").is(t, "a put", kerr.NotCoordinator)
		n.id = metadata.UUID{8}
		n.apply(&metadata.TopicRecord{Name: testTopic, ID: n.id}, n.led(1, 0))
		synctest.Wait()
		n.want("a", "")
	})
}

// TestPanics: a fault of the machine costs its caller an error and the others a reload.
func TestPanics(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := startNode(t, simfs.New(), 1)
		defer n.stop()
		n.put("a", "1").is(t, "put", nil)
		parked := n.park("b")
		a := &answer{}
		n.runtime.Do(0, func(*store, time.Time, *Effects) { panic("a fault") }, a.reply)
		synctest.Wait()
		if len(a.got) != 1 || a.got[0] == nil {
			t.Errorf("the caller is told %v", a.got)
		}
		parked.is(t, "what was parked", kerr.NotCoordinator)
		n.want("a", "1")
	})
}

// TestTooLarge: records that no batch can hold are refused; the machine is kept when it can take back what it changed.
func TestTooLarge(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := startNode(t, simfs.New(), 1)
		defer n.stop()
		parked := n.park("b")
		large, a, takenBack := make([]byte, 2<<20), &answer{}, false
		n.runtime.Do(0, func(_ *store, _ time.Time, e *Effects) {
			e.Append([]byte("large"), large)
			e.Answer(a.reply)
			e.Refused = func(error, *Effects) { takenBack = true }
		}, a.reply)
		synctest.Wait()
		if len(a.got) != 1 || !TooLarge(a.got[0]) || !takenBack || len(parked.got) > 0 {
			t.Errorf("answered %v, taken back: %v, parked: %v", a.got, takenBack, parked.got)
		}
		many := &answer{}
		n.runtime.Do(0, func(_ *store, _ time.Time, e *Effects) {
			for i := range 100 {
				e.Append(fmt.Append(nil, i), large[:100<<10])
				e.Cut()
			}
			e.Answer(many.reply)
		}, many.reply)
		many.is(t, "many records that need not be one batch", nil)
		part, takenBack := &answer{}, false
		n.runtime.Do(0, func(_ *store, _ time.Time, e *Effects) {
			e.Append([]byte("small"), nil)
			e.Cut()
			e.Append([]byte("large"), large)
			e.Answer(part.reply)
			e.Refused = func(error, *Effects) { takenBack = true }
		}, part.reply)
		part.is(t, "records of which a part fits", kerr.MessageTooLarge)
		if !takenBack {
			t.Error("what was written in part is not taken back")
		}
		n.put("large", string(large)).is(t, "without taking back", kerr.MessageTooLarge)
		parked.is(t, "what was parked", kerr.NotCoordinator)
		if refused := n.runtime.TooLarge(); refused != 3 {
			t.Errorf("%d decisions were too large", refused)
		}
		n.want("99", string(large[:100<<10]))
	})
}

// TestCuts: records are parted at cuts and nowhere else, and only where they have to be.
func TestCuts(t *testing.T) {
	for _, c := range []struct {
		sizes string // of values in kilobytes, and | for a cut
		most  int    // kilobytes
		want  string // records of each batch
	}{
		{"1 1 1", 10, "[3]"},
		{"1 | 1 | 1", 10, "[3]"},
		{"4 | 4 | 4 | 4", 10, "[2 2]"},
		{"4 4 4 | 4 | 4", 10, "[3 2]"}, // what has no cut stays together, though it is too large
		{"4 4 | 4 4 | 4 4", 10, "[2 2 2]"},
		{"1 | 1 | 9 9", 10, "[2 2]"},
		{"9 | 1 1 1 | 9 |", 10, "[1 3 1]"},
		{"20 20", 10, "[2]"},
		{"| 1 | | 1", 1, "[1 1]"},
		{"", 10, "[]"},
	} {
		e := &Effects{Most: c.most << 10}
		for _, f := range strings.Fields(c.sizes) {
			if f == "|" {
				e.Cut()
				continue
			}
			n, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			e.Append(nil, make([]byte, n<<10))
		}
		got := []int{}
		for first := 0; first < len(e.Records); first += got[len(got)-1] {
			got = append(got, e.fit(first))
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%q: batches of %v, want %s", c.sizes, got, c.want)
		}
	}
}

// TestTimer: Tick is called at the deadline, as it is then.
func TestTimer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := startNode(t, simfs.New(), 1)
		defer n.stop()
		set := func(in time.Duration) {
			n.runtime.Do(0, func(m *store, now time.Time, _ *Effects) { m.due = now.Add(in) }, func(error) {})
			synctest.Wait()
		}
		set(10 * time.Second)
		set(time.Hour) // later: the timer fires in vain
		time.Sleep(time.Minute)
		n.want("tick", "")
		set(time.Second) // earlier
		time.Sleep(2 * time.Second)
		n.want("tick", "1")
		time.Sleep(2 * time.Hour)
		n.want("tick", "1")
	})
}

// TestFailedBegin: a machine that fails as its service begins does not serve.
func TestFailedBegin(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := startNode(t, simfs.New(), 1)
		defer n.stop()
		n.put("unloadable", "1").is(t, "put", nil)
		n.elect(1)
		n.put("a", "1").is(t, "a put", kerr.CoordinatorLoadInProgress)
	})
}

// TestTimerOfAStoppedShard: a timer that fires just before its shard is stopped does not keep the shard's goroutine busy.
func TestTimerOfAStoppedShard(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := startNode(t, simfs.New(), 1)
		defer n.stop()
		s := n.runtime.shards[0]
		n.runtime.Do(0, func(*store, time.Time, *Effects) {
			s.fired()
			s.stop(kerr.NotCoordinator)
		}, func(error) {})
		synctest.Wait()
		if s.running {
			t.Error("the stopped shard's goroutine is still there")
		}
		n.put("a", "1").is(t, "a put", kerr.NotCoordinator)
	})
}

// TestLoading: whoever comes while the log is read is told to come back.
func TestLoading(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		disk := simfs.New()
		n := startNode(t, disk, 1)
		n.put("a", "1").is(t, "put", nil)
		n.stop()
		held := make(chan struct{})
		again := startNode(t, disk, 1)
		defer again.stop()
		disk.Inject(simfs.Rule{Ops: simfs.OpRead, Pattern: "*.log", Times: 1, Before: func() { <-held }})
		again.elect(1)
		again.put("a", "2").is(t, "a put during the loading", kerr.CoordinatorLoadInProgress)
		close(held)
		synctest.Wait()
		again.want("a", "1")
	})
}

// TestUnreadable: a log that cannot be read is tried again, at growing intervals.
func TestUnreadable(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		disk := simfs.New()
		n := startNode(t, disk, 1)
		defer n.stop()
		n.put("a", "1").is(t, "put", nil)
		disk.Inject(simfs.Rule{Ops: simfs.OpRead, Pattern: "*.log", Times: 3, Err: syscall.EAGAIN})
		n.elect(1)
		time.Sleep(10 * time.Second)
		n.want("a", "1")
	})
}

// TestTransactions: what a transaction wrote counts from its marker on (rule 8.6.4).
func TestTransactions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		disk := simfs.New()
		n := startNode(t, disk, 1)
		n.put("a", "1").is(t, "put", nil)
		write := func(id int64, control bool, key, value []byte) {
			t.Helper()
			b := record.NewBuilder(nil, record.BuilderOptions{Producer: &record.Producer{ID: id, BaseSequence: -1}, Transactional: true, Control: control})
			b.Append(record.Record{Key: key, Value: value, Timestamp: 1})
			batch, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			a := log.Append{Batch: batch, Info: batch.Info(), Origin: log.OriginCoordinator}
			p := n.replicas.LookupName(testTopic, 0)
			if err := errors.Join(p.Stage(&a, -1), p.Flush(), a.Err); err != nil {
				t.Fatal(err)
			}
		}
		marker := func(id int64, commit bool) {
			m := record.AppendEndTxnMarker(nil, record.EndTxnMarker{ProducerID: id, Commit: commit})
			b := record.Batch(m)
			for r, err := range b.Records(nil) {
				if err != nil {
					t.Fatal(err)
				}
				write(id, true, r.Key, r.Value)
			}
		}
		write(1, false, []byte("a"), []byte("committed"))
		write(2, false, []byte("b"), []byte("aborted"))
		write(3, false, []byte("c"), []byte("open"))
		marker(1, true)
		marker(2, false)
		n.elect(1)
		synctest.Wait()
		n.want("a", "committed")
		n.want("b", "")
		n.want("c", "")
		n.stop()
	})
}

// TestClose: whoever waits at the end is told at once.
func TestClose(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := startNode(t, simfs.New(), 1)
		parked := n.park("b")
		n.runtime.Close()
		parked.is(t, "what was parked", kerr.CoordinatorNotAvailable)
		n.put("a", "1").is(t, "a put", kerr.CoordinatorNotAvailable)
		n.logs.Close(1)
	})
}
