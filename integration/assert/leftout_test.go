package assert

import (
	"fmt"
	"testing"
)

const (
	needsSASL         = "this release has no SASL"
	needsReplicas     = "needs a partition with three replicas"
	needsTransactions = "this release has no transaction coordinator"
	needsShare        = "this release has no share groups"
)

// leftOut are the numbers that are not asserted, and why.
var leftOut = map[string]string{
	"T014": needsSASL, "T015": needsSASL, "T016": needsSASL, "T017": needsSASL, "T018": needsSASL, "T019": needsSASL,
	"T020": needsSASL,
	"T042": needsReplicas, "T043": needsReplicas,
	"T060": needsTransactions, "T061": needsTransactions, "T062": needsTransactions, "T063": needsTransactions,
	"T064": needsTransactions, "T065": needsTransactions, "T066": needsTransactions, "T067": needsTransactions,
	"T068": needsTransactions, "T069": needsTransactions, "T070": needsTransactions, "T071": needsTransactions,
	"T072": needsTransactions, "T073": needsTransactions, "T074": needsTransactions,
	"T111": "this release's authorizer allows everything: it has no ACLs to deny by",
	"T112": "this release's authorizer allows everything",
	"T140": needsShare, "T141": needsShare, "T142": needsShare, "T143": needsShare,
}

// blocks are the specification's numbers, first and last. T020 has two that were put in later.
var blocks = [][2]int{{1, 21}, {30, 46}, {50, 57}, {60, 74}, {80, 97}, {100, 114}, {120, 143}, {150, 157}}

// TestNumbers sees that each number of the specification is asserted or left out for a reason, and no number twice.
func TestNumbers(t *testing.T) {
	seen := map[string]int{}
	for _, a := range assertions {
		seen[a.number]++
	}
	for number := range leftOut {
		seen[number]++
	}
	want := []string{"T020a", "T020b"}
	for _, b := range blocks {
		for i := b[0]; i <= b[1]; i++ {
			want = append(want, fmt.Sprintf("T%03d", i))
		}
	}
	for _, number := range want {
		if seen[number] != 1 {
			t.Errorf("%s is asserted or left out %d times, want once", number, seen[number])
		}
		delete(seen, number)
	}
	for number := range seen {
		t.Errorf("the specification has no %s", number)
	}
}
