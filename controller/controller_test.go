package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/controller/raftwal"
	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/metadata"
)

// create creates a topic that must be all right.
func create(t testing.TB, c *Controller, name string, partitions int32) metadata.UUID {
	t.Helper()
	r, err := c.Client().CreateTopics(testContext(t), []NewTopic{{Name: name, Partitions: partitions, ReplicationFactor: -1}}, false)
	if err == nil {
		err = r[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
	return r[0].ID
}

func TestRestart(t *testing.T) {
	disk := newDisk(t)
	var before []byte
	for life := range byte(4) {
		c := start(t, testConfig(t, disk, "/data"))
		if err := c.WaitReady(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if after := metadata.EncodeImage(nil, c.Image()); life > 0 && !bytes.Equal(before, after) {
			t.Fatalf("life %d: the image is not what it was:\n%q\n%q", life, before, after)
		}
		join(t, c, life+1)
		im := c.Image()
		if im.ClusterID != "MkU3OEVBNTcwNTJENDM2Qk" || im.Features()["metadata.version"] != 30 {
			t.Fatalf("cluster %q, features %v", im.ClusterID, im.Features())
		}
		create(t, c, fmt.Sprint("topic-", life), 3)
		for i := range int(life) {
			// A restart ends the leader epoch of every partition: twice, as Kafka has it, since for a while nobody leads.
			p := c.Image().Topic(fmt.Sprint("topic-", i)).Partitions[2]
			if want := metadata.LeaderEpoch(2 * (int(life) - i)); p.Leader != 1 || p.LeaderEpoch != want {
				t.Errorf("life %d: topic-%d has leader %d and leader epoch %d, want 1 and %d", life, i, p.Leader, p.LeaderEpoch, want)
			}
		}
		before = metadata.EncodeImage(nil, c.Image())
		if life%2 == 0 {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		} else {
			disk = disk.CrashWorst()
		}
	}
}

// A start needs few syncs: the snapshot, or in later lives what the process before wrote last; the election, the leader's
// first entry, the registration, the end of the fence.
// (How long that takes is measured by BenchmarkStart.)
func TestSyncsOfAStart(t *testing.T) {
	disk := newDisk(t)
	for life, want := range []int64{5, 5, 5} {
		counted := vfs.Counting(disk)
		c := start(t, testConfig(t, counted, "/data"))
		join(t, c, byte(life+1))
		if got := counted.Total().Syncs; got > want {
			t.Errorf("life %d: %d syncs, want %d at most", life, got, want)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPowerCuts creates and deletes topics, cuts the power before some operation of the disk, and checks that the next
// process has all that was acknowledged, and nothing else but what was under way.
func TestPowerCuts(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	disk := newDisk(t)
	acked := map[string]metadata.UUID{}
	var pendingName string // of the call that was under way; its topic may or may not be there
	for life := range byte(40) {
		c := start(t, testConfig(t, disk, "/data"))
		join(t, c, life)
		for name, id := range acked {
			if topic := c.Image().Topic(name); name != pendingName && (topic == nil || topic.ID != id) {
				t.Fatalf("life %d: topic %s with id %v is %+v", life, name, id, topic)
			}
		}
		for topic := range c.Image().Topics {
			if topic.Name != pendingName && acked[topic.Name] != topic.ID {
				t.Fatalf("life %d: topic %s was never created, or is deleted", life, topic.Name)
			}
		}
		delete(acked, pendingName)
		if topic := c.Image().Topic(pendingName); topic != nil {
			acked[pendingName] = topic.ID
		}
		cut := make(chan *simfs.FS, 1)
		seed, skip := rng.Uint64(), rng.IntN(30)
		var once sync.Once
		disk.Inject(simfs.Rule{Ops: simfs.OpWrite | simfs.OpSync | simfs.OpOpen | simfs.OpSyncDir, Pattern: "*", Skip: skip,
			Before: func() { once.Do(func() { cut <- disk.Crash(seed) }) }})
		for len(cut) == 0 {
			pendingName = fmt.Sprintf("t%d", rng.IntN(12))
			id, exists := acked[pendingName]
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if exists {
				if _, err := c.Client().DeleteTopics(ctx, []metadata.UUID{id}); err == nil {
					delete(acked, pendingName)
				}
			} else if r, err := c.Client().CreateTopics(ctx, []NewTopic{{Name: pendingName, Partitions: 2, ReplicationFactor: 1}}, false); err == nil {
				acked[pendingName] = r[0].ID
			}
			cancel()
		}
		disk = <-cut
		c.Close()
	}
}

// A call returns when the node's image has what it did, and subscribers have seen that before.
func TestSubscribersComeFirst(t *testing.T) {
	cfg := testConfig(t, newDisk(t), "/data")
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var mu sync.Mutex // guards what follows
	var last *metadata.Image
	seen := map[string]bool{}
	c.Subscribe(func(prev, next *metadata.Image) {
		mu.Lock()
		defer mu.Unlock()
		if last == nil && (prev.Index != 0 || next.ClusterID == "") || last != nil && prev != last {
			t.Errorf("an image of index %d is followed by one of %d", prev.Index, next.Index)
		}
		if cfg.Metadata.Load() == next {
			t.Error("others see an image before its subscribers do")
		}
		for topic := range next.Topics {
			seen[topic.Name] = true
		}
		last = next
	})
	c.Start()
	join(t, c, 1)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			name := fmt.Sprint("t", i)
			create(t, c, name, 1)
			mu.Lock()
			defer mu.Unlock()
			if c.Image().Topic(name) == nil || !seen[name] {
				t.Errorf("%s is not there after CreateTopics", name)
			}
		})
	}
	wg.Wait()
}

// Calls that come while a batch is being written are decided together: a hundred of them cost one sync.
func TestCallsShareSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk(t)
		counted := vfs.Counting(disk)
		c := start(t, testConfig(t, counted, "/data"))
		join(t, c, 1)
		release := make(chan struct{})
		disk.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "*.wal", Times: 1, Before: func() { <-release }})
		counted.Reset()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { create(t, c, fmt.Sprint("t", i), 1) })
		}
		synctest.Wait() // one batch is being written, and all other calls wait
		close(release)
		wg.Wait()
		// One, when all calls came before the first batch was taken.
		if n := counted.Suffix(".wal").Syncs; n != 1 && n != 2 {
			t.Errorf("100 calls made %d syncs, want 1 or 2", n)
		}
		c.Close()
	})
}

// Rule 7.4.9: a call whose time is over says so, and may happen all the same.
func TestTimeout(t *testing.T) {
	disk := newDisk(t)
	c := start(t, testConfig(t, disk, "/data"))
	join(t, c, 1)
	release := make(chan struct{})
	disk.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "*", Times: 1, Before: func() { <-release }})
	topics := func(name string) []NewTopic { return []NewTopic{{Name: name, Partitions: 1, ReplicationFactor: 1}} }
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Client().CreateTopics(ctx, topics("slow"), false); !errors.Is(err, kerr.RequestTimedOut) {
		t.Errorf("got %v", err)
	}
	// One that is still in the queue when its time is over is not done at all.
	if _, err := c.Client().CreateTopics(ctx, topics("late"), false); !errors.Is(err, kerr.RequestTimedOut) {
		t.Errorf("got %v", err)
	}
	for _, err := range c.Client().AlterConfigs(ctx, make([]ConfigAlteration, 2), false) {
		if !errors.Is(err, kerr.RequestTimedOut) {
			t.Errorf("got %v", err)
		}
	}
	close(release)
	create(t, c, "after", 1)
	if c.Image().Topic("slow") == nil || c.Image().Topic("late") != nil {
		t.Errorf("slow is there: %t, late: %t", c.Image().Topic("slow") != nil, c.Image().Topic("late") != nil)
	}
}

// What one request may write comes behind what others wrote in the same batch, and the log takes both.
func TestLargestEntry(t *testing.T) {
	c := start(t, testConfig(t, newDisk(t), "/data"))
	join(t, c, 1)
	alter := func(size int) *call {
		return &call{ctx: testContext(t), done: make(chan error, 1), cmd: &alterConfigs{alterations: []ConfigAlteration{{
			Resource: metadata.ConfigResource{Type: metadata.ConfigGroup, Name: "g"}, Set: map[string]*string{"k": new(strings.Repeat("x", size))}}}}}
	}
	calls := []*call{alter(batchBytes - 100), alter(maxEntryBytes - 100)}
	d := newDecision(c.Image(), 1, c.cfg.Rules, c.chance, metadata.NewUUID)
	if n := d.decide(calls); n != 2 || calls[0].err != nil || calls[1].err != nil {
		t.Fatalf("%d calls are one batch: %v, %v", n, calls[0].err, calls[1].err)
	}
	if len(d.data) > raftwal.MaxEntries {
		t.Errorf("they write %d bytes, and the log takes %d", len(d.data), raftwal.MaxEntries)
	}
}

func TestClose(t *testing.T) {
	cfg := testConfig(t, newDisk(t), "/data")
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("close without start: %v", err)
	}
	c = start(t, cfg)
	join(t, c, 1)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Err(); err != nil {
		t.Errorf("it failed: %v", err)
	}
	if _, err := c.Client().CreateTopics(testContext(t), nil, false); !errors.Is(err, kerr.NotController) {
		t.Errorf("after Close: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	disk := newDisk(t)
	c := start(t, testConfig(t, disk, "/data"))
	join(t, c, 1)
	c.Close()
	other := testConfig(t, disk, "/data")
	other.ClusterID = "AAAAAAAAAAAAAAAAAAAAAA"
	if _, err := Open(other); err == nil || !strings.Contains(err.Error(), "belongs to cluster MkU3OEVBNTcwNTJENDM2Qk") {
		t.Errorf("another cluster: %v", err)
	}
	other = testConfig(t, disk, "/data")
	other.DirectoryID = metadata.UUID{15: 7}
	if _, err := Open(other); err == nil || !strings.Contains(err.Error(), "copied from another data directory") {
		t.Errorf("another directory: %v", err)
	}
}

// Nothing of the controller wakes up more often than its tick, and a bubble of fake time stays deterministic.
func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk(t)
		c := start(t, testConfig(t, disk, "/data"))
		join(t, c, 1)
		create(t, c, "a", 1)
		time.Sleep(time.Hour)
		create(t, c, "b", 1)
		c.Close()
	})
}

// BenchmarkStart is a start on a real disk, from Open to a node that may lead partitions.
func BenchmarkStart(b *testing.B) {
	for _, topics := range []int{0, 10_000} {
		b.Run(fmt.Sprint(topics), func(b *testing.B) {
			dir := b.TempDir()
			c := start(b, testConfig(b, vfs.OS(), dir))
			join(b, c, 1)
			for i := 0; i < topics; i += 1000 {
				var batch []NewTopic
				for j := range 1000 {
					batch = append(batch, NewTopic{Name: fmt.Sprint("topic-", i+j), Partitions: 1, ReplicationFactor: 1})
				}
				if _, err := c.Client().CreateTopics(testContext(b), batch, false); err != nil {
					b.Fatal(err)
				}
			}
			c.Close()
			for i := byte(2); b.Loop(); i++ {
				c := start(b, testConfig(b, vfs.OS(), dir))
				join(b, c, i)
				c.Close()
			}
		})
	}
}

// BenchmarkCreateTopic is one client that creates topics one by one on a real disk.
func BenchmarkCreateTopic(b *testing.B) {
	c := start(b, testConfig(b, vfs.OS(), b.TempDir()))
	join(b, c, 1)
	for i := 0; b.Loop(); i++ {
		create(b, c, fmt.Sprint("t", i), 1)
	}
}
