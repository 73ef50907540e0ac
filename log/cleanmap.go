package log

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
)

// mapSlotBytes is what a key takes in an offsetMap: its hash and its offset. Kafka's takes as much.
const mapSlotBytes = 24

// mapSlot is a key's place; after is the key's offset + 1, 0 in a free slot.
type mapSlot struct {
	hash  [2]uint64
	after int64
}

// offsetMap knows the largest offset of each key in the dirty part of a log (rule 3.10.3), in memory of a fixed size.
//
// Keys are represented by 128 bits that AES makes of them, chained over blocks (CBC-MAC), under a random key that is
// never told: two keys of a topic are one with a probability of 2^-128 per pair, and nobody can choose keys for which it
// is more. (Kafka's MD5 lets anybody do that, and costs four times as much; 64 bits of a quicker hash would lose a record
// of a large topic each few years.)
type offsetMap struct {
	block cipher.Block
	slots []mapSlot
	used  int
	room  int   // slots that may be used
	last  int64 // largest offset that was noted, -1: none
	in    [aes.BlockSize]byte
	out   [aes.BlockSize]byte
}

// newOffsetMap makes a map in at most bytes of memory, filled up to the part load of its slots. It takes no more than
// records need.
func newOffsetMap(bytes int64, load float64, records int64) *offsetMap {
	var secret [32]byte
	rand.Read(secret[:])
	block, err := aes.NewCipher(secret[:16])
	if err != nil {
		panic("log: " + err.Error()) // only for keys of another length
	}
	load = min(max(load, 0.1), 0.95) // a full table would be searched to its end for each key that is not in it
	slots := max(bytes/mapSlotBytes, 2)
	if fit := int64(float64(records)/load) + 16; fit < slots {
		slots = fit
	}
	return &offsetMap{block: block, slots: make([]mapSlot, slots), room: max(int(float64(slots)*load), 1), last: -1}
}

// hash returns what represents the key. The length stands in the first block, so that no key is the beginning of another.
func (m *offsetMap) hash(key []byte) [2]uint64 {
	clear(m.in[:])
	binary.BigEndian.PutUint32(m.in[:], uint32(len(key)))
	n := copy(m.in[4:], key)
	m.block.Encrypt(m.out[:], m.in[:])
	for key = key[n:]; len(key) > 0; key = key[n:] {
		n = min(len(key), aes.BlockSize)
		subtle.XORBytes(m.out[:n], m.out[:n], key[:n])
		m.block.Encrypt(m.out[:], m.out[:])
	}
	return [2]uint64{binary.LittleEndian.Uint64(m.out[:8]), binary.LittleEndian.Uint64(m.out[8:])}
}

// find returns the slot of the key with hash h, or the free one where it belongs.
func (m *offsetMap) find(h [2]uint64) *mapSlot {
	for i := h[0] % uint64(len(m.slots)); ; {
		if s := &m.slots[i]; s.after == 0 || s.hash == h {
			return s
		}
		if i++; i == uint64(len(m.slots)) {
			i = 0
		}
	}
}

// put notes the key at offset, which is above those noted before, and reports false when there is no room for another
// key.
func (m *offsetMap) put(key []byte, offset int64) bool {
	h := m.hash(key)
	s := m.find(h)
	if s.after == 0 {
		if m.used == m.room {
			return false
		}
		m.used++
		s.hash = h
	}
	s.after = offset + 1
	m.last = offset
	return true
}

// get returns the largest offset noted for the key, -1 when there is none.
func (m *offsetMap) get(key []byte) int64 { return m.find(m.hash(key)).after - 1 }

// seen notes that everything up to offset was looked at.
func (m *offsetMap) seen(offset int64) { m.last = max(m.last, offset) }

// utilization is the used part of the room, between 0 and 1.
func (m *offsetMap) utilization() float64 { return float64(m.used) / float64(m.room) }
