package controller

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/kbroker/kbroker/controller/raftwal"
	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/metadata"
)

// The log does not grow without end: snapshots are taken, and a start reads the newest and what is behind it.
func TestSnapshots(t *testing.T) {
	disk := newDisk(t)
	c := start(t, testConfig(t, disk, "/data"))
	join(t, c, 1)
	for i := range 10 { // some 450 kB each time
		id := create(t, c, "big", 9000)
		if _, err := c.Client().DeleteTopics(testContext(t), []metadata.UUID{id}); err != nil {
			t.Fatal(err)
		}
		create(t, c, fmt.Sprint("t", i), 1)
	}
	c.Close()
	var bytes int64
	snapshots := 0
	listing, err := disk.ReadDir("/data/" + raftwal.DirName)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range listing {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		bytes += info.Size()
		if strings.HasSuffix(e.Name(), ".snapshot") {
			snapshots++
		}
	}
	if snapshots != 2 || bytes > 5*snapshotBytes {
		t.Errorf("%d snapshots, %d bytes in all", snapshots, bytes)
	}
	again := start(t, testConfig(t, disk.CrashWorst(), "/data"))
	join(t, again, 2)
	if n := again.Image().NumTopics(); n != 10 {
		t.Errorf("%d topics, want 10", n)
	}
}

// grow writes some 1.3 MiB of metadata, in many entries, and takes most of it back.
func grow(t testing.TB, c *Controller, name string) {
	t.Helper()
	for i := range 30 {
		id := create(t, c, fmt.Sprint(name, i), 900)
		if _, err := c.Client().DeleteTopics(testContext(t), []metadata.UUID{id}); err != nil {
			t.Fatal(err)
		}
	}
}

// A snapshot is taken once, and the entries in front of it are kept in memory until the next one.
func TestSnapshotIsTakenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, testConfig(t, newDisk(t), "/data"))
		join(t, c, 1)
		for i := range 3 { // some 450 kB each time
			create(t, c, fmt.Sprint("big", i), 9000)
		}
		synctest.Wait() // until the disk has the snapshot, and nothing else comes
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if c.snapshotIndex <= 1 || c.log.base != 1 {
			t.Errorf("after the snapshot at index %d the log in memory begins behind %d, want 1", c.snapshotIndex, c.log.base)
		}
	})
}

// On a full disk a snapshot is not tried again with every entry, and what it was to replace stays in memory.
func TestSnapshotOnFullDisk(t *testing.T) {
	disk := newDisk(t)
	var tries atomic.Int32
	c := start(t, testConfig(t, disk, "/data"))
	join(t, c, 1)
	disk.Inject(simfs.Rule{Ops: simfs.OpWrite, Pattern: "*.snapshot.tmp", Err: syscall.ENOSPC, Before: func() { tries.Add(1) }})
	grow(t, c, "t")
	for i := range 20 {
		create(t, c, fmt.Sprint("small", i), 1)
	}
	if n := tries.Load(); n != 1 {
		t.Errorf("%d snapshots were tried, want 1", n)
	}
	disk.ClearRules()
	grow(t, c, "u")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if c.snapshotIndex <= 1 {
		t.Error("there is no snapshot after there was room")
	}
	join(t, start(t, testConfig(t, disk.CrashWorst(), "/data")), 2)
}
