package twin

import (
	"fmt"
	"strconv"
	"strings"
)

// Mask names a field in which the two brokers may differ, and why.
type Mask struct {
	API    string // "*": every API
	Path   string // such as Topics[].TopicID; a leading "*." matches at any depth
	Kind   maskKind
	Reason string
}

// maskKind is what a mask does; several may apply to one field.
type maskKind int

const (
	maskSet maskKind = 1 << iota
	maskRole
	maskText
	maskDrop
	maskSort
	maskOwn
	maskShared
	maskExtra
)

func newMask(api, path, kind, reason string) (Mask, error) {
	kinds := map[string]maskKind{
		"set": maskSet, "role": maskRole, "text": maskText, "drop": maskDrop,
		"sort": maskSort, "own": maskOwn, "shared": maskShared, "extra": maskExtra,
	}
	k, ok := kinds[kind]
	if !ok {
		return Mask{}, fmt.Errorf("there is no mask %q", kind)
	}
	return Mask{api, path, k, reason}, nil
}

// mask returns the masks that apply to a field.
func (v *view) mask(form string) (kinds maskKind) {
	for _, m := range v.masks {
		if m.API != "*" && m.API != v.api {
			continue
		}
		if suffix, deep := strings.CutPrefix(m.Path, "*."); deep && (form == suffix || strings.HasSuffix(form, "."+suffix)) || form == m.Path {
			kinds |= m.Kind
		}
	}
	return kinds
}

// exemption says that a version has no case of one kind, and why.
type exemption struct {
	api      string
	versions Versions
	kind     string // "valid" or "invalid"
}

// Rules is the content of masks.txt.
type Rules struct {
	Masks   []Mask
	exempts []exemption
}

// ParseRules reads masks.txt: one mask "API PATH KIND reason…" or exemption "exempt API VERSIONS valid|invalid reason…" a
// line.
func ParseRules(src string) (*Rules, error) {
	r := &Rules{}
	for i, line := range strings.Split(src, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || f[0][0] == '#' {
			continue
		}
		if len(f) < 4 || f[0] == "exempt" && len(f) < 5 {
			return nil, fmt.Errorf("masks.txt: line %d: a mask needs an API, a path, a kind and a reason", i+1)
		}
		if f[0] == "exempt" {
			lo, hi, _ := strings.Cut(strings.TrimPrefix(f[2], "v"), "-")
			if hi == "" {
				hi = lo
			}
			from, err1 := strconv.ParseInt(lo, 10, 16)
			to, err2 := strconv.ParseInt(hi, 10, 16)
			if err1 != nil || err2 != nil || keyByName(f[1]) < 0 {
				return nil, fmt.Errorf("masks.txt: line %d: want exempt API v0-2 valid reason", i+1)
			}
			r.exempts = append(r.exempts, exemption{f[1], Versions{int16(from), int16(to)}, f[3]})
			continue
		}
		if f[0] != "*" && keyByName(f[0]) < 0 {
			return nil, fmt.Errorf("masks.txt: line %d: there is no API %q", i+1, f[0])
		}
		m, err := newMask(f[0], f[1], f[2], strings.Join(f[3:], " "))
		if err != nil {
			return nil, fmt.Errorf("masks.txt: line %d: %w", i+1, err)
		}
		r.Masks = append(r.Masks, m)
	}
	return r, nil
}

func (r *Rules) exempt(api string, version int16, kind string) bool {
	for _, x := range r.exempts {
		if x.api == api && x.versions.Has(version) && x.kind == kind {
			return true
		}
	}
	return false
}
