package log

import (
	"encoding/binary"
	"fmt"

	"github.com/kbroker/kbroker/internal/vfs"
)

const (
	// txnEntryBytes is the size of an entry of the transaction index (rule 3.2.9).
	txnEntryBytes = 34
	// txnEntryVersion is the version in each of them.
	txnEntryVersion = 0
)

// AbortedTxn is a transaction that was aborted: an entry of the transaction index (rule 3.2.9).
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset int64 // of the transaction in this partition
	LastOffset  int64 // offset of the abort marker
	// LastStableOffset is what the log's last stable offset became with the marker, as if it was replicated. Every
	// entry of a transaction that starts below it stands before this one, so a search may stop here.
	LastStableOffset int64
}

// txnIndex lists the transactions whose abort marker lies in one segment, in marker order. It has no file before the
// first.
type txnIndex struct {
	entryFile
	base int64
}

// newTxnIndex makes the index of a segment that is about to be written.
func newTxnIndex(fs vfs.FS, path string, base int64) *txnIndex {
	x := &txnIndex{base: base}
	x.entryFile = entryFile{fs: fs, path: path, width: txnEntryBytes}
	x.verified.Store(true)
	return x
}

// openTxnIndex takes over the index of a segment found on disk; that there is no file means that it is empty. An error
// that wraps ErrCorrupt, from here or from collect, means that the index has to be rebuilt from the log: with an entry
// missing, aborted records would be served as committed (rule 3.2.7).
func openTxnIndex(fs vfs.FS, path string, base int64) (*txnIndex, error) {
	x := newTxnIndex(fs, path, base)
	x.check = x.checkEntry
	err := x.open()
	if isNotExist(err) {
		return x, nil
	}
	x.verified.Store(x.written == 0 && err == nil)
	return x, err
}

func (x *txnIndex) checkEntry(prev, entry []byte) error {
	version, t := binary.BigEndian.Uint16(entry), decodeAbortedTxn(entry)
	switch {
	case version != txnEntryVersion:
		return fmt.Errorf("version %d is not %d: %w", version, txnEntryVersion, ErrCorrupt)
	case t.ProducerID < 0 || t.FirstOffset < 0 || t.FirstOffset > t.LastOffset || t.LastOffset < x.base:
		return fmt.Errorf("producer %d, offsets %d to %d in segment %d make no sense: %w",
			t.ProducerID, t.FirstOffset, t.LastOffset, x.base, ErrCorrupt)
	case prev != nil && t.LastOffset <= decodeAbortedTxn(prev).LastOffset:
		return fmt.Errorf("marker offset %d does not follow %d: %w", t.LastOffset, decodeAbortedTxn(prev).LastOffset, ErrCorrupt)
	}
	return nil
}

// append adds a transaction whose marker follows those of all entries.
func (x *txnIndex) append(t AbortedTxn) {
	var e [txnEntryBytes]byte
	x.entryFile.append(appendAbortedTxn(e[:0], t))
}

// flush writes what is in memory; an empty index makes no file.
func (x *txnIndex) flush() error {
	if x.count() == 0 {
		return nil
	}
	return x.entryFile.flush()
}

// seal is flush, and gives the memory back.
func (x *txnIndex) seal() error {
	if x.count() == 0 {
		return nil
	}
	return x.entryFile.seal()
}

// reset empties the index so that it can be rebuilt.
func (x *txnIndex) reset() error {
	if _, err := x.fs.Stat(x.path); isNotExist(err) {
		x.mu.Lock()
		x.written, x.tail = 0, x.tail[:0]
		x.mu.Unlock()
		x.verified.Store(true)
		return nil
	}
	return x.entryFile.reset()
}

// collect appends to dst the transactions that overlap the offsets [from, upper), in marker order. done says that
// later segments hold no more of them (rule 3.2.9); otherwise the search goes on there.
func (x *txnIndex) collect(dst []AbortedTxn, from, upper int64) (txns []AbortedTxn, done bool, err error) {
	if x.count() == 0 { // the rule: nothing is allocated
		return dst, false, nil
	}
	if err := x.verify(); err != nil {
		return dst, false, err
	}
	var e [txnEntryBytes]byte
	before, err := x.floor(func(e []byte) bool { return decodeAbortedTxn(e).LastOffset < from }, e[:])
	if err != nil {
		return dst, false, err
	}
	err = x.scan(before+1, func(_ int64, e []byte) error {
		t := decodeAbortedTxn(e)
		if t.FirstOffset < upper {
			dst = append(dst, t)
		}
		if t.LastStableOffset >= upper {
			done = true
			return errStop
		}
		return nil
	})
	if err == errStop {
		err = nil
	}
	return dst, done, err
}

// truncateTo removes the entries whose marker offset is ≥ offset (rule 3.8.4).
func (x *txnIndex) truncateTo(offset int64) error {
	var e [txnEntryBytes]byte
	i, err := x.floor(func(e []byte) bool { return decodeAbortedTxn(e).LastOffset < offset }, e[:])
	if err != nil {
		return err
	}
	return x.truncate(i + 1)
}

func appendAbortedTxn(b []byte, t AbortedTxn) []byte {
	b = binary.BigEndian.AppendUint16(b, txnEntryVersion)
	for _, v := range [...]int64{t.ProducerID, t.FirstOffset, t.LastOffset, t.LastStableOffset} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return b
}

func decodeAbortedTxn(b []byte) AbortedTxn {
	return AbortedTxn{ProducerID: int64At(b, 2), FirstOffset: int64At(b, 10), LastOffset: int64At(b, 18), LastStableOffset: int64At(b, 26)}
}
