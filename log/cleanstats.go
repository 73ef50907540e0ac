package log

import (
	"maps"
	"time"
)

// CleanerStats are the numbers of the cleaner behind Kafka's metrics of LogCleaner and LogCleanerManager.
type CleanerStats struct {
	Threads int
	// MaxDirtyPercent is the dirty part of the dirtiest log that may be cleaned, and MaxCompactionDelay how much later than
	// max.compaction.lag.ms the latest one is, both as of LastRun, the last look at all logs.
	MaxDirtyPercent    float64
	MaxCompactionDelay time.Duration
	LastRun            time.Time
	// Of the last pass: bytes written per 100 bytes read, how full the map of keys was, and how long it took.
	RecopyPercent               float64
	MaxBufferUtilizationPercent float64
	MaxCleanTime                time.Duration
	// Since the start.
	Passes  int64
	IOBytes int64 // read and written
	// Uncleanable counts the logs that can't be cleaned, by directory, and UncleanableBytes their dirty bytes.
	Uncleanable      map[*Dir]int64
	UncleanableBytes map[*Dir]int64
}

// CleanerStats returns the numbers of the cleaner.
func (m *Manager) CleanerStats() CleanerStats {
	c := m.cleaner
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Threads, s.IOBytes = c.running, c.throttle.total()
	s.Uncleanable, s.UncleanableBytes = map[*Dir]int64{}, maps.Clone(s.UncleanableBytes)
	for l := range c.uncleanable {
		s.Uncleanable[l.dir]++
	}
	return s
}

// note counts a pass and logs it.
func (c *cleaner) note(l *Log, clean int64, p *CleanStats) {
	c.mu.Lock()
	c.stats.Passes++
	c.stats.RecopyPercent = 100 * float64(p.BytesWritten) / float64(max(p.BytesRead, 1))
	c.stats.MaxBufferUtilizationPercent, c.stats.MaxCleanTime = 100*p.MapUtilization, p.Elapsed
	c.mu.Unlock()
	c.logger.Info("a log was cleaned", "log", l.tp.String(), "clean_below", clean, "bytes_before", p.BytesRead, "bytes_after", p.BytesWritten,
		"segments_before", p.SegmentsBefore, "segments_after", p.SegmentsAfter, "ms", p.Elapsed.Milliseconds())
	if p.RecordsWithoutKey > 0 {
		c.logger.Warn("records without a key were dropped from a compacted log", "log", l.tp.String(), "records", p.RecordsWithoutKey)
	}
}
