package record

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"
)

// accepted validates a batch that must pass.
func accepted(t testing.TB, b Batch, o *ValidateOptions) Result {
	t.Helper()
	var s Scratch
	r, err := Validate(b, o, &s)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Batch.VerifyCRC() || r.Batch.Size() != len(r.Batch) || int(r.Info.Size) != len(r.Batch) {
		t.Fatalf("checksum %v, size %d of %d, in Info %d", r.Batch.VerifyCRC(), r.Batch.Size(), len(r.Batch), r.Info.Size)
	}
	return r
}

// TestKeepsBytes is T039: what needs no change is not changed, and not copied (rule 2.5.1).
func TestKeepsBytes(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		b := edit(produced(t, 3, func(o *BuilderOptions) { o.Codec = codec }), func(b Batch) {
			put16(b, atAttributes, int(b.Attributes()|0xff80)) // unused bits survive as well, as in Kafka
		})
		frame := append(bytes.Clone(b), "behind"...)
		for _, with := range []func(*ValidateOptions){recompress(codec), func(*ValidateOptions) {}} {
			r := accepted(t, frame, options(with))
			if !bytes.Equal(r.Batch, b) || &r.Batch[0] != &frame[0] {
				t.Errorf("%v: changed or copied", codec)
			}
		}
	}
}

// TestMaxTimestamp is rule 2.5.2: the largest timestamp is the broker's finding, not the client's word.
func TestMaxTimestamp(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		for _, claim := range []int64{-1, 0, testNow, math.MaxInt64} {
			b := built(t, NewCodecs(), BuilderOptions{Codec: codec}, Record{Timestamp: testNow}, Record{Timestamp: testNow + 7},
				Record{Timestamp: testNow - 5}, Record{Timestamp: testNow + 7})
			edit(b, func(b Batch) { put64(b, atMaxTimestamp, claim) })
			r := accepted(t, b, options())
			if r.Batch.MaxTimestamp() != testNow+7 || r.Info.MaxTimestamp != testNow+7 || r.Info.OffsetOfMaxTimestamp != 1 {
				t.Errorf("%v, claimed %d: %d at %d", codec, claim, r.Batch.MaxTimestamp(), r.Info.OffsetOfMaxTimestamp)
			}
			if r.Info.LogAppendTime != NoTimestamp {
				t.Errorf("log append time %d", r.Info.LogAppendTime)
			}
		}
	}
	r := accepted(t, built(t, nil, BuilderOptions{}, Record{Timestamp: -1}, Record{Timestamp: -9}), options())
	if r.Info.MaxTimestamp != NoTimestamp {
		t.Errorf("without timestamps: %d", r.Info.MaxTimestamp)
	}
}

// TestClaimedLogAppendTime is rule 2.4.10: the bit is cleared, with the unused ones. Kafka believes the batch's own
// largest timestamp here; we store the largest of the timestamps that readers will see.
func TestClaimedLogAppendTime(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		b := edit(produced(t, 3, func(o *BuilderOptions) { o.Codec = codec }), func(b Batch) {
			put16(b, atAttributes, int(b.Attributes()|0xff88))
			put64(b, atMaxTimestamp, testNow-5)
		})
		r := accepted(t, b, options())
		if got := r.Batch.Attributes(); got != Attributes(codec) || r.Batch.MaxTimestamp() != testNow+2 {
			t.Errorf("%v: attributes %#x, largest timestamp %d", codec, got, r.Batch.MaxTimestamp())
		}
	}
}

// TestLogAppendTime is T037 and rule 2.5.3.
func TestLogAppendTime(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		b := produced(t, 3, func(o *BuilderOptions) { o.Codec = codec })
		payload := bytes.Clone(b.Payload())
		r := accepted(t, b, options(appendTime))
		if r.Batch.Attributes() != Attributes(codec)|attrLogAppendTime || r.Batch.MaxTimestamp() != testNow ||
			r.Info.LogAppendTime != testNow || r.Info.MaxTimestamp != testNow || r.Info.OffsetOfMaxTimestamp != 0 {
			t.Errorf("%v: attributes %#x, %+v", codec, r.Batch.Attributes(), r.Info)
		}
		if !bytes.Equal(r.Batch.Payload(), payload) {
			t.Errorf("%v: the records were touched", codec)
		}
	}
	marker := AppendEndTxnMarker(nil, EndTxnMarker{Commit: true, ProducerID: 5, Timestamp: 77})
	r := accepted(t, marker, options(appendTime, coordinator, recompress(Gzip)))
	if r.Batch.Attributes() != 0x38 || !r.Info.Control || r.Info.LogAppendTime != testNow { // rule 2.3.2
		t.Errorf("marker: attributes %#x, %+v", r.Batch.Attributes(), r.Info)
	}
}

// TestRecompress is T038 and rule 2.5.4, from every codec to every other.
func TestRecompress(t *testing.T) {
	records := make([]Record, 200)
	for i := range records {
		records[i] = Record{Timestamp: testNow + int64(i%7), Key: fmt.Append(nil, "key-", i), Value: bytes.Repeat([]byte("v"), i*20),
			Headers: []Header{{Key: "h", Value: nil}}}
	}
	for from := None; from <= Zstd; from++ {
		for to := None; to <= Zstd; to++ {
			for _, with := range []func(*ValidateOptions){recompress(to), func(o *ValidateOptions) { recompress(to)(o); appendTime(o) }} {
				o := options(with)
				b := built(t, o.Codecs, BuilderOptions{Codec: from, LeaderEpoch: NoLeaderEpoch, Transactional: true,
					Producer: &Producer{ID: 1 << 40, Epoch: 3, BaseSequence: 12}}, records...)
				sent := bytes.Clone(b)
				r := accepted(t, b, o)
				want := Batch(sent).Info()
				want.Codec, want.Size, want.OffsetOfMaxTimestamp = to, int32(len(r.Batch)), 6
				if o.TimestampType == LogAppendTime {
					want.LogAppendTime, want.MaxTimestamp, want.OffsetOfMaxTimestamp = testNow, testNow, 0
				}
				if r.Info != want || r.Batch.Codec() != to || r.Batch.TimestampType() != o.TimestampType {
					t.Errorf("%v to %v:\n got %+v\nwant %+v", from, to, r.Info, want)
				}
				if from != to && !bytes.Equal(b, sent) {
					t.Errorf("%v to %v: the producer's bytes were changed", from, to)
				}
				compareBuilt(t, r.Batch, o.Codecs, records)
			}
		}
	}
}

// compareBuilt reads b and compares it with the records it was built from.
func compareBuilt(t testing.TB, b Batch, c *Codecs, want []Record) {
	t.Helper()
	i := 0
	for rec, err := range b.Records(c) {
		if err != nil {
			t.Fatal(err)
		}
		w := want[i]
		at := w.Timestamp
		if b.TimestampType() == LogAppendTime {
			at = b.MaxTimestamp()
		}
		equal := rec.Timestamp == at && rec.Offset == b.BaseOffset()+int64(i) && same(rec.Key, w.Key) && same(rec.Value, w.Value) &&
			slices.EqualFunc(rec.Headers, w.Headers, func(a, b Header) bool { return a.Key == b.Key && same(a.Value, b.Value) })
		if !equal {
			t.Fatalf("record %d: got %+v, want %+v", i, rec, w)
		}
		i++
	}
	if i != len(want) {
		t.Fatalf("%d records, want %d", i, len(want))
	}
}

// TestRecompressRules are the corners of rules 2.5.4 and 2.5.5.
func TestRecompressRules(t *testing.T) {
	zeros := func(codec Codec) Batch {
		return built(t, NewCodecs(), BuilderOptions{Codec: codec}, Record{Timestamp: testNow, Value: make([]byte, 5000)})
	}
	horizon := edit(produced(t, 3), func(b Batch) { put16(b, atAttributes, 0xff40) })
	runCases(t, []validateCase{
		{"2.5.4", "grows beyond max.message.bytes", zeros(Zstd), func(o *ValidateOptions) { recompress(None)(o); maxBytes(2000)(o) }, large, ""},
		{"2.5.4", "grows", zeros(Zstd), recompress(None), none, ""},
		{"2.5.5", "a coordinator's batch", zeros(None), func(o *ValidateOptions) { recompress(Gzip)(o); coordinator(o) }, none, ""},
	})
	for to := Gzip; to <= Zstd; to++ {
		random := built(t, nil, BuilderOptions{}, Record{Timestamp: testNow, Value: []byte("abcdefghijklmnopqrstuvwxyz0123456789")})
		runCases(t, []validateCase{{"2.5.4", "does not shrink with " + to.String(), random,
			func(o *ValidateOptions) { recompress(to)(o); maxBytes(len(random))(o) }, large, ""}})
	}
	if r := accepted(t, zeros(None), options(recompress(Gzip), coordinator)); r.Batch.Codec() != None {
		t.Errorf("rule 2.5.5: a coordinator's batch was compressed with %v", r.Batch.Codec())
	}
	r := accepted(t, bytes.Clone(horizon), options(recompress(Gzip)))
	if r.Batch.Attributes() != Attributes(Gzip) || r.Batch.BaseTimestamp() != Batch(horizon).BaseTimestamp() {
		t.Errorf("attributes %#x", r.Batch.Attributes())
	}
}

// TestLevels: every level of Kafka's configurations gives a payload that reads back, and a higher one is not ignored.
func TestLevels(t *testing.T) {
	c := NewCodecs()
	plain := make([]byte, 300<<10)
	for i := range plain {
		plain[i] = byte((i*i>>3 ^ i*7) % 23)
	}
	for codec, levels := range map[Codec][]int{
		Gzip: {DefaultLevel, -1, 1, 9}, LZ4: {DefaultLevel, 1, 9, 17}, Zstd: {DefaultLevel, -131072, 1, 3, 22}, Snappy: {DefaultLevel},
	} {
		sizes := map[int]bool{}
		for _, level := range levels {
			out, err := c.compress([]byte("before"), plain, Compression{Codec: codec, Level: level}, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if got := expand(t, c, codec, out[len("before"):]); !bytes.Equal(got, plain) {
				t.Fatalf("%v level %d: %d bytes came back", codec, level, len(got))
			}
			sizes[len(out)] = true
		}
		if len(levels) > 1 && len(sizes) < 2 {
			t.Errorf("%v: all levels compress alike", codec)
		}
	}
}

// expand decompresses a payload.
func expand(t testing.TB, c *Codecs, codec Codec, payload []byte) []byte {
	t.Helper()
	out, err := expandAll(c, codec, payload)
	if err != nil {
		t.Fatalf("%v: %v", codec, err)
	}
	return out
}

func expandAll(c *Codecs, codec Codec, payload []byte) ([]byte, error) {
	s := c.open(codec, payload, produceLimits(1<<20))
	defer c.close(s)
	var out []byte
	for s.fill() {
		out = append(out, s.window()...)
		s.consume(len(s.window()))
	}
	return out, s.failed()
}
