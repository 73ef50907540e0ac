package assignor

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/kbroker/kbroker/metadata"
)

// id makes a topic's id of its name, which is at most 16 bytes long.
func id(name string) (u metadata.UUID) {
	copy(u[:], name)
	return u
}

func name(u metadata.UUID) string { return strings.TrimRight(string(u[:]), "\x00") }

// TestAssign runs the scripts of testdata/assign. Every script is one group that goes through changes, each of which
// starts from the assignment that the one before gave.
//
//	topics a=3 b=2
//	assign ASSIGNOR
//	m1[@instance]: a b
func TestAssign(t *testing.T) {
	g := &Group{}
	current := map[string]Partitions{}
	datadriven.RunTest(t, "testdata/assign", func(t *testing.T, d *datadriven.TestData) string {
		if d.Cmd == "topics" {
			g.Topics, current = nil, map[string]Partitions{}
			for _, a := range d.CmdArgs {
				var n int32
				fmt.Sscan(a.Vals[0], &n)
				g.Topics = append(g.Topics, Topic{id(a.Key), n})
			}
			slices.SortFunc(g.Topics, func(a, b Topic) int { return compareIDs(a.ID, b.ID) })
			return ""
		}
		g.Members = nil
		for line := range strings.Lines(d.Input) {
			who, what, _ := strings.Cut(line, ":")
			m := Member{}
			m.ID, m.Instance, _ = strings.Cut(who, "@")
			for _, topic := range strings.Fields(what) {
				m.Topics = append(m.Topics, id(topic))
			}
			m.Current = current[m.ID]
			g.Members = append(g.Members, m)
		}
		result := Assign(d.CmdArgs[0].Key, g)
		check(t, d.CmdArgs[0].Key, g, result)
		var b strings.Builder
		for i, m := range g.Members {
			fmt.Fprintf(&b, "%s:", m.ID)
			for _, p := range result[i] {
				fmt.Fprintf(&b, " %s%d", name(p.Topic), p.Index)
			}
			fmt.Fprintln(&b)
			current[m.ID] = result[i]
		}
		return b.String()
	})
}

// check holds for every assignor and every input.
func check(t *testing.T, assignor string, g *Group, result []Partitions) {
	t.Helper()
	owner := map[Partition]int{}
	for m, set := range result {
		if !slices.IsSortedFunc(set, Partition.Compare) {
			t.Fatalf("member %d: not in order: %v", m, set)
		}
		for _, p := range set {
			if other, ok := owner[p]; ok {
				t.Fatalf("%v goes to members %d and %d", p, other, m)
			}
			owner[p] = m
			if !slices.Contains(g.Members[m].Topics, p.Topic) {
				t.Fatalf("%v goes to member %d, which does not subscribe to it", p, m)
			}
		}
	}
	expected := 0
	for _, topic := range g.Topics {
		subscribed := false
		least, most := -1, 0
		for m := range g.Members {
			if !slices.Contains(g.Members[m].Topics, topic.ID) {
				continue
			}
			subscribed = true
			if n := len(result[m]); least < 0 || n < least {
				least = n
			}
			if slices.ContainsFunc(result[m], func(p Partition) bool { return p.Topic == topic.ID }) {
				most = max(most, len(result[m]))
			}
		}
		if subscribed {
			expected += int(topic.Partitions)
		}
		if assignor == Uniform && most > least+1 {
			t.Fatalf("topic %s: an owner has %d partitions, a subscriber has %d", name(topic.ID), most, least)
		}
	}
	if len(owner) != expected {
		t.Fatalf("%d partitions are assigned of %d", len(owner), expected)
	}
}

// random makes a group; alike says whether all members subscribe to the same topics.
func random(r *rand.Rand, alike bool) *Group {
	g := &Group{}
	for i := range r.IntN(6) {
		g.Topics = append(g.Topics, Topic{id(fmt.Sprintf("t%d", i)), r.Int32N(12)})
	}
	for i := range r.IntN(8) {
		m := Member{ID: fmt.Sprintf("m%d", i)}
		if r.IntN(4) == 0 {
			m.Instance = fmt.Sprintf("i%d", i)
		}
		for _, topic := range g.Topics {
			if alike || r.IntN(2) == 0 {
				m.Topics = append(m.Topics, topic.ID)
			}
		}
		g.Members = append(g.Members, m)
	}
	return g
}

// TestRandom walks groups through changes of members and topics.
func TestRandom(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 848))
		alike := seed%2 == 0
		g := random(r, alike)
		for range 6 {
			for _, a := range []string{Range, Uniform} {
				before := map[string]Partitions{}
				for i := range g.Members {
					before[g.Members[i].ID] = g.Members[i].Current
				}
				result := Assign(a, g)
				check(t, a, g, result)
				for i := range g.Members {
					g.Members[i].Current = result[i]
				}
				if again := Assign(a, g); a == Uniform && !slices.EqualFunc(again, result, Partitions.Equal) {
					t.Fatalf("seed %d: not stable: %v, then %v", seed, result, again)
				}
			}
			switch next := random(r, alike); {
			case len(g.Members) > 0 && r.IntN(2) == 0:
				i := r.IntN(len(g.Members))
				g.Members = slices.Delete(g.Members, i, i+1)
			case len(next.Members) > 0 && alike && len(g.Members) > 0:
				m := next.Members[0]
				m.ID, m.Topics = fmt.Sprintf("n%d", r.IntN(100)), g.Members[0].Topics
				if !slices.ContainsFunc(g.Members, func(o Member) bool { return o.ID == m.ID }) {
					m.Instance = ""
					g.Members = append(g.Members, m)
				}
			case len(g.Topics) > 0:
				g.Topics[r.IntN(len(g.Topics))].Partitions = r.Int32N(15)
			}
		}
	}
}

// TestSticky: when members with the same subscription come or go, no partition moves that need not: a newcomer gets its
// quota and nobody else gets anything; when one goes, the others keep what they have.
func TestSticky(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		g := &Group{Topics: []Topic{{id("a"), r.Int32N(50) + 1}, {id("b"), r.Int32N(50)}}}
		topics := []metadata.UUID{id("a"), id("b")}
		for i := range r.IntN(10) + 2 {
			g.Members = append(g.Members, Member{ID: fmt.Sprintf("m%d", i), Topics: topics})
		}
		settle := func() {
			for i, p := range Assign(Uniform, g) {
				g.Members[i].Current = p
			}
		}
		settle()
		g.Members = append(g.Members, Member{ID: "new", Topics: topics})
		result := Assign(Uniform, g)
		for i := range g.Members[:len(g.Members)-1] {
			for _, p := range result[i] {
				if !g.Members[i].Current.Has(p) {
					t.Fatalf("seed %d: %v moved to an old member when one joined", seed, p)
				}
			}
		}
		settle()
		gone := r.IntN(len(g.Members))
		g.Members = slices.Delete(g.Members, gone, gone+1)
		result = Assign(Uniform, g)
		for i, m := range g.Members {
			for _, p := range m.Current {
				if !result[i].Has(p) {
					t.Fatalf("seed %d: %v moved from a member that stayed when one left", seed, p)
				}
			}
		}
	}
}

// FuzzAssign reads a group from bytes: whatever it is, the properties hold and nothing panics.
func FuzzAssign(f *testing.F) {
	f.Add([]byte{2, 3, 4, 2, 3, 1, 7, 0, 0, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		next := func(n int) int {
			if len(b) == 0 || n == 0 {
				return 0
			}
			v := int(b[0]) % n
			b = b[1:]
			return v
		}
		g := &Group{}
		for i := range next(6) {
			var u metadata.UUID
			binary.BigEndian.PutUint32(u[:], uint32(i))
			g.Topics = append(g.Topics, Topic{u, int32(next(20))})
		}
		for i := range next(10) {
			m := Member{ID: fmt.Sprint(i)}
			for _, topic := range g.Topics {
				if next(2) == 1 {
					m.Topics = append(m.Topics, topic.ID)
				}
			}
			for range next(8) {
				var u metadata.UUID
				binary.BigEndian.PutUint32(u[:], uint32(next(8)))
				m.Current = append(m.Current, Partition{u, int32(next(25)) - 2})
			}
			slices.SortFunc(m.Current, Partition.Compare)
			g.Members = append(g.Members, m)
		}
		for _, a := range []string{Uniform, Range} {
			check(t, a, g, Assign(a, g))
		}
	})
}
