package twin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Parse reads a script. name is the file's name without its extension.
func Parse(name, src string) (*Script, error) {
	tokens, err := lex(src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p := &parser{src: src, tokens: tokens, script: &Script{Name: name, Key: -1}}
	if err := p.parse(); err != nil {
		return nil, fmt.Errorf("%s: line %d: %w", name, p.peek().line, err)
	}
	return p.script, nil
}

type parser struct {
	src    string
	tokens []token
	pos    int
	script *Script
}

func (p *parser) peek() token { return p.tokens[p.pos] }

func (p *parser) next() token {
	t := p.tokens[p.pos]
	if t.kind != end {
		p.pos++
	}
	return t
}

func (p *parser) is(s string) bool {
	t := p.peek()
	return (t.kind == punct || t.kind == word) && t.s == s
}

func (p *parser) take(s string) bool {
	if p.is(s) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) want(s string) error {
	if !p.take(s) {
		return fmt.Errorf("want %q, have %q", s, p.peek().s)
	}
	return nil
}

func (p *parser) name() (string, error) {
	if t := p.peek(); t.kind == word || t.kind == number {
		p.pos++
		return t.s, nil
	}
	return "", fmt.Errorf("want a name, have %q", p.peek().s)
}

func (p *parser) parse() error {
	for {
		for p.peek().kind == newline {
			p.next()
		}
		if p.peek().kind == end {
			break
		}
		if err := p.line(); err != nil {
			return err
		}
	}
	if p.script.Key < 0 {
		return fmt.Errorf("the file does not name its API: it needs a line such as %q", "api Produce")
	}
	return nil
}

func (p *parser) line() error {
	switch {
	case p.take("api"):
		key, err := p.api()
		p.script.Key = key
		return err
	case p.take("case"):
		return p.caseLine()
	}
	if len(p.script.Cases) == 0 {
		return fmt.Errorf("%q stands before the first case", p.peek().s)
	}
	c := p.script.Cases[len(p.script.Cases)-1]
	first := p.peek()
	if p.take("mask") {
		m, err := p.mask()
		c.Masks = append(c.Masks, m)
		return err
	}
	s, err := p.step()
	if err != nil {
		return err
	}
	if p.peek().kind != newline {
		return fmt.Errorf("%q does not belong here", p.peek().s)
	}
	*s.where() = at{first.line, strings.TrimSpace(p.src[first.at:p.peek().at])}
	c.Steps = append(c.Steps, s)
	return nil
}

func (p *parser) caseLine() error {
	line := p.peek().line
	name, err := p.name()
	if err != nil {
		return err
	}
	c := &Case{Name: name, Line: line, Versions: allVersions}
	if t := p.peek(); t.kind == word {
		if c.Versions, err = p.versions(); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(p.script.Cases, func(o *Case) bool { return o.Name == name }) {
		return fmt.Errorf("there are two cases named %q", name)
	}
	p.script.Cases = append(p.script.Cases, c)
	return nil
}

// versions reads v3, v3-9 or v3+.
func (p *parser) versions() (Versions, error) {
	s := p.next().s
	lo, hi, ranged := strings.Cut(strings.TrimPrefix(s, "v"), "-")
	from, err := strconv.ParseInt(lo, 10, 16)
	if err != nil || !strings.HasPrefix(s, "v") {
		return Versions{}, fmt.Errorf("want versions such as v3, v3-9 or v3+, have %q", s)
	}
	r := Versions{int16(from), int16(from)}
	switch {
	case ranged:
		to, err := strconv.ParseInt(hi, 10, 16)
		if err != nil {
			return Versions{}, fmt.Errorf("want versions such as v3-9, have %q", s)
		}
		r.Max = int16(to)
	case p.take("+"):
		r.Max = allVersions.Max
	}
	return r, nil
}

func (p *parser) api() (int16, error) {
	name, err := p.name()
	if err != nil {
		return -1, err
	}
	key := keyByName(name)
	if key < 0 {
		return -1, fmt.Errorf("kmsg has no API named %q", name)
	}
	return key, nil
}

// maxKey is above every key that package kmsg knows.
const maxKey = 256

func keyByName(name string) int16 {
	for key := range int16(maxKey) {
		if kmsg.NameForKey(key) == name {
			return key
		}
	}
	return -1
}

func (p *parser) step() (step, error) {
	conn := ""
	if t := p.peek(); t.kind == word && p.tokens[p.pos+1].s == ":" {
		conn = t.s
		p.pos += 2
	}
	switch {
	case p.take("topic"):
		return p.topic()
	case p.take("name"):
		name, err := p.name()
		return &uniqueName{name: name}, err
	case p.take("producer"):
		name, err := p.name()
		return &producer{name: name}, err
	case p.take("let"):
		return p.let()
	case p.take("send"):
		r, err := p.request(conn)
		r.sendOnly = true
		return r, err
	case p.take("recv"):
		expect, err := p.expect()
		return &receive{conn: conn, expect: expect}, err
	case p.take("append"):
		return p.shorthand(appendBody)
	case p.take("dump"):
		return p.shorthand(dumpBody)
	case p.take("quiet"):
		wait, err := time.ParseDuration(p.next().s)
		return &quiet{conn: conn, wait: wait}, err
	case p.take("close"):
		return &closeConn{conn: conn}, nil
	case p.take("frame"):
		return p.frame(conn)
	}
	return p.request(conn)
}

// The requests that most cases need beside their own: append $t batch(…) produces to partition 0 of a topic, and dump $t
// fetches all of it.
const (
	appendBody = "Produce { Acks: -1 TimeoutMillis: 5000 Topics: [{ TOPIC Partitions: [{ Records: BYTES }] }] }"
	dumpBody   = "Fetch { SessionEpoch: -1 MaxBytes: 50000000 Topics: [{ TOPIC Partitions: [{ PartitionMaxBytes: 50000000 CurrentLeaderEpoch: -1 }] }] }"
)

// shorthand reads a topic and, where the body has a place for them, bytes, and returns the request that they stand for.
func (p *parser) shorthand(body string) (step, error) {
	topic := p.next()
	if topic.kind != word || topic.s[0] != '$' {
		return nil, fmt.Errorf("want a topic such as $t, have %q", topic.s)
	}
	body = strings.Replace(body, "TOPIC", topic.s, 1)
	if strings.Contains(body, "BYTES") {
		from := p.peek().at
		if _, err := p.value(); err != nil {
			return nil, err
		}
		body = strings.Replace(body, "BYTES", p.src[from:p.peek().at], 1)
	}
	tokens, err := lex(body)
	if err != nil {
		return nil, err
	}
	inner := &parser{src: body, tokens: tokens}
	r, err := inner.request("")
	if err != nil {
		return nil, err
	}
	return r, p.ending(r)
}

func (p *parser) topic() (step, error) {
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	t := &topic{name: name, partitions: 1}
	if t.configs, err = p.members(); err != nil {
		return nil, err
	}
	t.configs = slices.DeleteFunc(t.configs, func(m member) bool {
		if n, ok := m.value.(num); ok && m.key == "partitions" {
			t.partitions = int32(n)
			return true
		}
		return false
	})
	return t, nil
}

// members reads key=value pairs as far as they go.
func (p *parser) members() ([]member, error) {
	var out []member
	for p.peek().kind == word && p.tokens[p.pos+1].s == "=" {
		key := p.next().s
		p.next()
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		out = append(out, member{key, v})
	}
	return out, nil
}

func (p *parser) let() (step, error) {
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	if err := p.want("="); err != nil {
		return nil, err
	}
	path, err := p.path()
	return &let{name: name, path: path}, err
}

// path reads a field path such as Topics[0].Partitions[0].ErrorCode, with empty brackets where the caller allows them.
func (p *parser) path() (string, error) {
	path, err := p.name()
	if err != nil {
		return "", err
	}
	for p.take("[") {
		path += "["
		if p.peek().kind == number {
			path += p.next().s
		}
		if err := p.want("]"); err != nil {
			return "", err
		}
		path += "]"
		if t := p.peek(); t.kind == word && t.s[0] == '.' {
			path += p.next().s
		}
	}
	return path, nil
}

func (p *parser) mask() (Mask, error) {
	path, err := p.path()
	if err != nil {
		return Mask{}, err
	}
	kind, err := p.name()
	if err != nil {
		return Mask{}, err
	}
	reason := p.next()
	if reason.kind != text || reason.s == "" {
		return Mask{}, fmt.Errorf("a mask needs its reason in quotes")
	}
	return newMask("*", path, kind, reason.s)
}

func (p *parser) frame(conn string) (step, error) {
	b, err := p.value()
	if err != nil {
		return nil, err
	}
	f := &frame{conn: conn, bytes: b}
	closed := expected{versions: allVersions, closed: true}
	if p.take("as") {
		if f.as, err = p.name(); err != nil {
			return nil, err
		}
		if keyByName(f.as) < 0 {
			return nil, fmt.Errorf("kmsg has no API named %q", f.as)
		}
		v, err := p.versions()
		if err != nil {
			return nil, err
		}
		f.version, closed.closed = v.Min, false
	}
	if f.expect, err = p.expect(); len(f.expect.by) == 0 {
		f.expect.by = []expected{closed}
	}
	return f, err
}

func (p *parser) request(conn string) (*request, error) {
	key, err := p.api()
	r := &request{conn: conn, key: key, version: playedVersion}
	if err != nil {
		return r, err
	}
	if t := p.peek(); t.kind == word && len(t.s) > 1 && t.s[0] == 'v' && isDigit(t.s[1]) {
		v, err := p.versions()
		if err != nil {
			return r, err
		}
		r.version = v.Min
	}
	if r.options, err = p.members(); err != nil {
		return r, err
	}
	if p.is("{") {
		if r.body, err = p.value(); err != nil {
			return r, err
		}
	}
	return r, p.ending(r)
}

// ending reads what may follow a request's body: eventually and the expected answer.
func (p *parser) ending(r *request) (err error) {
	if p.continues("eventually") {
		p.next()
		r.until = &condition{}
		if p.peek().kind == word {
			if r.until.path, err = p.path(); err != nil {
				return err
			}
			if err := p.want("=="); err != nil {
				return err
			}
			if r.until.value, err = p.value(); err != nil {
				return err
			}
		}
	}
	r.expect, err = p.expect()
	return err
}

// continues says whether s is next, on this line or at the beginning of the next one.
func (p *parser) continues(s string) bool {
	save := p.pos
	for p.peek().kind == newline {
		p.pos++
	}
	if p.is(s) {
		return true
	}
	p.pos = save
	return false
}

// expect reads "=> …" if it is there.
func (p *parser) expect() (expectation, error) {
	var e expectation
	if !p.continues("=>") {
		return e, nil
	}
	p.next()
	var err error
	if e.by, err = p.alternatives(); err != nil || !p.continues("differs") {
		return e, err
	}
	p.next()
	if err := p.want("=>"); err != nil {
		return e, err
	}
	if e.differs, err = p.alternatives(); err != nil {
		return e, err
	}
	reason := p.next()
	if e.reason = reason.s; reason.kind != text || e.reason == "" {
		return e, fmt.Errorf("a difference needs its reason in quotes")
	}
	return e, nil
}

// alternatives reads outcomes, each for its versions, divided by |.
func (p *parser) alternatives() ([]expected, error) {
	var out []expected
	for {
		x := expected{versions: allVersions}
		if t := p.peek(); t.kind == word && len(t.s) > 1 && t.s[0] == 'v' && isDigit(t.s[1]) {
			var err error
			if x.versions, err = p.versions(); err != nil {
				return nil, err
			}
		}
		if err := p.outcomes(&x); err != nil {
			return nil, err
		}
		out = append(out, x)
		if !p.take("|") {
			return out, nil
		}
	}
}

func (p *parser) outcomes(x *expected) error {
	count := 0
	for ; p.peek().kind == word && !p.is("differs"); count++ {
		switch s := p.next().s; s {
		case "ok":
		case "closed":
			x.closed = true
		case "none":
			x.none = true
		default:
			if !knownError(s) {
				return fmt.Errorf("%q is not an error code", s)
			}
			x.errors = append(x.errors, s)
		}
	}
	if count == 0 {
		return fmt.Errorf("want ok, closed, none or error codes after =>, have %q", p.peek().s)
	}
	slices.Sort(x.errors)
	return nil
}

// knownError says whether s names an error code, such as CORRUPT_MESSAGE.
func knownError(s string) bool {
	for code := int16(-1); code < 1000; code++ {
		if code != 0 && errorName(code) == s {
			return true
		}
	}
	return false
}

// errorName is the name of an error code, or its number where kerr knows none.
func errorName(code int16) string {
	switch code {
	case 0:
		return "NONE"
	case kerr.NotLeaderForPartition.Code: // kerr has its old name
		return "NOT_LEADER_OR_FOLLOWER"
	}
	if e := kerr.TypedErrorForCode(code); e != nil && e.Code == code {
		return e.Message
	}
	return strconv.Itoa(int(code))
}
