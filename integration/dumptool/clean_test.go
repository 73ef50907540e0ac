package dumptool

import (
	"testing"
	"time"

	"github.com/kbroker/kbroker/integration/kafkapeer"
	"github.com/kbroker/kbroker/log"
)

// TestKafkasToolReadsCleaned is TestKafkasToolReadsOurs after two compactions, the second one with delete horizons that
// have passed: gaps, empty batches, emptied markers and rebuilt indexes are Kafka's too (rules 3.10.5 to 3.10.9).
func TestKafkasToolReadsCleaned(t *testing.T) {
	jars, err := kafkapeer.Install(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w := newWriter(t, dir)
	w.fill()
	o := log.DefaultCleanerOptions()
	o.Backoff = time.Millisecond
	w.manager.SetCleaner(o)
	for pass := range 2 {
		before := w.manager.CleanerStats().Passes
		for l := range w.manager.Logs() {
			cfg := *l.Config()
			cfg.Compact, cfg.MinCleanableDirtyRatio, cfg.DeleteRetentionMs = true, 0, int64(pass)*3600_000
			l.SetConfig(&cfg)
		}
		w.fill() // the same keys again
		for deadline := time.Now().Add(30 * time.Second); w.manager.CleanerStats().Passes < before+2; time.Sleep(10 * time.Millisecond) {
			for l := range w.manager.Logs() {
				l.HighWatermarkMoved(l.DurableEnd().Offset)
			}
			w.manager.Checkpoint()
			if time.Now().After(deadline) {
				t.Fatalf("the logs are not cleaned: %+v", w.manager.CleanerStats())
			}
		}
	}
	if err := w.manager.Close(1); err != nil {
		t.Fatal(err)
	}
	compareDumps(t, jars, dir, true, map[string]int{".log": 3, ".index": 3, ".timeindex": 3, ".snapshot": 3})
}
