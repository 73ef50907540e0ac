package coordinator

import (
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
)

// TestLeadership: a shard lives for one leader epoch.
func TestLeadership(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
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
	onNode(t, func(t *testing.T, n *node) {
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

// TestTimer: Tick is called at the deadline, as it is then.
func TestTimer(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
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
	onNode(t, func(t *testing.T, n *node) {
		n.put("unloadable", "1").is(t, "put", nil)
		n.elect(1)
		n.put("a", "1").is(t, "a put", kerr.CoordinatorLoadInProgress)
	})
}

// TestTimerOfAStoppedShard: a timer that fires just before its shard is stopped does not keep the shard's goroutine busy.
func TestTimerOfAStoppedShard(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
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
	onNode(t, func(t *testing.T, n *node) {
		n.put("a", "1").is(t, "put", nil)
		n.disk.Inject(simfs.Rule{Ops: simfs.OpRead, Pattern: "*.log", Times: 3, Err: syscall.EAGAIN})
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
