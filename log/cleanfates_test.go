package log

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kbroker/kbroker/log/record"
)

// TestFates: what stays of a log is the same, byte for byte, with the fates of its records and by looking up each key.
func TestFates(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		codecs := record.NewCodecs()
		batches, end := randomBatches(t, r, codecs)
		first := r.Int64N(end) // below, and possibly in the middle of a batch, the log is clean
		slots := int64(5 + r.IntN(400))
		var with, without offsetMap
		with.reset(1<<20, 0.9, first, end)
		without.reset(1<<20, 0.9, first, end)
		without.fates.reset(first, end, 0)
		with.room, without.room = int(slots), int(slots) // often less than there are keys
		for _, m := range []*offsetMap{&with, &without} {
			noteBatches(t, m, batches, record.NewSieve(codecs), first)
		}
		if with.last != without.last || !with.fates.cover(first, end-1) || without.fates.cover(first, first) {
			t.Fatalf("seed %d: the maps are not what was to be compared", seed)
		}
		const now = 1_000_000
		fast := newCleanFilter(&with, record.NewSieve(codecs), nil, now, 500)
		slow := newCleanFilter(&without, record.NewSieve(codecs), nil, now, 500)
		for _, b := range batches {
			got, _, err := fast.filter(nil, b, false)
			want, _, err2 := slow.filter(nil, b, false)
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("seed %d: the batch at %d with %d records is left with %d bytes, not %d", seed, b.BaseOffset(), b.RecordCount(), len(got), len(want))
			}
		}
		if fast.invalid != slow.invalid {
			t.Errorf("seed %d: %d records without a key, not %d", seed, fast.invalid, slow.invalid)
		}
	}
}

// noteBatches makes the map of keys as a pass does, up to the key that it has no room for.
func noteBatches(t *testing.T, m *offsetMap, batches []record.Batch, sieve *record.Sieve, first int64) {
	full := false
	for _, b := range batches {
		err := sieve.Each(b, func(e record.Entry) bool {
			full = e.Offset >= first && !m.note(e)
			return !full
		})
		if err != nil {
			t.Fatal(err)
		}
		if full {
			return
		}
		m.seen = max(m.seen, b.LastOffset())
	}
	m.settle()
}

// randomBatches makes batches of few to many records, of which runs have the same keys, and some no key, or no value.
func randomBatches(t *testing.T, r *rand.Rand, codecs *record.Codecs) (batches []record.Batch, end int64) {
	for range 60 {
		o := record.BuilderOptions{BaseOffset: end, Codec: record.Codec(r.IntN(int(record.Zstd) + 1))}
		if r.IntN(4) == 0 {
			o.DeleteHorizon = 999_900 + r.Int64N(200) // has passed or not
		}
		b := record.NewBuilder(codecs, o)
		keys, plain := 1+r.IntN(300), r.IntN(2) == 0
		for range 1 + r.IntN(100) {
			rec := record.Record{Offset: end, Timestamp: 1000 + end, Key: fmt.Append(nil, r.IntN(keys)), Value: []byte("value")}
			switch n := r.IntN(20); {
			case plain:
			case n == 0:
				rec.Key = nil
			case n < 3:
				rec.Value = nil
			}
			b.Append(rec)
			end++
		}
		end += r.Int64N(3) // compaction took the last ones
		b.SetLastOffset(end - 1)
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		batches = append(batches, batch)
	}
	return batches, end
}
