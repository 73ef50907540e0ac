package log

import "sync"

// staleSnapshots are the producer snapshots of recovery points that have moved on. Until the marks on the disk say so,
// recovery begins at the old point and needs the old snapshot: without it, it would read the segment from its start.
type staleSnapshots struct {
	mu   sync.Mutex // guards list; never held across I/O
	list []staleSnapshot
}

type staleSnapshot struct {
	l      *Log
	offset int64
}

// add notes snapshots whose successors are in the marks in memory.
func (s *staleSnapshots) add(stale ...staleSnapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, stale...)
}

// take returns what was noted so far. It is taken before the marks are written and removed afterwards.
func (s *staleSnapshots) take() []staleSnapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.list
	s.list = nil
	return list
}

// remove removes the files; the marks with the new recovery points are synced. Those of a log that is busy are noted anew.
func (s *staleSnapshots) remove(list []staleSnapshot) {
	for _, stale := range list {
		if !stale.l.tryToken() {
			s.add(stale)
			continue
		}
		if stale.l.Err() == nil { // otherwise its files are another's business
			if err := stale.l.dropSnapshot(stale.offset); err != nil {
				_ = stale.l.dir.writeFailed(stale.l.tp, err)
			}
		}
		<-stale.l.token
	}
}
