package simfs

import (
	"path"
	"strings"
	"syscall"
)

// Op is a set of operations.
type Op uint16

// The operations that rules can name.
const (
	OpOpen     Op = 1 << iota // OpenFile, OpenDirect
	OpRead                    // ReadAt
	OpWrite                   // WriteAt, WritevAt
	OpSync                    // File.Sync
	OpTruncate                // File.Truncate
	OpRemove                  // Remove, RemoveAll
	OpRename
	OpMkdir
	OpReadDir
	OpStat // FS.Stat, File.Stat, File.Size, Space
	OpSyncDir
	OpSyncFS
	OpLock
)

// Rule makes operations fail, or hold them up.
type Rule struct {
	Ops Op
	// Pattern is a glob of package path. Without a slash it is matched with the last element of the name, with one
	// against the whole absolute name. Renames are matched by their old name.
	Pattern string
	// Skip is the number of matching operations that pass before the rule takes effect.
	Skip int
	// Times is how many operations it then applies to; 0 means all.
	Times int
	// Err is what they fail with, wrapped in an *fs.PathError; nil lets them go on. A failed Sync loses what the file
	// had pending: later reads see it, a later Sync succeeds, and the disk never gets it.
	Err error
	// Partial is the number of bytes that a failing write still writes.
	Partial int64
	// Before, if set, is called before the operation with no lock held. It may wait.
	Before func()

	seen int // matching operations so far
}

// Inject adds a rule. The first one that matches an operation counts. The rules end with the process: neither Crash
// nor Kill takes them along. The Rule must not be used again.
func (s *FS) Inject(r Rule) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.rules = append(s.rules, &r)
}

// ClearRules removes all rules.
func (s *FS) ClearRules() {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.rules = nil
}

func (r *Rule) matches(op Op, name string) bool {
	if r.Ops&op == 0 {
		return false
	}
	name = clean(name)
	if !strings.Contains(r.Pattern, "/") {
		name = path.Base(name)
	}
	ok, err := path.Match(r.Pattern, name)
	return ok || err != nil // a bad pattern hits everything, so that its test fails
}

// hit counts a matching operation and says whether the rule applies to it.
func (r *Rule) hit() bool {
	r.seen++
	return r.seen > r.Skip && (r.Times == 0 || r.seen <= r.Skip+r.Times)
}

// fault is how an operation is to fail, or not if err is nil.
type fault struct {
	err      error
	injected bool // by a rule: a write may write a part, a sync loses what is pending
	partial  int64
}

func refuse(err error) fault { return fault{err: err} }

// enter starts an operation: it returns with the disk's lock held, whatever the fault says.
func (s *FS) enter(op Op, name string) fault {
	s.d.mu.Lock()
	var f fault
	for _, r := range s.rules {
		if !r.matches(op, name) || !r.hit() {
			continue
		}
		f = fault{err: r.Err, injected: r.Err != nil, partial: r.Partial}
		if r.Before != nil {
			s.d.mu.Unlock()
			r.Before()
			s.d.mu.Lock()
		}
		break
	}
	if s.down {
		return refuse(syscall.EIO)
	}
	return f
}
