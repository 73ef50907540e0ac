package log

import (
	"fmt"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Position is a log offset with its physical place: the segment that holds it, named by its base offset, and the bytes of
// that segment below it. Kafka calls it LogOffsetMetadata.
type Position struct {
	Offset      int64
	SegmentBase int64 // UnknownSegment: only Offset is known
	Bytes       int64
}

// UnknownSegment is the SegmentBase of a Position whose place is not known; Read looks it up.
const UnknownSegment int64 = -1

// At returns the Position of an offset whose place is not known.
func At(offset int64) Position { return Position{Offset: offset, SegmentBase: UnknownSegment} }

// Log is one replica of one partition on disk.
type Log struct {
	m       *Manager
	dir     *Dir
	tp      TopicPartition
	topicID [16]byte
	path    string // of the log's directory, which exists from the first append on

	cfg      atomic.Pointer[Config]
	listener atomic.Pointer[func()]
	segments atomic.Pointer[[]*segment] // in order; replaced whole under appendMu; nil: no directory yet
	start    atomic.Int64               // LogStartOffset
	// rewritten is the base of the first segment that the cleaner has not touched in this process: a Position in one
	// below has to be looked up anew.
	rewritten atomic.Int64
	cleaned   atomic.Int64 // first dirty offset, as the cleaner's checkpoint says; -1: it has none
	epochs    *EpochCache  // has its own lock
	dirty     atomic.Bool  // in the Committer's list
	watched   atomic.Bool  // in the keeper's list

	// token is taken, by sending, by whoever works on the log's files as a whole: a checkpoint, a truncation, the deletion,
	// the close. They wait for the disk and for the Committer, which must not be done under a mutex.
	token chan struct{}

	// appendMu guards the active segment's file and its indexes: whoever writes, rolls or cuts holds it. It is held over
	// pwrite and file creation, never over a sync or anything else that waits. Taken before mu.
	appendMu sync.Mutex
	iov      [][]byte // scratch of one write

	// mu guards what follows. It is never held across I/O.
	mu        sync.Mutex
	pending   appendQueue
	staged    tail // as if everything pending was written
	written   tail // as the file is
	stagedSeq uint64
	doneSeq   uint64 // appends up to this one are written or failed
	end       Position
	durable   Position
	producers *producerState
	// snapshotAt is the offset of the newest producer snapshot on disk, -1: none.
	snapshotAt  int64
	leaderEpoch int32
	lastEpoch   int32    // newest in epochs
	unstable    Position // place of the last FirstUnstable, so that it is looked up once
	committed   int64    // high watermark last told
	names       unsyncedNames
	recent      recentBatches
	jitter      int64 // of the active segment, in ms
	rolling     bool  // appends go the slow way until a roll is done
	cuts        uint64
	cutting     bool  // a truncation is under way
	closed      error // why the log takes neither appends nor reads
	deleted     bool  // its directory is, or is about to be, another's: nothing is synced there any more
	loss        *Loss
	flush       flushState
	checkpoint  checkpointState
}

func newLog(m *Manager, dir *Dir, tp TopicPartition, topicID [16]byte, cfg *Config) *Log {
	l := &Log{m: m, dir: dir, tp: tp, topicID: topicID, path: path.Join(dir.path, tp.String()), epochs: &EpochCache{}}
	l.cfg.Store(cfg)
	l.producers = newProducerState(producerLimits(cfg))
	l.leaderEpoch, l.lastEpoch, l.snapshotAt = -1, -1, -1
	l.cleaned.Store(-1)
	l.token = make(chan struct{}, 1)
	l.unstable = At(-1)
	l.begin(0)
	return l
}

// begin makes the log empty, starting at offset, in memory.
func (l *Log) begin(offset int64) {
	l.written = newTail(offset, time.Now().UnixMilli())
	l.staged = l.written
	l.end = l.written.end()
	l.durable, l.checkpoint.recovery = l.end, l.end
	l.start.Store(offset)
	l.recent.reset()
}

func producerLimits(cfg *Config) producerStateConfig {
	return producerStateConfig{Expiration: time.Duration(cfg.ProducerExpirationMs) * time.Millisecond}
}

// key names the log in the durable marks.
func (l *Log) key() MarkKey { return MarkKey{TopicID: l.topicID, Partition: l.tp.Partition} }

// TopicPartition returns the log's name.
func (l *Log) TopicPartition() TopicPartition { return l.tp }

// TopicID returns the id of the topic the log belongs to.
func (l *Log) TopicID() [16]byte { return l.topicID }

// Dir returns the data directory that holds the log.
func (l *Log) Dir() *Dir { return l.dir }

// Config returns the settings in force. The caller must not change them.
func (l *Log) Config() *Config { return l.cfg.Load() }

// SetConfig replaces the settings. It applies from the next append on.
func (l *Log) SetConfig(cfg *Config) {
	l.cfg.Store(cfg)
	l.mu.Lock()
	l.producers.configure(producerLimits(cfg))
	l.mu.Unlock()
	if cfg.AckDurable() {
		l.dir.committer.add(l) // what was written under weaker rules is durable soon
	}
}

// SetListener sets the function that the Committer calls, with no locks held, after DurableEnd moved or the log failed.
func (l *Log) SetListener(fn func()) { l.listener.Store(&fn) }

func (l *Log) notify() {
	if fn := l.listener.Load(); fn != nil {
		(*fn)()
	}
}

// End returns the LogEndOffset: one above the last record that is written and can be read.
func (l *Log) End() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// DurableEnd returns the end of what is known to be on the disk.
func (l *Log) DurableEnd() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable
}

// StartOffset returns the LogStartOffset: records below it are not served any more.
func (l *Log) StartOffset() int64 { return l.start.Load() }

// LeaderEpoch returns the newest epoch that the log was told of or has seen in its data, -1 when there is none.
func (l *Log) LeaderEpoch() int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.leaderEpoch, l.lastEpoch)
}

// Err returns why the log can't be used: it was closed or deleted, or its data directory failed; nil while it can.
func (l *Log) Err() error {
	if err := l.dir.failure(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// BecomeLeader fences appends of older epochs and notes that epoch starts at the log's end, before anything is appended
// in it (rule 3.4.6). The error wraps kerr.FencedLeaderEpoch when a newer epoch is known.
func (l *Log) BecomeLeader(epoch int32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.raiseEpoch(epoch); err != nil {
		return err
	}
	if epoch > l.lastEpoch {
		l.assignEpoch(epoch, l.staged.next)
	}
	return nil
}

// BecomeFollower fences appends of a leader of an older epoch. The error is as BecomeLeader's.
func (l *Log) BecomeFollower(epoch int32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.raiseEpoch(epoch)
}

func (l *Log) raiseEpoch(epoch int32) error {
	if epoch < l.leaderEpoch {
		return fmt.Errorf("%s: leader epoch %d is older than %d: %w", l.tp, epoch, l.leaderEpoch, kerr.FencedLeaderEpoch)
	}
	l.leaderEpoch = epoch
	return nil
}

// assignEpoch notes that epoch starts at offset; mu is held. The file follows with the next checkpoint: entries below
// the recovery point are on disk before it moves, those above are in the batches.
func (l *Log) assignEpoch(epoch int32, offset int64) {
	l.epochs.Assign(epoch, offset)
	l.lastEpoch = epoch
	l.m.changed(l)
}
