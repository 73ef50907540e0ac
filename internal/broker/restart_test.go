package broker

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/internal/simfs"
)

// diary is a log that can be read.
type diary struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (d *diary) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.Write(p)
}

func (d *diary) lines(with string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Count(d.text.String(), with)
}

// TestCoordinatorsLoadOnce: a node that starts again loads the partitions of its coordinators when it has registered,
// and not in the leader epoch of its life before as well.
func TestCoordinatorsLoadOnce(t *testing.T) {
	fsys := simfs.New()
	settings, err := config.Load(config.Sources{Options: []string{"node.id=1", "log.dirs=/data", "offsets.topic.num.partitions=1",
		"listeners=PLAINTEXT://127.0.0.1:0", "kbroker.http.listeners="}})
	if err != nil {
		t.Fatal(err)
	}
	const loaded = "partition is loaded"
	for run := range 10 {
		store, err := config.NewStore(settings)
		if err != nil {
			t.Fatal(err)
		}
		d := &diary{}
		logger := slog.New(slog.NewTextHandler(d, nil))
		b, err := Start(t.Context(), Options{Config: store, FS: fsys, Listen: net.Listen,
			Loggers: config.NewLoggers(logger.Handler(), slog.LevelInfo), Logger: logger})
		if err != nil {
			t.Fatal(err)
		}
		c := newPlainClient(t, b)
		if run == 0 {
			c.create("t", 1)
		}
		c.commitOffsets("g", map[string][]int64{"t": {int64(run)}})
		if n := d.lines(loaded); n != min(run, 1) {
			t.Errorf("run %d: %d loadings:\n%s", run, n, d.text.String())
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if err := b.Stop(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
}
