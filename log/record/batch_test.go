package record

import (
	"encoding/hex"
	"encoding/json"
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

func TestGoldenValidate(t *testing.T) {
	c := NewCodecs()
	for _, g := range loadGolden(t) {
		b := g.batch(t)
		if b.LastOffsetDelta()+1 != b.RecordCount() || b.IsControl() {
			continue
		}
		b.SetBaseOffset(0)
		want := append(Batch(nil), b...)
		var s Scratch
		r, err := Validate(b, &ValidateOptions{ProduceVersion: 9, MaxMessageBytes: 1 << 20, TimestampType: b.TimestampType(),
			BeforeMaxMs: NoTimeLimit, AfterMaxMs: NoTimeLimit, Codecs: c, Now: b.MaxTimestamp()}, &s)
		if g.LogAppendTime {
			if e, ok := err.(*Error); !ok || e.Err != kerr.InvalidTimestamp {
				t.Errorf("%s: %v", g.Source, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", g.Source, err)
			continue
		}
		if string(want) != string(r.Batch) {
			t.Errorf("%s changed", g.Source)
		}
	}
}
