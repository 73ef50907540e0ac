package wire

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Server accepts connections on any number of listeners and serves them with one Service.
type Server struct {
	service Service
	limits  atomic.Pointer[Limits]
	logger  *slog.Logger
	flex    flexTable
	pools   *Pools
	memory  *budget
	stats   Stats
	writers writers
	began   time.Time // mutes are counted from here

	ctx    context.Context // ends when the server stops
	cancel context.CancelFunc
	wg     sync.WaitGroup // accept loops, readers, writers, janitor

	mu        sync.Mutex // guards what follows
	listeners []net.Listener
	admission func(ip string) time.Duration // nil: everybody is admitted
	away      map[net.Conn]*time.Timer      // connections that are not served, until they are closed
	conns     map[*conn]struct{}
	perIP     map[string]int
	room      chan struct{} // closed and replaced when a connection ends
	closed    bool
	notedAt   int64 // second of the last note
	noted     int   // notes in that second
	unnoted   int   // notes left out since the last one written
}

// Stats counts what a Server did since its start.
type Stats struct {
	Accepted  atomic.Int64 // connections
	Refused   atomic.Int64 // connections over a limit, closed at once
	Malformed atomic.Int64 // connections closed for what their peer sent
	Stalled   atomic.Int64 // connections closed by the janitor
	Muted     atomic.Int64 // connections that sit out a throttle now
	BytesIn   atomic.Int64
	BytesOut  atomic.Int64

	latencies latencies
}

// NewServer makes a server. It starts nothing but the janitor, which Close stops.
func NewServer(service Service, limits Limits, logger *slog.Logger) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		service: service, logger: logger, began: time.Now(),
		flex: newFlexTable(), pools: &Pools{}, ctx: ctx, cancel: cancel,
		conns: map[*conn]struct{}{}, perIP: map[string]int{}, away: map[net.Conn]*time.Timer{}, room: make(chan struct{}),
	}
	s.writers.wg = &s.wg
	s.SetLimits(limits)
	s.memory = newBudget(s.limits.Load().Memory)
	s.wg.Add(1)
	go s.janitor()
	return s
}

// SetLimits replaces the limits. Connections that are open stay; Memory remains what it was at the start.
func (s *Server) SetLimits(l Limits) {
	l = l.withDefaults()
	s.limits.Store(&l)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roomLocked()
}

// roomLocked lets the accept loops look whether there is room now.
func (s *Server) roomLocked() {
	close(s.room)
	s.room = make(chan struct{})
}

// Stats returns the server's counters.
func (s *Server) Stats() *Stats { return &s.stats }

// Connections returns the number of open connections.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Serve accepts connections on l, which answers as the listener called name, until Close. It returns at once.
func (s *Server) Serve(l net.Listener, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		l.Close()
		return
	}
	s.listeners = append(s.listeners, l)
	s.wg.Add(1)
	go s.accept(l, name)
}

// acceptRetry is the pause after a failed accept, such as one without a free descriptor.
const acceptRetry = 50 * time.Millisecond

// accept is the goroutine of one listener. It ends when Close closes the listener.
func (s *Server) accept(l net.Listener, name string) {
	defer s.wg.Done()
	var pace pacer
	for {
		pace.rate = s.limits.Load().AcceptRate
		if !s.waitForRoom() || !pace.wait(s.ctx.Done()) {
			return
		}
		nc, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || s.ctx.Err() != nil {
				return
			}
			s.logger.Warn("cannot accept a connection; raise the limit on open files if it is reached", "listener", name, "err", err)
			select {
			case <-time.After(acceptRetry):
			case <-s.ctx.Done():
				return
			}
			continue
		}
		s.admit(nc, name)
	}
}

// waitForRoom waits until the server has fewer than MaxConnections. It reports false when the server stops.
func (s *Server) waitForRoom() bool {
	for {
		s.mu.Lock()
		most := s.limits.Load().MaxConnections
		full := most > 0 && len(s.conns) >= most
		room := s.room
		s.mu.Unlock()
		if !full {
			return s.ctx.Err() == nil
		}
		select {
		case <-room:
		case <-s.ctx.Done():
			return false
		}
	}
}

// admit starts the reader of a new connection, or closes it when its address has too many (rule 1.6.3).
func (s *Server) admit(nc net.Conn, name string) {
	s.stats.Accepted.Add(1)
	if s.turnedAway(nc) {
		return
	}
	c := &conn{srv: s, nc: nc, listener: name, ip: Host(nc.RemoteAddr()), stop: make(chan struct{})}
	c.queue.c = c
	c.queue.changed = make(chan struct{}, 1)
	s.mu.Lock()
	if s.closed || !s.limits.Load().admits(c.ip, s.perIP[c.ip]) {
		s.mu.Unlock()
		s.stats.Refused.Add(1)
		nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.perIP[c.ip]++
	s.wg.Add(1)
	s.mu.Unlock()
	tune(nc)
	c.sock = newSocket(nc)
	c.session = s.service.Connect(s.ctx, ConnInfo{Listener: name, Local: nc.LocalAddr(), Remote: nc.RemoteAddr(), Mute: c.mute})
	go c.serve()
}

// forget is called by a connection's reader as its last act.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	if s.perIP[c.ip]--; s.perIP[c.ip] <= 0 {
		delete(s.perIP, c.ip)
	}
	s.roomLocked()
	s.mu.Unlock()
	s.wg.Done()
}

// notesPerSecond bounds the log lines about bad connections: a hostile client could write thousands a second. What is
// left out is counted in the next line and in Stats.
const notesPerSecond = 10

// note records why a connection was closed for what its peer sent.
func (s *Server) note(c *conn, err error) {
	s.stats.Malformed.Add(1)
	second := time.Now().Unix()
	s.mu.Lock()
	if second != s.notedAt {
		s.notedAt, s.noted = second, 0
	}
	s.noted++
	say := s.noted <= notesPerSecond
	if !say {
		s.unnoted++
	}
	unnoted := s.unnoted
	if say {
		s.unnoted = 0
	}
	s.mu.Unlock()
	if !say {
		return
	}
	s.logger.Info("connection closed", "remote", c.nc.RemoteAddr().String(), "reason", err.Error(), "others_not_logged", unnoted)
}

// Close stops accepting, lets replies in progress leave until ctx ends, and closes every connection (rule 1.6.5).
func (s *Server) Close(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	for _, l := range s.listeners {
		l.Close()
	}
	s.closeAwayLocked()
	s.mu.Unlock()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for s.inProgress() {
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		break
	}
	s.cancel() // only now: what is in stage one with it was to be answered
	s.mu.Lock()
	for c := range s.conns {
		c.close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// inProgress reports whether a connection has a request in stage one or a reply on its way.
func (s *Server) inProgress() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.busy.Load() || !c.queue.idle() {
			return true
		}
	}
	return false
}

// Host is the address of a peer without its port.
func Host(a net.Addr) string {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.IP.String()
	}
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// pacer spaces events to a rate per second, allowing one second's worth at once.
type pacer struct {
	rate   int
	tokens float64
	last   time.Time
}

// wait returns when the next event is due; it reports false when stop was closed first.
func (p *pacer) wait(stop <-chan struct{}) bool {
	if p.rate <= 0 {
		return true
	}
	now := time.Now()
	if p.last.IsZero() {
		p.tokens = float64(p.rate)
	} else {
		p.tokens = min(float64(p.rate), p.tokens+now.Sub(p.last).Seconds()*float64(p.rate))
	}
	p.last = now
	p.tokens--
	if p.tokens >= 0 {
		return true
	}
	select {
	case <-time.After(time.Duration(-p.tokens / float64(p.rate) * float64(time.Second))):
		return true
	case <-stop:
		return false
	}
}
