package twin

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/integration/rawconn"
)

const (
	// answerLimit is how long an answer may take. No script asks a broker to wait nearly as long.
	answerLimit = 45 * time.Second
	// eventuallyLimit is how long "eventually" tries, and pollEvery the pause between two tries.
	eventuallyLimit = 30 * time.Second
	pollEvery       = 20 * time.Millisecond
)

// retentionDelay is a hidden setting of Kafka's that a run needs: Kafka otherwise deletes segments with the scripts' old
// timestamps thirty seconds after its start.
const retentionDelay = "log.initial.task.delay.ms"

// Broker is one of the two that are compared.
type Broker struct {
	Name string // "kafka" or "kbroker", for messages
	Addr string
	APIs map[int16]Versions // what it advertises
}

// Dial learns what a broker advertises, and waits until it gives out producer ids: Kafka answers requests for one with
// COORDINATOR_LOAD_IN_PROGRESS until the controller has given it a first block (rule 4.5.6).
func Dial(name, addr string) (Broker, error) {
	b := Broker{Name: name, Addr: addr, APIs: map[int16]Versions{}}
	c, err := rawconn.Dial(addr)
	if err != nil {
		return b, err
	}
	defer c.Close()
	resp, err := c.Do(kmsg.NewPtrApiVersionsRequest())
	if err != nil {
		return b, fmt.Errorf("twin: asking %s at %s for its versions: %w", name, addr, err)
	}
	for _, k := range resp.(*kmsg.ApiVersionsResponse).ApiKeys {
		b.APIs[k.ApiKey] = Versions{k.MinVersion, k.MaxVersion}
	}
	for deadline := time.Now().Add(eventuallyLimit); ; time.Sleep(pollEvery) {
		if _, _, err = newProducer(c, 0); err == nil || time.Now().After(deadline) {
			return b, err
		}
	}
}

// entry is one thing that a broker did: an answer, a closed connection, a silence.
type entry struct {
	at
	what    string        // such as "Produce v7"
	key     int16         // -1: not an answer to a request of a known API
	version int16         //
	resp    kmsg.Response // nil: outcome says what happened instead
	outcome string
	expect  expectation
}

// transcript is what one broker did in one case. err is set if the case could not be played to its end.
type transcript struct {
	entries []*entry
	vars    env
	err     error
	longest time.Duration // of the steps, without what the script itself waits
}

// player plays one case at one version to one broker.
type player struct {
	broker  Broker
	key     int16               // the script's API
	version int16               // the version being played
	highest map[int16]int16     // the version for requests of other APIs
	prefix  string              // makes names unique to this case and version
	conns   map[string]*session //
	out     transcript
}

// session is one connection of a case, with the requests on it that wait for an answer.
type session struct {
	*rawconn.Conn
	waiting []*sent
	next    int32 // correlation id
}

// sent is a request that was sent, and what is needed to read its answer.
type sent struct {
	entry
	correlation int32
	as          int16 // version of the answer
}

// stage is what the plays of a case share on both brokers, so that both get the same bytes.
type stage struct {
	highest map[int16]int16 // the version for requests of other APIs than the script's
	suffix  string          // ends the prefix of names; tells runs against the same broker apart
	now     int64           // milliseconds
}

// play carries a case out and returns what the broker did.
func (s *stage) play(b Broker, sc *Script, c *Case, version int16) transcript {
	p := &player{
		broker: b, key: sc.Key, version: version, highest: s.highest, conns: map[string]*session{},
		prefix: fmt.Sprintf("%s-%s-v%d%s", sc.Name, c.Name, version, s.suffix),
	}
	p.out.vars = env{"now": s.now, "version": int64(version), "prefix": p.prefix}
	defer func() {
		for _, c := range p.conns {
			c.Close()
		}
	}()
	for _, st := range c.Steps {
		begin := time.Now()
		err := st.play(p)
		took := time.Since(begin)
		switch st := st.(type) {
		case *quiet:
			took -= st.wait
		case *request:
			if st.until != nil {
				took = 0
			}
		}
		p.out.longest = max(p.out.longest, took)
		if err != nil {
			p.out.err = st.where().errorf("%w", err)
			break
		}
	}
	return p.out
}

// conn returns a connection of the case by name, opening it if need be.
func (p *player) conn(name string) (*session, error) {
	if c := p.conns[name]; c != nil {
		return c, nil
	}
	raw, err := rawconn.Dial(p.broker.Addr)
	if err != nil {
		return nil, err
	}
	p.conns[name] = &session{Conn: raw}
	return p.conns[name], nil
}

func (p *player) drop(name string) {
	if c := p.conns[name]; c != nil {
		c.Close()
		delete(p.conns, name)
	}
}

func (p *player) add(e *entry) { p.out.entries = append(p.out.entries, e) }

func (r *request) play(p *player) error {
	deadline := time.Now().Add(eventuallyLimit)
	for {
		s, err := r.send(p)
		if err != nil || r.sendOnly {
			return err
		}
		e := &s.entry
		if e.outcome == "" {
			e = p.answer(r.conn)
		}
		done, err := r.done(p, e)
		if err != nil {
			return err
		}
		if done {
			p.add(e)
			return nil
		}
		if time.Now().After(deadline) {
			p.add(e)
			return fmt.Errorf("not eventually so: after %s the answer is still %s", eventuallyLimit, e.result())
		}
		time.Sleep(pollEvery)
	}
}

// done says whether the answer is the one that "eventually" waits for.
func (r *request) done(p *player, e *entry) (bool, error) {
	switch {
	case r.until == nil:
		return true, nil
	case r.until.path == "":
		return e.mismatch(e.expect.forVersion(e.version)) == "", nil
	case e.resp == nil:
		return false, nil
	}
	want, err := p.out.vars.scalar(r.until.value)
	if err != nil {
		return false, err
	}
	have, err := lookup(e.resp, r.until.path)
	return err == nil && fmt.Sprint(have) == fmt.Sprint(want), nil
}

// send encodes and sends the request. The entry's outcome is set if nothing is to be waited for.
func (r *request) send(p *player) (*sent, error) {
	version := p.versionFor(r)
	req := kmsg.RequestForKey(r.key)
	setDefaults(reflect.ValueOf(req))
	req.SetVersion(version)
	if r.body != nil {
		if err := p.out.vars.fillStruct(reflect.ValueOf(req).Elem(), r.body); err != nil {
			return nil, err
		}
		req.SetVersion(version)
	}
	c, err := p.conn(r.conn)
	if err != nil {
		return nil, err
	}
	c.next++
	client := "twin"
	m := &message{
		header: rawconn.Header{Key: r.key, Version: version, Correlation: c.next, ClientID: &client, Flexible: req.IsFlexible()},
		body:   req.AppendTo(nil), as: version,
	}
	if err := m.apply(p.out.vars, r.options); err != nil {
		return nil, err
	}
	s := &sent{correlation: m.header.Correlation, as: m.as, entry: entry{
		at: r.at, key: r.key, version: version, what: fmt.Sprintf("%s v%d", kmsg.NameForKey(r.key), version), expect: r.expect,
	}}
	if err := c.Send(rawconn.Frame(m.header, m.body)); err != nil && !errors.Is(err, rawconn.ErrClosed) {
		return nil, err
	}
	if s.expect.forVersion(version).none {
		s.outcome = "nothing to wait for"
		return s, nil
	}
	c.waiting = append(c.waiting, s)
	return s, nil
}

func (p *player) versionFor(r *request) int16 {
	switch {
	case r.version >= 0:
		return r.version
	case r.key == p.key:
		return p.version
	}
	return p.highest[r.key]
}

// answer receives the answer of the oldest waiting request of a connection. A connection that the broker closed is
// forgotten, so that the next use opens a new one.
func (p *player) answer(name string) *entry {
	c := p.conns[name]
	s := c.waiting[0]
	c.waiting = c.waiting[1:]
	if err := s.read(c); err != nil {
		s.outcome = err.Error()
		p.drop(name)
	}
	return &s.entry
}

func (s *sent) read(c *session) error {
	data, err := c.Receive(answerLimit)
	if errors.Is(err, rawconn.ErrClosed) {
		return errors.New("closed")
	}
	if err != nil {
		return err
	}
	resp := kmsg.ResponseForKey(s.key)
	resp.SetVersion(s.as)
	a, err := rawconn.Split(data, resp)
	if err != nil {
		return err
	}
	if a.Correlation != s.correlation {
		return fmt.Errorf("the answer has correlation id %d, the request %d", a.Correlation, s.correlation)
	}
	if err := resp.ReadFrom(a.Body); err != nil {
		return fmt.Errorf("the answer does not decode: %w: %x", err, a.Body[:min(64, len(a.Body))])
	}
	if again := resp.AppendTo(nil); !slices.Equal(again, a.Body) {
		return fmt.Errorf("the answer is not canonical: it has %d bytes, encoded again %d, and they differ first at byte %d", len(a.Body), len(again), differAt(a.Body, again))
	}
	s.resp = resp
	return nil
}

func differAt(a, b []byte) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

func (r *receive) play(p *player) error {
	c := p.conns[r.conn]
	if c == nil || len(c.waiting) == 0 {
		return fmt.Errorf("no request waits for an answer on this connection")
	}
	e := p.answer(r.conn)
	e.at = r.at
	e.expect = r.expect
	p.add(e)
	return nil
}

func (f *frame) play(p *player) error {
	b, err := p.out.vars.bytes(f.bytes)
	if err != nil {
		return err
	}
	c, err := p.conn(f.conn)
	if err != nil {
		return err
	}
	if err := c.Send(b); err != nil && !errors.Is(err, rawconn.ErrClosed) {
		return err
	}
	s := &sent{as: f.version, entry: entry{at: f.at, key: -1, what: "frame", version: f.version, expect: f.expect}}
	if len(b) >= 12 {
		s.correlation = int32(uint32(b[8])<<24 | uint32(b[9])<<16 | uint32(b[10])<<8 | uint32(b[11]))
	}
	if f.as != "" {
		s.key, s.version = keyByName(f.as), f.version
	} else if len(b) >= 8 {
		s.key, s.version = int16(b[4])<<8|int16(b[5]), int16(b[6])<<8|int16(b[7])
	}
	if f.as == "" && kmsg.ResponseForKey(s.key) == nil {
		s.key, s.as = int16(kmsg.ApiVersions), 0 // no answer can come; whatever comes is shown in some form
	}
	c.waiting = append(c.waiting, s)
	p.add(p.answer(f.conn))
	return nil
}

func (q *quiet) play(p *player) error {
	c, err := p.conn(q.conn)
	if err != nil {
		return err
	}
	outcome := "an answer, or the connection closed"
	if c.Quiet(q.wait) {
		outcome = "quiet"
	}
	p.add(&entry{at: q.at, key: -1, what: "quiet", outcome: outcome, expect: expectation{by: []expected{{versions: allVersions, none: true}}}})
	return nil
}

func (c *closeConn) play(p *player) error {
	p.drop(c.conn)
	return nil
}

func (l *let) play(p *player) error {
	if len(p.out.entries) == 0 {
		return fmt.Errorf("there is no answer to take %s from", l.path)
	}
	last := p.out.entries[len(p.out.entries)-1]
	if last.resp == nil {
		return fmt.Errorf("taking %s from the last answer, but that was: %s", l.path, last.outcome)
	}
	v, err := lookup(last.resp, l.path)
	p.out.vars[l.name] = v
	return err
}

func (u *uniqueName) play(p *player) error {
	p.out.vars[u.name] = p.prefix + "-" + u.name
	return nil
}
