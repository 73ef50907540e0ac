package assert

import (
	"fmt"
	"testing"
)

const (
	needsSASL         = "this release has no SASL"
	needsQuotas       = "this release has no quotas"
	needsReplicas     = "needs a partition with three replicas"
	needsTransactions = "this release has no transaction coordinator"
	needsCleaner      = "asserted by the tests of package log, in a bubble: the cleaner waits for time to pass"
	needsGroups       = "groups are new: asserted by package twin, and by the tests of packages group and handler"
	needsShare        = "this release has no share groups"
)

// leftOut are the numbers that are not asserted, and why.
var leftOut = map[string]string{
	"T014": needsSASL, "T015": needsSASL, "T016": needsSASL, "T017": needsSASL, "T018": needsSASL, "T019": needsSASL,
	"T020": needsSASL,
	"T021": needsQuotas,
	"T042": needsReplicas, "T043": needsReplicas,
	"T060": needsTransactions, "T061": needsTransactions, "T062": needsTransactions, "T063": needsTransactions,
	"T064": needsTransactions, "T065": needsTransactions, "T066": needsTransactions, "T067": needsTransactions,
	"T068": needsTransactions, "T069": needsTransactions, "T070": needsTransactions, "T071": needsTransactions,
	"T072": needsTransactions, "T073": needsTransactions, "T074": needsTransactions,
	"T092": needsCleaner,
	"T096": "asserted by package twin (deleterecords) and by the tests of package handler",
	"T110": "asserted by package twin (electleaders), so far as one node has leaders to elect",
	"T111": "this release's authorizer allows everything: it has no ACLs to deny by",
	"T112": "this release's authorizer allows everything",
	"T113": needsSASL,
	"T128": needsGroups, "T133": needsGroups, "T134": needsGroups, "T136": needsGroups, "T137": needsGroups,
	"T139": needsGroups,
	"T140": needsShare, "T141": needsShare, "T142": needsShare, "T143": needsShare,
	"T156": needsCleaner,
	"T157": "asserted by the tests of package log, in a bubble: retention looks every five minutes",
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
