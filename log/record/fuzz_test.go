package record

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// fuzzLimits keep a fuzz run from spending its time on bombs.
var fuzzLimits = limits{total: mib, whole: mib}

// FuzzValidate: whatever the bytes, there is a result or an *Error; and what is accepted can be read, and is accepted
// again as it is.
func FuzzValidate(f *testing.F) {
	for _, g := range loadGolden(f) {
		b := g.batch(f)
		b.SetBaseOffset(0)
		f.Add([]byte(b), uint8(0), true)
		f.Add([]byte(b), uint8(g.RecordCount), false)
	}
	c := NewCodecs()
	f.Fuzz(func(t *testing.T, b []byte, topic uint8, seal bool) {
		if seal && CheckHeader(b) == nil && Batch(b).Size() <= len(b) {
			Batch(b).Reseal()
		}
		o := options()
		o.Codecs, o.MaxMessageBytes = c, 100_000
		o.Compact = topic&1 != 0
		o.TimestampType = TimestampType(topic >> 1 & 1)
		o.Origin = Origin(topic >> 2 & 1)
		o.Compression = Compression{Recompress: topic&8 != 0, Codec: Codec(topic>>4) % 5}
		var s Scratch
		r, err := Validate(b, o, &s)
		if err != nil {
			if got := outcome(err); got == none || got[:3] == "not" {
				t.Fatal(got)
			}
			return
		}
		if !r.Batch.VerifyCRC() || r.Batch.Size() != len(r.Batch) {
			t.Fatalf("checksum %v, size %d of %d", r.Batch.VerifyCRC(), r.Batch.Size(), len(r.Batch))
		}
		n, top := int32(0), NoTimestamp
		for rec, err := range r.Batch.Records(c) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			top = max(top, rec.Timestamp)
		}
		if n != r.Info.RecordCount || top != r.Info.MaxTimestamp {
			t.Fatalf("%d records up to %d, Info has %+v", n, top, r.Info)
		}
		if o.TimestampType == CreateTime {
			var again Scratch
			before := bytes.Clone(r.Batch)
			if r2, err := Validate(r.Batch, o, &again); err != nil || !bytes.Equal(r2.Batch, before) {
				t.Fatalf("not accepted again as it is: %v", err)
			}
		}
	})
}

// FuzzRecords: reading and searching any batch from a log ends, without more records than it declares.
func FuzzRecords(f *testing.F) {
	for _, g := range loadGolden(f) {
		f.Add([]byte(g.batch(f)))
	}
	c := NewCodecs()
	f.Fuzz(func(t *testing.T, buf []byte) {
		for {
			b, rest, err := Next(buf)
			if b == nil || err != nil {
				return
			}
			buf = rest
			n := int32(0)
			var last error
			for _, err := range b.Records(c) {
				last = err
				if err == nil {
					n++
				}
			}
			if n > max(b.RecordCount(), 0) || last == nil && n != max(b.RecordCount(), 0) {
				t.Fatalf("%d records of %d, %v", n, b.RecordCount(), last)
			}
			b.FindTimestamp(c, b.MaxTimestamp(), b.BaseOffset())
			b.MaxTimestampRecord(c)
			b.EndTxnMarker()
			b.Info()
		}
	})
}

// FuzzWalk: the quick way over records and the general one agree.
func FuzzWalk(f *testing.F) {
	for _, g := range loadGolden(f) {
		if b := g.batch(f); b.Codec() == None {
			f.Add([]byte(b.Payload()), b.RecordCount(), b.BaseTimestamp(), false)
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte, count int32, base int64, keyed bool) {
		compareWalks(t, payload, walk{count: count, base: base, lastDelta: -1, lo: minInt64, hi: maxInt64, keyed: keyed,
			dense: count&1 != 0, maxTimestamp: NoTimestamp})
	})
}

// fuzzCodec takes bytes as a payload, which must end, and when it is accepted hold what reference reads in it; and as
// records, which must come back.
func fuzzCodec(f *testing.F, codec Codec, reference func([]byte) ([]byte, error)) {
	for _, g := range loadGolden(f) {
		b := g.batch(f)
		if b.Codec() == codec {
			f.Add([]byte(b.Payload()))
		}
	}
	f.Add([]byte{})
	c := NewCodecs()
	f.Fuzz(func(t *testing.T, in []byte) {
		s := c.open(codec, in, fuzzLimits)
		var out []byte
		for s.fill() {
			out = append(out, s.window()...)
			s.consume(len(s.window()))
		}
		err := s.failed()
		c.close(s)
		if err == nil {
			if want, err := reference(in); err != nil || !bytes.Equal(out, want) {
				t.Fatalf("read %d bytes, the reference %d: %v", len(out), len(want), err)
			}
		}
		packed, err := c.compress(nil, in, Compression{Codec: codec}, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := expandAll(c, codec, packed); err != nil || !bytes.Equal(back, in) {
			t.Fatalf("%d bytes came back of %d: %v", len(back), len(in), err)
		}
	})
}

func FuzzGzip(f *testing.F) {
	fuzzCodec(f, Gzip, func(in []byte) ([]byte, error) {
		r, err := gzip.NewReader(bytes.NewReader(in))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	})
}

func FuzzSnappy(f *testing.F) {
	fuzzCodec(f, Snappy, func(in []byte) ([]byte, error) {
		if len(in) == 0 || len(in) >= len(xerialHeader) && bytes.Equal(in[:xerialMagic], xerialHeader[:xerialMagic]) {
			var r snappyReader // there is no other reader of the framing at hand
			r.reset(in, fuzzLimits)
			return io.ReadAll(&r)
		}
		return s2.Decode(nil, in)
	})
}

func FuzzLZ4(f *testing.F) {
	fuzzCodec(f, LZ4, func(in []byte) ([]byte, error) {
		r := lz4.NewReader(bytes.NewReader(in))
		if err := r.Apply(lz4.ConcurrencyOption(1)); err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	})
}

func FuzzZstd(f *testing.F) {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	fuzzCodec(f, Zstd, func(in []byte) ([]byte, error) { return r.DecodeAll(in, nil) })
}
