package twin

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
)

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
