package log

import (
	"encoding/binary"
	"fmt"

	"github.com/kbroker/kbroker/log/record"
)

// Types of control records that end a transaction (rule 2.3.1).
const (
	controlAbort  = 0
	controlCommit = 1
)

// parseMarker reads what a control batch says of a transaction: the key and value of its one record (rules 2.3.1 and
// 2.3.2). Unknown types are kept and mean nothing here (rule 2.3.3). Markers are never compressed (rule 2.5.5); the
// error, which wraps ErrCorrupt, is for bytes that no coordinator writes.
func parseMarker(b record.Batch) (markerType, int32, error) {
	if b.Codec() != record.None || b.RecordCount() == 0 { // compaction leaves empty control batches
		return noMarker, -1, nil
	}
	p := b.Payload()
	p = skipVarint(p)                    // length of the record
	p = p[min(1, len(p)):]               // attributes
	p = skipVarint(skipVarint(p))        // deltas of timestamp and offset
	key, p, okKey := cutVarintBytes(p)   // int16 version, int16 type
	value, _, okVal := cutVarintBytes(p) // int16 version, int32 coordinator epoch
	if !okKey || len(key) < 4 {
		return noMarker, -1, fmt.Errorf("control batch at offset %d has no key: %w", b.BaseOffset(), ErrCorrupt)
	}
	var marker markerType
	switch binary.BigEndian.Uint16(key[2:]) {
	case controlAbort:
		marker = abortMarker
	case controlCommit:
		marker = commitMarker
	default:
		return noMarker, -1, nil
	}
	if !okVal || len(value) < 6 {
		return noMarker, -1, fmt.Errorf("transaction marker at offset %d has no coordinator epoch: %w", b.BaseOffset(), ErrCorrupt)
	}
	return marker, int32At(value, 2), nil
}

func skipVarint(p []byte) []byte {
	_, n := binary.Varint(p)
	return p[min(max(n, 0), len(p)):]
}

// cutVarintBytes splits bytes preceded by their length off p; false when there are none.
func cutVarintBytes(p []byte) (b, rest []byte, ok bool) {
	size, n := binary.Varint(p)
	if n <= 0 || size < 0 || size > int64(len(p)-n) {
		return nil, nil, false
	}
	return p[n : n+int(size)], p[n+int(size):], true
}
