package controller

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/metadata"
)

// directory is the id of the metadata directory of a test's node 1.
var directory = metadata.UUID{0: 1, 8: 0x80, 15: 200}

// testConfig is the Config of a node on fsys.
func testConfig(t testing.TB, fsys vfs.FS, dir string) Config {
	return Config{
		FS: fsys, DataDir: dir, DirectoryID: directory, NodeID: 1, ClusterID: "MkU3OEVBNTcwNTJENDM2Qk",
		Features: map[string]int16{"metadata.version": 30},
		Rules:    Rules{NumPartitions: 1, ReplicationFactor: 1},
		Metadata: new(metadata.Cell), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// start opens and starts a controller that the test closes.
func start(t testing.TB, cfg Config) *Controller {
	t.Helper()
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.Start()
	t.Cleanup(func() { c.Close() })
	return c
}

// thisNode is the registration of node 1 of a test, of a process that is told from others by n.
func thisNode(n byte) metadata.Broker {
	return metadata.Broker{ID: 1, Incarnation: metadata.UUID{15: n}, Directories: []metadata.UUID{directory},
		Listeners: []metadata.Listener{{Name: "PLAINTEXT", Host: "127.0.0.1", Port: 9092}}}
}

// join registers node 1 and takes down its fence.
func join(t testing.TB, c *Controller, n byte) {
	t.Helper()
	ctx := testContext(t)
	if _, err := c.Client().RegisterBroker(ctx, thisNode(n)); err != nil {
		t.Fatal(err)
	}
	state, err := c.Client().Heartbeat(ctx, Heartbeat{})
	if err != nil || state.Fenced {
		t.Fatalf("heartbeat: %+v, %v", state, err)
	}
}

// testContext ends long after anything here should take.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// newDisk is an empty disk in memory with a data directory.
func newDisk(t testing.TB) *simfs.FS {
	t.Helper()
	disk := simfs.New()
	if err := errors.Join(disk.MkdirAll("/data", 0o755), disk.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	return disk
}
