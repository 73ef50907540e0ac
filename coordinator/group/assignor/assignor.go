// Package assignor divides the partitions of topics among the members of a KIP-848 group (rule 8.7.6). It is pure: the
// same input gives the same result, on every broker and after every restart.
//
// Whatever the assignor, every partition of a subscribed topic goes to exactly one member, and to one that subscribes
// to its topic.
package assignor

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/kbroker/kbroker/metadata"
)

// Names of the assignors, as clients and group.consumer.assignors spell them.
const (
	Uniform = "uniform"
	Range   = "range"
)

// Partition is one partition of a topic.
type Partition struct {
	Topic metadata.UUID
	Index int32
}

// Compare orders partitions by topic id, then by number.
func (p Partition) Compare(o Partition) int {
	return cmp.Or(bytes.Compare(p.Topic[:], o.Topic[:]), cmp.Compare(p.Index, o.Index))
}

// Partitions is a set of partitions in ascending order.
type Partitions []Partition

// Has reports whether p is in the set.
func (s Partitions) Has(p Partition) bool {
	_, ok := slices.BinarySearchFunc(s, p, Partition.Compare)
	return ok
}

// Equal reports whether two sets hold the same partitions.
func (s Partitions) Equal(o Partitions) bool { return slices.Equal(s, o) }

// Topic is a topic with partitions 0 to Partitions-1.
type Topic struct {
	ID         metadata.UUID
	Partitions int32
}

// Member is one member of the group.
type Member struct {
	ID       string
	Instance string // of a static member, else empty
	// Topics are the ids of the topics that it subscribes to, in ascending order. Members with the same subscription may
	// share the slice, and are told to be alike without a comparison if they do.
	Topics []metadata.UUID
	// Current is what the member was to have until now.
	Current Partitions
}

// Group is what an assignor is given. Topics are in ascending order of their ids; what members subscribe to beyond them
// does not exist.
type Group struct {
	Topics  []Topic
	Members []Member
}

// Assign returns the partitions of each member, in the order of g.Members. The name is Uniform or Range.
func Assign(name string, g *Group) []Partitions {
	s := newSolver(g)
	switch {
	case len(g.Members) == 0:
	case name == Range:
		s.assignRange()
	case s.alike():
		s.assignAlike()
	default:
		s.assignUnlike()
	}
	return s.result()
}

// nobody owns a partition that is not assigned yet.
const nobody = -1

// solver numbers the partitions of all topics consecutively, so that its tables are arrays.
type solver struct {
	g *Group
	// order has the members as assignors look at them: static ones first, by instance id, then by member id. A static
	// member that comes back under a new member id keeps its place by that.
	order []int
	first []int // number of each topic's partition 0; one more entry at the end
	owner []int // member by partition number
	load  []int // partitions by member
	last  int   // topic that was looked up last
}

func newSolver(g *Group) *solver {
	s := &solver{g: g, order: make([]int, len(g.Members)), first: make([]int, len(g.Topics)+1), load: make([]int, len(g.Members))}
	for i := range s.order {
		s.order[i] = i
	}
	slices.SortFunc(s.order, func(a, b int) int { return compareMembers(&g.Members[a], &g.Members[b]) })
	for i, t := range g.Topics {
		s.first[i+1] = s.first[i] + int(t.Partitions)
	}
	s.owner = slices.Repeat([]int{nobody}, s.first[len(g.Topics)])
	return s
}

func compareMembers(a, b *Member) int {
	switch {
	case a.Instance != "" && b.Instance != "":
		return strings.Compare(a.Instance, b.Instance)
	case a.Instance != "":
		return -1
	case b.Instance != "":
		return 1
	}
	return strings.Compare(a.ID, b.ID)
}

// topic returns the place of a topic in g.Topics.
func (s *solver) topic(id metadata.UUID) (int, bool) {
	if s.last < len(s.g.Topics) && s.g.Topics[s.last].ID == id { // a member's partitions are in the order of their topics
		return s.last, true
	}
	at, ok := slices.BinarySearchFunc(s.g.Topics, id, func(t Topic, id metadata.UUID) int { return bytes.Compare(t.ID[:], id[:]) })
	if ok {
		s.last = at
	}
	return at, ok
}

// number returns the number of a partition, false when there is no such partition.
func (s *solver) number(p Partition) (topic, n int, ok bool) {
	t, ok := s.topic(p.Topic)
	if !ok || p.Index < 0 || p.Index >= s.g.Topics[t].Partitions {
		return 0, 0, false
	}
	return t, s.first[t] + int(p.Index), true
}

// give makes a member the owner of a partition.
func (s *solver) give(n, member int) {
	if old := s.owner[n]; old != nobody {
		s.load[old]--
	}
	s.owner[n] = member
	s.load[member]++
}

// subscribers returns the members of each topic, in the solver's order.
func (s *solver) subscribers() [][]int {
	subs := make([][]int, len(s.g.Topics))
	for _, m := range s.order {
		for _, id := range s.g.Members[m].Topics {
			if t, ok := s.topic(id); ok {
				subs[t] = append(subs[t], m)
			}
		}
	}
	return subs
}

// alike reports whether all members subscribe to the same topics.
func (s *solver) alike() bool {
	want := s.g.Members[0].Topics
	for i := range s.g.Members {
		got := s.g.Members[i].Topics
		if len(got) != len(want) || len(got) > 0 && &got[0] != &want[0] && !slices.Equal(got, want) {
			return false
		}
	}
	return true
}

// result collects what each member owns. Those who keep what they had keep the slice too.
func (s *solver) result() []Partitions {
	out := make([]Partitions, len(s.g.Members))
	kept := make([]bool, len(out))
	for m, n := range s.load {
		if kept[m] = s.keeps(m); kept[m] {
			out[m] = s.g.Members[m].Current
		} else {
			out[m] = make(Partitions, 0, n)
		}
	}
	for t, topic := range s.g.Topics {
		for i := range topic.Partitions {
			if m := s.owner[s.first[t]+int(i)]; m != nobody && !kept[m] {
				out[m] = append(out[m], Partition{topic.ID, i})
			}
		}
	}
	return out
}

// keeps reports whether a member owns what it had, and nothing else.
func (s *solver) keeps(m int) bool {
	current := s.g.Members[m].Current
	return len(current) == s.load[m] && !slices.ContainsFunc(current, func(p Partition) bool {
		_, n, ok := s.number(p)
		return !ok || s.owner[n] != m
	})
}

// assignRange gives each subscriber of a topic one run of its partitions. Topics with the same subscribers and as many
// partitions are divided alike, so that a member has the same numbers of all of them (co-partitioning).
func (s *solver) assignRange() {
	for t, members := range s.subscribers() {
		if len(members) == 0 {
			continue
		}
		total := int(s.g.Topics[t].Partitions)
		least, more := total/len(members), total%len(members)
		n := s.first[t]
		for i, m := range members {
			run := least
			if i < more {
				run++
			}
			for range run {
				s.give(n, m)
				n++
			}
		}
	}
}
