package log

import "math"

// noTimestamp stands for a timestamp that is not known or not there.
const noTimestamp int64 = -1

// unreadTimestamp is the firstTimestamp of a segment whose first batch was not looked at yet.
const unreadTimestamp int64 = -2

// tail is where the next batch of a log goes: the end of the active segment. A log has two, with what is staged and with what
// is written; both come from the same batches by add, so that taking a failed write back is an assignment.
type tail struct {
	next int64 // offset of the next record
	base int64 // of the active segment
	size int64 // bytes in it

	// Of the active segment's indexes: bytes since the last entry, entries, and the time index's last timestamp.
	unindexed   int64
	entries     int64
	timeEntries int64
	timeIndexed int64

	maxTimestamp   int64 // largest in the segment, noTimestamp: none
	maxTimestampAt int64 // last offset of the batch that has it
	firstTimestamp int64 // largest timestamp of the first batch, from which the segment's age counts (rule 3.4.1b)
	created        int64 // broker time in ms
}

// newTail is the tail of an empty segment.
func newTail(base, now int64) tail {
	return tail{
		next: base, base: base, timeIndexed: noTimestamp,
		maxTimestamp: noTimestamp, maxTimestampAt: base, firstTimestamp: noTimestamp, created: now,
	}
}

// add advances the tail by a batch, and reports whether it gets index entries (rule 3.2.3): they hold the batch's last
// offset with the position where it starts, and the largest timestamp so far.
func (t *tail) add(size, lastOffset, maxTimestamp, interval int64) (indexed bool) {
	if t.size == 0 {
		t.firstTimestamp = maxTimestamp
	}
	if maxTimestamp > t.maxTimestamp {
		t.maxTimestamp, t.maxTimestampAt = maxTimestamp, lastOffset
	}
	if indexed = t.unindexed > interval; indexed {
		t.entries++
		t.unindexed = 0
		if t.maxTimestamp > t.timeIndexed {
			t.timeEntries++
			t.timeIndexed = t.maxTimestamp
		}
	}
	t.unindexed += size
	t.size += size
	t.next = lastOffset + 1
	return indexed
}

// mustRoll reports whether the segment has to end before a batch of size bytes that ends at lastOffset (rule 3.4.1).
// jitter is the segment's, in ms.
func (t *tail) mustRoll(cfg *Config, size, lastOffset, maxTimestamp, now, jitter int64) bool {
	if lastOffset-t.base > math.MaxInt32 {
		return true
	}
	if t.size == 0 {
		return false
	}
	return t.size > int64(cfg.SegmentBytes)-size ||
		t.entries >= int64(cfg.SegmentIndexBytes)/offsetEntryBytes ||
		t.timeEntries >= int64(cfg.SegmentIndexBytes)/timeEntryBytes-1 ||
		t.age(maxTimestamp, now) > cfg.rollMs()-jitter
}

// age returns the segment's age in ms as rule 3.4.1b counts it.
func (t *tail) age(maxTimestamp, now int64) int64 {
	if maxTimestamp >= 0 && t.firstTimestamp >= 0 {
		return maxTimestamp - t.firstTimestamp
	}
	return now - t.created
}

// end returns the tail as a Position.
func (t *tail) end() Position { return Position{Offset: t.next, SegmentBase: t.base, Bytes: t.size} }

// recentSize is how many batches a log remembers with their place: those in flight between producers, the Committer and
// consumers, so that reading at the tail needs no look at the disk. 128 entries are 3 KiB per log that is written to.
const recentSize = 128

// recentBatches is a ring of the newest batches of the active segment, oldest first. It has no memory before the first.
type recentBatches struct {
	ring []recentBatch
	n    int // batches added since reset
}

type recentBatch struct {
	base, last int64 // offsets
	position   int64 // in bytes from the start of the segment
}

func (r *recentBatches) add(base, last, position int64) {
	if r.ring == nil {
		r.ring = make([]recentBatch, recentSize)
	}
	r.ring[r.n%recentSize] = recentBatch{base, last, position}
	r.n++
}

func (r *recentBatches) reset() { r.n = 0 }

// at returns entry i of those in the ring, counted from the oldest.
func (r *recentBatches) at(i int) *recentBatch {
	return &r.ring[(max(r.n-recentSize, 0)+i)%recentSize]
}

// find returns the first batch that ends at or above offset and the position after it, which is end for the newest, and
// false when the batch may be older than the ring.
func (r *recentBatches) find(offset, end int64) (b recentBatch, next int64, ok bool) {
	n := min(r.n, recentSize)
	if n == 0 || offset < r.at(0).base {
		return recentBatch{}, 0, false
	}
	lo, hi := 0, n // the first one with last ≥ offset lies in [lo, hi]
	for lo < hi {
		mid := (lo + hi) / 2
		if r.at(mid).last < offset {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == n {
		return recentBatch{}, 0, false
	}
	if next = end; lo+1 < n {
		next = r.at(lo + 1).position
	}
	return *r.at(lo), next, true
}
