package record

import (
	"bytes"
	"testing"
)

// TestGoldenFields compares every field and every record of every batch that a real Kafka wrote.
func TestGoldenFields(t *testing.T) {
	c := NewCodecs()
	for _, g := range loadGolden(t) {
		t.Run(g.Source, func(t *testing.T) {
			b := g.batch(t)
			got := golden{
				Attributes: uint16(b.Attributes()), BaseOffset: b.BaseOffset(), BaseSequence: b.BaseSequence(),
				BaseTimestamp: b.BaseTimestamp(), Codec: b.Codec().String(), Control: b.IsControl(), CRC: b.CRC(),
				HasDeleteHorizon: b.HasDeleteHorizon(), LastOffsetDelta: b.LastOffsetDelta(),
				LogAppendTime: b.TimestampType() == LogAppendTime, MaxTimestamp: b.MaxTimestamp(),
				PartitionLeaderEpoch: b.PartitionLeaderEpoch(), ProducerEpoch: b.ProducerEpoch(), ProducerID: b.ProducerID(),
				RecordCount: b.RecordCount(), Size: b.Size(), Transactional: b.IsTransactional(),
			}
			want := g
			want.Hex, want.Records, want.Source, want.What = "", nil, "", ""
			if !equalGolden(got, want) {
				t.Errorf("header\n got %+v\nwant %+v", got, want)
			}
			if !b.VerifyCRC() {
				t.Error("the checksum does not verify")
			}
			if one, rest, err := Next(b); err != nil || len(rest) != 0 || !bytes.Equal(one, b) {
				t.Errorf("Next: %d bytes, %d left, %v", len(one), len(rest), err)
			}
			compareRecords(t, b, c, g.Records)
		})
	}
}

func equalGolden(a, b golden) bool {
	a.Records, b.Records = nil, nil
	return a.Attributes == b.Attributes && a.BaseOffset == b.BaseOffset && a.BaseSequence == b.BaseSequence &&
		a.BaseTimestamp == b.BaseTimestamp && a.Codec == b.Codec && a.Control == b.Control && a.CRC == b.CRC &&
		a.HasDeleteHorizon == b.HasDeleteHorizon && a.LastOffsetDelta == b.LastOffsetDelta &&
		a.LogAppendTime == b.LogAppendTime && a.MaxTimestamp == b.MaxTimestamp &&
		a.PartitionLeaderEpoch == b.PartitionLeaderEpoch && a.ProducerEpoch == b.ProducerEpoch &&
		a.ProducerID == b.ProducerID && a.RecordCount == b.RecordCount && a.Size == b.Size && a.Transactional == b.Transactional
}

func compareRecords(t *testing.T, b Batch, c *Codecs, want []goldenRecord) {
	t.Helper()
	i := 0
	for rec, err := range b.Records(c) {
		if err != nil {
			t.Fatal(err)
		}
		if i >= len(want) {
			t.Fatalf("more than %d records", len(want))
		}
		w := want[i]
		if rec.Offset != w.Offset || rec.Timestamp != w.Timestamp || !same(rec.Key, w.Key) || !same(rec.Value, w.Value) {
			t.Errorf("record %d: got %+v, want %+v", i, rec, w)
		}
		if len(rec.Headers) != len(w.Headers) {
			t.Fatalf("record %d: %d headers, want %d", i, len(rec.Headers), len(w.Headers))
		}
		for j, h := range rec.Headers {
			if h.Key != string(w.Headers[j][0]) || !same(h.Value, w.Headers[j][1]) {
				t.Errorf("record %d, header %d: got %+v", i, j, h)
			}
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d records, want %d", i, len(want))
	}
}

// same tells null from empty.
func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

// TestGoldenRebuild builds each batch anew from its records. An uncompressed one must come out byte for byte, the
// cleaner's with their gaps, empty batches and delete horizons included. Compressed ones must hold the same records.
func TestGoldenRebuild(t *testing.T) {
	c := NewCodecs()
	for _, g := range loadGolden(t) {
		t.Run(g.Source, func(t *testing.T) {
			b := g.batch(t)
			rebuilt := rebuild(t, b, c)
			if b.Codec() == None {
				if !bytes.Equal(rebuilt, b) {
					t.Errorf("\n got %x\nwant %x", rebuilt, b)
				}
				return
			}
			if !rebuilt.VerifyCRC() || rebuilt.Codec() != b.Codec() {
				t.Errorf("codec %v, checksum %v", rebuilt.Codec(), rebuilt.VerifyCRC())
			}
			compareRecords(t, rebuilt, c, g.Records)
		})
	}
}

// rebuild builds a batch with b's header and records.
func rebuild(t testing.TB, b Batch, c *Codecs) Batch {
	t.Helper()
	o := BuilderOptions{BaseOffset: b.BaseOffset(), LeaderEpoch: b.PartitionLeaderEpoch(), Codec: b.Codec(),
		Producer:      &Producer{ID: b.ProducerID(), Epoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence()},
		Transactional: b.IsTransactional(), Control: b.IsControl()}
	if b.TimestampType() == LogAppendTime {
		o.LogAppendTime = b.MaxTimestamp()
	}
	if b.HasDeleteHorizon() {
		o.DeleteHorizon = b.BaseTimestamp()
	}
	build := NewBuilder(c, o)
	created := append(Batch(nil), b...) // with the bit cleared it yields the times that the producer gave
	created.setTimes(CreateTime, b.MaxTimestamp())
	for rec, err := range created.Records(c) {
		if err != nil {
			t.Fatal(err)
		}
		build.AppendAt(rec)
	}
	build.SetLastOffset(b.LastOffset())
	if b.RecordCount() == 0 {
		build.SetTimes(b.BaseTimestamp(), b.MaxTimestamp())
	}
	out, err := build.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}
