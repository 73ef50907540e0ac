package log

// insert adds an entry for a producer that is not known, not in the idle list yet, and returns its place.
func (s *producerState) insert(id int64, epoch int16) int32 {
	i := s.free
	if i >= 0 {
		s.free = s.entries[i].next
	} else {
		i = int32(len(s.entries))
		s.entries = append(s.entries, producerEntry{})
	}
	s.entries[i] = producerEntry{id: id, epoch: epoch, txnFirstOffset: -1, coordinatorEpoch: -1, prev: -1, next: -1}
	s.index[id] = i
	return i
}

// remove forgets a producer.
func (s *producerState) remove(id int64) {
	i, ok := s.index[id]
	if !ok {
		return
	}
	s.unlink(i)
	delete(s.index, id)
	s.entries[i] = producerEntry{id: -1, txnFirstOffset: -1, next: s.free}
	s.free = i
}

// link puts the entry at place i into the list of idle producers, which is ordered by when they were seen, unless it
// has an open transaction. It looks from the young end, where nearly all belong; only undo puts one further back.
func (s *producerState) link(i int32) {
	e := &s.entries[i]
	e.prev, e.next = -1, -1
	if e.txnFirstOffset >= 0 {
		return
	}
	prev, next := s.youngest, int32(-1)
	for prev >= 0 && s.entries[prev].seen > e.seen {
		prev, next = s.entries[prev].prev, prev
	}
	e.prev, e.next = prev, next
	if prev >= 0 {
		s.entries[prev].next = i
	} else {
		s.oldest = i
	}
	if next >= 0 {
		s.entries[next].prev = i
	} else {
		s.youngest = i
	}
}

// unlink takes the entry at place i out of the list of idle producers if it is there.
func (s *producerState) unlink(i int32) {
	e := &s.entries[i]
	if e.txnFirstOffset >= 0 {
		return
	}
	if e.prev >= 0 {
		s.entries[e.prev].next = e.next
	} else {
		s.oldest = e.next
	}
	if e.next >= 0 {
		s.entries[e.next].prev = e.prev
	} else {
		s.youngest = e.prev
	}
	e.prev, e.next = -1, -1
}

// evict forgets the producers that have been idle longest while there are too many, but never the one at place keep.
func (s *producerState) evict(keep int32) {
	for len(s.index) > s.cfg.MaxProducers && s.oldest >= 0 && s.oldest != keep {
		s.remove(s.entries[s.oldest].id)
	}
}

// shrink gives memory back when three of four places are free.
func (s *producerState) shrink() {
	if len(s.entries) < 64 || len(s.index) > len(s.entries)/4 {
		return
	}
	old, places, oldest := s.entries, s.index, s.oldest
	s.entries = make([]producerEntry, 0, len(places))
	s.index = make(map[int64]int32, len(places))
	s.free, s.oldest, s.youngest = -1, -1, -1
	move := func(e producerEntry) {
		i := int32(len(s.entries))
		s.entries = append(s.entries, e)
		s.index[e.id] = i
		s.link(i)
	}
	for i := oldest; i >= 0; i = old[i].next {
		move(old[i])
	}
	for _, i := range places {
		if old[i].txnFirstOffset >= 0 {
			move(old[i])
		}
	}
}
