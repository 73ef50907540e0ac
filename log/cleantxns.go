package log

import (
	"cmp"
	"slices"

	"github.com/kbroker/kbroker/log/record"
)

// cleanTxns tells, for a pass over a log in offset order, which batches belong to aborted transactions, and which
// markers have lost all data of their transaction (rules 3.10.4 and 3.10.6).
type cleanTxns struct {
	ahead   []AbortedTxn         // not begun yet, by first offset
	aborted map[int64]*abortedIn // by producer id: begun, their marker lies ahead
	// committed are the producers of which data was met that is not aborted, and no marker since.
	committed map[int64]struct{}
}

// abortedIn is an aborted transaction that the pass is in.
type abortedIn struct {
	txn  AbortedTxn
	data bool // a batch of it was met
}

func newCleanTxns() *cleanTxns {
	return &cleanTxns{aborted: map[int64]*abortedIn{}, committed: map[int64]struct{}{}}
}

// expect adds transactions that overlap what comes next; those of the last segment may be among them again.
func (t *cleanTxns) expect(txns []AbortedTxn) {
	t.ahead = append(t.ahead, txns...)
	slices.SortFunc(t.ahead, func(a, b AbortedTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
}

// reach begins the transactions that start up to offset.
func (t *cleanTxns) reach(offset int64) {
	n := 0
	for ; n < len(t.ahead) && t.ahead[n].FirstOffset <= offset; n++ {
		if txn := t.ahead[n]; t.aborted[txn.ProducerID] == nil {
			t.aborted[txn.ProducerID] = &abortedIn{txn: txn}
		}
	}
	t.ahead = t.ahead[n:]
}

// data reports whether a batch that is no control batch was aborted.
func (t *cleanTxns) data(b record.Batch) bool {
	t.reach(b.LastOffset())
	if !b.IsTransactional() {
		return false
	}
	if in := t.aborted[b.ProducerID()]; in != nil {
		in.data = true
		return true
	}
	t.committed[b.ProducerID()] = struct{}{}
	return false
}

// control reports whether a control batch is the marker of a transaction without data in the log, and returns the
// transaction that it aborts when there is some. A batch that was emptied before is of no use either; kinds that end no
// transaction are kept (rule 2.3.3).
func (t *cleanTxns) control(b record.Batch) (done bool, txn *AbortedTxn, err error) {
	t.reach(b.LastOffset())
	if b.RecordCount() == 0 {
		return true, nil, nil
	}
	marker, _, err := markerOf(b)
	id := b.ProducerID()
	switch {
	case err != nil || marker == noMarker:
		return false, nil, err
	case marker == commitMarker:
		_, met := t.committed[id]
		delete(t.committed, id)
		return !met, nil, nil
	}
	in := t.aborted[id]
	delete(t.aborted, id)
	if in == nil || !in.data {
		return true, nil, nil
	}
	return false, &in.txn, nil
}
