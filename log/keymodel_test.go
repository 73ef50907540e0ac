package log

import "slices"

// keyModel knows what a compacted log has to show, and what a power cut may still take from it.
type keyModel struct {
	view    map[string]int     // committed and known to be durable
	newest  map[string]int64   // offset of what view says of a key
	pending map[int64][]change // of open transactions, by producer id
	journal []journalEntry     // what a power cut may take
}

func newKeyModel() keyModel {
	return keyModel{view: map[string]int{}, newest: map[string]int64{}, pending: map[int64][]change{}}
}

// change is a record: value 0 is a tombstone.
type change struct {
	offset int64
	key    string
	value  int
}

// journalEntry is a batch or a marker in the log.
type journalEntry struct {
	last    int64 // offset
	pid     int64
	txn     bool
	changes []change
	marker  bool
	commit  bool
}

// settle takes what lies below end into the model; what does not was lost with the power.
func (m *keyModel) settle(end int64) {
	for _, e := range m.journal {
		switch {
		case e.last >= end:
		case e.marker:
			if e.commit {
				m.apply(m.pending[e.pid])
			}
			delete(m.pending, e.pid)
		case e.txn:
			m.pending[e.pid] = append(m.pending[e.pid], e.changes...)
		default:
			m.apply(e.changes)
		}
	}
	m.journal = m.journal[:0]
}

func (m *keyModel) apply(changes []change) {
	for _, c := range changes {
		if c.offset < m.newest[c.key] { // of a transaction that was committed when something newer was there
			continue
		}
		m.newest[c.key] = c.offset
		if c.value == 0 {
			delete(m.view, c.key)
		} else {
			m.view[c.key] = c.value
		}
	}
}

// inTxn returns what the producer's open transaction has, nothing when there is none.
func (m *keyModel) inTxn(pid int64) (open []change) {
	open = slices.Clone(m.pending[pid])
	for _, e := range m.journal {
		if e.pid == pid && e.txn {
			open = append(open, e.changes...)
		} else if e.pid == pid && e.marker {
			open = open[:0]
		}
	}
	return open
}
