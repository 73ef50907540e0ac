package log

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
)

// DirState is whether a data directory can be written.
type DirState int32

const (
	DirOK DirState = iota
	// DirFull: the disk is full. Clients' appends are refused; reads, deletes and coordinators' appends go on, and all
	// of it when there is room again.
	DirFull
	// DirFailed: a write or a sync failed. Nothing is written or read any more for the life of the process: after a failed sync
	// the kernel may have dropped what was to be written, and a second one would succeed (rule 3.1.5).
	DirFailed
)

// String returns a word for logs and metrics.
func (s DirState) String() string { return [...]string{"ok", "full", "failed"}[s] }

// Dir is one data directory.
type Dir struct {
	m        *Manager
	path     string
	meta     MetaProperties
	isNew    bool // it had no meta.properties
	ownMount bool
	lock     io.Closer
	marks    *durableMarks
	// unclean says that the last stop left no clean shutdown file; brokerEpoch is what the file said, -1: nothing.
	unclean     bool
	brokerEpoch int64
	// What the checkpoints of the last run say; read-only.
	recoveryPoints, starts, highWatermarks, cleaned map[TopicPartition]int64

	logs atomic.Int64 // logs in the directory

	committer *committer
	keeper    *keeper
	reserve   reserve

	// suspect says that a log was left in an unknown state, so that the directory is recovered at the next start.
	suspect atomic.Bool

	state  atomic.Int32
	failed atomic.Pointer[dirError]
	down   chan struct{} // closed when the state is DirFailed
}

// dirError is why a directory failed.
type dirError struct{ err error }

// Path returns the directory's name.
func (d *Dir) Path() string { return d.path }

// ID returns directory.id of its meta.properties.
func (d *Dir) ID() [16]byte { return d.meta.DirectoryID }

// State returns whether the directory can be written.
func (d *Dir) State() DirState { return DirState(d.state.Load()) }

// Failed is closed when the directory has failed; Err says why.
func (d *Dir) Failed() <-chan struct{} { return d.down }

// Err returns why the directory failed, or nil. The error wraps KAFKA_STORAGE_ERROR.
func (d *Dir) Err() error { return d.failure() }

// Space returns the bytes free to this process and the total bytes of the file system.
func (d *Dir) Space() (free, total uint64, err error) { return d.m.fs.Space(d.path) }

// admit refuses appends while the directory can't take them. Coordinators may go on while it is full: group and
// transaction records are small, and the reserve file was given up to pay for them.
func (d *Dir) admit(origin Origin) error {
	switch d.State() {
	case DirFull:
		if origin == OriginCoordinator {
			return nil
		}
		return d.fullError()
	case DirFailed:
		return d.failure()
	}
	return nil
}

func (d *Dir) fullError() error {
	return fmt.Errorf("data directory %s is full and takes no appends until there is room: free space on its disk, or delete topics or shorten their retention: %w",
		d.path, kerr.KafkaStorageError)
}

// failure returns why the directory failed, or nil.
func (d *Dir) failure() error {
	if e := d.failed.Load(); e != nil {
		return e.err
	}
	return nil
}

// writeFailed decides what a failed write or file creation for log tp means: a full disk is waited out, and so is a want
// of descriptors; anything else ends the directory. It returns the error for the client. It is called under append locks and does no I/O.
func (d *Dir) writeFailed(tp TopicPartition, cause error) error {
	if errors.Is(cause, kerr.KafkaStorageError) { // classified already
		return cause
	}
	if isTooManyFiles(cause) {
		return fmt.Errorf("%s: this process can't open more files: raise its limit (ulimit -n) or lower max.connections: %w: %w", tp, cause, kerr.KafkaStorageError)
	}
	if !isNoSpace(cause) {
		return d.fail(fmt.Errorf("%s: %w", tp, cause))
	}
	if d.state.CompareAndSwap(int32(DirOK), int32(DirFull)) {
		d.m.logger.Error("the data directory is full: produce is refused until there is room; reads and deletes go on",
			"dir", d.path, "error", cause)
		d.keeper.poke()
	}
	return fmt.Errorf("%s: %w: %w", tp, cause, d.fullError())
}

// fail ends the use of the directory, for the first error that is given, and returns the error for the client.
func (d *Dir) fail(cause error) error {
	err := fmt.Errorf("data directory %s failed and is not used any more until a restart; check its disk: %w: %w", d.path, cause, kerr.KafkaStorageError)
	if d.failed.CompareAndSwap(nil, &dirError{err}) {
		d.state.Store(int32(DirFailed))
		close(d.down)
		d.m.logger.Error("a data directory failed: its partitions are offline until a restart", "dir", d.path, "error", cause)
		d.committer.wakeUp()
	}
	return d.failure()
}
