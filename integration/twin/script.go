package twin

import (
	"fmt"
	"math"
	"time"
)

// Script is one file: the cases of one API.
type Script struct {
	Name  string // file name without .twin
	Key   int16
	Cases []*Case
}

// Case is a sequence of steps that is played on its own connections with its own topics, once per version.
type Case struct {
	Name     string
	Line     int
	Versions Versions
	Steps    []step
	Masks    []Mask
}

// Versions is a range of request versions, both ends included.
type Versions struct{ Min, Max int16 }

// allVersions is the range of a case that names none.
var allVersions = Versions{math.MinInt16, math.MaxInt16}

// Has says whether v is in the range.
func (r Versions) Has(v int16) bool { return v >= r.Min && v <= r.Max }

// step is one line of a case.
type step interface {
	// play carries the step out on one broker. An error ends the case there.
	play(*player) error
	where() *at
}

// at is where a step stands, for messages.
type at struct {
	Line   int
	Source string
}

func (a *at) where() *at { return a }

func (a *at) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: %w", a.Line, fmt.Errorf(format, args...))
}

// expectation is what the script says about Kafka's answer.
type expectation struct {
	by []expected
	// differs, if there is a reason, is what kbroker answers in place of Kafka's answer, on purpose.
	differs []expected
	reason  string
}

// expected is one alternative: for these versions, this outcome.
type expected struct {
	versions Versions
	closed   bool     // the connection is closed without an answer
	none     bool     // no answer is due
	errors   []string // the names of the non-zero error codes, sorted; empty means ok
}

// at version v the expectation is…
func (e expectation) forVersion(v int16) expected {
	return pick(e.by, v)
}

// pick returns the alternative for a version; where there is none the answer is expected to be ok.
func pick(by []expected, v int16) expected {
	for _, x := range by {
		if x.versions.Has(v) {
			return x
		}
	}
	return expected{}
}

// playedVersion is the version that the case is played at if the request is one of the file's API, and else the highest
// that Kafka serves.
const playedVersion int16 = -1

// condition is "eventually PATH == VALUE"; an empty path stands for "as expected".
type condition struct {
	path  string
	value value
}

type (
	// request sends a request and, unless it only sends, compares the answer.
	request struct {
		at
		conn     string
		key      int16
		version  int16 // or playedVersion
		options  []member
		body     value // nil: defaults
		sendOnly bool
		until    *condition
		expect   expectation
	}
	// receive takes the answer of the oldest request that was only sent.
	receive struct {
		at
		conn   string
		expect expectation
	}
	// frame sends bytes as they are.
	frame struct {
		at
		conn    string
		bytes   value
		as      string // API of the answer; empty: the connection must be closed
		version int16
		expect  expectation
	}
	quiet struct {
		at
		conn string
		wait time.Duration
	}
	closeConn struct {
		at
		conn string
	}
	topic struct {
		at
		name       string
		partitions int32
		configs    []member
	}
	uniqueName struct {
		at
		name string
	}
	groupName struct {
		at
		name  string
		knows value // nil, or a list of topics
	}
	producer struct {
		at
		name string
	}
	let struct {
		at
		name, path string
	}
)
