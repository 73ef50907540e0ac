package twin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

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
