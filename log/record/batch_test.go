package record

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

// produced builds a batch of n small records with keys, as a client sends it.
func produced(t testing.TB, n int, change ...func(*BuilderOptions)) Batch {
	t.Helper()
	o := BuilderOptions{LeaderEpoch: NoLeaderEpoch}
	for _, f := range change {
		f(&o)
	}
	records := make([]Record, n)
	for i := range records {
		records[i] = Record{Timestamp: testNow + int64(i), Key: []byte("k"), Value: []byte("value")}
	}
	return built(t, NewCodecs(), o, records...)
}

// built builds a batch of these records.
func built(t testing.TB, c *Codecs, o BuilderOptions, records ...Record) Batch {
	t.Helper()
	b := NewBuilder(c, o)
	for _, r := range records {
		b.Append(r)
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// testNow is the broker's time in tests, in milliseconds.
const testNow = 1_795_538_623_000

func TestSetters(t *testing.T) {
	b := produced(t, 3)
	crc := b.CRC()
	b.SetBaseOffset(1 << 40)
	b.SetPartitionLeaderEpoch(77)
	if b.BaseOffset() != 1<<40 || b.LastOffset() != 1<<40+2 || b.PartitionLeaderEpoch() != 77 {
		t.Errorf("offsets %d-%d, epoch %d", b.BaseOffset(), b.LastOffset(), b.PartitionLeaderEpoch())
	}
	if b.CRC() != crc || !b.VerifyCRC() {
		t.Error("rule 2.1.1: base offset and leader epoch must lie outside of the checksum")
	}
	for i := range b {
		b[i] ^= 0x10
		covered := i >= atCRC
		if i >= atBatchLength && i < atLeaderEpoch { // the length decides how much is summed
			covered = true
			if b.Size() > len(b) || b.Size() < HeaderSize {
				b[i] ^= 0x10
				continue
			}
		}
		if b.VerifyCRC() == covered {
			t.Errorf("byte %d: checksum verifies: %v", i, !covered)
		}
		b[i] ^= 0x10
	}
	b[HeaderSize+5]++
	if b.VerifyCRC() {
		t.Error("a changed record passed")
	}
	if b.Reseal(); !b.VerifyCRC() {
		t.Error("resealed, and does not verify")
	}
}

func TestSequences(t *testing.T) {
	for _, tc := range []struct{ base, delta, want int32 }{ // rule 2.1.4
		{0, 0, 0}, {5, 10, 15}, {math.MaxInt32, 0, math.MaxInt32}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 1, 3, 1},
		{NoSequence, 4, NoSequence},
	} {
		b := produced(t, int(tc.delta)+1, func(o *BuilderOptions) { o.Producer = &Producer{ID: 1, BaseSequence: tc.base} })
		info := b.Info()
		if got := b.LastSequence(); got != tc.want || info.LastSequence() != tc.want {
			t.Errorf("%d + %d: %d, in Info %d, want %d", tc.base, tc.delta, got, info.LastSequence(), tc.want)
		}
	}
}

func TestNext(t *testing.T) {
	one, two := produced(t, 1), produced(t, 200)
	buf := append(append([]byte{}, one...), two...)
	b, rest, err := Next(buf)
	if err != nil || !bytes.Equal(b, one) {
		t.Fatalf("first: %d bytes, %v", len(b), err)
	}
	if b, rest, err = Next(rest); err != nil || !bytes.Equal(b, two) {
		t.Fatalf("second: %d bytes, %v", len(b), err)
	}
	if b, rest, err = Next(rest); b != nil || rest != nil || err != nil {
		t.Fatalf("end: %v %v %v", b, rest, err)
	}
	for n := 1; n < len(one); n++ {
		if b, rest, err := Next(one[:n]); b != nil || len(rest) != n || !errors.Is(err, ErrIncomplete) {
			t.Fatalf("%d bytes of %d: %v", n, len(one), err)
		}
	}
}

func TestCheckHeader(t *testing.T) {
	good := produced(t, 1)[:HeaderSize]
	if err := CheckHeader(good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(Batch){
		"magic 0":       func(b Batch) { b[atMagic] = 0 },
		"magic 3":       func(b Batch) { b[atMagic] = 3 },
		"length 48":     func(b Batch) { put32(b, atBatchLength, 48) },
		"length -1":     func(b Batch) { put32(b, atBatchLength, -1) },
		"zeros":         func(b Batch) { clear(b) },
		"length of all": func(b Batch) { put32(b, atBatchLength, math.MinInt32) },
	} {
		b := append(Batch{}, good...)
		change(b)
		if err := CheckHeader(b); !errors.Is(err, ErrBadHeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInfo(t *testing.T) {
	b := produced(t, 4, func(o *BuilderOptions) {
		o.Codec, o.Transactional, o.Producer = LZ4, true, &Producer{ID: 9, Epoch: 2, BaseSequence: 7}
	})
	want := Info{Size: int32(len(b)), LastOffsetDelta: 3, RecordCount: 4, MaxTimestamp: testNow + 3, OffsetOfMaxTimestamp: 3,
		LogAppendTime: NoTimestamp, ProducerID: 9, ProducerEpoch: 2, BaseSequence: 7, Transactional: true, Codec: LZ4}
	if got := b.Info(); got != want || !got.HasProducerID() {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	b = produced(t, 1, func(o *BuilderOptions) { o.LogAppendTime, o.Control = 55, true })
	if got := b.Info(); got.LogAppendTime != 55 || got.MaxTimestamp != 55 || !got.Control || got.HasProducerID() {
		t.Errorf("%+v", got)
	}
}

func TestUnknownCodec(t *testing.T) {
	if c := Codec(5); c.Valid() || c.String() != "codec 5" {
		t.Errorf("codec 5: %v %q", c.Valid(), c)
	}
}
