package log

import (
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/record"
)

// Options are what a Manager needs to know.
type Options struct {
	FS     vfs.FS
	Dirs   []string // log.dirs, absolute or relative paths
	Logger *slog.Logger
	// ClusterID and NodeID are those of this node. They are written into directories that are new, and compared with
	// what others say (rule 3.3.4).
	ClusterID string
	NodeID    int32
	// Codecs decompress batches that are searched by timestamp.
	Codecs *record.Codecs
	// RecoveryWorkers is num.recovery.threads.per.data.dir; 0: as many as processors, between 2 and 4.
	RecoveryWorkers int
	// OpenSegments bounds the segments whose files are open; 0: defaultOpenSegments. Each has up to four descriptors.
	OpenSegments int
}

// Manager owns the logs of a broker and its data directories.
type Manager struct {
	fs      vfs.FS
	logger  *slog.Logger
	dirs    []*Dir
	workers int
	codecs  *record.Codecs
	files   *descriptors
	chunks  chunkPool
	cleaner *cleaner
	whole   atomic.Bool // Load came to its end

	mu     sync.RWMutex // guards what follows; never held across I/O
	logs   map[TopicPartition]*Log
	closed bool
	// unopened are the logs that Load found and could not open, and why.
	unopened map[TopicPartition]error

	progress progress
	removed  removedCounters
}

// Open takes the data directories: it makes those that are not there, locks them, checks whose they are, and starts
// their Committers. Logs come with Load. A directory that another process holds is an error that says which; whatever
// else is wrong with one is an error that names it and what to change.
func Open(o Options) (*Manager, error) {
	m := &Manager{
		fs: o.FS, logger: o.Logger, codecs: o.Codecs, workers: o.RecoveryWorkers,
		files: &descriptors{fs: o.FS, limit: o.OpenSegments},
		logs:  make(map[TopicPartition]*Log), unopened: make(map[TopicPartition]error),
	}
	m.cleaner = newCleaner(m)
	if m.files.limit <= 0 {
		m.files.limit = defaultOpenSegments
	}
	if m.workers <= 0 {
		m.workers = min(max(runtime.GOMAXPROCS(0), 2), 4)
	}
	if len(o.Dirs) == 0 {
		return nil, fmt.Errorf("no data directory: set log.dirs")
	}
	if err := m.openDirs(&o); err != nil {
		for _, d := range m.dirs {
			d.unlock()
		}
		return nil, err
	}
	for _, d := range m.dirs {
		d.committer.start()
		d.keeper.start()
	}
	return m, nil
}

// Dirs returns the data directories.
func (m *Manager) Dirs() []*Dir { return m.dirs }

// BrokerEpoch returns the broker epoch that the last clean shutdown wrote, -1 after an unclean stop of any directory
// (rule 3.3.5).
func (m *Manager) BrokerEpoch() int64 {
	epoch := m.dirs[0].brokerEpoch
	for _, d := range m.dirs {
		epoch = min(epoch, d.brokerEpoch)
	}
	return epoch
}

// Get returns the log called tp, or nil.
func (m *Manager) Get(tp TopicPartition) *Log {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.logs[tp]
}

// Len returns the number of logs.
func (m *Manager) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.logs)
}

// Logs returns the logs there are now, in no order.
func (m *Manager) Logs() iter.Seq[*Log] {
	m.mu.RLock()
	logs := make([]*Log, 0, len(m.logs))
	for _, l := range m.logs {
		logs = append(logs, l)
	}
	m.mu.RUnlock()
	return slices.Values(logs)
}

// logsIn returns the logs of one directory.
func (m *Manager) logsIn(d *Dir) []*Log {
	var in []*Log
	for l := range m.Logs() {
		if l.dir == d {
			in = append(in, l)
		}
	}
	return in
}

// Create registers a log that is assigned to this broker, in the directory with the fewest, and returns it. Nothing is
// written before its first append. A log that is there is returned if it has the topic id; another id is an error that
// wraps kerr.InconsistentTopicID. One that Load could not open is an error that wraps kerr.KafkaStorageError.
func (m *Manager) Create(tp TopicPartition, topicID [16]byte, cfg *Config) (*Log, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errStopped
	}
	if l := m.logs[tp]; l != nil {
		if l.topicID != topicID {
			return nil, fmt.Errorf("log %s belongs to topic id %s, not to %s: %w", tp, formatUUID(l.topicID), formatUUID(topicID), kerr.InconsistentTopicID)
		}
		return l, nil
	}
	if err := m.unopened[tp]; err != nil {
		return nil, fmt.Errorf("log %s could not be opened at the start, and is not made anew beside its files: %w: %w", tp, err, kerr.KafkaStorageError)
	}
	d, promised, err := m.place(MarkKey{TopicID: topicID, Partition: tp.Partition})
	if err != nil {
		return nil, fmt.Errorf("create log %s: %w", tp, err)
	}
	l := newLog(m, d, tp, topicID, cfg)
	if promised > 0 {
		l.loss = &Loss{Promised: promised, Reason: fmt.Sprintf("the directory %s is gone", l.path)}
		m.logger.Error("a log has lost acknowledged records", "log", tp.String(), "loss", l.loss.String())
	}
	d.logs.Add(1)
	m.logs[tp] = l
	return l, nil
}

// place chooses the directory for a new log: the one whose marks know it, which means that it is lost, or else the one
// with the fewest logs.
func (m *Manager) place(key MarkKey) (best *Dir, promised int64, err error) {
	for _, d := range m.dirs {
		if d.State() == DirFailed {
			err = d.failure()
			continue
		}
		if end, ok := d.marks.get(key); ok && end > 0 {
			return d, end, nil
		}
		if best == nil || d.logs.Load() < best.logs.Load() {
			best = d
		}
	}
	if best == nil {
		return nil, 0, err
	}
	return best, 0, nil
}

// Checkpoint moves the recovery points of all logs to their durable ends now, and returns when the checkpoints are
// written. Without it that happens in the background.
func (m *Manager) Checkpoint() {
	for _, d := range m.dirs {
		d.keeper.force()
	}
}

// changed has the keeper look at the log.
func (m *Manager) changed(l *Log) {
	if !l.watched.Load() {
		l.dir.keeper.add(l)
	}
}

// progress counts what Load has done.
type progress struct {
	logs, logsDone, bytes, bytesDone atomic.Int64
}

// Progress says how far Load is. Bytes are those of log files that have to be read, counted as they become known.
type Progress struct {
	Logs, LogsDone   int64
	Bytes, BytesDone int64
}

// Progress returns how far Load is; it may be called meanwhile.
func (m *Manager) Progress() Progress {
	p := &m.progress
	return Progress{p.logs.Load(), p.logsDone.Load(), p.bytes.Load(), p.bytesDone.Load()}
}
