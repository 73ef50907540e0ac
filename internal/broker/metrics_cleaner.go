package broker

import (
	"time"

	"github.com/kbroker/kbroker/internal/exposition"
	"github.com/kbroker/kbroker/log"
)

// ofCleaner is a gauge of the log cleaner.
func ofCleaner(name, mbean, help string, value func(*log.CleanerStats) float64) metric {
	return ofNode("kafka_log_"+name, gauge, "kafka.log:type="+mbean, help, func(s *scrape) float64 {
		stats := s.b.logs.CleanerStats()
		return value(&stats)
	})
}

// ofCleanerDirs is a gauge of the log cleaner for each data directory.
func ofCleanerDirs(name, mbean, help string, value func(*log.CleanerStats) map[*log.Dir]int64) metric {
	return metric{
		Family: exposition.Family{Name: "kafka_log_logcleanermanager_" + name, Kind: gauge, Help: help, Labels: []string{"logdirectory"}},
		source: "kafka.log:type=LogCleanerManager,name=" + mbean,
		write: func(s *scrape, w *exposition.Writer) {
			stats := s.b.logs.CleanerStats()
			byDir := value(&stats)
			for _, d := range s.b.logs.Dirs() {
				w.Series(float64(byDir[d]), d.Path())
			}
		},
	}
}

var cleanerMetrics = []metric{
	ofCleaner("logcleaner_cleaner_recopy_percent", "LogCleaner,name=cleaner-recopy-percent", "Bytes that the last pass of the cleaner kept, in percent of those it read.",
		func(c *log.CleanerStats) float64 { return c.RecopyPercent }),
	ofCleaner("logcleaner_max_buffer_utilization_percent", "LogCleaner,name=max-buffer-utilization-percent", "How full the map of keys was in the last pass of the cleaner, in percent.",
		func(c *log.CleanerStats) float64 { return c.MaxBufferUtilizationPercent }),
	ofCleaner("logcleaner_max_clean_time_secs", "LogCleaner,name=max-clean-time-secs", "Seconds that the last pass of the cleaner took.",
		func(c *log.CleanerStats) float64 { return c.MaxCleanTime.Seconds() }),
	ofCleaner("logcleaner_max_compaction_delay_secs", "LogCleaner,name=max-compaction-delay-secs", "Seconds by which the oldest dirty record is older than max.compaction.lag.ms lets it.",
		func(c *log.CleanerStats) float64 { return c.MaxCompactionDelay.Seconds() }),
	ofCleaner("logcleanermanager_max_dirty_percent", "LogCleanerManager,name=max-dirty-percent", "Dirty bytes of the dirtiest log that may be cleaned, in percent of its bytes.",
		func(c *log.CleanerStats) float64 { return c.MaxDirtyPercent }),
	ofCleaner("logcleanermanager_time_since_last_run_ms", "LogCleanerManager,name=time-since-last-run-ms", "Milliseconds since the cleaner last looked for something to clean; 0 before the first time.",
		func(c *log.CleanerStats) float64 {
			if c.LastRun.IsZero() {
				return 0
			}
			return float64(time.Since(c.LastRun).Milliseconds())
		}),
	ofCleanerDirs("uncleanable_partitions_count", "uncleanable-partitions-count", "Partitions that the cleaner gave up on until the next start; the log says why.",
		func(c *log.CleanerStats) map[*log.Dir]int64 { return c.Uncleanable }),
	ofCleanerDirs("uncleanable_bytes", "uncleanable-bytes", "Dirty bytes of the partitions that the cleaner gave up on.",
		func(c *log.CleanerStats) map[*log.Dir]int64 { return c.UncleanableBytes }),
	ofNode("kafka_utils_throttler_cleaner_io_total", counter, "kafka.utils:type=Throttler,name=cleaner-io", "Bytes that the cleaner read and wrote.",
		func(s *scrape) float64 { return float64(s.b.logs.CleanerStats().IOBytes) }),
}
