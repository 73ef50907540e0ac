package group

import (
	"strings"
	"testing"
)

// TestCompile: a regular expression matches whole names, whatever it leaves open, and has its bounds.
func TestCompile(t *testing.T) {
	for expr, matches := range map[string][]string{
		`a|b`:           {"a", "b"},
		`a.*`:           {"a", "ab", "aB", "aa", "aaa", "aaaa", "a.b", "axb", "a1"},
		`\Qa.b`:         {"a.b"}, // to the end
		`\Q`:            {""},
		`(?i)AB`:        {"ab", "aB"},
		`(?m)^a$`:       {"a"},
		`a(?m)|b$`:      {"a", "b"},
		`^a$`:           {"a"},
		`a{2,3}`:        {"aa", "aaa"},
		`a$|^ab`:        {"a", "ab"},
		`(?P<name>a)`:   {"a"},
		`[[:alpha:]]\d`: {"a1"},
	} {
		re, _, err := compile(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		want := map[string]bool{}
		for _, name := range matches {
			want[name] = true
		}
		for _, name := range []string{"", "a", "b", "ab", "aB", "aa", "aaa", "aaaa", "a.b", "axb", "a1", "ba", "a\nb", "c"} {
			if got := re.MatchString(name); got != want[name] {
				t.Errorf("%s matches %q: %v", expr, name, got)
			}
		}
	}
	for _, expr := range []string{"(", "a)|(b", "[z-a]", `\1`, "(?=a)", "a{1,1001}", "(a{100}){100}", strings.Repeat("a", maxRegex+1)} {
		if _, _, err := compile(expr); err == nil {
			t.Errorf("%.20s is let in", expr)
		}
	}
	if _, _, err := compile(strings.Repeat("orders-eu|", 150) + "orders-us"); err != nil {
		t.Errorf("150 names: %v", err)
	}
}
