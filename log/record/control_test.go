package record

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// TestGoldenMarkers compares the markers we make with those in Kafka's log (rule 2.3.2), byte for byte.
func TestGoldenMarkers(t *testing.T) {
	markers, kept := 0, 0
	for _, g := range loadGolden(t) {
		b := g.batch(t)
		m, ok, err := b.EndTxnMarker()
		if err != nil {
			t.Errorf("%s: %v", g.Source, err)
		}
		if !ok {
			if g.Control {
				kind, _, err := b.Control()
				if err != nil || kind < ControlLeaderChange {
					t.Errorf("%s: %v %v", g.Source, kind, err)
				}
				kept++
			}
			continue
		}
		markers++
		if b.HasDeleteHorizon() {
			continue // the cleaner has rewritten it
		}
		got := Batch(AppendEndTxnMarker(nil, m))
		got.SetBaseOffset(b.BaseOffset())
		got.SetPartitionLeaderEpoch(b.PartitionLeaderEpoch())
		if !bytes.Equal(got, b) {
			t.Errorf("%s: %+v\n got %x\nwant %x", g.Source, m, got, b)
		}
	}
	if markers != 6 || kept != 3 {
		t.Errorf("%d markers and %d other control batches", markers, kept)
	}
}

func TestMarker(t *testing.T) {
	want := EndTxnMarker{Commit: true, ProducerID: 1 << 33, ProducerEpoch: 4, CoordinatorEpoch: 77, Timestamp: testNow}
	b := Batch(AppendEndTxnMarker([]byte("before"), want)[len("before"):])
	if got, ok, err := b.EndTxnMarker(); got != want || !ok || err != nil {
		t.Errorf("%+v %v %v", got, ok, err)
	}
	if b.Attributes() != 0x30 || b.RecordCount() != 1 || b.LastOffsetDelta() != 0 || b.BaseSequence() != NoSequence {
		t.Errorf("attributes %#x, %d records, last offset delta %d, sequence %d", b.Attributes(), b.RecordCount(), b.LastOffsetDelta(), b.BaseSequence())
	}
	r := accepted(t, b, options(coordinator))
	if !r.Info.Control || !r.Info.Transactional || r.Info.ProducerID != 1<<33 || r.Info.ProducerEpoch != 4 {
		t.Errorf("%+v", r.Info)
	}
	if _, err := Validate(b, options(), &Scratch{}); outcome(err) != inLog {
		t.Errorf("from a client: %v", err)
	}
}

// TestControlKinds: kinds that nobody knows are kept (rule 2.3.3), and what cannot be read is an error, not a marker.
func TestControlKinds(t *testing.T) {
	control := func(key, value []byte) Batch {
		return built(t, nil, BuilderOptions{Control: true}, Record{Timestamp: testNow, Key: key, Value: value})
	}
	key := func(kind int16) []byte { return binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(kind)) }
	if kind, value, err := control(key(99), []byte("x")).Control(); kind != 99 || string(value) != "x" || err != nil {
		t.Errorf("%v %q %v", kind, value, err)
	}
	if _, ok, err := control(key(99), nil).EndTxnMarker(); ok || err != nil {
		t.Errorf("an unknown kind: %v, %v", ok, err)
	}
	if m, ok, err := control(append(key(0), 1, 2), append(make([]byte, 6), 9)).EndTxnMarker(); !ok || err != nil || m.Commit {
		t.Errorf("longer key and value of a later version: %v, %v", ok, err)
	}
	if _, ok, err := Batch(AppendEmpty(nil, control(key(1), make([]byte, 6)))).EndTxnMarker(); ok || err != nil {
		t.Errorf("a marker that compaction emptied: %v, %v", ok, err)
	}
	for name, b := range map[string]Batch{
		"short value": control(key(1), make([]byte, 5)),
		"null value":  control(key(1), nil),
		"short key":   control([]byte{0, 0, 1}, make([]byte, 6)),
		"null key":    control(nil, make([]byte, 6)),
		"compressed":  edit(control(key(1), make([]byte, 6)), func(b Batch) { put16(b, atAttributes, 0x21) }),
		"cut record":  edit(control(key(1), make([]byte, 6)), func(b Batch) { b[HeaderSize] = 100 }),
	} {
		if _, ok, err := b.EndTxnMarker(); ok || err == nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	if _, _, err := produced(t, 1).Control(); err == nil {
		t.Error("a data batch is no control batch")
	}
	for kind, want := range map[ControlType]string{0: "ABORT", 1: "COMMIT", 6: "KRAFT_VOTERS", 7: "control type 7", -1: "control type -1"} {
		if kind.String() != want {
			t.Errorf("%d: %q", int16(kind), kind)
		}
	}
}
