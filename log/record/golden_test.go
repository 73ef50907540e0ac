package record

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// golden is one batch of testdata/batches.json, read from the segments of a real Kafka 4.3.1.
type golden struct {
	Attributes           uint16         `json:"attributes"`
	BaseOffset           int64          `json:"base_offset"`
	BaseSequence         int32          `json:"base_sequence"`
	BaseTimestamp        int64          `json:"base_timestamp"`
	Codec                string         `json:"codec"`
	Control              bool           `json:"control"`
	CRC                  uint32         `json:"crc"`
	HasDeleteHorizon     bool           `json:"has_delete_horizon"`
	Hex                  string         `json:"hex"`
	LastOffsetDelta      int32          `json:"last_offset_delta"`
	LogAppendTime        bool           `json:"log_append_time"`
	MaxTimestamp         int64          `json:"max_timestamp"`
	PartitionLeaderEpoch int32          `json:"partition_leader_epoch"`
	ProducerEpoch        int16          `json:"producer_epoch"`
	ProducerID           int64          `json:"producer_id"`
	RecordCount          int32          `json:"record_count"`
	Records              []goldenRecord `json:"records"`
	Size                 int            `json:"size"`
	Source               string         `json:"source"`
	Transactional        bool           `json:"transactional"`
	What                 string         `json:"what"`
}

type goldenRecord struct {
	Headers   [][2]goldenBytes `json:"headers"`
	Key       goldenBytes      `json:"key"`
	Offset    int64            `json:"offset"`
	Timestamp int64            `json:"timestamp"`
	Value     goldenBytes      `json:"value"`
}

// goldenBytes is null, a string, or {"hex": …} in the file.
type goldenBytes []byte

func (g *goldenBytes) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err == nil {
		*g = nil
		if s != nil {
			*g = append([]byte{}, *s...)
		}
		return nil
	}
	var h struct{ Hex string }
	if err := json.Unmarshal(b, &h); err != nil {
		return err
	}
	raw, err := hex.DecodeString(h.Hex)
	*g = append([]byte{}, raw...)
	return err
}

func (g golden) batch(t testing.TB) Batch {
	t.Helper()
	b, err := hex.DecodeString(g.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func loadGolden(t testing.TB) []golden {
	t.Helper()
	raw, err := os.ReadFile("testdata/batches.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []golden
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 41 {
		t.Fatalf("%d golden batches, want 41", len(all))
	}
	return all
}

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

// TestGoldenValidate sends what clients once sent, as far as the log still has it, through Validate: it must pass
// unchanged (T039).
func TestGoldenValidate(t *testing.T) {
	c := NewCodecs()
	passed := 0
	for _, g := range loadGolden(t) {
		b := g.batch(t)
		if b.LastOffsetDelta()+1 != b.RecordCount() || b.IsControl() {
			continue // compacted, or not a client's
		}
		b.SetBaseOffset(0)
		want := bytes.Clone(b)
		var s Scratch
		r, err := Validate(b, &ValidateOptions{ProduceVersion: 9, MaxMessageBytes: 1 << 20, TimestampType: b.TimestampType(),
			BeforeMaxMs: NoTimeLimit, AfterMaxMs: NoTimeLimit, Codecs: c, Now: b.MaxTimestamp()}, &s)
		if g.LogAppendTime { // rule 2.4.10
			if e, ok := errors.AsType[*Error](err); !ok || e.Err != kerr.InvalidTimestamp || len(e.Records) != int(g.RecordCount) {
				t.Errorf("%s: %v", g.Source, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", g.Source, err)
			continue
		}
		if !bytes.Equal(r.Batch, want) {
			t.Errorf("%s: changed", g.Source)
		}
		info := r.Batch.Info()
		info.OffsetOfMaxTimestamp = r.Info.OffsetOfMaxTimestamp
		if r.Info != info || r.Info.MaxTimestamp != g.MaxTimestamp {
			t.Errorf("%s: %+v", g.Source, r.Info)
		}
		passed++
	}
	if passed < 20 {
		t.Errorf("only %d batches passed", passed)
	}
}
