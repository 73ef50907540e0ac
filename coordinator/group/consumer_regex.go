package group

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/metadata"
)

// What a regular expression may cost. Kafka has no such bounds.
const (
	// maxRegex is the length of the longest regular expression, in bytes. People list the names of their topics in one: it
	// has room for sixteen of the longest names, and for more than a hundred of the usual ones.
	maxRegex = 16 * metadata.MaxTopicName
	// maxProgram bounds its compiled form, in instructions. Matching takes time in proportion to it, and repetitions make
	// it grow out of all proportion to the text.
	maxProgram = 5000
	// searchBudget bounds one step of a search, in instructions times bytes of names: some ten milliseconds. Between steps
	// the partition's other groups have their turn.
	searchBudget = 2_000_000
	searchPause  = time.Millisecond
	// searchAgain is the least time between two searches for one regular expression when topics have changed.
	searchAgain = 10 * time.Second
	// maxResolved bounds the names that one may stand for, in bytes. They are one record besides, which has to fit into a
	// batch of __consumer_offsets: one that does not would cost every group of the partition a reload.
	maxResolved = 512 << 10
)

// resolution is what a regular expression stood for when the topics were last searched. It is never changed in place.
type resolution struct {
	topics  []string // in order
	version int64    // metadata index that was searched
	at      int64    // milliseconds since 1970
}

// search is the soft state of a regular expression: a walk through the names of all topics, in steps (rule 8.7.10).
type search struct {
	regex    *regexp.Regexp
	cost     int                     // instructions
	allowed  func(topic string) bool // what its last user may know of
	image    *metadata.Image         // what is searched; nil when no search is under way
	from     string                  // where the next step begins
	found    []string
	size     int // of found, in bytes
	step     timer
	searched uint64 // metadata index of the last search
	at       time.Time
}

// compile reads a regular expression that must match whole names.
func compile(expr string) (re *regexp.Regexp, cost int, err error) {
	if len(expr) > maxRegex {
		return nil, 0, refuse(kerr.InvalidRegularExpression, "a regular expression of %d bytes is longer than %d", len(expr), maxRegex)
	}
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, 0, refuse(kerr.InvalidRegularExpression, "%q is not a regular expression: %v", expr, err)
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, 0, refuse(kerr.InvalidRegularExpression, "%q is not a regular expression: %v", expr, err)
	}
	if cost = len(program.Inst); cost > maxProgram {
		return nil, 0, refuse(kerr.InvalidRegularExpression, "the regular expression %q would take %d steps per character, and may take %d", expr, cost, maxProgram)
	}
	// Not expr itself: a quotation that it leaves open would take in what comes behind it.
	re, err = regexp.Compile(`^(?:` + tree.String() + `)$`)
	if err != nil {
		return nil, 0, refuse(kerr.InvalidRegularExpression, "%q is not a regular expression: %v", expr, err)
	}
	return re, cost, nil
}

// checkRegex says whether the regular expression that a request brings in can be used.
func (h *heartbeat) checkRegex(g *consumerGroup, m *consumerMember) error {
	expr := h.req.SubscribedTopicRegex
	if expr == nil || *expr == "" || m != nil && m.regex == *expr || g != nil && g.resolved[*expr] != nil {
		return nil
	}
	_, _, err := compile(*expr)
	return err
}

// resolve sees to it that a regular expression is resolved, and not by what the topics were long ago. allowed says what
// its user may know of.
func (g *consumerGroup) resolve(expr string, allowed func(string) bool, now time.Time) {
	s := g.regexes[expr]
	if s == nil {
		re, cost, err := compile(expr)
		if err != nil {
			return // a record that Kafka wrote may have one that is beyond our bounds: it stands for what it stood for
		}
		s = &search{regex: re, cost: cost}
		if r := g.resolved[expr]; r != nil {
			s.searched, s.at = uint64(r.version), time.UnixMilli(r.at)
		}
		g.regexes[expr] = s
		g.charge(s.memory(expr))
	}
	s.allowed = allowed
	if s.image != nil {
		return
	}
	im, age := g.machine.image(), now.Sub(s.at)
	if g.resolved[expr] == nil || age >= g.machine.config().Consumer.RegexRefresh || im.Index != s.searched && age >= searchAgain {
		s.image, s.from, s.found, s.size = im, "", nil, 0
		g.machine.timers.set(&s.step, now, func(now time.Time, e *coordinator.Effects) { g.search(expr, s, now, e) })
	}
}

// memory is what the search takes but for what it finds, which is bounded by time: see Memory.
func (s *search) memory(expr string) int { return memberOverhead + len(expr) + instructionCost*s.cost }

// search is one step of a search.
func (g *consumerGroup) search(expr string, s *search, now time.Time, e *coordinator.Effects) {
	budget := searchBudget
	for t := range s.rest {
		if budget <= 0 {
			s.from = t.Name
			g.machine.timers.set(&s.step, now.Add(searchPause), s.step.fire)
			return
		}
		budget -= s.cost*(len(t.Name)+1) + 1
		if s.regex.MatchString(t.Name) && s.allowed(t.Name) {
			s.found = append(s.found, t.Name)
			s.size += len(t.Name) + 3 // and its length
		}
	}
	s.searched, s.at = s.image.Index, now
	found := s.found
	s.image, s.found = nil, nil
	old := g.resolved[expr]
	if s.size > maxResolved || !e.Fits(1, s.size+len(expr)+2*len(g.id)+64) || old != nil && slices.Equal(old.topics, found) {
		return // one that stands for too much stands for what it did
	}
	g.write(e, regexRecord{expr, &resolution{topics: found, version: int64(s.searched), at: now.UnixMilli()}})
	g.checkedIndex = 0 // what is consumed may differ, though no topic does
	g.advance(now, g.machine.image(), old != nil || len(found) > 0, e)
}

// rest is the topics that have not been searched.
func (s *search) rest(yield func(*metadata.Topic) bool) { s.image.TopicsFrom(s.from, yield) }

// dropPattern forgets a regular expression that nobody uses any more.
func (g *consumerGroup) dropPattern(expr string, e *coordinator.Effects) {
	if expr == "" || g.patterns[expr] > 0 {
		return
	}
	g.abandon(expr)
	if g.resolved[expr] != nil {
		g.write(e, regexRecord{expr, nil})
	}
}

// abandon ends the search for a regular expression.
func (g *consumerGroup) abandon(expr string) {
	if s := g.regexes[expr]; s != nil {
		g.machine.timers.cancel(&s.step)
		delete(g.regexes, expr)
		g.charge(-s.memory(expr))
	}
}
