package assignor

import (
	"bytes"
	"slices"

	"github.com/kbroker/kbroker/metadata"
)

// assignAlike divides the partitions of members that all subscribe to the same topics: everyone gets the quota, which
// is the mean rounded down or up, and keeps as much of what it had as the quota allows.
func (s *solver) assignAlike() {
	wanted := make([]bool, len(s.g.Topics))
	total := 0
	for _, id := range s.g.Members[0].Topics {
		if t, ok := s.topic(id); ok && !wanted[t] {
			wanted[t] = true
			total += int(s.g.Topics[t].Partitions)
		}
	}
	least, more := total/len(s.g.Members), total%len(s.g.Members)
	for _, m := range s.order {
		for _, p := range s.g.Members[m].Current {
			t, n, ok := s.number(p)
			if !ok || !wanted[t] || s.owner[n] != nobody {
				continue
			}
			if s.load[m] == least {
				if more == 0 {
					break
				}
				more--
			}
			s.give(n, m)
			if s.load[m] > least {
				break
			}
		}
	}
	s.fill(wanted, least, more)
}

// fill gives what nobody owns to the members below their quota, in order.
func (s *solver) fill(wanted []bool, least, more int) {
	next := 0 // place in s.order of the member that is being filled
	room := func() int {
		for ; ; next++ {
			m := s.order[next]
			switch {
			case s.load[m] < least:
				return m
			case s.load[m] == least && more > 0:
				more--
				return m
			}
		}
	}
	for t, w := range wanted {
		if !w {
			continue
		}
		for n := s.first[t]; n < s.first[t+1]; n++ {
			if s.owner[n] == nobody {
				s.give(n, room())
			}
		}
	}
}

// assignUnlike divides partitions among members with different subscriptions. Everyone keeps what it may keep, the rest
// goes to whoever of the topic's subscribers has least, and then partitions move while that makes a pair of loads more
// equal. In the end no single move can: of any two subscribers of a topic, the one that owns a partition of it has at
// most one partition more than the other.
func (s *solver) assignUnlike() {
	subs := s.subscribers()
	for _, m := range s.order {
		topics := s.g.Members[m].Topics
		for _, p := range s.g.Members[m].Current {
			_, n, ok := s.number(p)
			if _, subscribed := slices.BinarySearchFunc(topics, p.Topic, compareIDs); ok && subscribed && s.owner[n] == nobody {
				s.give(n, m)
			}
		}
	}
	for t, members := range subs {
		if len(members) > 0 {
			s.place(t, members)
		}
	}
	// Every move lowers the sum of the loads' squares, which is a whole number: the loop ends.
	for moved := true; moved; {
		moved = false
		for t, members := range subs {
			if len(members) > 1 && s.level(t, members) {
				moved = true
			}
		}
	}
}

// place gives the unowned partitions of a topic to its subscribers, each to the one with the least load.
func (s *solver) place(topic int, members []int) {
	h := s.lightest(members)
	for n := s.first[topic]; n < s.first[topic+1]; n++ {
		if s.owner[n] == nobody {
			s.give(n, h.members[0])
			h.down(0)
		}
	}
}

// level moves partitions of a topic from the subscribers that have most to those that have least, while the difference
// is more than one.
func (s *solver) level(topic int, members []int) (moved bool) {
	h := s.lightest(members)
	for n := s.first[topic]; n < s.first[topic+1]; n++ {
		// The owner may give more than one, to different members: each step looks for the lightest again. One pass need
		// not be enough, since a partition that was passed may become movable; the caller repeats until nothing moves.
		from, to := s.owner[n], h.members[0]
		if s.load[from]-s.load[to] <= 1 {
			continue
		}
		s.give(n, to)
		h.init() // two loads changed, one of them somewhere in the middle
		moved = true
	}
	return moved
}

// loads is a heap of members, that with the least load first, ties by their order.
type loads struct {
	s       *solver
	members []int
	rank    map[int]int // place in the solver's order
}

func (s *solver) lightest(members []int) *loads {
	h := &loads{s: s, members: append([]int(nil), members...), rank: make(map[int]int, len(members))}
	for i, m := range members {
		h.rank[m] = i
	}
	h.init()
	return h
}

func (h *loads) init() {
	for i := len(h.members)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

func (h *loads) less(i, j int) bool {
	a, b := h.members[i], h.members[j]
	if h.s.load[a] != h.s.load[b] {
		return h.s.load[a] < h.s.load[b]
	}
	return h.rank[a] < h.rank[b]
}

// down restores the order below i, whose load has grown.
func (h *loads) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.members) {
			return
		}
		if child+1 < len(h.members) && h.less(child+1, child) {
			child++
		}
		if !h.less(child, i) {
			return
		}
		h.members[i], h.members[child] = h.members[child], h.members[i]
		i = child
	}
}

func compareIDs(a, b metadata.UUID) int { return bytes.Compare(a[:], b[:]) }
