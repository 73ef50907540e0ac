package log

import (
	"github.com/kbroker/kbroker/log/record"
)

// mapSlotBytes is what a key takes in an offsetMap: its hash and its offset. Kafka's takes as much.
const mapSlotBytes = 24

// mapSlot is a key's place; after is the key's offset + 1, 0 in a free slot.
type mapSlot struct {
	hash  keyHash
	after int64
}

// offsetMap knows the largest offset of each key in the dirty part of a log (rule 3.10.3), in memory of a fixed size.
type offsetMap struct {
	hasher keyHasher
	slots  []mapSlot
	used   int
	room   int        // slots that may be used
	last   int64      // largest offset that was looked at, as of settle
	fates  fates      // of the records that were noted
	wait   []keyQuery // noted, and not in the map before settle
	seen   int64      // everything up to it was noted
	memory []mapSlot  // that slots are of
}

// keyQuery is a key that is looked for with others. To wait for one slot at a time to come from memory takes several times
// as long as to ask for many at once.
type keyQuery struct {
	hash   keyHash
	slot   int
	offset int64
	seen   int64 // of the map when the key was noted
}

// maxQueries is how many keys are looked for at once: more than memory can deliver together, and few enough to stay in
// the processor's nearest cache.
const maxQueries = 64

// reset makes the map fit for the records from first up to end, in at most bytes of memory and filled up to the part load
// of its slots. It takes no more than the records need. Memory that it has is used again.
func (m *offsetMap) reset(bytes int64, load float64, first, end int64) {
	load = min(max(load, 0.1), 0.95) // a full table would be searched to its end for each key that is not in it
	bytes -= m.fates.reset(first, end, bytes/maxFatesShare)
	slots := max(bytes/mapSlotBytes, 2)
	if fit := int64(float64(end-first)/load) + 16; fit < slots {
		slots = fit
	}
	if int64(cap(m.memory)) < slots {
		m.memory = make([]mapSlot, slots)
	}
	m.slots = m.memory[:slots]
	clear(m.slots)
	m.hasher = newKeyHasher()
	m.used, m.room, m.last, m.seen, m.wait = 0, max(int(float64(slots)*load), 1), first-1, first-1, m.wait[:0]
}

// fetch asks for the slots where the searches for keys begin.
func (m *offsetMap) fetch(keys []keyQuery) {
	var any int64
	for i := range keys {
		q := &keys[i]
		q.slot = q.hash.slot(len(m.slots))
		any |= m.slots[q.slot].after
	}
	if any < 0 { // never; the loads must not be left out
		panic("log: an offset below 0 in the map of keys")
	}
}

// find returns the slot of the key with this hash, or the free one where it belongs; the search begins at i.
func (m *offsetMap) find(h keyHash, i int) *mapSlot {
	for {
		if s := &m.slots[i]; s.after == 0 || s.hash == h {
			return s
		}
		if i++; i == len(m.slots) {
			i = 0
		}
	}
}

// note takes a record of the dirty part, whose offset is above those noted before. It reports false when there is no room
// for another key.
func (m *offsetMap) note(e record.Entry) bool {
	if e.Key == nil || e.Tombstone {
		m.fates.special.set(e.Offset)
	}
	if e.Key != nil {
		m.wait = append(m.wait, keyQuery{hash: m.hasher.hash(e.Key), offset: e.Offset, seen: m.seen})
	}
	return len(m.wait) < maxQueries || m.settle()
}

// settle puts what was noted into the map, and reports false when there is no room for one of the keys: then last is below
// its record.
func (m *offsetMap) settle() bool {
	m.fetch(m.wait)
	for i := range m.wait {
		q := &m.wait[i]
		s := m.find(q.hash, q.slot)
		if s.after == 0 {
			if m.used == m.room {
				m.last = max(m.last, q.seen)
				m.wait = m.wait[:0]
				return false
			}
			m.used++
			s.hash = q.hash
		} else {
			m.fates.superseded.set(s.after - 1)
		}
		s.after = q.offset + 1
		m.last = q.offset
	}
	m.wait = m.wait[:0]
	m.last = max(m.last, m.seen)
	return true
}

// fate returns what becomes of a batch, as far as that is known without looking for its keys.
func (m *offsetMap) fate(b record.Batch) fate {
	if b.LastOffset() > m.last || !m.fates.cover(b.BaseOffset(), b.LastOffset()) {
		return mixed
	}
	return m.fates.of(b)
}

// utilization is the used part of the room, between 0 and 1.
func (m *offsetMap) utilization() float64 { return float64(m.used) / float64(m.room) }
