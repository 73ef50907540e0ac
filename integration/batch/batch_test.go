package batch

import (
	"bytes"
	"encoding/hex"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestDecodeKafka reads what the Java producer and Kafka made, in every codec.
func TestDecodeKafka(t *testing.T) {
	text, err := os.ReadFile("testdata/kafka.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(text)) {
		codec, encoded, _ := strings.Cut(strings.TrimSpace(line), " ")
		if codec == "#" {
			continue
		}
		seen++
		in, err := hex.DecodeString(encoded)
		if err != nil {
			t.Fatal(err)
		}
		batches, tail, err := Decode(append(in, in[:30]...))
		if err != nil || len(batches) != 1 || len(tail) != 30 {
			t.Errorf("%s: %d batches, %d bytes left, %v", codec, len(batches), len(tail), err)
			continue
		}
		b := batches[0]
		want := []Header{{"h1", []byte("one")}, {"h-null", nil}, {"h-empty", []byte{}}, {"h1", []byte("again")}, {"", []byte("empty-name")}}
		if len(b.Records) != 5 || !reflect.DeepEqual(b.Records[0].Headers, want) {
			t.Errorf("%s: %d records, headers %q, want 5 and %q", codec, len(b.Records), b.Records[0].Headers, want)
		}
		// Uncompressed bytes come out again exactly; a codec may do it in another way.
		if again := b.Encode(); codec == "none" && !bytes.Equal(again, in) {
			t.Errorf("encoded again:\n%x\nwant\n%x", again, in)
		}
	}
	if seen != 5 {
		t.Errorf("%d batches in testdata, want one for each of 5 codecs", seen)
	}
}

func TestEncodeDecode(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		for _, xerial := range []bool{false, true} {
			b := New(1000, KV("a", "1"), Record{Value: []byte(strings.Repeat("long ", 100)), TimestampDelta: -7}, Record{Key: []byte{}, TimestampDelta: 9,
				Headers: []Header{{"h", nil}, {"i", []byte{}}}})
			b.Attributes, b.BaseOffset, b.LeaderEpoch, b.ProducerID, b.ProducerEpoch, b.BaseSequence = int16(codec), 5, 6, 7, 8, 9
			b.XerialSnappy = xerial
			out := b.Encode()
			got, tail, err := Decode(out)
			if err != nil || len(tail) != 0 || len(got) != 1 {
				t.Fatalf("codec %d: %v", codec, err)
			}
			got[0].XerialSnappy = xerial
			if !reflect.DeepEqual(got[0], b) {
				t.Errorf("codec %d: %+v\nwant %+v", codec, got[0], b)
			}
			if got[0].MaxTimestamp != 1009 {
				t.Errorf("codec %d: maximum timestamp %d, want 1009", codec, got[0].MaxTimestamp)
			}
		}
	}
}

func TestDecodeDamage(t *testing.T) {
	good := New(0, KV("k", "v")).Encode()
	for what, change := range map[string]func(b []byte) []byte{
		"CRC":        func(b []byte) []byte { b[AtCRC] ^= 1; return b },
		"magic":      func(b []byte) []byte { b[AtMagic] = 1; return b },
		"too few":    func(b []byte) []byte { b[AtLength+3] = 10; return b },
		"malformed":  func(b []byte) []byte { b[HeaderSize] = 2; return Seal(b) },
		"after":      func(b []byte) []byte { return Seal(append(b, 0)) },
		"codec 1":    func(b []byte) []byte { b[AtAttributes+1] = 1; return Seal(b) },
		"record 0 o": func(b []byte) []byte { return Seal(b[:len(b)-1]) },
	} {
		if _, _, err := Decode(change(bytes.Clone(good))); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
