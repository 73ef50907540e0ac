package twin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// mismatch says how an answer differs from what the script says of it; empty if it does not.
func (e *entry) mismatch(says expected) string {
	have := e.result()
	want := strings.Join(says.errors, " ")
	switch {
	case says.none:
		return "" // the entry itself says whether it was quiet
	case says.closed:
		want = "closed"
	case want == "":
		want = "ok"
	}
	if have == want {
		return ""
	}
	return fmt.Sprintf("expected is %s, but the answer is %s", want, have)
}

// result is the answer in short: ok, closed, or the error codes in it.
func (e *entry) result() string {
	if e.resp == nil {
		return e.outcome
	}
	if codes := errorCodes(e.resp); len(codes) > 0 {
		return strings.Join(codes, " ")
	}
	return "ok"
}

// pair is one case at one version, played to both brokers.
type pair struct {
	left, right   Broker
	leftT, rightT transcript
	masks         []Mask
	same          bool // both are Kafka
	deliberate    int  // differences that the script gives a reason for; set by compare
}

// compare returns what is wrong, in words for the one who reads the test's output; empty if nothing is. A script that is
// wrong about Kafka comes first, with all such places; then the first answer that differs, since later ones often do so
// only because of it.
func (p *pair) compare() string {
	if wrong := p.misjudged(); len(wrong) > 0 {
		return "the script is wrong about " + p.left.Name + "\n" + strings.Join(wrong, "\n")
	}
	for i, l := range p.leftT.entries[:min(len(p.leftT.entries), len(p.rightT.entries))] {
		if d := p.difference(l, p.rightT.entries[i]); d != "" {
			return l.title() + "\n" + d
		}
	}
	switch {
	case p.leftT.err != nil:
		return fmt.Sprintf("%s: %v", p.left.Name, p.leftT.err)
	case p.rightT.err != nil:
		return fmt.Sprintf("%s: %v", p.right.Name, p.rightT.err)
	}
	return ""
}

// misjudged lists the steps whose answer from Kafka is not what the script says.
func (p *pair) misjudged() []string {
	var out []string
	for _, l := range p.leftT.entries {
		if m := l.mismatch(l.expect.forVersion(l.version)); m != "" {
			out = append(out, fmt.Sprintf("%s\n  %s", l.title(), m))
		}
	}
	return out
}

// difference compares two answers to the same step.
func (p *pair) difference(l, r *entry) string {
	a, b := l.render(p.masks, p.leftT.vars, r.resp), r.render(p.masks, p.rightT.vars, r.resp)
	if l.expect.reason != "" && !p.same {
		m := r.mismatch(pick(l.expect.differs, l.version))
		if m == "" {
			p.deliberate++
			return ""
		}
		return fmt.Sprintf("%s says of itself that %s\n%s", p.right.Name, m, first(b))
	}
	if forgiveTexts(a, b); slices.Equal(a, b) {
		return ""
	}
	return fmt.Sprintf("--- %s\n+++ %s\n%s", p.left.Name, p.right.Name, diff(a, b))
}

// forgiveTexts lets kbroker have a text where Kafka has none: more is said, and nothing is lost.
func forgiveTexts(a, b []string) {
	for i := range min(len(a), len(b)) {
		path, ok := strings.CutSuffix(a[i], "null")
		if ok && b[i] == path+someText {
			b[i] = a[i]
		}
	}
}

// explain lists what Kafka did, step by step and without masks.
func (p *pair) explain() string {
	var out []string
	for _, l := range p.leftT.entries {
		out = append(out, l.title()+"\n"+first(l.render(nil, p.leftT.vars, nil)))
	}
	return strings.Join(out, "\n")
}

// title names the step that an entry comes from.
func (e *entry) title() string {
	source := e.Source
	const most = 1000
	if len(source) > most {
		source = source[:most] + "…"
	}
	return fmt.Sprintf("line %d, %s: %s", e.Line, e.what, source)
}

// first indents the first lines of an answer.
func first(lines []string) string {
	const most = 30
	if more := len(lines) - most; more > 0 {
		lines = append(slices.Clone(lines[:most]), fmt.Sprintf("… and %d more lines", more))
	}
	return "  " + strings.Join(lines, "\n  ")
}

// diff prints the lines that differ, with one line of context. It finds a longest common subsequence; answers have at
// most a few thousand lines.
func diff(a, b []string) string {
	for len(a) > 1 && len(b) > 1 && a[0] == b[0] && a[1] == b[1] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 1 && len(b) > 1 && a[len(a)-1] == b[len(b)-1] && a[len(a)-2] == b[len(b)-2] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	common := lcs(a, b)
	var out []string
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, "  "+a[i])
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || common[i+1][j] >= common[i][j+1]):
			out = append(out, "- "+a[i])
			i++
		default:
			out = append(out, "+ "+b[j])
			j++
		}
	}
	const most = 60
	return strings.Join(nearChanges(out, most), "\n")
}

// lcs[i][j] is the length of the longest common subsequence of a[i:] and b[j:].
func lcs(a, b []string) [][]int {
	table := make([][]int, len(a)+1)
	for i := range table {
		table[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	return table
}

// nearChanges keeps changed lines and their neighbours, at most most of them.
func nearChanges(lines []string, most int) []string {
	changed := func(i int) bool { return i >= 0 && i < len(lines) && lines[i][0] != ' ' }
	var out []string
	for i := range lines {
		if changed(i) || changed(i-1) || changed(i+1) {
			out = append(out, lines[i])
		}
	}
	if len(out) > most {
		out = append(out[:most], fmt.Sprintf("  … and %d more lines", len(out)-most))
	}
	return out
}

// Coverage counts which (key, version) pairs were answered without an error and which were refused.
type Coverage struct {
	valid, invalid map[pairKey]bool
}

type pairKey struct{ key, version int16 }

// add takes what Kafka did in one case.
func (c *Coverage) add(t transcript) {
	for _, e := range t.entries {
		k := pairKey{e.key, e.version}
		switch {
		case e.resp != nil && len(errorCodes(e.resp)) == 0 || e.outcome == "nothing to wait for":
			c.valid[k] = true
		case e.resp != nil || e.outcome == "closed":
			c.invalid[k] = true
		}
	}
}

// missing names the pairs of the given APIs that have no valid or no invalid case.
func (c *Coverage) missing(apis map[int16]Versions, rules *Rules) []string {
	var out []string
	for key := range int16(maxKey) {
		r, ok := apis[key]
		if !ok {
			continue
		}
		name := kmsg.NameForKey(key)
		for v := r.Min; v <= r.Max; v++ {
			if !c.valid[pairKey{key, v}] && !rules.exempt(name, v, "valid") {
				out = append(out, fmt.Sprintf("%s v%d has no valid case", name, v))
			}
			if !c.invalid[pairKey{key, v}] && !rules.exempt(name, v, "invalid") {
				out = append(out, fmt.Sprintf("%s v%d has no invalid case", name, v))
			}
		}
	}
	return out
}
