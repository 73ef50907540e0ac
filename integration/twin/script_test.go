package twin

import (
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/integration/batch"
)

// parseOne parses a script of one case with one request and returns the request.
func parseOne(t *testing.T, step string) *request {
	t.Helper()
	s, err := Parse("test", "api Produce\ncase c\n"+step+"\n")
	if err != nil {
		t.Fatal(err)
	}
	return s.Cases[0].Steps[0].(*request)
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"case c\nProduce\n", "does not name its API"},
		{"api Foo\n", `no API named "Foo"`},
		{"api Produce\nProduce\n", "before the first case"},
		{"api Produce\ncase c\ncase c\n", "two cases named"},
		{"api Produce\ncase c v3-x\n", "want versions"},
		{"api Produce\ncase c\nProduce { Acks 1 }\n", `want ":"`},
		{"api Produce\ncase c\nProduce { Acks: 1 } => WHATEVER\n", "not an error code"},
		{"api Produce\ncase c\nProduce { Acks: 1 } extra\n", "does not belong here"},
		{"api Produce\ncase c\nProduce => ok differs => INVALID_REQUEST\n", "needs its reason"},
		{"api Produce\ncase c\nmask Topics[].Topic set\n", "needs its reason"},
		{"api Produce\ncase c\nmask Topics[].Topic hide \"why\"\n", `no mask "hide"`},
		{"api Produce\ncase c\nappend t batch(k:v)\n", "want a topic such as $t"},
		{"api Produce\ncase c\nname \"x\n", "quote is not closed"},
	} {
		if _, err := Parse("test", c.src); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want an error with %q", c.src, err, c.want)
		}
	}
}

func TestParseStep(t *testing.T) {
	r := parseOne(t, `a: Produce v7 client="x" { Acks: 1 }
  eventually Topics[0].Partitions[1].ErrorCode == 3
  => v3-6 INVALID_RECORD CORRUPT_MESSAGE | v7+ closed`)
	if r.conn != "a" || r.version != 7 || r.Line != 3 || r.until.path != "Topics[0].Partitions[1].ErrorCode" || r.until.value != num(3) {
		t.Errorf("%+v, until %+v", r, r.until)
	}
	if got := r.expect.forVersion(4).errors; !reflect.DeepEqual(got, []string{"CORRUPT_MESSAGE", "INVALID_RECORD"}) {
		t.Errorf("errors at v4: %q", got)
	}
	if !r.expect.forVersion(12).closed {
		t.Error("v12 is not expected to be closed")
	}
	if got := parseOne(t, "Produce").expect.forVersion(3); !reflect.DeepEqual(got, expected{}) {
		t.Errorf("without => the expectation is %+v, want ok", got)
	}
}

func TestFill(t *testing.T) {
	vars := env{"t": "topic-1", "t.id": [16]byte{1, 2}, "n": int64(40)}
	r := parseOne(t, `Produce {
	  TransactionID: null Acks: -1 TimeoutMillis: $n+2
	  Topics: [{ $t tags: {5: x"0102"} Partitions: [times(2 { Partition: $i Records: bytes(i16(258) "${t}") })] }]
	}`)
	req := kmsg.NewPtrProduceRequest()
	if err := vars.fillStruct(reflect.ValueOf(req).Elem(), r.body); err != nil {
		t.Fatal(err)
	}
	want := kmsg.NewPtrProduceRequest()
	want.Acks, want.TimeoutMillis = -1, 42
	row := kmsg.NewProduceRequestTopic()
	row.Topic, row.TopicID = "topic-1", [16]byte{1, 2}
	row.UnknownTags.Set(5, []byte{1, 2})
	for i := range int32(2) {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = i, []byte("\x01\x02topic-1")
		row.Partitions = append(row.Partitions, p)
	}
	want.Topics = append(want.Topics, row)
	if !reflect.DeepEqual(req, want) {
		t.Errorf("filled %+v\nwant %+v", req, want)
	}
}

func TestFillErrors(t *testing.T) {
	for step, want := range map[string]string{
		"Produce { Ack: 1 }":                        "no field Ack",
		"Produce { Acks: 70000 }":                   "does not fit",
		"Produce { Acks: x }":                       "does not fit",
		"Produce { Acks: $x }":                      "no variable $x",
		`Produce { TransactionID: "${x}" }`:         "no variable ${x}",
		"Produce { Topics: 3 }":                     "want a list",
		"Produce { Topics: [3] }":                   "want {fields}",
		"Produce { Topics: [{ Topic: foo(1) }] }":   "no constructor foo",
		"Produce { Topics: [{ Topic: cut(5 x) }] }": "cut(5) of 1 bytes",
	} {
		req := kmsg.NewPtrProduceRequest()
		if err := (env{}).fillStruct(reflect.ValueOf(req).Elem(), parseOne(t, step).body); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", step, err, want)
		}
	}
}

// evaluate returns the bytes that a constructor makes.
func evaluate(t *testing.T, src string) []byte {
	t.Helper()
	r := parseOne(t, "Produce trailing="+src)
	b, err := env{"now": int64(5)}.bytes(r.options[0].value)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return b
}

func TestBytes(t *testing.T) {
	for src, want := range map[string]string{
		`x"00 fF"`:                   "00ff",
		`"ab"`:                       "6162",
		"i8(-1)":                     "ff",
		"i32(258)":                   "00000102",
		"i64(1)":                     "0000000000000001",
		"varint(-1)":                 "01",
		"uvarint(300)":               "ac02",
		"zero(2)":                    "0000",
		"fill(2)":                    "7878",
		"flip(-1 x\"0000\")":         "0001",
		"patch(1 x\"ab\" zero(3))":   "00ab00",
		"cut(1 x\"0102\")":           "01",
		"bytes(i8(1) \"a\" x\"ff\")": "0161ff",
	} {
		if got := hex.EncodeToString(evaluate(t, src)); got != want {
			t.Errorf("%s is %s, want %s", src, got, want)
		}
	}
}

func TestBatch(t *testing.T) {
	got := evaluate(t, `batch(k:v null:"x y"@7 z:null{h:1 i:null} codec=gzip pid=9 seq=3 ts=now attributes=8 leaderepoch=4)`)
	batches, tail, err := batch.Decode(got)
	if err != nil || len(batches) != 1 || len(tail) != 0 {
		t.Fatalf("%d batches, %d bytes after them, %v", len(batches), len(tail), err)
	}
	want := batch.New(5, batch.KV("k", "v"), batch.Record{Value: []byte("x y"), TimestampDelta: 7},
		batch.Record{Key: []byte("z"), Headers: []batch.Header{{Key: "h", Value: []byte("1")}, {Key: "i"}}})
	want.Attributes, want.ProducerID, want.ProducerEpoch, want.BaseSequence, want.LeaderEpoch = 8|int16(batch.Gzip), 9, 0, 3, 4
	want.Length, want.CRC = batches[0].Length, batches[0].CRC
	if !reflect.DeepEqual(batches[0], want) {
		t.Errorf("%+v\nwant %+v", batches[0], want)
	}
	if broken := evaluate(t, "flip(-1 batch(k:v))"); !strings.Contains(decodeError(broken), "CRC") {
		t.Errorf("a flipped bit: %s", decodeError(broken))
	}
	if sealed := evaluate(t, "seal(flip(66 batch(k:v)))"); decodeError(sealed) != "" {
		t.Errorf("a sealed batch: %s", decodeError(sealed))
	}
}

func decodeError(b []byte) string {
	if _, _, err := batch.Decode(b); err != nil {
		return err.Error()
	}
	return ""
}

func TestMessageOptions(t *testing.T) {
	r := parseOne(t, `Produce client=null corr=-5 tag=x"01" body="abcdef" cut=2 trailing=x"ff" as=v0`)
	m := &message{body: []byte("encoded"), as: 7}
	if err := m.apply(env{}, r.options); err != nil {
		t.Fatal(err)
	}
	if m.header.ClientID != nil || m.header.Correlation != -5 || string(m.header.Tags) != "\x01" || string(m.body) != "abcd\xff" || m.as != 0 {
		t.Errorf("%+v", m)
	}
	if err := m.apply(env{}, parseOne(t, "Produce colour=1").options); err == nil {
		t.Error("an unknown option is accepted")
	}
}
