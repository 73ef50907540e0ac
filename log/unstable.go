package log

import "sort"

// unstableTxn is a transaction that holds the last stable offset back: it is open, or its marker is not replicated.
type unstableTxn struct {
	first      int64 // its first offset in this partition
	marker     int64 // offset of its marker, -1 while it is open
	producerID int64
}

// unstableTxns are the unstable transactions of a log in the order of their first offsets (rule 5.8.1). Transactions
// begin at the log's end, so that a new one always goes to the back. There are as many as producers that write
// transactions at one time, which is few: a sorted slice beats a tree.
type unstableTxns struct {
	txns []unstableTxn
	// ended counts those in txns that have a marker.
	ended int
}

// begin adds a transaction that starts at offset first, which is above all others.
func (t *unstableTxns) begin(first, producerID int64) {
	t.txns = append(t.txns, unstableTxn{first: first, marker: -1, producerID: producerID})
}

// find returns the place of the transaction that starts at first, or -1.
func (t *unstableTxns) find(first int64) int {
	i := sort.Search(len(t.txns), func(i int) bool { return t.txns[i].first >= first })
	if i == len(t.txns) || t.txns[i].first != first {
		return -1
	}
	return i
}

// end notes the marker of the transaction that starts at first.
func (t *unstableTxns) end(first, marker int64) {
	if i := t.find(first); i >= 0 && t.txns[i].marker < 0 {
		t.txns[i].marker = marker
		t.ended++
	}
}

// undoBegin removes the transaction that starts at first, the youngest.
func (t *unstableTxns) undoBegin(first int64) {
	if n := len(t.txns); n > 0 && t.txns[n-1].first == first {
		t.txns = t.txns[:n-1]
	}
}

// undoEnd opens the transaction that starts at first again.
func (t *unstableTxns) undoEnd(first int64) {
	if i := t.find(first); i >= 0 && t.txns[i].marker >= 0 {
		t.txns[i].marker = -1
		t.ended--
	}
}

// advance removes the transactions whose marker lies below the high watermark.
func (t *unstableTxns) advance(hw int64) {
	if t.ended == 0 {
		return
	}
	kept := t.txns[:0]
	for _, txn := range t.txns {
		if txn.marker >= 0 && txn.marker < hw {
			t.ended--
			continue
		}
		kept = append(kept, txn)
	}
	t.txns = kept
}

// firstUnstable returns the first offset of the oldest one, and false when there is none.
func (t *unstableTxns) firstUnstable() (int64, bool) {
	if len(t.txns) == 0 {
		return 0, false
	}
	return t.txns[0].first, true
}

// firstOpen returns the first offset of the oldest open one, and false when there is none.
func (t *unstableTxns) firstOpen() (int64, bool) {
	for i := range t.txns {
		if t.txns[i].marker < 0 {
			return t.txns[i].first, true
		}
	}
	return 0, false
}
