package broker

import (
	"time"

	"github.com/kbroker/kbroker/internal/exposition"
	"github.com/kbroker/kbroker/log"
)

// ofDirs is a metric of each data directory. A value that cannot be told is left out.
func ofDirs(name string, kind exposition.Kind, help string, value func(*log.Dir) (float64, bool)) metric {
	return metric{
		Family: exposition.Family{Name: name, Kind: kind, Help: help, Labels: []string{"directory"}},
		write: func(s *scrape, w *exposition.Writer) {
			for _, d := range s.b.logs.Dirs() {
				if v, ok := value(d); ok {
					w.Series(v, d.Path())
				}
			}
		},
	}
}

// connections is a counter of client connections.
func connections(name, help string, value func(*scrape) int64) metric {
	return ofNode("kbroker_connections_"+name+"_total", counter, "", help, func(s *scrape) float64 { return float64(value(s)) })
}

// ofQuotas is a counter of each kind of client quota.
func ofQuotas(name, help string, value func(times int64, total time.Duration) float64) metric {
	return metric{
		Family: exposition.Family{Name: name, Kind: counter, Help: help, Labels: []string{"quota"}},
		write: func(s *scrape, w *exposition.Writer) {
			s.b.quotas.Throttled(func(key string, times int64, total time.Duration) { w.Series(value(times, total), key) })
		},
	}
}

// removed is a counter of what retention removed.
func removed(what, help string, value func(segments, bytes int64) int64) metric {
	return metric{
		Family: exposition.Family{Name: "kbroker_retention_removed_" + what + "_total", Kind: counter, Labels: []string{"reason"}, Help: help},
		write: func(s *scrape, w *exposition.Writer) {
			for _, why := range [...]log.RemovedFor{log.RemovedByTime, log.RemovedBySize, log.RemovedByStart} {
				w.Series(float64(value(s.b.logs.Removed(why))), why.String())
			}
		},
	}
}

// ownMetrics are what nobody else has a name for.
var ownMetrics = []metric{
	{Family: ready, node: func(*scrape) float64 { return 1 }},
	{
		Family: exposition.Family{Name: "kbroker_request_seconds", Kind: exposition.Histogram, Labels: []string{"api"},
			Help: "Time of requests, from the arrival of their last byte until their answer is ready."},
		write: func(s *scrape, w *exposition.Writer) {
			bounds := latencyBounds()
			s.latencies(func(api string, buckets []int64, seconds float64) { w.Buckets(bounds, buckets, seconds, api) })
		},
	},
	{
		Family: exposition.Family{Name: "kbroker_network_bytes_total", Kind: counter, Labels: []string{"direction"}, Help: "Bytes moved on client connections."},
		write: func(s *scrape, w *exposition.Writer) {
			w.Series(float64(s.b.server.Stats().BytesIn.Load()), "in")
			w.Series(float64(s.b.server.Stats().BytesOut.Load()), "out")
		},
	},
	connections("accepted", "Client connections accepted.", func(s *scrape) int64 { return s.b.server.Stats().Accepted.Load() }),
	connections("refused", "Client connections closed at once for a limit.", func(s *scrape) int64 { return s.b.server.Stats().Refused.Load() }),
	connections("malformed", "Client connections closed for what they sent.", func(s *scrape) int64 { return s.b.server.Stats().Malformed.Load() }),
	connections("stalled", "Client connections closed for standing still.", func(s *scrape) int64 { return s.b.server.Stats().Stalled.Load() }),
	ofNode("kbroker_connections_muted", gauge, "", "Connections from which nothing is read now, since their client is over a quota.",
		func(s *scrape) float64 { return float64(s.b.server.Stats().Muted.Load()) }),
	ofQuotas("kbroker_throttles_total", "How often a client was told to stay away for a quota.", func(times int64, _ time.Duration) float64 { return float64(times) }),
	ofQuotas("kbroker_throttle_seconds_total", "For how long clients were told to stay away for a quota.",
		func(_ int64, total time.Duration) float64 { return total.Seconds() }),
	ofPartitions("kbroker_partition_durable_offset", "", "Offset below which every record is known to be on the disk.",
		func(p *partitionSample) int64 { return p.p.Log().DurableEnd().Offset }),
	ofDirs("kbroker_directory_free_bytes", gauge, "Bytes free on the file system of a data directory.", func(d *log.Dir) (float64, bool) {
		free, _, err := d.Space()
		return float64(free), err == nil
	}),
	ofDirs("kbroker_directory_size_bytes", gauge, "Bytes of the file system of a data directory.", func(d *log.Dir) (float64, bool) {
		_, total, err := d.Space()
		return float64(total), err == nil
	}),
	{
		Family: exposition.Family{Name: "kbroker_directory_full", Kind: gauge, Labels: []string{"directory"},
			Help: "1 while a data directory takes no appends, or no changes of the cluster's metadata, for lack of room."},
		write: func(s *scrape, w *exposition.Writer) {
			for _, d := range s.b.logs.Dirs() {
				w.Series(float64(one(s.b.dirState(d) == log.DirFull)), d.Path())
			}
		},
	},
	ofDirs("kbroker_commit_rounds_total", counter, "Rounds in which all that was written to a data directory was made durable.", func(d *log.Dir) (float64, bool) {
		return float64(d.Counters().CommitRounds), true
	}),
	removed("segments", "Segments that retention removed, by why.", func(segments, _ int64) int64 { return segments }),
	removed("bytes", "Bytes of log files that retention removed, by why.", func(_, bytes int64) int64 { return bytes }),
	ofNode("kbroker_series_omitted", gauge, "", "Topics, partitions and groups without series of their own, for the bounds of a scrape.",
		func(s *scrape) float64 { return float64(s.omitted) }),
}
