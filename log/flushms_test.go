package log

import (
	"testing"

	"github.com/kbroker/kbroker/internal/simfs"
)

// TestFlushMs: with flush.ms a log of Kafka's durability is synced that long after an append, without another append.
func TestFlushMs(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Durability, cfg.FlushMs = Replicated, 1
	m := openManager(t, simfs.New(), cfg, "/data")
	l := createLog(t, m, "t", 0, cfg)
	for i := range 3 {
		mustAppend(t, l, makeBatch(batchSpec{n: 2}), 0)
		waitDurable(t, l, int64(2*i+2))
	}
}
