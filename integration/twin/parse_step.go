package twin

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

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
	case p.take("group"):
		name, err := p.name()
		g := &groupName{name: name}
		if err == nil && p.take("knows") {
			g.knows, err = p.value()
		}
		return g, err
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
