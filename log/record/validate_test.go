package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func put16(b Batch, at, v int)   { binary.BigEndian.PutUint16(b[at:], uint16(v)) }
func put32(b Batch, at, v int)   { binary.BigEndian.PutUint32(b[at:], uint32(v)) }
func put64(b Batch, at, v int64) { binary.BigEndian.PutUint64(b[at:], uint64(v)) }

// edit changes a batch and gives it the right checksum.
func edit(b Batch, change func(Batch)) Batch {
	change(b)
	b.Reseal()
	return b
}

// broken changes a batch and leaves the checksum as it was.
func broken(b Batch, change func(Batch)) Batch {
	change(b)
	return b
}

// withPayload makes a batch of n records with this payload, which may be anything.
func withPayload(t testing.TB, codec Codec, n int, payload []byte) Batch {
	t.Helper()
	b := append(bytes.Clone(produced(t, 1)[:HeaderSize]), payload...)
	return edit(b, func(b Batch) {
		put32(b, atBatchLength, len(b)-Overhead)
		put16(b, atAttributes, int(codec))
		put32(b, atLastOffsetDelta, n-1)
		put32(b, atRecordCount, n)
	})
}

// options are those of a topic with Kafka's defaults.
func options(change ...func(*ValidateOptions)) *ValidateOptions {
	o := &ValidateOptions{ProduceVersion: 12, MaxMessageBytes: 1048588, BeforeMaxMs: NoTimeLimit, AfterMaxMs: 3_600_000,
		Now: testNow, Codecs: NewCodecs()}
	for _, f := range change {
		f(o)
	}
	return o
}

func compacted(o *ValidateOptions)   { o.Compact = true }
func appendTime(o *ValidateOptions)  { o.TimestampType = LogAppendTime }
func coordinator(o *ValidateOptions) { o.Origin = OriginCoordinator }
func maxBytes(n int) func(*ValidateOptions) {
	return func(o *ValidateOptions) { o.MaxMessageBytes = int32(n) }
}
func version(n int16) func(*ValidateOptions) {
	return func(o *ValidateOptions) { o.ProduceVersion = n }
}
func recompress(c Codec) func(*ValidateOptions) {
	return func(o *ValidateOptions) { o.Compression = Compression{Recompress: true, Codec: c} }
}
func timeLimits(before, after int64) func(*ValidateOptions) {
	return func(o *ValidateOptions) { o.BeforeMaxMs, o.AfterMaxMs = before, after }
}

// outcome is what Validate answers, as text: the code's name, the offending records, and "start" when the answer carries
// the log's start offset.
func outcome(err error) string {
	if err == nil {
		return "NONE"
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return fmt.Sprintf("not an *Error: %v", err)
	}
	out := e.Err.Message
	for i, r := range e.Records {
		if i == 0 {
			out += " ["
		} else {
			out += " "
		}
		out += fmt.Sprint(r.Index)
		if i == len(e.Records)-1 {
			out += "]"
		}
	}
	if e.WithLogStart {
		out += " start"
	}
	return out
}

// validateCase is one batch and what is answered to it. Every answer was also asked of a real Kafka 4.3.1 with the same
// bytes; where it differs, kafka says what it answered, and a comment why we do not.
type validateCase struct {
	rule  string
	name  string
	batch []byte
	with  func(*ValidateOptions)
	want  string
	kafka string
}

func runCases(t *testing.T, cases []validateCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.rule+" "+tc.name, func(t *testing.T) {
			o := options()
			if tc.with != nil {
				tc.with(o)
			}
			sent := bytes.Clone(tc.batch)
			var s Scratch
			_, err := Validate(tc.batch, o, &s)
			if got := outcome(err); got != tc.want {
				t.Errorf("%s, want %s (%v)", got, tc.want, err)
			}
			if tc.kafka == tc.want {
				t.Error("the kafka column is for differences")
			}
			if err != nil && !bytes.Equal(sent, tc.batch) {
				t.Error("a refused batch was changed")
			}
			if e, ok := errors.AsType[*Error](err); ok && !errors.Is(err, e.Err) {
				t.Error("the error does not unwrap to its code")
			}
		})
	}
}

const (
	none        = "NONE"
	badRecord   = "INVALID_RECORD"
	inLog       = "INVALID_RECORD start"
	corrupt     = "CORRUPT_MESSAGE"
	large       = "MESSAGE_TOO_LARGE"
	serverError = "UNKNOWN_SERVER_ERROR"
)

// TestRequestRules are rules 2.4.1 and 2.4.4: what is found in the request alone.
func TestRequestRules(t *testing.T) {
	g := func(n int) Batch { return produced(t, n) }
	z := produced(t, 3, func(o *BuilderOptions) { o.Codec = Zstd })
	length := func(n int) Batch { return broken(g(3), func(b Batch) { put32(b, atBatchLength, n) }) }
	magic := func(m byte) Batch { return broken(g(3), func(b Batch) { b[atMagic] = m }) }
	runCases(t, []validateCase{
		{"2.4.1", "null", nil, nil, badRecord, "no answer at all"},
		{"2.4.1", "empty", []byte{}, nil, badRecord, "no answer at all"},
		{"2.4.1", "5 bytes", make([]byte, 5), nil, badRecord, ""},
		{"2.4.1", "20 bytes", g(3)[:20], nil, badRecord, ""},
		{"2.4.1", "header only", g(3)[:HeaderSize], nil, badRecord, ""},
		{"2.4.1", "one byte short", g(3)[:len(g(3))-1], nil, badRecord, ""},
		{"2.4.1", "two batches", append(g(2), g(2)...), nil, badRecord, ""},
		{"2.4.4", "garbage behind", append(g(2), 1, 2, 3, 4, 5), nil, none, ""},
		{"2.4.4", "half a batch behind", append(g(2), g(2)[:70]...), nil, none, ""},
		{"2.4.4", "zeros behind", append(g(2), make([]byte, 20)...), nil, corrupt, ""},
		{"2.4.4", "bad magic behind", append(g(2), bytes.Repeat([]byte{9}, 20)...), nil, corrupt, ""},
		{"2.4.1", "magic 0", magic(0), nil, badRecord, ""},
		{"2.4.1", "magic 1", magic(1), nil, badRecord, ""},
		{"2.4.1", "magic 3", magic(3), nil, corrupt, ""},
		{"2.4.1", "magic -1", magic(255), nil, corrupt, ""},
		{"2.4.4", "length -1", length(-1), nil, corrupt, ""},
		{"2.4.4", "length 0", length(0), nil, corrupt, ""},
		{"2.4.4", "length 13", length(13), nil, corrupt, ""},
		{"2.4.4", "length 14", length(14)[:26], nil, corrupt, serverError},
		{"2.4.4", "length 20", length(20)[:32], nil, corrupt, serverError},
		{"2.4.4", "length 48", length(48)[:60], nil, corrupt, ""},
		{"2.4.4", "length 49", length(49)[:61], nil, corrupt, ""},
		{"2.4.1", "zstd, version 6", bytes.Clone(z), version(6), "UNSUPPORTED_COMPRESSION_TYPE", ""}, // T046
		{"2.4.1", "zstd, version 7", bytes.Clone(z), version(7), none, ""},
		{"2.4.1", "zstd and another, version 6", append(bytes.Clone(z), g(1)...), version(6), "UNSUPPORTED_COMPRESSION_TYPE", ""},
	})
}

// TestCheckRequest is the part of Validate that comes before the topic is looked up.
func TestCheckRequest(t *testing.T) {
	z := produced(t, 3, func(o *BuilderOptions) { o.Codec = Zstd })
	if got := outcome(CheckRequest(z, 6)); got != "UNSUPPORTED_COMPRESSION_TYPE" {
		t.Error(got)
	}
	if got := outcome(CheckRequest(broken(z, func(b Batch) { b[70] ^= 1 }), 7)); got != none {
		t.Errorf("a wrong checksum is not the request's matter: %s", got)
	}
	if got := outcome(CheckRequest(nil, 7)); got != badRecord {
		t.Error(got)
	}
	if err := CheckRequest(z, 7); err != nil {
		t.Errorf("no error must be a nil interface: %v", err)
	}
}

// TestHeaderRules are rules 2.4.2 to 2.4.7.
func TestHeaderRules(t *testing.T) {
	g := func(n int) Batch { return produced(t, n) }
	exact := produced(t, 7)
	runCases(t, []validateCase{
		{"2.4.2", "base offset 5", broken(g(3), func(b Batch) { b.SetBaseOffset(5) }), nil, inLog, ""}, // T034
		{"2.4.2", "base offset 5, too large", broken(g(3), func(b Batch) { b.SetBaseOffset(5) }), maxBytes(70), inLog, ""},
		{"2.4.2", "base offset 5, checksum", broken(g(3), func(b Batch) { b.SetBaseOffset(5); b[70] ^= 1 }), nil, inLog, ""},
		{"2.4.2", "a coordinator's base offset", broken(g(3), func(b Batch) { b.SetBaseOffset(5) }), coordinator, none, ""},
		{"2.4.3", "exactly max.message.bytes", bytes.Clone(exact), maxBytes(len(exact)), none, ""}, // T033
		{"2.4.3", "one byte more", bytes.Clone(exact), maxBytes(len(exact) - 1), large, ""},
		{"2.4.3", "too large, checksum", broken(bytes.Clone(exact), func(b Batch) { b[70] ^= 1 }), maxBytes(70), large, ""},
		{"2.4.4", "checksum", broken(g(3), func(b Batch) { b[70] ^= 1 }), nil, corrupt, ""}, // T032
		{"2.4.5", "leader epoch", broken(g(3), func(b Batch) { b.SetPartitionLeaderEpoch(77) }), nil, none, ""},
		{"2.1.2", "codec 5", edit(g(3), func(b Batch) { put16(b, atAttributes, 5) }), nil, inLog, serverError + " start"},
		{"2.1.2", "codec 7", edit(g(3), func(b Batch) { put16(b, atAttributes, 7) }), nil, inLog, serverError + " start"},
		{"2.1.2", "unused bits", edit(g(3), func(b Batch) { put16(b, atAttributes, 0xff80) }), nil, none, ""},
		{"2.4.6", "last offset delta -1", edit(g(3), func(b Batch) { put32(b, atLastOffsetDelta, -1); put32(b, atRecordCount, 0) }), nil, inLog, ""},
		{"2.4.6", "last offset delta 2^31-1", edit(g(3), func(b Batch) { put32(b, atLastOffsetDelta, math.MaxInt32) }), nil, inLog, ""},
		{"2.4.6", "count 0", edit(g(3), func(b Batch) { put32(b, atRecordCount, 0) }), nil, inLog, ""},
		{"2.4.6", "count -1", edit(g(3), func(b Batch) { put32(b, atRecordCount, -1) }), nil, inLog, ""},
		{"2.4.6", "count 2 of 3", edit(g(3), func(b Batch) { put32(b, atRecordCount, 2) }), nil, inLog, ""}, // T034
		{"2.4.6", "control", edit(g(1), func(b Batch) { put16(b, atAttributes, 0x20) }), nil, inLog, ""},    // T034
		{"2.4.6", "a coordinator's control", edit(g(1), func(b Batch) { put16(b, atAttributes, 0x20) }), coordinator, none, ""},
		{"2.4.6", "producer id without sequence", edit(g(3), func(b Batch) { put64(b, atProducerID, 7) }), nil, inLog, ""},
		{"2.4.6", "a coordinator's without", edit(g(3), func(b Batch) { put64(b, atProducerID, 7) }), coordinator, none, ""},
		{"2.4.6", "sequence without producer id", edit(g(3), func(b Batch) { put32(b, atBaseSequence, 3) }), nil, none, ""},
		{"2.4.7", "transactional without producer id", edit(g(3), func(b Batch) { put16(b, atAttributes, 0x10) }), nil, none, ""},
	})
}

// TestRecordRules are rules 2.2.1, 2.4.8 to 2.4.11 and 2.4.15.
func TestRecordRules(t *testing.T) {
	far := int64(testNow + 7_200_000)
	records := func(times ...int64) Batch { // even ones have no key
		list := make([]Record, len(times))
		for i, at := range times {
			list[i] = Record{Timestamp: at, Value: []byte("v")}
			if i%2 == 1 {
				list[i].Key = []byte("k")
			}
		}
		return built(t, nil, BuilderOptions{}, list...)
	}
	claim := func(n int, max int64) Batch {
		return edit(produced(t, n), func(b Batch) { put16(b, atAttributes, 0x08); put64(b, atMaxTimestamp, max) })
	}
	runCases(t, []validateCase{
		{"2.4.8", "null keys 0 and 2", records(testNow, testNow, testNow), compacted, "INVALID_RECORD [0 2] start", ""}, // T035
		{"2.4.8", "not compacted", records(testNow, testNow, testNow), nil, none, ""},
		{"2.4.9", "two hours ahead", records(testNow, far, testNow, far), nil, "INVALID_TIMESTAMP [1 3] start", ""}, // T036
		{"2.4.9", "at the limit", records(testNow + 3_600_000), nil, none, ""},
		{"2.4.9", "past the limit", records(testNow + 3_600_001), nil, "INVALID_TIMESTAMP [0] start", ""},
		{"2.4.9", "none", records(-1, -1), nil, none, ""},
		{"2.4.9", "none, with a limit", records(-1, -1), timeLimits(1000, 1000), none, ""},
		{"2.4.9", "before 1970", records(-5, testNow), nil, none, ""},
		{"2.4.9", "the oldest", records(math.MinInt64), nil, "INVALID_TIMESTAMP [0] start", ""},
		{"2.4.9", "the newest", records(math.MaxInt64), nil, "INVALID_TIMESTAMP [0] start", ""},
		{"2.4.9", "the newest, no limit", records(math.MaxInt64), timeLimits(NoTimeLimit, NoTimeLimit), none, ""},
		{"2.4.9", "too old", records(testNow-1001, testNow-1000), timeLimits(1000, NoTimeLimit), "INVALID_TIMESTAMP [0] start", ""},
		{"2.4.9", "LogAppendTime has no limits", records(far, 5), appendTime, none, ""},
		{"2.4.10", "LogAppendTime bit, CreateTime topic", claim(3, testNow), nil, none, ""},
		{"2.4.10", "the bit and no time", claim(3, -1), nil, "INVALID_TIMESTAMP [0 1 2] start", ""},
		{"2.4.10", "the bit and a far time", claim(3, far), nil, "INVALID_TIMESTAMP [0 1 2] start", ""},
		{"2.4.10", "LogAppendTime bit, LogAppendTime topic", claim(3, testNow), appendTime, "INVALID_TIMESTAMP [0 1 2] start", ""},
		{"2.4.11", "null keys and bad times", records(far, far, testNow, testNow), compacted, "INVALID_TIMESTAMP [0 1 2] start", ""},
		{"2.4.11", "a null key, then a cut record", withPayload(t, None, 2, rawRecord(0, 0, nil, "v")), compacted, inLog, ""},
	})
	for _, codec := range []Codec{None, Gzip, Zstd} {
		wrong := slices.Concat(rawRecord(0, 0, "k", "v"), rawRecord(0, 5, "k", "v"))
		runCases(t, []validateCase{{"2.4.15", "offset deltas 0, 5 with " + codec.String(),
			withPayload(t, codec, 2, packed(t, codec, wrong)), nil, inLog, serverError + " start"}}) // and none uncompressed
	}
}

// rawRecord is a record of these fields, whether they make sense or not: an int stands for a varint, a string for its
// length and bytes, nil for null, bytes for themselves.
func rawRecord(timestampDelta, offsetDelta int, fields ...any) []byte {
	body := []byte{0}
	body = appendVarint(body, int64(timestampDelta))
	body = appendVarint(body, int64(offsetDelta))
	for _, f := range fields {
		switch f := f.(type) {
		case nil:
			body = appendVarint(body, -1)
		case int:
			body = appendVarint(body, int64(f))
		case string:
			body = appendField(body, f, false)
		case []byte:
			body = append(body, f...)
		}
	}
	if len(fields) == 2 {
		body = appendVarint(body, 0) // no headers
	}
	return append(appendVarint(nil, int64(len(body))), body...)
}

// packed compresses a payload.
func packed(t testing.TB, codec Codec, payload []byte) []byte {
	t.Helper()
	out, err := NewCodecs().compress(nil, payload, Compression{Codec: codec}, math.MaxInt32)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRecordStructure is rule 2.2.1, in uncompressed batches and, through the window, in compressed ones.
func TestRecordStructure(t *testing.T) {
	good := rawRecord(0, 0, "k", "v")
	long := make([]byte, 2*windowSize) // makes the record one that is read field by field
	for _, tc := range []struct {
		name    string
		payload []byte
		want    string
	}{
		{"good", good, none},
		{"null value", rawRecord(0, 0, "k", nil), none},
		{"null key", rawRecord(0, 0, nil, "v"), none},
		{"empty", rawRecord(0, 0, "", ""), none},
		{"header", rawRecord(0, 0, "k", "v", 1, "h", "v"), none},
		{"header with null value", rawRecord(0, 0, "k", "v", 1, "h", nil), none},
		{"header with bad UTF-8", rawRecord(0, 0, "k", "v", 1, "\xff\xfe", nil), none},
		{"long varint", append([]byte{0x90, 0x80, 0}, good[1:]...), none},
		{"ten-byte delta", withDelta(0x00), none},
		{"key length -2", rawRecord(0, 0, -2, "v"), inLog},   // Kafka takes it as null, librdkafka does not
		{"value length -2", rawRecord(0, 0, "k", -2), inLog}, // as above
		{"header value length -2", rawRecord(0, 0, "k", "v", 1, "h", -2), inLog},
		{"null header key", rawRecord(0, 0, "k", "v", 1, nil, "v"), inLog},
		{"header count -1", rawRecord(0, 0, "k", "v", -1), inLog},
		{"header count too high", rawRecord(0, 0, "k", "v", 100), inLog},
		{"header count one too high", rawRecord(0, 0, "k", "v", 2, "h", "v"), inLog},
		{"left over in record", rawRecord(0, 0, "k", "v", 0, []byte{0}), inLog},
		{"left over in batch", append(bytes.Clone(good), 1), inLog},
		{"key too long", rawRecord(0, 0, 100, "v"), inLog},
		{"value too long", rawRecord(0, 0, "k", 100), inLog},
		{"length too long", append([]byte{200}, good[1:]...), inLog},
		{"length too short", append([]byte{10}, good[1:]...), inLog},
		{"length -1", append([]byte{1}, good[1:]...), inLog},
		{"nothing", nil, inLog},
		{"six-byte varint", append([]byte{0x90, 0x80, 0x80, 0x80, 0x80, 0}, good[1:]...), inLog},
		{"varint over 32 bits", rawRecord(0, 0, []byte{0x82, 0x80, 0x80, 0x80, 0x70, 'k'}, "v"), inLog},
		{"varint over 64 bits", withDelta(0x02), inLog},
		{"eleven-byte delta", withDelta(0x80, 0x00), inLog},
		{"long", rawRecord(0, 0, "k", string(long)), none},
		{"long key", rawRecord(0, 0, string(long), string(long)), none},
		{"long header", rawRecord(0, 0, nil, nil, 1, "h", string(long)), none},
		{"long, null header key", rawRecord(0, 0, "k", string(long), 1, nil, "v"), inLog},
		{"long, header count -1", rawRecord(0, 0, "k", string(long), -1), inLog},
		{"long, header count too high", rawRecord(0, 0, "k", string(long), 2, "h", "v"), inLog},
		{"long, left over", rawRecord(0, 0, "k", string(long), 0, []byte{0}), inLog},
		{"long, value too long", rawRecord(0, 0, "k", 3*windowSize, long), inLog},
		{"long, key length -2", rawRecord(0, 0, -2, string(long)), inLog},
		{"long, cut", rawRecord(0, 0, "k", string(long))[:windowSize+100], inLog},
		{"long, wrong offset delta", rawRecord(0, 1, "k", string(long)), inLog},
		{"long, then left over", append(rawRecord(0, 0, "k", string(long)), 1), inLog},
	} {
		for codec := None; codec <= Zstd; codec++ {
			runCases(t, []validateCase{{"2.2.1", tc.name + " with " + codec.String(),
				withPayload(t, codec, 1, packed(t, codec, tc.payload)), nil, tc.want, ""}})
		}
	}
}

// withDelta is a record whose timestamp delta is nine continued bytes and these.
func withDelta(last ...byte) []byte {
	body := append([]byte{0}, bytes.Repeat([]byte{0x80}, 9)...)
	body = append(body, last...)
	body = append(body, 0, 2, 'k', 2, 'v', 0)
	return append(appendVarint(nil, int64(len(body))), body...)
}

// TestManyRecordErrors: the list is bounded, the code is not affected.
func TestManyRecordErrors(t *testing.T) {
	n := MaxRecordErrors + 500
	list := make([]Record, n)
	for i := range list {
		list[i].Timestamp = testNow
	}
	list[n-1].Timestamp = testNow + 7_200_000
	list[n-1].Key = []byte("k")
	var s Scratch
	_, err := Validate(built(t, nil, BuilderOptions{}, list...), options(compacted), &s)
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Err != kerr.InvalidTimestamp || len(e.Records) != MaxRecordErrors {
		t.Fatal(err)
	}
}
