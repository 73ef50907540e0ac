package shape

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill puts one element into every array of a request and a byte into every string, so that each field is walked.
func fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() && depth < 8 {
			v.Set(reflect.New(v.Type().Elem()))
		}
		if !v.IsNil() {
			fill(v.Elem(), depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && v.Type().Field(i).Name != "Version" && v.Type().Field(i).Name != "UnknownTags" {
				fill(f, depth+1)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth+1)
	case reflect.String:
		v.SetString("x")
	}
}

// TestEveryRequest walks every request that kmsg can write, empty and filled, in every version that Kafka defines.
func TestEveryRequest(t *testing.T) {
	n := 0
	for key, shape := range requests {
		known := kmsg.RequestForKey(key)
		if known == nil {
			continue
		}
		for v := shape.min; v <= min(shape.max, known.MaxVersion()); v++ {
			for _, full := range []bool{false, true} {
				req := kmsg.RequestForKey(key)
				if full {
					fill(reflect.ValueOf(req), 0)
				}
				req.SetVersion(v)
				body := req.AppendTo(nil)
				if err := Check(key, v, body); err != nil {
					t.Errorf("%s v%d full=%v: %v\n%x", kmsg.NameForKey(key), v, full, err, body)
				}
				for cut := range body {
					if err := Check(key, v, body[:cut]); err == nil && cut < len(body)-1 {
						t.Errorf("%s v%d full=%v: cut to %d of %d bytes passes", kmsg.NameForKey(key), v, full, cut, len(body))
						break
					}
				}
				n++
			}
		}
	}
	if n < 500 {
		t.Fatalf("only %d bodies were walked", n)
	}
}

// TestAmplification refuses announced arrays that the body can't hold, at once and without allocating (T012, T020b).
func TestAmplification(t *testing.T) {
	body := binary.BigEndian.AppendUint32(nil, 1<<31-1)
	if err := Check(3, 0, body); !errors.Is(err, ErrTooMany) {
		t.Errorf("array of 2^31-1 topics: %v", err)
	}
	body = append(binary.BigEndian.AppendUint32(nil, 100_000), make([]byte, 50_000)...)
	if err := Check(3, 0, body); !errors.Is(err, ErrMalformed) {
		t.Errorf("100,000 topics in 50,000 bytes: %v", err)
	}
	if err := Check(18, 3, append([]byte{2, 'a', 2, 'b'}, 0xff, 0xff, 0xff, 0xff, 0x0f)); !errors.Is(err, ErrMalformed) {
		t.Errorf("2^32-1 tags: %v", err)
	}
	big := append(binary.BigEndian.AppendUint32(nil, MaxElements+1), bytes.Repeat([]byte{0, 0}, MaxElements+1)...)
	if err := Check(3, 0, big); !errors.Is(err, ErrTooMany) {
		t.Errorf("%d topics: %v", MaxElements+1, err)
	}
	if a := testing.AllocsPerRun(10, func() { _ = Check(3, 0, body) }); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

// TestNull refuses null where Kafka does (appendix D.4).
func TestNull(t *testing.T) {
	null := binary.BigEndian.AppendUint32(nil, 1<<32-1)
	if err := Check(3, 0, null); !errors.Is(err, ErrMalformed) {
		t.Errorf("Metadata v0 with null topics: %v", err)
	}
	if err := Check(3, 1, null); err != nil {
		t.Errorf("Metadata v1 with null topics: %v", err)
	}
}

// TestLongString refuses a string that is longer than Kafka takes one, in whatever encoding: it goes into records whose
// strings have two bytes for their length.
func TestLongString(t *testing.T) {
	req := kmsg.NewPtrOffsetCommitRequest()
	for _, version := range []int16{7, 8, 10} {
		for n, want := range map[int]error{math.MaxInt16: nil, math.MaxInt16 + 1: ErrMalformed} {
			if version < 8 && want != nil {
				continue // two bytes cannot say it
			}
			req.Version, req.Group = version, strings.Repeat("g", n)
			if err := Check(8, version, req.AppendTo(nil)); !errors.Is(err, want) {
				t.Errorf("v%d: a string of %d bytes: %v", version, n, err)
			}
		}
	}
	join := kmsg.NewPtrJoinGroupRequest()
	join.Version, join.Protocols = 6, []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: make([]byte, math.MaxInt16+1)}}
	if err := Check(11, 6, join.AppendTo(nil)); err != nil {
		t.Errorf("bytes, which are not a string: %v", err)
	}
}

// FuzzCheck: whatever passes Check is decoded by kmsg, and nothing panics.
func FuzzCheck(f *testing.F) {
	for key := range requests {
		if req := kmsg.RequestForKey(key); req != nil {
			req.SetVersion(req.MaxVersion())
			f.Add(key, req.MaxVersion(), req.AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		if Check(key, version, body) != nil {
			return
		}
		req := kmsg.RequestForKey(key)
		if req == nil || version < 0 || version > req.MaxVersion() {
			return
		}
		req.SetVersion(version)
		if err := req.ReadFrom(body); err != nil {
			t.Fatalf("key %d version %d passes Check but kmsg says %v", key, version, err)
		}
	})
}
