package record

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestFindTimestamp compares with a look at every record (rule 6.7.11), on batches with and without gaps.
func TestFindTimestamp(t *testing.T) {
	c := NewCodecs()
	rng := rand.New(rand.NewPCG(7, 8))
	for round := range 200 {
		o := BuilderOptions{BaseOffset: 1000, Codec: Codec(rng.IntN(5))}
		if round%5 == 0 {
			o.LogAppendTime = testNow + 50
		}
		if round%7 == 0 {
			o.DeleteHorizon = testNow + 1_000_000
		}
		b := NewBuilder(c, o)
		offset := o.BaseOffset
		for range rng.IntN(100) {
			offset += int64(1 + rng.IntN(3)/2) // some gaps
			b.AppendAt(Record{Offset: offset, Timestamp: testNow + int64(rng.IntN(100)), Value: make([]byte, rng.IntN(200))})
		}
		b.SetLastOffset(offset + int64(rng.IntN(2)))
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		all := read(t, batch, c)
		for range 20 {
			timestamp, minOffset := testNow-10+int64(rng.IntN(120)), 990+int64(rng.IntN(150))
			var want Position
			found := false
			for _, r := range all {
				if r.Timestamp >= timestamp && r.Offset >= minOffset {
					want, found = Position{r.Offset, r.Timestamp}, true
					break
				}
			}
			if got, ok, err := batch.FindTimestamp(c, timestamp, minOffset); got != want || ok != found || err != nil {
				t.Fatalf("%v: timestamp %d from %d: got %v %v %v, want %v %v", batch.Codec(), timestamp, minOffset, got, ok, err, want, found)
			}
		}
		var want Position
		found := false
		for _, r := range all {
			if !found || r.Timestamp > want.Timestamp {
				want, found = Position{r.Offset, r.Timestamp}, true
			}
		}
		if got, ok, err := batch.MaxTimestampRecord(c); got != want || ok != found || err != nil {
			t.Fatalf("%v: largest: got %v %v %v, want %v %v", batch.Codec(), got, ok, err, want, found)
		}
	}
}

// read copies a batch's records out.
func read(t testing.TB, b Batch, c *Codecs) []Record {
	t.Helper()
	var all []Record
	for r, err := range b.Records(c) {
		if err != nil {
			t.Fatal(err)
		}
		r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
		r.Headers = append([]Header(nil), r.Headers...)
		for i := range r.Headers {
			r.Headers[i].Value = bytes.Clone(r.Headers[i].Value)
		}
		all = append(all, r)
	}
	return all
}

func TestSearchCorners(t *testing.T) {
	empty := NewBuilder(nil, BuilderOptions{BaseOffset: 10})
	empty.SetLastOffset(19)
	empty.SetTimes(testNow, testNow)
	b, err := empty.Build()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := b.FindTimestamp(nil, 0, 0); ok || err != nil { // rule 6.7.12
		t.Errorf("an emptied batch: %v, %v", ok, err)
	}
	if _, ok, err := b.MaxTimestampRecord(nil); ok || err != nil {
		t.Errorf("an emptied batch: %v, %v", ok, err)
	}
	timeless := built(t, nil, BuilderOptions{}, Record{Timestamp: -1}, Record{Timestamp: -1})
	if _, ok, err := timeless.MaxTimestampRecord(nil); ok || err != nil {
		t.Errorf("without timestamps: %v, %v", ok, err)
	}
	if p, ok, err := timeless.FindTimestamp(nil, math.MinInt64, 1); !ok || p.Offset != 1 || err != nil {
		t.Errorf("any timestamp: %v %v %v", p, ok, err)
	}
	bad := edit(produced(t, 3), func(b Batch) { b[HeaderSize] = 1 })
	if _, _, err := bad.FindTimestamp(nil, testNow, 0); err == nil {
		t.Error("a bad record was searched")
	}
	if _, _, err := edit(produced(t, 3), func(b Batch) { put16(b, atAttributes, 6) }).MaxTimestampRecord(nil); err == nil {
		t.Error("a codec that does not exist was searched")
	}
	for _, err := range edit(produced(t, 3), func(b Batch) { put16(b, atAttributes, 6) }).Records(nil) {
		if err == nil {
			t.Error("a codec that does not exist was read")
		}
	}
}

// TestRecordsStops: a caller may leave the loop early, and the decompressor comes back.
func TestRecordsStops(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		c := NewCodecs()
		b := produced(t, 100, func(o *BuilderOptions) { o.Codec = codec })
		for range 10 {
			n := 0
			for range b.Records(c) {
				if n++; n == 3 {
					break
				}
			}
		}
	}
}

// TestGolden searches in what Kafka wrote.
func TestGoldenSearch(t *testing.T) {
	c := NewCodecs()
	for _, g := range loadGolden(t) {
		b := g.batch(t)
		p, ok, err := b.MaxTimestampRecord(c)
		if err != nil || ok != (len(g.Records) > 0) {
			t.Errorf("%s: %v %v", g.Source, ok, err)
			continue
		}
		if ok && p.Timestamp != g.MaxTimestamp {
			t.Errorf("%s: largest timestamp %d, want %d", g.Source, p.Timestamp, g.MaxTimestamp)
		}
		for _, r := range g.Records {
			if p, ok, err := b.FindTimestamp(c, r.Timestamp, r.Offset); !ok || err != nil || p != (Position{r.Offset, r.Timestamp}) {
				t.Errorf("%s: offset %d: %v %v %v", g.Source, r.Offset, p, ok, err)
			}
		}
	}
}

// TestRoundTrips builds random batches and takes them through Validate, recompression and reading.
func TestRoundTrips(t *testing.T) {
	c := NewCodecs()
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 9))
			records := randomRecords(rng)
			o := options(recompress(Codec(rng.IntN(5))))
			o.Codecs, o.AfterMaxMs, o.MaxMessageBytes = c, NoTimeLimit, 4*mib
			o.Compression.Recompress = rng.IntN(2) == 0
			o.TimestampType = TimestampType(rng.IntN(2))
			b := built(t, c, BuilderOptions{Codec: Codec(rng.IntN(5)), LeaderEpoch: NoLeaderEpoch}, records...)
			r := accepted(t, b, o)
			compareBuilt(t, r.Batch, c, records)
			if p, ok, err := r.Batch.MaxTimestampRecord(c); !ok || err != nil ||
				p != (Position{Offset: int64(r.Info.OffsetOfMaxTimestamp), Timestamp: r.Info.MaxTimestamp}) {
				t.Errorf("largest timestamp at %v %v %v, Info has %d at %d", p, ok, err, r.Info.MaxTimestamp, r.Info.OffsetOfMaxTimestamp)
			}
		})
	}
}

// randomRecords makes records of all shapes: lengths around the borders of varints and windows, nulls, headers.
func randomRecords(rng *rand.Rand) []Record {
	lengths := []int{0, 1, 10, 62, 63, 64, 65, 100, 1000, 8190, 8191, 8192, 8193}
	if rng.IntN(5) == 0 {
		lengths = append(lengths, windowSize-20, windowSize, 3*windowSize)
	}
	field := func() []byte {
		if rng.IntN(6) == 0 {
			return nil
		}
		b := make([]byte, lengths[rng.IntN(len(lengths))])
		for i := range b {
			b[i] = byte(rng.IntN(4))
		}
		return b
	}
	steps := []int64{0, 1, 63, 64, 8191, 8192, 1 << 21, 1 << 40}
	step := steps[rng.IntN(len(steps))]
	n := 1 + rng.IntN(20)
	if rng.IntN(10) == 0 {
		n, lengths = 9000, lengths[:3] // offset deltas of three bytes
	}
	records := make([]Record, n)
	for i := range records {
		records[i] = Record{Timestamp: testNow, Key: field(), Value: field()}
		if step > 0 {
			records[i].Timestamp += rng.Int64N(2*step) - step/2
		}
		for range rng.IntN(4) {
			key := field()
			records[i].Headers = append(records[i].Headers, Header{Key: string(key[:min(len(key), 100)]), Value: field()})
		}
	}
	return records
}

// TestFindTimestampFarDown searches from timestamps so low that no record can be below: every record qualifies, however
// its batch is written.
func TestFindTimestampFarDown(t *testing.T) {
	b := produced(t, 300)
	for _, timestamp := range []int64{math.MinInt64, math.MinInt64 + 1, math.MinInt64 + quickDelta, math.MinInt64 + quickDelta + 2, -1 << 40} {
		if p, ok, err := b.FindTimestamp(nil, timestamp, 0); !ok || err != nil || p.Offset != b.BaseOffset() {
			t.Errorf("timestamp %d: %v, %v, %v", timestamp, p, ok, err)
		}
	}
}
