package controller

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/metadata"
)

// A full disk stops changes until there is room, and nothing else.
func TestFullDisk(t *testing.T) {
	disk := newDisk(t)
	c := start(t, testConfig(t, disk, "/data"))
	join(t, c, 1)
	create(t, c, "a", 1)
	free, total, err := disk.Space("/data")
	if err != nil {
		t.Fatal(err)
	}
	disk.SetCapacity(int64(total - free))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Client().CreateTopics(ctx, []NewTopic{{Name: "b", Partitions: 1, ReplicationFactor: 1}}, false); !errors.Is(err, kerr.RequestTimedOut) {
		t.Errorf("got %v", err)
	}
	if !c.DiskFull() {
		t.Error("it does not say that the disk is full")
	}
	disk.SetCapacity(1 << 30)
	create(t, c, "c", 1)
	if c.DiskFull() {
		t.Error("it says that the disk is full still")
	}
	if c.Image().Topic("b") == nil {
		t.Error("what was under way when the disk was full is lost")
	}
}

// A disk that fills up again and again: the reserve is there each time, so that topics can be deleted.
func TestReserveIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk(t)
		c := start(t, testConfig(t, disk, "/data"))
		join(t, c, 1)
		for round := range 3 {
			id := create(t, c, fmt.Sprint("t", round), 1)
			time.Sleep(time.Minute)
			free, total, err := disk.Space("/data")
			if err != nil {
				t.Fatal(err)
			}
			disk.SetCapacity(int64(total - free))
			if _, err := c.Client().DeleteTopics(testContext(t), []metadata.UUID{id}); err != nil {
				t.Errorf("round %d: a topic cannot be deleted: %v", round, err)
			}
			disk.SetCapacity(1 << 30)
		}
		c.Close()
	})
}

// After a failed sync the controller ends: it cannot know what it has promised.
func TestFailedDisk(t *testing.T) {
	disk := newDisk(t)
	c := start(t, testConfig(t, disk, "/data"))
	join(t, c, 1)
	disk.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "*", Err: syscall.EIO})
	_, err := c.Client().CreateTopics(testContext(t), []NewTopic{{Name: "b", Partitions: 1, ReplicationFactor: 1}}, false)
	if !errors.Is(err, kerr.NotController) {
		t.Errorf("got %v", err)
	}
	<-c.Done()
	if !errors.Is(c.Err(), syscall.EIO) {
		t.Errorf("it ended with %v", c.Err())
	}
	if _, _, err := c.Client().AllocateProducerIDs(testContext(t)); !errors.Is(err, kerr.NotController) {
		t.Errorf("a later call: %v", err)
	}
}
