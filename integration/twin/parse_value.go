package twin

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

func (p *parser) value() (value, error) {
	t := p.next()
	switch t.kind {
	case number:
		n, err := strconv.ParseInt(t.s, 0, 64)
		return num(n), err
	case text:
		return literal(t.s), nil
	case hexes:
		b, err := hex.DecodeString(strings.ReplaceAll(t.s, " ", ""))
		return raw(b), err
	case word:
		return p.wordValue(t.s)
	}
	switch t.s {
	case "[":
		var l list
		for !p.take("]") {
			v, err := p.value()
			if err != nil {
				return nil, err
			}
			l = append(l, v)
		}
		return l, nil
	case "{":
		return p.object()
	}
	return nil, fmt.Errorf("want a value, have %q", t.s)
}

func (p *parser) wordValue(s string) (value, error) {
	switch s {
	case "null":
		return null{}, nil
	case "true", "false":
		return boolean(s == "true"), nil
	}
	var v value = literal(s)
	switch {
	case s[0] == '$' && len(s) > 1:
		v = ref{name: s[1:]}
	case s == "now":
		v = ref{name: "now"}
	case p.take("("):
		return p.call(s)
	}
	if r, ok := v.(ref); ok && p.take("+") {
		n, err := strconv.ParseInt(p.next().s, 0, 64)
		return ref{r.name, n}, err
	}
	return v, nil
}

func (p *parser) object() (value, error) {
	var o object
	for !p.take("}") {
		if t := p.peek(); t.kind == word && t.s[0] == '$' {
			p.next()
			o = append(o, member{"", ref{name: t.s[1:]}})
			continue
		}
		key, err := p.name()
		if err != nil {
			return nil, err
		}
		if err := p.want(":"); err != nil {
			return nil, err
		}
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		o = append(o, member{key, v})
	}
	return o, nil
}

// call reads the arguments of a constructor: values, key=value, and the records key:value@delta{header:value}.
func (p *parser) call(name string) (value, error) {
	c := call{name: name}
	for !p.take(")") {
		named, err := p.members()
		if err != nil {
			return nil, err
		}
		if c.named = append(c.named, named...); len(named) > 0 {
			continue
		}
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		if p.take(":") {
			if v, err = p.record(v); err != nil {
				return nil, err
			}
		}
		c.args = append(c.args, v)
	}
	return c, nil
}

func (p *parser) record(key value) (value, error) {
	r := record{key: key}
	var err error
	if r.value, err = p.value(); err != nil {
		return nil, err
	}
	if p.take("@") {
		if r.delta, err = strconv.ParseInt(p.next().s, 0, 64); err != nil {
			return nil, err
		}
	}
	if p.is("{") {
		p.next()
		o, err := p.object()
		r.headers = o.(object)
		return r, err
	}
	return r, nil
}
