package wire

import (
	"net"
	"time"
)

// maxAway bounds the connections that are open only to be closed later. Beyond it they are closed at once.
const maxAway = 1000

// SetAdmission has fn asked about every new connection: for how long one from an address is kept waiting before it is
// closed without being served, 0 for one that is served. Whoever connects too often gains nothing by connecting again at
// once then (connection_creation_rate). fn must not wait.
func (s *Server) SetAdmission(fn func(ip string) time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admission = fn
}

// turnedAway reports whether a new connection is not to be served. It closes that, in its time.
func (s *Server) turnedAway(nc net.Conn) bool {
	s.mu.Lock()
	ask := s.admission
	s.mu.Unlock()
	if ask == nil {
		return false
	}
	wait := ask(Host(nc.RemoteAddr()))
	if wait <= 0 {
		return false
	}
	s.stats.Refused.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.away) >= maxAway {
		nc.Close()
		return true
	}
	s.away[nc] = time.AfterFunc(wait, func() {
		nc.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.away, nc)
	})
	return true
}

// closeAwayLocked closes the connections that were turned away. closed is set, so there will be no others.
func (s *Server) closeAwayLocked() {
	for nc, t := range s.away {
		t.Stop()
		nc.Close()
		delete(s.away, nc)
	}
}
