package churn

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// event is a line that a member said, or what the test did to it.
type event struct {
	member string
	word   string
	at     int64   // nanoseconds since 1970; of a commit, when it was sent
	n      []int64 // what belongs to the word
	text   string  // of refused and failed
}

// words are what members say, with how many numbers follow; -1 stands for any number of partitions.
var words = map[string]int{
	"assigned":  -1,
	"revoked":   -1,
	"lost":      -1,
	"got":       3, // partition, first offset, last offset
	"committed": 3, // partition, offset, when it was acknowledged
	"left":      0,
	"killed":    0, // said by the test, in the member's name
}

// parseEvent reads a line such as "java-3 got 1700000000000000000 5 100 149".
func parseEvent(line string) (event, error) {
	f := strings.Fields(line)
	if len(f) < 3 {
		return event{}, fmt.Errorf("%q is no event", line)
	}
	at, err := strconv.ParseInt(f[2], 10, 64)
	e := event{member: f[0], word: f[1], at: at}
	if err != nil {
		return event{}, fmt.Errorf("%q is no event: %w", line, err)
	}
	if e.word == "refused" || e.word == "failed" {
		e.text = strings.Join(f[3:], " ")
		return e, nil
	}
	want, known := words[e.word]
	if !known || want >= 0 && len(f)-3 != want {
		return event{}, fmt.Errorf("%q is no event", line)
	}
	for _, s := range f[3:] {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return event{}, fmt.Errorf("%q is no event: %w", line, err)
		}
		e.n = append(e.n, n)
	}
	return e, nil
}

// span is the time for which a member owned a partition, as far as it can be shown.
type span struct {
	member    string
	partition int64
	from, to  int64 // nanoseconds since 1970
	end       string
	got       int64 // the last offset received; -1 for none
	proof     int64 // when the last commit was sent that was accepted, or from: then the group knew the member
}

// commit is an accepted commit.
type commit struct {
	member                         string
	partition, offset, sent, acked int64
}

// receipt is records that a member received.
type receipt struct {
	*span
	first, last int64
}

// history is what all members said, in order for each member.
type history struct {
	open     map[string]map[int64]*span
	spans    []*span
	commits  []commit
	receipts []receipt
	left     map[string]bool
	count    map[string]int // of each word
	refusals map[string]int // by their reason, without its numbers
	excused  int            // spans that count up to their proof only
	wrong    []string       // what a single member's words already show to be wrong
}

// forever is the end of what is still owned.
const forever = int64(1<<63 - 1)

func newHistory() *history {
	return &history{open: map[string]map[int64]*span{}, left: map[string]bool{}, count: map[string]int{}, refusals: map[string]int{}}
}

func (h *history) complain(format string, args ...any) {
	h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
}

// add takes note of an event.
func (h *history) add(e event) {
	if e.word == "killed" && h.left[e.member] {
		return
	}
	h.count[e.word]++
	mine := h.open[e.member]
	if mine == nil {
		mine = map[int64]*span{}
		h.open[e.member] = mine
	}
	switch e.word {
	case "assigned":
		h.assigned(mine, e)
	case "revoked", "lost":
		for _, p := range e.n {
			h.end(mine, e, p)
		}
	case "left", "killed":
		h.left[e.member] = e.word == "left"
		for p := range mine {
			h.end(mine, e, p)
		}
	case "got":
		h.got(mine, e)
	case "committed":
		h.committed(mine, e)
	case "refused":
		h.refusals[strings.Map(noDigit, e.text)]++
	case "failed":
		h.complain("%s gave up: %s", e.member, e.text)
	}
}

// noDigit drops digits, for strings.Map.
func noDigit(r rune) rune {
	if r >= '0' && r <= '9' {
		return -1
	}
	return r
}

func (h *history) assigned(mine map[int64]*span, e event) {
	for _, p := range e.n {
		if s := mine[p]; s != nil {
			h.complain("%s was assigned partition %d a second time while it had it", e.member, p)
			continue
		}
		s := &span{member: e.member, partition: p, from: e.at, to: forever, got: -1, proof: e.at}
		mine[p] = s
		h.spans = append(h.spans, s)
	}
}

// end ends a span by the rules of README.md.
func (h *history) end(mine map[int64]*span, e event, p int64) {
	s := mine[p]
	if s == nil {
		// A member may be told that it lost what it was never told to have: it was fenced between the two.
		if e.word == "revoked" {
			h.complain("partition %d was revoked from %s, which did not have it", p, e.member)
		}
		return
	}
	delete(mine, p)
	s.end, s.to = e.word, e.at
	if e.word == "lost" || e.at-s.proof >= silence.Nanoseconds() {
		s.to = s.proof
		h.excused++
	}
	s.to = max(s.to, s.from)
}

func (h *history) got(mine map[int64]*span, e event) {
	p, first, last := e.n[0], e.n[1], e.n[2]
	s := mine[p]
	if s == nil {
		h.complain("%s got offset %d of partition %d without having it", e.member, first, p)
		return
	}
	if first <= s.got {
		h.complain("%s got offset %d of partition %d after offset %d", e.member, first, p, s.got)
	}
	s.got = last
	h.receipts = append(h.receipts, receipt{s, first, last})
}

func (h *history) committed(mine map[int64]*span, e event) {
	p := e.n[0]
	s := mine[p]
	if s == nil {
		h.complain("%s committed for partition %d without having it", e.member, p)
		return
	}
	s.proof = max(s.proof, e.at)
	h.commits = append(h.commits, commit{e.member, p, e.n[1], e.at, e.n[2]})
}

// check judges the whole: every partition had one owner at a time, commits never went back, and nothing that was committed
// came again. ends are the offsets at which the partitions end: every record below must have been received.
func (h *history) check(ends []int64) []string {
	h.checkOwners()
	h.checkCommits()
	h.checkReceipts()
	h.checkAll(ends)
	return h.wrong
}

func (h *history) checkOwners() {
	spans := slices.Clone(h.spans)
	slices.SortFunc(spans, func(a, b *span) int { return compare(a.partition, b.partition, a.from, b.from) })
	var last *span // of those so far, the one that ends last
	for _, s := range spans {
		if last != nil && last.partition == s.partition && s.from < last.to {
			h.complain("partition %d was assigned to %s while %s had it: %d ns before its end (%s)", s.partition, s.member, last.member, last.to-s.from, last.end)
		}
		if last == nil || last.partition != s.partition || s.to > last.to {
			last = s
		}
	}
}

// checkCommits compares every commit with those that were acknowledged before it was sent.
func (h *history) checkCommits() {
	sent := slices.Clone(h.commits)
	slices.SortFunc(sent, func(a, b commit) int { return compare(a.partition, b.partition, a.sent, b.sent) })
	highest := h.acknowledged()
	for _, c := range sent {
		if before := highest(c.partition, c.sent); before > c.offset {
			h.complain("%s committed %d for partition %d, after %d had been committed", c.member, c.offset, c.partition, before)
		}
	}
}

// acknowledged returns a function that returns the highest offset whose commit for a partition was acknowledged before a
// time. The function must be called in the order of partitions and times.
func (h *history) acknowledged() func(partition, before int64) int64 {
	acked := slices.Clone(h.commits)
	slices.SortFunc(acked, func(a, b commit) int { return compare(a.partition, b.partition, a.acked, b.acked) })
	highest, current := int64(0), int64(-1)
	return func(partition, before int64) int64 {
		if partition != current {
			highest, current = 0, partition
		}
		for len(acked) > 0 && (acked[0].partition < partition || acked[0].partition == partition && acked[0].acked < before) {
			if acked[0].partition == partition {
				highest = max(highest, acked[0].offset)
			}
			acked = acked[1:]
		}
		return highest
	}
}

// checkReceipts looks for what was received although it had been committed before its receiver was assigned the partition.
func (h *history) checkReceipts() {
	receipts := slices.Clone(h.receipts)
	slices.SortStableFunc(receipts, func(a, b receipt) int { return compare(a.partition, b.partition, a.from, b.from) })
	highest := h.acknowledged()
	for _, r := range receipts {
		if before := highest(r.partition, r.from); r.first < before {
			h.complain("%s got offset %d of partition %d, of which %d had been committed before", r.member, r.first, r.partition, before)
		}
	}
}

func (h *history) checkAll(ends []int64) {
	for p, missing := range h.missing(ends) {
		if missing >= 0 {
			h.complain("offset %d of partition %d was never received", missing, p)
		}
	}
}

// missing returns for every partition the first offset that nobody received, or -1.
func (h *history) missing(ends []int64) []int64 {
	receipts := slices.Clone(h.receipts)
	slices.SortFunc(receipts, func(a, b receipt) int { return compare(a.partition, b.partition, a.first, b.first) })
	next := make([]int64, len(ends))
	for _, r := range receipts {
		if r.first <= next[r.partition] {
			next[r.partition] = max(next[r.partition], r.last+1)
		}
	}
	for p := range next {
		if next[p] >= ends[p] {
			next[p] = -1
		}
	}
	return next
}

// again counts the records that were received more often than once.
func (h *history) again(ends []int64) int64 {
	n := int64(0)
	for _, r := range h.receipts {
		n += r.last - r.first + 1
	}
	for _, end := range ends {
		n -= end
	}
	return n
}

// compare orders by a pair of numbers.
func compare(a, b, thenA, thenB int64) int {
	return cmp.Or(cmp.Compare(a, b), cmp.Compare(thenA, thenB))
}
