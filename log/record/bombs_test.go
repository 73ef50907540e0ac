package record

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// bomb is a payload that expands to more than bombLimits.
type bomb struct {
	name  string
	codec Codec
	bytes []byte
	// most is how many bytes may be allocated to refuse it.
	most uint64
}

const mib = 1 << 20

// bombLimits are like those of a topic, a sixteenth of the size, so that the race detector can follow.
var bombLimits = limits{total: minTotal / 16, whole: minWhole / 16}

func bombs(t testing.TB) []bomb {
	t.Helper()
	// One record, as its value can be stepped over as it streams by: nothing else stops it before the limit.
	plain := rawRecord(0, 0, nil, string(make([]byte, minTotal/16+mib)))
	own := func(codec Codec) []byte { return packed(t, codec, plain) }
	parts := func(compress func([]byte) []byte) (out []byte) {
		for part := range slices.Chunk(plain, mib/2) {
			out = append(out, compress(part)...)
		}
		return out
	}
	block := s2.EncodeSnappy(nil, plain)
	return []bomb{
		{"gzip", Gzip, own(Gzip), mib},
		{"gzip, cut", Gzip, own(Gzip)[:4000], mib},
		{"gzip members", Gzip, parts(func(b []byte) []byte { return stdGzip(t, b) }), mib},
		{"xerial", Snappy, own(Snappy), mib},
		{"snappy block", Snappy, block, mib},
		{"snappy block in xerial", Snappy, xerial(block), mib},
		{"snappy, 2 GiB declared", Snappy, []byte{0xff, 0xff, 0xff, 0xff, 0x07, 0x00}, mib},
		{"lz4", LZ4, own(LZ4), mib},
		{"lz4, 4 MiB blocks", LZ4, lz4Frame(t, plain), 5 * mib},
		{"zstd", Zstd, own(Zstd), 2 * mib},
		{"zstd, window of 8 MiB", Zstd, withWindow(streamed(t, plain), 23), 10 * mib},
		{"zstd, window of 128 MiB", Zstd, withWindow(streamed(t, plain), 27), 2 * mib},
		{"zstd, one segment", Zstd, zstdFrame(t, plain, zstd.WithSingleSegment(true)), 7 * mib},
		{"zstd frames", Zstd, parts(func(b []byte) []byte { return zstdFrame(t, b) }), 2 * mib},
	}
}

// withWindow makes a zstd frame declare a window of 2^log bytes, as Java's producer does at levels above 19.
func withWindow(frame []byte, log int) []byte {
	frame = bytes.Clone(frame)
	frame[5] = byte(log-10) << 3
	return frame
}

// TestBombs: each is refused, with bounded memory. What is counted is every byte allocated on the way, which is more
// than was ever alive at once.
func TestBombs(t *testing.T) {
	for _, b := range bombs(t) {
		t.Run(b.name, func(t *testing.T) {
			batch := withPayload(t, b.codec, 1, b.bytes)
			c := NewCodecs()
			var w walk
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			w.begin(batch, nil)
			err := w.batch(batch, c, bombLimits)
			runtime.ReadMemStats(&after)
			if cut := strings.HasSuffix(b.name, "cut"); !cut && !errors.Is(err, errExpands) && b.name != "snappy, 2 GiB declared" || err == nil {
				t.Errorf("got %v", err)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > b.most {
				t.Errorf("refused after allocating %d KiB, allowed are %d", got>>10, b.most>>10)
			}
		})
	}
}

// TestStreamLimits: a payload is read to its limit and not a window further.
func TestStreamLimits(t *testing.T) {
	c := NewCodecs()
	const size = 300_000
	for codec := Gzip; codec <= Zstd; codec++ {
		payload := packed(t, codec, make([]byte, size))
		for _, total := range []int64{0, 1, size / 2, size - 1, size} {
			s := c.open(codec, payload, limits{total: total, whole: minWhole})
			read := int64(0)
			for s.fill() {
				read += int64(len(s.window()))
				s.consume(len(s.window()))
			}
			if over := errors.Is(s.failed(), errExpands); over != (total < size) || over && read > total+windowSize || !over && read != size {
				t.Errorf("%v, limit %d: %d bytes, %v", codec, total, read, s.failed())
			}
			c.close(s)
		}
	}
}

// TestExpansion: the limits follow max.message.bytes, the answer to a batch beyond them is the one that makes producers
// split it, and what is in a log already can be read all the same.
func TestExpansion(t *testing.T) {
	c := NewCodecs()
	b := NewBuilder(c, BuilderOptions{Codec: Zstd})
	for value := make([]byte, 4*mib); b.Size() < minTotal+mib; {
		b.Append(Record{Timestamp: testNow, Value: value})
	}
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	runCases(t, []validateCase{
		{"2.1.6", "within 64 MiB", produced(t, 9), maxBytes(1000), none, ""},
		{"2.1.6", "beyond 64 MiB", batch, maxBytes(minTotal / 8), large, none},
		{"2.1.6", "within 8 times max.message.bytes", batch, maxBytes(minTotal/8 + mib), none, ""},
	})
	n := 0
	for rec, err := range batch.Records(c) {
		if err != nil || len(rec.Value) != 4*mib {
			t.Fatal(err)
		}
		n++
	}
	if n != b.Len() {
		t.Errorf("%d records of %d", n, b.Len())
	}
	if _, ok, err := batch.FindTimestamp(c, testNow, int64(n-1)); !ok || err != nil {
		t.Errorf("the last record: %v, %v", ok, err)
	}
}

// TestCompressible: what clients make of very repetitive data must pass, with the default max.message.bytes.
func TestCompressible(t *testing.T) {
	line := []byte("the same line again and again, as some producers send it all day long\n")
	for codec := Gzip; codec <= Zstd; codec++ {
		b := NewBuilder(NewCodecs(), BuilderOptions{Codec: codec})
		for range 1000 {
			b.Append(Record{Timestamp: testNow, Value: line})
		}
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		accepted(t, batch, options())
		accepted(t, built(t, NewCodecs(), BuilderOptions{Codec: codec}, Record{Timestamp: testNow, Value: make([]byte, mib)}), options())

	}
	// Java's producer fills a batch by its compressed size: with the default batch.size up to 16 KiB of that.
	b := NewBuilder(NewCodecs(), BuilderOptions{Codec: Zstd})
	for value := bytes.Repeat(line, 1000); b.Size() < 16*mib; {
		b.Append(Record{Timestamp: testNow, Value: value})
	}
	batch, err := b.Build()
	if err != nil || len(batch) > 16<<10 {
		t.Fatalf("%d bytes, %v", len(batch), err)
	}
	accepted(t, batch, options())
	// Raw snappy, as franz-go and librdkafka send it.
	accepted(t, withPayload(t, Snappy, 1, s2.EncodeSnappy(nil, rawRecord(0, 0, nil, strings.Repeat("x", 2*mib)))), options())
}
