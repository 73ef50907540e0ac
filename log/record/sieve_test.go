package record

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// sieveBatch is a batch of n records, of which each third has no key and each fourth no value.
func sieveBatch(t testing.TB, c *Codecs, o BuilderOptions, n int) Batch {
	t.Helper()
	b := NewBuilder(c, o)
	for i := range n {
		r := Record{Timestamp: 1_700_000_000_000 + int64(i*i%97), Key: fmt.Appendf(nil, "key-%d", i), Value: bytes.Repeat([]byte{byte(i)}, i*7), Headers: []Header{{Key: "h", Value: []byte{1}}}}
		if i%3 == 2 {
			r.Key = nil
		}
		if i%4 == 3 {
			r.Value = nil
		}
		b.Append(r)
	}
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// judgeFunc is a Judge for tests.
type judgeFunc struct {
	stays func(Entry) bool
	list  []bool
}

func (j *judgeFunc) See(e Entry) { j.list = append(j.list, j.stays(e)) }

func (j *judgeFunc) Stay() []bool {
	list := j.list
	j.list = nil
	return list
}

func judgeBy(stays func(Entry) bool) *judgeFunc { return &judgeFunc{stays: stays} }

// listOf prints a batch's records.
func listOf(t testing.TB, c *Codecs, b Batch) (list []string) {
	t.Helper()
	for r, err := range b.Records(c) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%d %d %q %v %x %v", r.Offset, r.Timestamp, r.Key, r.Value == nil, r.Value, r.Headers))
	}
	return list
}

// TestSieve: what stays of a batch is the same record for record, timestamps included, in the same codec, with and
// without a delete horizon (rules 2.2.3, 3.10.5 and 3.10.7).
func TestSieve(t *testing.T) {
	c := NewCodecs()
	s := NewSieve(c)
	for codec := None; codec <= Zstd; codec++ {
		for _, o := range []BuilderOptions{
			{BaseOffset: 1000, LeaderEpoch: 4, Codec: codec, Producer: &Producer{ID: 9, Epoch: 2, BaseSequence: 77}, Transactional: true},
			{BaseOffset: 5, Codec: codec, LogAppendTime: 1_800_000_000_000},
			{BaseOffset: 5, Codec: codec, DeleteHorizon: 1_900_000_000_000},
		} {
			b := sieveBatch(t, c, o, 150) // more than are judged at once
			all := listOf(t, c, b)
			for _, horizon := range []int64{0, 1_750_000_000_000} {
				want := slices.DeleteFunc(slices.Clone(all), func(r string) bool { return strings.Contains(r, "1\"") })
				found, err := s.Sift(b, judgeBy(func(e Entry) bool { return !bytes.HasSuffix(e.Key, []byte("1")) }))
				if err != nil {
					t.Fatal(err)
				}
				out, err := s.AppendTo([]byte("before"), horizon)
				if err != nil {
					t.Fatal(err)
				}
				got := Batch(out[len("before"):])
				if int(found.Kept) != len(want) || int(found.Dropped) != len(all)-len(want) || !found.Tombstone {
					t.Errorf("%+v, want %d of %d kept", found, len(want), len(all))
				}
				if list := listOf(t, c, got); !slices.Equal(list, want) {
					t.Errorf("%v, %+v, horizon %d: the records are\n%s\nwant\n%s", codec, o, horizon, strings.Join(list, "\n"), strings.Join(want, "\n"))
				}
				if !got.VerifyCRC() || got.Size() != len(got) || got.BaseOffset() != b.BaseOffset() || got.LastOffset() != b.LastOffset() || got.Codec() != codec ||
					got.ProducerID() != b.ProducerID() || got.BaseSequence() != b.BaseSequence() || got.LastSequence() != b.LastSequence() ||
					got.PartitionLeaderEpoch() != b.PartitionLeaderEpoch() || got.IsTransactional() != b.IsTransactional() || got.TimestampType() != b.TimestampType() {
					t.Errorf("%v: the header is %x, was %x", codec, got[:HeaderSize], b[:HeaderSize])
				}
				if has := horizon > 0 || b.HasDeleteHorizon(); got.HasDeleteHorizon() != has || horizon > 0 && got.BaseTimestamp() != horizon {
					t.Errorf("the horizon is %v, %d", got.HasDeleteHorizon(), got.BaseTimestamp())
				}
			}
		}
	}
}

// TestEmptyBatch is rule 3.10.8.
func TestEmptyBatch(t *testing.T) {
	c := NewCodecs()
	for _, o := range []BuilderOptions{
		{BaseOffset: 1000, LeaderEpoch: 4, Codec: Zstd, Producer: &Producer{ID: 9, Epoch: 2, BaseSequence: 77}, Transactional: true},
		{BaseOffset: 5, Codec: Gzip, LogAppendTime: 1_800_000_000_000}, {DeleteHorizon: 99},
	} {
		b := sieveBatch(t, c, o, 5)
		e := Batch(AppendEmpty(nil, b))
		if len(e) != HeaderSize || !e.VerifyCRC() || e.RecordCount() != 0 || e.Codec() != None || e.BaseTimestamp() != NoTimestamp || e.HasDeleteHorizon() ||
			e.MaxTimestamp() != b.MaxTimestamp() || e.LastOffset() != b.LastOffset() || e.LastSequence() != b.LastSequence() || e.IsTransactional() != b.IsTransactional() || e.TimestampType() != b.TimestampType() {
			t.Errorf("%x of %x", e, b[:HeaderSize])
		}
	}
}

// FuzzSieve: bytes that no batch consists of are refused, and others come through as they were.
func FuzzSieve(f *testing.F) {
	c := NewCodecs()
	for codec := None; codec <= Zstd; codec++ {
		f.Add([]byte(sieveBatch(f, c, BuilderOptions{Codec: codec}, 9)), int64(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, horizon int64) {
		b, _, err := Next(data)
		if err != nil || b == nil {
			return
		}
		s := NewSieve(c)
		found, err := s.Sift(b, judgeBy(func(e Entry) bool { return e.Offset%2 == 0 }))
		if err != nil || found.Kept == 0 {
			return
		}
		out, err := s.AppendTo(nil, horizon)
		if err != nil {
			t.Fatal(err)
		}
		got := Batch(out)
		if !got.VerifyCRC() || got.Size() != len(out) || got.RecordCount() != found.Kept {
			t.Fatalf("%d records in %d bytes, want %d", got.RecordCount(), len(out), found.Kept)
		}
		again, err := s.Sift(got, nil)
		if err != nil || again.Kept != found.Kept || again.Tombstone != found.Tombstone {
			t.Fatalf("%+v, %v, want %+v", again, err, found)
		}
	})
}
