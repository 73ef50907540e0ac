// Package quota decides who is over a client quota, and for how long to hold them back (rules 1.8 and 7.9).
//
// It counts, and never waits: who asks is told a time, says it to the client in the answer, and then reads nothing from
// its connection until that time is over (KIP-219). While nobody has a quota, asking costs one atomic load; a client that
// has none costs a comparison of two pointers per request.
//
// What a client did is counted by a meter, which several connections share: those of one user, of one client id or of
// both, whichever the quota that applies is for. Meters count within a sliding window, so that one which was not used for
// that long is as good as a new one, and is forgotten when there are many.
package quota

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kbroker/kbroker/metadata"
)

// Kind is what a quota is about.
type Kind uint8

// Kinds of quotas, with the units of what is recorded.
const (
	ProduceBytes Kind = iota // bytes of Produce requests
	FetchBytes               // bytes of records in answers to Fetch
	RequestTime              // hundredths of seconds that a thread was busy, so that the rate is a percentage of one
	Mutations                // partitions created or deleted
	connections              // connections of an address
	numKinds
)

// keys are the names of the kinds, as AlterClientQuotas has them.
var keys = [numKinds]string{
	"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate", "connection_creation_rate",
}

// Options are the windows that rates are measured in.
type Options struct {
	Samples int           // quota.window.num
	Window  time.Duration // quota.window.size.seconds: how much time a sample covers
	// The same for Mutations: controller.quota.window.*. Their product bounds how much may be saved up.
	MutationSamples int
	MutationWindow  time.Duration
}

// maxMeters bounds the meters, of some 200 bytes each: a client may call itself anything. Beyond it newcomers share one
// per kind.
const maxMeters = 100_000

// maxThrottle is the longest time that an answer can say, whose field counts milliseconds in an int32.
const maxThrottle = math.MaxInt32 * time.Millisecond

// Manager counts for one broker.
type Manager struct {
	options Options
	began   time.Time // times are counted from here, by the clock that nobody sets
	most    int       // meters
	counts  [numKinds]throttles
	table   atomic.Pointer[Table]

	mu     sync.Mutex // guards what follows; a meter's own lock may be taken below it
	meters map[meterKey]*meter
	swept  time.Duration // when meters were looked through for unused ones
}

// Bounds on the windows: a meter has a number for each sample, and times are not to overflow.
const (
	maxSamples = 3600
	maxWindow  = 24 * time.Hour
)

// New makes a Manager without any quota. Windows beyond the bounds are cut to them.
func New(o Options) *Manager {
	o.Samples, o.MutationSamples = min(max(o.Samples, 1), maxSamples), min(max(o.MutationSamples, 1), maxSamples)
	o.Window, o.MutationWindow = min(max(o.Window, time.Second), maxWindow), min(max(o.MutationWindow, time.Second), maxWindow)
	return &Manager{options: o, began: time.Now(), most: maxMeters, meters: map[meterKey]*meter{}}
}

// throttles counts how often clients were held back for one kind of quota, and for how long together.
type throttles struct{ times, nanos atomic.Int64 }

// held counts that a client is held back.
func (m *Manager) held(kind Kind, d time.Duration) time.Duration {
	if d > 0 {
		m.counts[kind].times.Add(1)
		m.counts[kind].nanos.Add(int64(d))
	}
	return d
}

// Throttled calls yield for every kind of quota, by its name, with how often clients were held back for it since the
// start, and for how long together.
func (m *Manager) Throttled(yield func(key string, times int64, total time.Duration)) {
	for kind := range m.counts {
		c := &m.counts[kind]
		yield(keys[kind], c.times.Load(), time.Duration(c.nanos.Load()))
	}
}

// now is the time since the Manager was made.
func (m *Manager) now() time.Duration { return time.Since(m.began) }

// Table is the quotas as of one time. Tables are compared by their address.
type Table struct {
	manager *Manager
	quotas  map[metadata.QuotaEntity]map[string]float64
	perIP   bool // there are quotas of addresses
}

// Active returns the quotas, nil when there are none, which a nil Manager never has.
func (m *Manager) Active() *Table {
	if m == nil {
		return nil
	}
	return m.table.Load()
}

// Apply makes the quotas of an image those that count. What was counted goes on to count.
func (m *Manager) Apply(im *metadata.Image) {
	t := &Table{manager: m, quotas: map[metadata.QuotaEntity]map[string]float64{}}
	for e, q := range im.ClientQuotas {
		if e.IP.Kind != metadata.QuotaAbsent {
			t.perIP = true
			e.IP.Name = canonical(e.IP.Name)
		}
		t.quotas[e] = q
	}
	if len(t.quotas) == 0 {
		t = nil
	}
	m.table.Store(t)
}

// canonical is an address in the one form that comparing needs.
func canonical(ip string) string {
	if a, err := netip.ParseAddr(ip); err == nil {
		return a.Unmap().WithZone("").String()
	}
	return ip
}

// Client is what one user and client id may do, as of one Table. Its methods may be called on a nil Client, which has no
// quota, and from any goroutine.
type Client struct {
	table    *Table
	user, id string
	quotas   [numKinds]meterRef
}

// meterRef is a meter and the rate it may reach, per second. The zero meterRef is no quota.
type meterRef struct {
	key   meterKey
	limit float64
	meter atomic.Pointer[meter]
}

// Client returns what a user and client id may do, nil for everything.
func (t *Table) Client(user, id string) *Client {
	c := &Client{table: t, user: user, id: id}
	found := false
	for kind := range connections {
		limit, key, ok := t.lookup(kind, user, id)
		if !ok {
			continue
		}
		found = true
		q := &c.quotas[kind]
		q.key, q.limit = key, limit
		q.meter.Store(t.manager.meter(key))
	}
	if !found {
		return nil
	}
	return c
}

// lookup finds the quota of a kind that applies: the most precise one (rule 1.8.4).
func (t *Table) lookup(kind Kind, user, id string) (limit float64, key meterKey, ok bool) {
	named := func(name string) metadata.QuotaName { return metadata.QuotaName{Kind: metadata.QuotaNamed, Name: name} }
	anyone := metadata.QuotaName{Kind: metadata.QuotaDefault}
	both := meterKey{kind: kind, user: short(user), id: short(id), hasUser: true, hasID: true}
	users := meterKey{kind: kind, user: both.user, hasUser: true}
	ids := meterKey{kind: kind, id: both.id, hasID: true}
	for _, x := range [...]struct {
		entity metadata.QuotaEntity
		key    meterKey
	}{
		{metadata.QuotaEntity{User: named(user), ClientID: named(id)}, both},
		{metadata.QuotaEntity{User: named(user), ClientID: anyone}, both},
		{metadata.QuotaEntity{User: named(user)}, users},
		{metadata.QuotaEntity{User: anyone, ClientID: named(id)}, both},
		{metadata.QuotaEntity{User: anyone, ClientID: anyone}, both},
		{metadata.QuotaEntity{User: anyone}, users},
		{metadata.QuotaEntity{ClientID: named(id)}, ids},
		{metadata.QuotaEntity{ClientID: anyone}, ids},
	} {
		if limit, ok = t.quotas[x.entity][keys[kind]]; ok {
			return limit, x.key, true
		}
	}
	return 0, meterKey{}, false
}

// Limited reports whether there is a quota of a kind.
func (c *Client) Limited(kind Kind) bool { return c != nil && c.quotas[kind].limit > 0 }

// Record counts n, and returns for how long the client has to be held back.
func (c *Client) Record(kind Kind, n float64) time.Duration {
	if !c.Limited(kind) {
		return 0
	}
	d := c.measure(kind, n, true)
	if kind == RequestTime {
		d = min(d, c.table.manager.options.Window) // rule 1.8.5
	}
	return c.table.manager.held(kind, d)
}

// Over returns for how long a client has to be held back for what it did already.
func (c *Client) Over(kind Kind) time.Duration {
	if !c.Limited(kind) {
		return 0
	}
	d := c.measure(kind, 0, true)
	if kind == RequestTime {
		d = min(d, c.table.manager.options.Window)
	}
	return d
}

// Admit counts n unless that is too much: then it returns for how long the client has to be held back, and counts
// nothing (rule 1.8.7).
func (c *Client) Admit(kind Kind, n float64) time.Duration {
	if !c.Limited(kind) {
		return 0
	}
	return c.table.manager.held(kind, c.measure(kind, n, false))
}

// Most returns how much one request may be for, so that it can pass the quota at all: what all samples together may have.
func (c *Client) Most(kind Kind) float64 {
	if !c.Limited(kind) {
		return math.Inf(1)
	}
	o := &c.table.manager.options
	return c.quotas[kind].limit * float64(max(o.Samples-1, 1)) * o.Window.Seconds()
}

// measure counts n, with always also if it is too much.
func (c *Client) measure(kind Kind, n float64, always bool) (d time.Duration) {
	q, m := &c.quotas[kind], c.table.manager
	m.with(q, func(x *meter) { d = x.rate.add(&m.options, m.now(), n, q.limit, always) })
	return d
}

// Mutate takes n permits of Mutations. With strict it takes none while the client owes some, and reports false; else the
// client may owe more. In either case it returns for how long the client has to be held back (rule 1.8.9).
func (c *Client) Mutate(n float64, strict bool) (d time.Duration, ok bool) {
	if !c.Limited(Mutations) {
		return 0, true
	}
	q, m := &c.quotas[Mutations], c.table.manager
	m.with(q, func(x *meter) { d, ok = x.bucket.take(&m.options, m.now(), n, q.limit, strict) })
	return m.held(Mutations, d), ok
}

// Refund gives n permits of Mutations back that were taken for what was not done then.
func (c *Client) Refund(n float64) {
	if c.Limited(Mutations) && n > 0 {
		q, m := &c.quotas[Mutations], c.table.manager
		m.with(q, func(x *meter) { x.bucket.take(&m.options, m.now(), -n, q.limit, false) })
	}
}

// Connect counts a new connection of an address. Where there are too many it counts none, and returns for how long the
// connection is to be kept waiting before it is closed.
func (m *Manager) Connect(ip string) (d time.Duration) {
	t := m.table.Load()
	if t == nil || !t.perIP {
		return 0
	}
	ip = canonical(ip)
	for _, name := range [...]metadata.QuotaName{{Kind: metadata.QuotaNamed, Name: ip}, {Kind: metadata.QuotaDefault}} {
		if limit, ok := t.quotas[metadata.QuotaEntity{IP: name}][keys[connections]]; ok {
			q := meterRef{key: meterKey{kind: connections, id: ip, hasID: true}, limit: limit}
			m.with(&q, func(x *meter) { d = x.rate.add(&m.options, m.now(), 1, limit, false) })
			return m.held(connections, d)
		}
	}
	return 0
}
