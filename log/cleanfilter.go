package log

import (
	"github.com/kbroker/kbroker/log/record"
)

// lastRecord is the last that a log has of a producer that it remembers.
type lastRecord struct {
	offset int64 // last offset of its newest batch, -1: the newest is a marker
	epoch  int16
}

// cleanFilter decides what of a log stays (rules 3.10.4 to 3.10.8). Batches go through it in offset order.
type cleanFilter struct {
	offsets   *offsetMap
	txns      *cleanTxns
	producers map[int64]lastRecord
	sieve     *record.Sieve
	now       int64 // milliseconds since 1970
	horizon   int64 // delete horizon of what is met without its data, or deleted, for the first time
	// last says that the batch is the last of the segments that are cleaned into one. It stays, were it empty, so that
	// a segment reaches up to the next one: recovery of an interrupted swap removes what it covers, and a segment that
	// is missing shows as a gap. Kafka keeps the last batch of the whole pass only, and after a crash may bring back
	// segments whose records were all superseded.
	last    bool
	expired bool // the batch's horizon has passed
	invalid int64
	stay    []bool     // of the records that were seen
	asked   []keyQuery // those of them that are decided by the map; offset is the record's
	places  []int      // in stay, of asked
}

// newCleanFilter makes a filter for one pass.
func newCleanFilter(offsets *offsetMap, sieve *record.Sieve, producers map[int64]lastRecord, now, deleteRetention int64) *cleanFilter {
	f := &cleanFilter{offsets: offsets, txns: newCleanTxns(), producers: producers, sieve: sieve, now: now, horizon: now + deleteRetention}
	if f.horizon < now { // as good as forever
		f.horizon = NoLimit
	}
	return f
}

// See is rule 3.10.4 for one record of a batch that was not aborted, as far as it can be told without looking for its
// key.
func (f *cleanFilter) See(e record.Entry) {
	stays := true
	switch {
	case e.Offset > f.offsets.last: // the map was full before: what lies behind is for the next pass
	case e.Key == nil:
		f.invalid++
		stays = false
	case e.Tombstone && f.expired:
		stays = false
	case f.offsets.fates.cover(e.Offset, e.Offset):
		stays = !f.offsets.fates.superseded.has(e.Offset)
	default:
		f.places = append(f.places, len(f.stay))
		f.asked = append(f.asked, keyQuery{hash: f.offsets.hasher.hash(e.Key), offset: e.Offset})
	}
	f.stay = append(f.stay, stays)
}

// Stay looks for the keys of the others.
func (f *cleanFilter) Stay() []bool {
	f.offsets.fetch(f.asked)
	for i, q := range f.asked {
		f.stay[f.places[i]] = q.offset >= f.offsets.find(q.hash, q.slot).after-1
	}
	stay := f.stay
	f.stay, f.asked, f.places = f.stay[:0], f.asked[:0], f.places[:0]
	return stay
}

// filter appends to dst what stays of b, which is the last of its group if last says so. txn is the aborted transaction that b ends, when some of its data was met:
// the index of the new segment has to have it.
func (f *cleanFilter) filter(dst []byte, b record.Batch, last bool) (out []byte, txn *AbortedTxn, err error) {
	f.last = last
	f.expired = b.HasDeleteHorizon() && b.BaseTimestamp() <= f.now
	if b.IsControl() {
		return f.control(dst, b)
	}
	if f.txns.data(b) { // the records of an aborted transaction
		return f.without(dst, b), nil, nil
	}
	if b.BaseOffset() > f.offsets.last {
		return append(dst, b...), nil, nil
	}
	switch f.offsets.fate(b) {
	case allStay:
		return append(dst, b...), nil, nil
	case noneStay:
		return f.without(dst, b), nil, nil
	}
	found, err := f.sieve.Sift(b, f)
	switch {
	case err != nil:
		return dst, nil, err
	case found.Kept == 0:
		return f.without(dst, b), nil, nil
	case found.Tombstone && !b.HasDeleteHorizon():
		out, err = f.sieve.AppendTo(dst, f.horizon)
	case found.Dropped == 0:
		return append(dst, b...), nil, nil
	default:
		out, err = f.sieve.AppendTo(dst, 0)
	}
	return out, nil, err
}

// control is filter for control batches (rule 3.10.6). They never match keys of data: a marker's key is not unique
// (KAFKA-14055).
func (f *cleanFilter) control(dst []byte, b record.Batch) (out []byte, txn *AbortedTxn, err error) {
	done, txn, err := f.txns.control(b)
	switch {
	case err != nil:
		return dst, nil, err
	case b.RecordCount() == 0 || done && f.expired:
		return f.without(dst, b), nil, nil
	case !done || b.HasDeleteHorizon():
		return append(dst, b...), txn, nil
	}
	if _, err := f.sieve.Sift(b, nil); err != nil {
		return dst, nil, err
	}
	out, err = f.sieve.AppendTo(dst, f.horizon)
	return out, nil, err
}

// without appends the header of b when it has to stay without its records.
func (f *cleanFilter) without(dst []byte, b record.Batch) []byte {
	if !f.staysEmpty(b) {
		return dst
	}
	if b.RecordCount() == 0 {
		return append(dst, b...)
	}
	return record.AppendEmpty(dst, b)
}

// staysEmpty reports whether a batch without records is kept for the offsets, or for what it says of its producer (rule
// 3.10.8).
func (f *cleanFilter) staysEmpty(b record.Batch) bool {
	if f.last {
		return true
	}
	last, ok := f.producers[b.ProducerID()]
	if !ok {
		return false
	}
	if last.offset >= 0 {
		return b.LastOffset() == last.offset
	}
	return b.IsControl() && b.ProducerEpoch() == last.epoch
}
