package quota

import (
	"crypto/sha256"
	"sync"
	"time"
)

// meterKey says whose deeds a meter counts: the parts that the quota is for.
type meterKey struct {
	kind           Kind
	hasUser, hasID bool
	user, id       string
}

// maxName bounds the bytes that a meterKey keeps of a name.
const maxName = 64

// short stands for a name in a meterKey: a client may call itself by 32 KiB, which would stay for as long as its meter.
func short(name string) string {
	if len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return string(sum[:])
}

// meter counts for one key. It has a rate, or for Mutations a bucket.
type meter struct {
	mu     sync.Mutex // guards what follows
	rate   rate
	bucket bucket
	used   time.Duration // when it was last
	gone   bool          // it was forgotten: another one counts for its key now
}

// with calls fn with the meter of a quota, locked. One that was forgotten meanwhile is replaced.
func (m *Manager) with(q *meterRef, fn func(*meter)) {
	for {
		x := q.meter.Load()
		if x == nil {
			x = m.meter(q.key)
			q.meter.Store(x)
		}
		x.mu.Lock()
		if !x.gone {
			x.used = m.now()
			fn(x)
			x.mu.Unlock()
			return
		}
		x.mu.Unlock()
		q.meter.CompareAndSwap(x, nil)
	}
}

// meter returns the meter of a key, a new one if there is none. When there are as many as there may be, the keys of a kind
// that come now share one.
func (m *Manager) meter(key meterKey) *meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if x := m.meters[key]; x != nil {
		return x
	}
	if len(m.meters) >= m.most {
		m.sweepLocked()
	}
	if len(m.meters) >= m.most {
		key = meterKey{kind: key.kind} // no quota has this key
		if x := m.meters[key]; x != nil {
			return x
		}
	}
	x := &meter{used: m.now()}
	m.meters[key] = x
	return x
}

// sweepLocked forgets the meters that have nothing left to remember, at most once per window.
func (m *Manager) sweepLocked() {
	now, o := m.now(), &m.options
	if m.swept != 0 && now-m.swept < o.Window {
		return
	}
	m.swept = now
	keep := max(time.Duration(o.Samples)*o.Window, time.Duration(o.MutationSamples)*o.MutationWindow)
	for key, x := range m.meters {
		x.mu.Lock()
		// A client that owes permits stays, however long it was silent.
		if now-x.used > keep && (key.kind != Mutations || x.bucket.full(o, now)) {
			x.gone = true
			delete(m.meters, key)
		}
		x.mu.Unlock()
	}
}

// rate is a sum over a sliding window that is cut into samples.
type rate struct {
	samples []float64 // a ring: sample i of time is at i modulo their number
	last    int64     // number of the newest sample
}

// add counts n, and returns for how long to wait until the rate is back at limit per second, 0 when it is not above it.
// What is too much counts only with always; but whoever did nothing within the window may do one thing, however much it
// is: a batch of records larger than a whole window may have could never be fetched otherwise.
func (r *rate) add(o *Options, now time.Duration, n, limit float64, always bool) time.Duration {
	r.advance(o, int64(now/o.Window))
	before := 0.0
	for _, s := range r.samples {
		before += s
	}
	// All samples but the newest are whole ones, used or not: what is done at once is not measured as if it went on.
	elapsed := max(time.Duration(o.Samples-1)*o.Window+now%o.Window, o.Window)
	wait := time.Duration(0)
	if over := (before+n)/limit - elapsed.Seconds(); over > 0 && (always || before > 0) {
		wait = seconds(over)
	}
	if always || wait == 0 {
		r.samples[r.last%int64(len(r.samples))] += n
	}
	return wait
}

// advance begins sample number i, and forgets those that left the window.
func (r *rate) advance(o *Options, i int64) {
	if r.samples == nil {
		r.samples, r.last = make([]float64, o.Samples), i
	}
	for n := int64(len(r.samples)); r.last < i; {
		r.last = max(r.last+1, i-n)
		r.samples[r.last%n] = 0
	}
}

// bucket has permits that come back at a constant rate. It begins full.
type bucket struct {
	permits float64 // negative: owed
	limit   float64 // permits per second, as of the last time
	at      time.Duration
	began   bool
}

// take takes n permits, or none: see Client.Mutate.
func (b *bucket) take(o *Options, now time.Duration, n, limit float64, strict bool) (time.Duration, bool) {
	b.refill(o, now, limit)
	if strict && b.permits < 0 {
		return seconds(-b.permits / limit), false
	}
	b.permits = min(b.permits-n, b.most(o))
	if b.permits < 0 {
		return seconds(-b.permits / limit), true
	}
	return 0, true
}

// most is how many permits may be saved up.
func (b *bucket) most(o *Options) float64 {
	return b.limit * float64(o.MutationSamples) * o.MutationWindow.Seconds()
}

func (b *bucket) refill(o *Options, now time.Duration, limit float64) {
	b.limit = limit
	if !b.began {
		b.began, b.permits = true, b.most(o)
	}
	b.permits = min(b.permits+(now-b.at).Seconds()*limit, b.most(o))
	b.at = now
}

// full reports whether nothing is missing.
func (b *bucket) full(o *Options, now time.Duration) bool {
	return !b.began || b.permits+(now-b.at).Seconds()*b.limit >= b.most(o)
}

// seconds is a time to wait, bounded by what an answer can say.
func seconds(s float64) time.Duration {
	if s >= maxThrottle.Seconds() {
		return maxThrottle
	}
	return time.Duration(s * float64(time.Second))
}
