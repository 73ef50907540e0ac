package record

import (
	"encoding/binary"
	"fmt"
)

// ControlType is the kind of a control record: the second int16 of its key, behind a version (rule 2.3.1). Readers keep
// and skip kinds they do not know (rule 2.3.3).
type ControlType int16

// The control records of Kafka. The partitions of a broker have the first two; the others are KRaft's.
const (
	ControlAbort          ControlType = 0
	ControlCommit         ControlType = 1
	ControlLeaderChange   ControlType = 2
	ControlSnapshotHeader ControlType = 3
	ControlSnapshotFooter ControlType = 4
	ControlKRaftVersion   ControlType = 5
	ControlKRaftVoters    ControlType = 6
)

var controlNames = [...]string{"ABORT", "COMMIT", "LEADER_CHANGE", "SNAPSHOT_HEADER", "SNAPSHOT_FOOTER",
	"KRAFT_VERSION", "KRAFT_VOTERS"}

// String returns Kafka's name of the type.
func (t ControlType) String() string {
	if t >= 0 && int(t) < len(controlNames) {
		return controlNames[t]
	}
	return fmt.Sprintf("control type %d", int16(t))
}

// EndTxnMarker is the control batch that ends a transaction on a partition (rule 2.3.2). It occupies one offset.
type EndTxnMarker struct {
	Commit           bool // else abort
	ProducerID       int64
	ProducerEpoch    int16
	CoordinatorEpoch int32
	Timestamp        int64 // of the marker's record, milliseconds since 1970
}

// AppendEndTxnMarker appends the marker's batch to dst, with base offset 0 and CreateTime. Validate with
// OriginCoordinator stamps it on a topic with LogAppendTime.
func AppendEndTxnMarker(dst []byte, m EndTxnMarker) []byte {
	kind := ControlAbort
	if m.Commit {
		kind = ControlCommit
	}
	key := [4]byte{3: byte(kind)} // version 0, type
	var value [6]byte             // version 0, coordinator epoch
	binary.BigEndian.PutUint32(value[2:], uint32(m.CoordinatorEpoch))
	b := NewBuilder(nil, BuilderOptions{
		Producer:      &Producer{ID: m.ProducerID, Epoch: m.ProducerEpoch, BaseSequence: NoSequence},
		Transactional: true,
		Control:       true,
	})
	b.Append(Record{Timestamp: m.Timestamp, Key: key[:], Value: value[:]})
	return b.appendPlain(dst)
}

// Control returns the type and the value of a control batch's first record; Control batches of this broker have no
// other. The value's layout depends on the type and is left to the caller. It is an error when b is no control batch, or
// none that can be read.
func (b Batch) Control() (ControlType, []byte, error) {
	if !b.IsControl() || b.Codec() != None || b.RecordCount() < 1 {
		return 0, nil, fmt.Errorf("the batch at offset %d is no readable control batch: attributes %#04x, %d records",
			b.BaseOffset(), uint16(b.Attributes()), b.RecordCount())
	}
	for rec, err := range b.Records(nil) {
		if err != nil {
			return 0, nil, fmt.Errorf("control batch at offset %d: %w", b.BaseOffset(), err)
		}
		if len(rec.Key) < 4 {
			return 0, nil, fmt.Errorf("control batch at offset %d: a key of %d bytes, want at least 4", b.BaseOffset(), len(rec.Key))
		}
		return ControlType(binary.BigEndian.Uint16(rec.Key[2:])), rec.Value, nil
	}
	panic("unreachable: a batch with records yields one or an error")
}

// EndTxnMarker returns the marker that b is; ok is false when it is another batch, control or not, or one that compaction
// emptied (rule 3.10.8).
func (b Batch) EndTxnMarker() (m EndTxnMarker, ok bool, err error) {
	if !b.IsControl() || b.RecordCount() == 0 {
		return m, false, nil
	}
	kind, value, err := b.Control()
	if err != nil || kind != ControlAbort && kind != ControlCommit {
		return m, false, err
	}
	if len(value) < 6 {
		return m, false, fmt.Errorf("transaction marker at offset %d: a value of %d bytes, want at least 6",
			b.BaseOffset(), len(value))
	}
	return EndTxnMarker{
		Commit:           kind == ControlCommit,
		ProducerID:       b.ProducerID(),
		ProducerEpoch:    b.ProducerEpoch(),
		CoordinatorEpoch: int32(binary.BigEndian.Uint32(value[2:])),
		Timestamp:        b.MaxTimestamp(),
	}, true, nil
}
