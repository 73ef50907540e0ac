package log

import (
	"math/bits"

	"github.com/kbroker/kbroker/log/record"
)

// maxFatesShare is the part of the memory for the map of keys that fates may take, as 1/n. At two bits a record, where a key
// takes 24 bytes, it is too little only for logs with some hundred records of each key, or whose offsets are mostly
// gaps.
const maxFatesShare = 8

// fates is what making the map of keys shows of the records of the dirty part, so that rewriting them asks for no key
// again, and looks into those batches only of which a part stays.
type fates struct {
	superseded bitmap // a record above has the same key
	special    bitmap // a record without a key, or without a value
}

// bitmap has a bit for each offset from first on.
type bitmap struct {
	words []uint64
	first int64
}

// reset makes it fit for offsets from first up to end, or for none when that takes more than most bytes. It returns the
// bytes that it takes.
func (f *fates) reset(first, end, most int64) int64 {
	words := (end - first + 63) / 64
	if 2*8*words > most {
		words = 0
	}
	f.superseded.reset(first, words)
	f.special.reset(first, words)
	return 2 * 8 * words
}

// cover reports whether the fates of offsets from first to last are known, as far as they were noted.
func (f *fates) cover(first, last int64) bool {
	return f.superseded.first <= first && first <= last && last-f.superseded.first < 64*int64(len(f.superseded.words))
}

// fate is what is known of a batch's records.
type fate uint8

const (
	mixed    fate = iota // to be looked at one by one
	allStay              // as they are
	noneStay             // all are superseded
)

// of returns what becomes of a batch whose records were all noted.
func (f *fates) of(b record.Batch) fate {
	first, last := b.BaseOffset(), b.LastOffset()
	switch gone := f.superseded.count(first, last); {
	case gone == int(b.RecordCount()):
		return noneStay
	case gone == 0 && f.special.count(first, last) == 0:
		return allStay
	}
	return mixed
}

func (b *bitmap) reset(first, words int64) {
	b.first = first
	if int64(cap(b.words)) < words {
		b.words = make([]uint64, words)
	}
	b.words = b.words[:words]
	clear(b.words)
}

// set does nothing for a bitmap without room.
func (b *bitmap) set(offset int64) {
	if i := uint64(offset - b.first); i/64 < uint64(len(b.words)) {
		b.words[i/64] |= 1 << (i % 64)
	}
}

func (b *bitmap) has(offset int64) bool {
	i := uint64(offset - b.first)
	return b.words[i/64]>>(i%64)&1 != 0
}

// count returns the number of bits that are set from first to last.
func (b *bitmap) count(first, last int64) int {
	from, to := uint64(first-b.first), uint64(last-b.first)
	low, high := ^uint64(0)<<(from%64), ^uint64(0)>>(63-to%64)
	if from/64 == to/64 {
		return bits.OnesCount64(b.words[from/64] & low & high)
	}
	n := bits.OnesCount64(b.words[from/64]&low) + bits.OnesCount64(b.words[to/64]&high)
	for _, w := range b.words[from/64+1 : to/64] {
		n += bits.OnesCount64(w)
	}
	return n
}
