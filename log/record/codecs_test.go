package record

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Payloads by other encoders than ours.

func stdGzip(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func lz4Frame(t testing.TB, b []byte, o ...lz4.Option) []byte {
	t.Helper()
	var out bytes.Buffer
	w := lz4.NewWriter(&out)
	if err := w.Apply(append(o, lz4.ConcurrencyOption(1))...); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstdFrame(t testing.TB, b []byte, o ...zstd.EOption) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, append(o, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(mib))...)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// streamed is a frame of unknown length: Java's producer makes those, with the window its level asks for.
func streamed(t testing.TB, b []byte, o ...zstd.EOption) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, append(o, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(mib))...)
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(b, 100<<10) {
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func xerial(blocks ...[]byte) []byte {
	out := bytes.Clone(xerialHeader)
	for _, b := range blocks {
		out = binary.BigEndian.AppendUint32(out, uint32(len(b)))
		out = append(out, b...)
	}
	return out
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	if i < 0 {
		i += len(b)
	}
	b[i] ^= 1
	return b
}

// TestPayloads is rule 2.1.5: which payloads are read, which are not. The strictness goes by what the other readers of a
// log can read: what only some of them do is refused.
func TestPayloads(t *testing.T) {
	p := produced(t, 300).Payload()
	half := len(p) / 2
	sn := func(b []byte) []byte { return s2.EncodeSnappy(nil, b) }
	gz, lz, zs := stdGzip(t, p), lz4Frame(t, p), zstdFrame(t, p)
	dependent := bytes.Clone(lz)
	dependent[4] &^= lz4Independent
	dependent[6] = byte(sum32(dependent[4:6]) >> 8)
	sized := lz4Frame(t, p, lz4.SizeOption(uint64(len(p))))
	missized := flip(sized, 6)
	missized[14] = byte(sum32(missized[4:14]) >> 8)
	emptyBlock := lz4Frame(t, p, lz4.ChecksumOption(false))
	emptyBlock = slices.Insert(emptyBlock, len(emptyBlock)-4, 0, 0, 0, 0x80)
	var cases []validateCase
	add := func(codec Codec, name string, payload []byte, want, kafka string) {
		cases = append(cases, validateCase{"2.1.5", codec.String() + " " + name, withPayload(t, codec, 300, payload), nil, want, kafka})
	}
	const broken = serverError + " start" // what Kafka says of whatever fails to decompress (rule 6.1.9)
	add(Gzip, "one member", gz, none, "")
	add(Gzip, "two members", append(stdGzip(t, p[:half]), stdGzip(t, p[half:])...), none, "")
	add(Gzip, "garbage behind", append(bytes.Clone(gz), make([]byte, 12)...), inLog, none)
	add(Gzip, "cut", gz[:half/4], inLog, broken)
	add(Gzip, "cut trailer", gz[:len(gz)-3], inLog, broken)
	add(Gzip, "bad checksum", flip(gz, -6), inLog, broken)
	add(Gzip, "empty", nil, inLog, broken)
	add(Gzip, "is zstd", zs, inLog, broken)
	add(Snappy, "raw", sn(p), none, "")
	add(Snappy, "xerial, one block", xerial(sn(p)), none, "")
	add(Snappy, "xerial, two blocks", xerial(sn(p[:half]), sn(p[half:])), none, "")
	add(Snappy, "xerial, empty block", xerial(sn(p), sn(nil)), none, "")
	add(Snappy, "xerial, two streams", append(xerial(sn(p[:half])), xerial(sn(p[half:]))...), none, "")
	add(Snappy, "xerial, other versions", append(append(bytes.Clone(xerialHeader[:8]), 0, 0, 0, 7, 0, 0, 0, 3), xerial(sn(p))[16:]...), none, "")
	add(Snappy, "xerial, garbage behind", append(xerial(sn(p)), 1, 2), inLog, none)
	add(Snappy, "xerial, cut", xerial(sn(p))[:half/4], inLog, broken)
	add(Snappy, "S2", s2.EncodeBest(nil, p), inLog, broken)
	add(Snappy, "garbage", []byte("hello world"), inLog, broken)
	add(Snappy, "cut", sn(p)[:half/8], inLog, broken)
	add(Snappy, "empty", nil, inLog, broken)
	add(LZ4, "frame", lz, none, "")
	add(LZ4, "block checksums", lz4Frame(t, p, lz4.BlockChecksumOption(true)), none, "")
	add(LZ4, "content size", sized, none, "")
	add(LZ4, "small blocks", lz4Frame(t, p, lz4.BlockSizeOption(lz4.Block64Kb)), none, "")
	add(LZ4, "wrong content size", missized, inLog, broken)
	add(LZ4, "two frames", append(lz4Frame(t, p[:half]), lz4Frame(t, p[half:])...), inLog, "") // no client of Kafka's reads the second
	add(LZ4, "garbage behind", append(bytes.Clone(lz), 1, 2, 3, 4), inLog, none)
	add(LZ4, "bad content checksum", flip(lz, -1), inLog, none)
	add(LZ4, "bad block checksum", flip(lz4Frame(t, p, lz4.BlockChecksumOption(true)), -9), inLog, broken)
	add(LZ4, "bad header checksum", flip(lz, 6), inLog, broken)
	add(LZ4, "dependent blocks", dependent, inLog, broken)
	add(LZ4, "legacy", lz4Frame(t, p, lz4.LegacyOption(true)), inLog, broken)
	add(LZ4, "cut", lz[:half/8], inLog, broken)
	add(LZ4, "no end mark", lz[:len(lz)-8], inLog, broken)
	add(LZ4, "header alone", lz[:7], inLog, broken)
	add(LZ4, "empty", nil, inLog, broken)
	add(LZ4, "an empty block", emptyBlock, inLog, none) // where Java's client takes the frame to end
	add(LZ4, "an empty block first", slices.Insert(bytes.Clone(lz), 7, 0, 0, 0, 0x80), inLog, "")
	add(Zstd, "frame", zs, none, "")
	add(Zstd, "two frames", append(zstdFrame(t, p[:half]), zstdFrame(t, p[half:])...), none, "")
	add(Zstd, "skippable frame", append(bytes.Clone(zs), 0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2), none, "")
	add(Zstd, "window of 128 MiB", withWindow(streamed(t, p), 27), none, "")
	add(Zstd, "window of 256 MiB", withWindow(streamed(t, p), 28), inLog, broken) // no client of Kafka's takes more than 128 MiB
	add(Zstd, "window of 144 MiB", flip(withWindow(streamed(t, p), 27), 5), inLog, broken)
	add(Zstd, "window of 1 TiB", withWindow(streamed(t, p), 40), inLog, broken)
	add(Zstd, "two bytes behind", append(bytes.Clone(zs), 1, 2), inLog, broken)
	add(Zstd, "garbage behind", append(bytes.Clone(zs), make([]byte, 12)...), inLog, broken)
	add(Zstd, "bad checksum", flip(zs, -1), inLog, broken)
	add(Zstd, "cut", zs[:half/8], inLog, broken)
	add(Zstd, "header alone", zs[:6], inLog, broken)
	add(Zstd, "is gzip", gz, inLog, broken)
	add(Zstd, "empty", nil, inLog, broken)
	runCases(t, cases)
}

// TestForeignPayloads: larger payloads of all kinds of encoders come back as they were.
func TestForeignPayloads(t *testing.T) {
	c := NewCodecs()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 17, 1000, windowSize, 300_000} {
		plain := make([]byte, n)
		for i := range plain {
			plain[i] = byte(rng.IntN(5))
		}
		for name, tc := range map[string]struct {
			codec   Codec
			payload []byte
		}{
			"gzip":         {Gzip, stdGzip(t, plain)},
			"snappy":       {Snappy, s2.EncodeSnappy(nil, plain)},
			"snappy best":  {Snappy, s2.EncodeSnappyBest(nil, plain)},
			"lz4":          {LZ4, lz4Frame(t, plain)},
			"lz4 64K":      {LZ4, lz4Frame(t, plain, lz4.BlockSizeOption(lz4.Block64Kb), lz4.BlockChecksumOption(true))},
			"lz4 high":     {LZ4, lz4Frame(t, plain, lz4.CompressionLevelOption(lz4.Level9))},
			"zstd":         {Zstd, zstdFrame(t, plain)},
			"zstd stream":  {Zstd, streamed(t, plain)},
			"zstd 128 MiB": {Zstd, withWindow(streamed(t, plain), 27)},
		} {
			if got := expand(t, c, tc.codec, tc.payload); !bytes.Equal(got, plain) {
				t.Errorf("%s, %d bytes: %d came back", name, n, len(got))
			}
		}
	}
}

// TestXXH32 compares with published values of the hash, and writes in parts with writes of the whole.
func TestXXH32(t *testing.T) {
	for in, want := range map[string]uint32{
		"": 0x02cc5d05, "a": 0x550d7456, "abc": 0x32d153ff,
		"Nobody inspects the spammish repetition": 0xe2293b2f,
	} {
		if got := sum32([]byte(in)); got != want {
			t.Errorf("%q: %08x, want %08x", in, got, want)
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	all := make([]byte, 1000)
	for i := range all {
		all[i] = byte(rng.Uint32())
	}
	for range 200 {
		b := all[:rng.IntN(len(all))]
		var x xxh32
		x.reset()
		for rest := b; len(rest) > 0; {
			n := 1 + rng.IntN(len(rest))
			x.write(rest[:n])
			rest = rest[n:]
		}
		if x.sum() != sum32(b) {
			t.Fatalf("%d bytes in parts", len(b))
		}
	}
}

// TestCodecsConcurrently uses one Codecs from many goroutines, more than it has slots.
func TestCodecsConcurrently(t *testing.T) {
	c := NewCodecs()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(5, uint64(g)))
			for range 30 {
				from, to := Codec(rng.IntN(5)), Codec(rng.IntN(5))
				records := []Record{{Timestamp: testNow, Value: bytes.Repeat([]byte{byte(g)}, rng.IntN(3*windowSize))}}
				batch, err := func() (Batch, error) {
					b := NewBuilder(c, BuilderOptions{Codec: from})
					b.Append(records[0])
					return b.Build()
				}()
				if err != nil {
					t.Error(err)
					return
				}
				var s Scratch
				o := options(recompress(to))
				o.Codecs = c
				r, err := Validate(batch, o, &s)
				if err != nil {
					t.Error(err)
					return
				}
				for rec, err := range r.Batch.Records(c) {
					if err != nil || !bytes.Equal(rec.Value, records[0].Value) {
						t.Errorf("%v to %v: %v", from, to, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestBuilderErrors: a builder without codecs, or with a codec that does not exist, says so.
func TestBuilderErrors(t *testing.T) {
	for _, b := range []*Builder{NewBuilder(nil, BuilderOptions{Codec: Gzip}), NewBuilder(NewCodecs(), BuilderOptions{Codec: 5})} {
		b.Append(Record{Timestamp: 1})
		if batch, err := b.Build(); err == nil || len(batch) != 0 {
			t.Errorf("%d bytes, %v", len(batch), err)
		}
	}
	c := NewCodecs()
	if _, err := c.compress(nil, make([]byte, 1<<20), Compression{Codec: None}, 1000); !errors.Is(err, errFull) {
		t.Errorf("past the limit: %v", err)
	}
}
