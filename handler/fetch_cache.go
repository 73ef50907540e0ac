package handler

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/replica"
)

// fetchSessions is the cache of sessions, bounded by max.incremental.fetch.session.cache.slots (rule 6.5.11).
type fetchSessions struct {
	deps *Deps

	mu   sync.Mutex // guards what follows
	byID map[int32]*fetchSession
	rows int // of all of them
	// evictions counts the sessions that lost their slot to another.
	evictions int64
}

// maxSessionRows bounds the partitions of all sessions together, each of which takes some 300 bytes for as long as its
// session lives: the slots alone would let strangers fill the memory.
const maxSessionRows = 500_000

func newFetchSessions(d *Deps) *fetchSessions {
	return &fetchSessions{deps: d, byID: map[int32]*fetchSession{}}
}

// get returns a session and marks it used, nil when there is none.
func (c *fetchSessions) get(id int32) *fetchSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.byID[id]
	if s != nil {
		s.used = time.Now()
	}
	return s
}

// remove takes a session out of the cache. Closing it is the caller's, who holds its token.
func (c *fetchSessions) remove(s *fetchSession) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeLocked(s)
}

func (c *fetchSessions) removeLocked(s *fetchSession) {
	if c.byID[s.id] == s {
		delete(c.byID, s.id)
		c.rows -= s.size
	}
}

// release gives the token of a session back, and closes one that lost its slot while it was used.
func (c *fetchSessions) release(s *fetchSession) {
	s.token <- struct{}{}
	// Only now: whoever takes its slot from here on finds the token.
	if c.get(s.id) != s {
		s.evict()
	}
}

// resized records a session's number of rows, which decides who may evict whom. One for which there is no room any more
// loses its slot.
func (c *fetchSessions) resized(s *fetchSession) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[s.id] != s {
		return
	}
	grown := len(s.rows) - s.size
	s.size += grown
	if c.rows += grown; grown > 0 && c.rows > maxSessionRows {
		c.removeLocked(s)
	}
}

// create gives a new session a slot and an id, evicting another if it must and may. It returns nil when there is no
// slot; the client goes on with full fetches then (rule 6.5.7). The creator holds the token.
func (c *fetchSessions) create(byID, follower bool, who acl.Principal, size int) *fetchSession {
	limits := c.deps.Limits()
	now := time.Now()
	s := &fetchSession{
		epoch: 1, byID: byID, follower: follower, principal: who, created: now, used: now, size: size,
		token: make(chan struct{}, 1), waiter: replica.NewWaiter(), rows: map[rowKey]*fetchRow{},
	}
	c.mu.Lock()
	victims, ok := c.rowsLocked(size, limits.FetchSessionAge, now)
	if ok {
		var victim *fetchSession
		if victim, ok = c.roomLocked(s, limits.FetchSessionSlots, limits.FetchSessionAge, now); victim != nil {
			victims = append(victims, victim)
		}
	}
	if ok {
		c.addLocked(s)
	}
	c.mu.Unlock()
	for _, victim := range victims {
		victim.evict()
	}
	if !ok {
		return nil
	}
	return s
}

// addLocked gives a session its id and its slot.
func (c *fetchSessions) addLocked(s *fetchSession) {
	for s.id == 0 || c.byID[s.id] != nil {
		s.id = rand.Int32N(1<<31-2) + 1
	}
	c.byID[s.id] = s
	c.rows += s.size
}

// rowsLocked makes room for the rows of a new session: it reports whether there is, and which sessions were taken out
// for it. Only those make way that nobody has used for the time that age says, as when their clients are gone: else the
// rows of a few that were left behind would keep everybody from a session, with slots enough.
func (c *fetchSessions) rowsLocked(size int, age time.Duration, now time.Time) (victims []*fetchSession, ok bool) {
	if c.rows+size <= maxSessionRows {
		return nil, true
	}
	for _, x := range c.byID {
		if now.Sub(x.used) > age {
			c.removeLocked(x)
			c.evictions++
			victims = append(victims, x)
		}
	}
	return victims, c.rows+size <= maxSessionRows
}

// evict closes a session that lost its slot, at once if no request uses it; the request that does finds out when it is
// done.
func (s *fetchSession) evict() {
	if s.tryAcquire() {
		s.end()
	}
}

// roomLocked makes room for s: it reports whether there is a slot and which session was taken out for it.
func (c *fetchSessions) roomLocked(s *fetchSession, slots int, age time.Duration, now time.Time) (*fetchSession, bool) {
	if len(c.byID) < slots {
		return nil, true
	}
	var oldest, least *fetchSession
	for _, x := range c.byID {
		if oldest == nil || x.used.Before(oldest.used) {
			oldest = x
		}
		if !(s.follower && !x.follower) && now.Sub(x.created) < age {
			continue // a consumer's session that is still young stays, unless a follower comes
		}
		if least == nil || x.worth(least) < 0 {
			least = x
		}
	}
	victim := oldest
	if oldest == nil || now.Sub(oldest.used) <= age {
		if least == nil || s.worth(least) < 0 {
			return nil, false
		}
		victim = least
	}
	c.removeLocked(victim)
	c.evictions++
	return victim, true
}

// worth compares sessions by what losing them would cost: a follower's more than a consumer's, then by partitions.
func (s *fetchSession) worth(o *fetchSession) int {
	if s.follower != o.follower {
		if s.follower {
			return 1
		}
		return -1
	}
	return s.size - o.size
}
