package wire

import "time"

// watched is what the janitor remembers of a connection between two rounds.
type watched struct {
	progress uint64
	since    time.Time // when progress was first seen at this value
	round    uint64
}

// janitorRounds is how many times the janitor looks at a connection within the shorter of its two limits.
const janitorRounds = 8

// janitor closes connections that stand still: idle ones, and those whose peer stopped in the middle of a frame or does
// not take its replies. It reads counters instead of setting deadlines, so that the hot path pays two atomic adds and no
// timers. Close stops it.
func (s *Server) janitor() {
	defer s.wg.Done()
	l := s.limits.Load()
	every := min(l.Idle, l.Stall) / janitorRounds
	tick := time.NewTicker(max(every, time.Millisecond))
	defer tick.Stop()
	seen := map[*conn]watched{}
	for round := uint64(1); ; round++ {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
		now := time.Now()
		s.mu.Lock()
		for c := range s.conns {
			w := seen[c]
			if p := c.progress.Load(); w.round == 0 || p != w.progress {
				w.progress, w.since = p, now
			} else if s.standsStill(c, now.Sub(w.since)) && c.progress.Load() == p && c.close() {
				// It was asked again: what the peer is waited for is looked at later than p, and may have begun since.
				s.stats.Stalled.Add(1)
			}
			w.round = round
			seen[c] = w
		}
		s.mu.Unlock()
		for c, w := range seen {
			if w.round != round {
				delete(seen, c)
			}
		}
	}
}

// standsStill decides whether a connection without progress for d is to be closed. One whose request is being processed
// never is (rule 1.6.2).
func (s *Server) standsStill(c *conn, d time.Duration) bool {
	l := s.limits.Load()
	switch {
	case c.writing.Load():
		return d >= l.Stall
	case c.busy.Load() || !c.queue.idle():
		return false
	case c.inFrame.Load():
		return d >= l.Stall
	default:
		return d >= l.Idle
	}
}
