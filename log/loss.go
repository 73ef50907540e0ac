package log

import (
	"fmt"
	"path"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Loss says that a log ends below what it had acknowledged: data that was synced is gone or damaged. The intact part
// can be read; nothing is appended, and no file is changed, until somebody decides (AcceptLoss), or another replica
// has the data.
type Loss struct {
	// Offset is the first one that is missing: the log's end.
	Offset int64
	// Promised is the offset below which everything was durable.
	Promised int64
	// Reason says what was found, and in which file.
	Reason string
}

// String says it in one sentence.
func (x *Loss) String() string {
	return fmt.Sprintf("acknowledged records from offset %d to %d are missing: %s", x.Offset, x.Promised-1, x.Reason)
}

func (x *Loss) refuse(tp TopicPartition) error {
	return fmt.Errorf("%s takes no appends: %s; restore the file, or accept the loss: %w", tp, x, kerr.KafkaStorageError)
}

// Loss returns what the log has lost, or nil.
func (l *Log) Loss() *Loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.loss
}

// AcceptLoss gives up what is missing: the log is cut at its end, and takes appends again; one that ends below its start
// goes on there. It waits for the disk.
func (l *Log) AcceptLoss() error {
	l.token <- struct{}{}
	defer func() { <-l.token }()
	loss := l.Loss()
	if loss == nil {
		return nil
	}
	if err := l.promiseLess(loss.Offset); err != nil {
		return err
	}
	if err := l.cutLoose(loss.Offset); err != nil {
		return l.dir.writeFailed(l.tp, err)
	}
	if start := l.start.Load(); start > l.End().Offset { // rule 3.9.3
		if err := l.restartAt(start); err != nil {
			return l.dir.writeFailed(l.tp, err)
		}
	}
	// Before anything is appended: what was cut must not come back behind it, nor an old log start above it.
	l.dir.committer.add(l)
	if err := l.dir.committer.barrier(); err != nil {
		return err
	}
	if err := l.dir.keeper.lowerStart(l); err != nil {
		return err
	}
	l.mu.Lock()
	l.loss = nil
	l.mu.Unlock()
	l.m.logger.Warn("the loss was accepted: the log goes on at its end", "log", l.tp.String(), "loss", loss.String())
	l.m.changed(l)
	return nil
}

// cutLoose removes what lies behind the log's end on the disk: the rest of the active segment and files of later ones.
func (l *Log) cutLoose(end int64) error {
	entries, err := l.m.fs.ReadDir(l.path)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		stem, suffix, _ := strings.Cut(e.Name(), ".")
		base, err := parseSegmentBase(stem)
		if err != nil || base <= end && (suffix != "snapshot" || base == end) && l.holds(base) {
			continue
		}
		if err := l.m.fs.Remove(path.Join(l.path, e.Name())); err != nil && !isNotExist(err) {
			return err
		}
	}
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if l.active() == nil {
		return nil
	}
	if err := l.cutBack(); err != nil {
		return err
	}
	l.active().unsynced.Store(true)
	l.mu.Lock()
	l.names.segment = true
	l.mu.Unlock()
	return nil
}

// holds reports whether a segment starts at base, or base lies in one.
func (l *Log) holds(base int64) bool {
	segs := l.segmentList()
	return len(segs) > 0 && base <= segs[len(segs)-1].base || len(segs) > 0 && base == l.End().Offset
}
