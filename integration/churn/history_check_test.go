package churn

import (
	"strings"
	"testing"
)

// TestHistoryCheck proves that the judge sees what it is there for. Times are in seconds; each history goes on after
// member a was assigned partition 0 at 1, received offsets 0 to 9 and committed 10 at 2 to 3.
func TestHistoryCheck(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines string // "MEMBER WORD SECONDS …", the third number of a commit in seconds too
		want  string // part of the only complaint; empty for none
	}{
		{"handed over", "a revoked 4 0; b assigned 5 0; b got 6 0 10 19; b committed 6 0 20 7; b revoked 8 0; b left 9", ""},
		{"killed", "a got 3 0 10 14; a killed 4; b assigned 5 0; b got 6 0 10 19", ""},
		{"two owners", "b assigned 3 0; b got 3 0 10 19; a revoked 4 0", "was assigned to b while a had it"},
		{"two owners, one of them killed", "b assigned 3 0; b got 3 0 10 19; a killed 4", "was assigned to b while a had it"},
		{"two owners, never ended", "b assigned 3 0; b got 3 0 10 19", "was assigned to b while a had it"},
		{"fenced, which it learns late", "b assigned 4 0; b got 5 0 10 19; a lost 6 0", ""},
		{"fenced, but had committed meanwhile", "b assigned 4 0; b got 5 0 10 19; a committed 5 0 10 5; a lost 6 0", "was assigned to b while a had it"},
		{"silent for long, then revoked", "b assigned 9 0; b got 9 0 10 19; a revoked 10 0", ""},
		{"commit goes back", "a committed 4 0 9 4; a got 5 0 10 19", "a committed 9 for partition 0, after 10 had been committed"},
		{"a late owner commits less", "a revoked 4 0; b assigned 5 0; b got 5 0 10 19; b committed 6 0 9 6", "b committed 9"},
		{"committed comes again", "a revoked 4 0; b assigned 5 0; b got 6 0 9 19", "b got offset 9 of partition 0, of which 10 had been committed"},
		{"comes again to the same member", "a got 5 0 9 19", "a got offset 9 of partition 0 after offset 9"},
		{"missing", "a got 5 0 11 19", "offset 10 of partition 0 was never received"},
		{"missing at the end", "a got 5 0 10 18", "offset 19 of partition 0 was never received"},
		{"got without having", "a got 3 0 10 19; b got 3 0 10 19", "b got offset 10 of partition 0 without having it"},
		{"committed without having", "a got 3 0 10 19; b committed 3 0 10 3", "b committed for partition 0 without having it"},
		{"gave up", "a got 3 0 10 19; a failed 4 no more", "a gave up: no more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHistory()
			for line := range strings.SplitSeq("a assigned 1 0; a got 1 0 0 9; a committed 2 0 10 3; "+c.lines, "; ") {
				e, err := parseEvent(line)
				if err != nil {
					t.Fatal(err)
				}
				e.at *= 1e9
				if e.word == "committed" {
					e.n[2] *= 1e9
				}
				h.add(e)
			}
			wrong := h.check([]int64{20})
			if c.want == "" && len(wrong) > 0 || c.want != "" && (len(wrong) != 1 || !strings.Contains(wrong[0], c.want)) {
				t.Errorf("complained %q, want %q", wrong, c.want)
			}
		})
	}
}

func TestParseEventRefuses(t *testing.T) {
	for _, line := range []string{"", "a got 5", "a got 5 0 1", "a got x 0 1 2", "a left", "a left 5 6", "a danced 5", "a assigned 5 x"} {
		if _, err := parseEvent(line); err == nil {
			t.Errorf("%q was taken for an event", line)
		}
	}
}
