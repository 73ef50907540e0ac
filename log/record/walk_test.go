package record

import (
	"math/rand/v2"
	"testing"
)

// general is walk.run without quick.
func (w *walk) general(b []byte) (used int, err error) {
	p := 0
	for !w.finished() {
		end, what := recordEnd(b, p)
		if what != "" {
			return p, w.malformed(what)
		}
		if end > len(b) {
			return p, nil
		}
		timestampDelta, offsetDelta, hasKey, what := parseRecord(b[:end], p)
		if what != "" {
			return p, w.malformed(what)
		}
		if err := w.take(timestampDelta, offsetDelta, hasKey); err != nil {
			return p, err
		}
		p = end
	}
	return p, nil
}

// witness is a judge that remembers what it saw.
type witness struct{ seen []int32 }

func (j *witness) judge(w *walk, offsetDelta int32, _ int64, _ bool) bool {
	j.seen = append(j.seen, offsetDelta)
	return len(j.seen) == 3
}

// compareWalks walks over a payload the quick and the general way, which must agree in everything.
func compareWalks(t *testing.T, payload []byte, start walk) {
	t.Helper()
	var judges [2]witness
	var walks [2]walk
	var used [2]int
	var errs [2]string
	for i := range walks {
		walks[i] = start
		walks[i].judge = &judges[i]
		run := walks[i].run
		if i == 1 {
			run = walks[i].general
		}
		n, err := run(payload)
		used[i] = n
		if err != nil {
			errs[i] = err.Error()
		}
		walks[i].judge = nil
	}
	if used[0] != used[1] || errs[0] != errs[1] || walks[0] != walks[1] || len(judges[0].seen) != len(judges[1].seen) {
		t.Fatalf("payload %x\nquick   %d %q %+v %v\ngeneral %d %q %+v %v", payload[:min(len(payload), 300)],
			used[0], errs[0], walks[0], judges[0].seen, used[1], errs[1], walks[1], judges[1].seen)
	}
}

// randomWalk is a walk as Validate, a search or nobody at all would begin it.
func randomWalk(rng *rand.Rand, count int32) walk {
	w := walk{count: count, lastDelta: -1, lo: minInt64, hi: maxInt64, maxTimestamp: NoTimestamp,
		base:  []int64{testNow, testNow, 0, -1, minInt64, maxInt64}[rng.IntN(6)],
		dense: rng.IntN(2) == 0, keyed: rng.IntN(3) == 0}
	switch rng.IntN(5) {
	case 0:
		w.lo, w.hi = testNow-100, testNow+100
	case 1:
		w.hi = testNow + 100
	case 2:
		w.lo, w.hi = maxInt64, minInt64
	}
	return w
}

// TestWalksAgree runs both ways over random batches, whole, cut and with flipped bits.
func TestWalksAgree(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 10))
		b := NewBuilder(nil, BuilderOptions{})
		for _, r := range randomRecords(rng) {
			b.Append(r)
			if b.Size() > 20_000 {
				break
			}
		}
		count := int32(b.Len() + rng.IntN(3) - 1)
		compareWalks(t, b.plain, randomWalk(rng, count))
		compareWalks(t, b.plain[:rng.IntN(len(b.plain))], randomWalk(rng, count))
		for range 50 {
			i := rng.IntN(len(b.plain))
			old := b.plain[i]
			b.plain[i] ^= 1 << rng.IntN(8)
			compareWalks(t, b.plain, randomWalk(rng, count))
			b.plain[i] = old
		}
	}
}

// TestWalkOffsets crosses all lengths of an offset delta's varint that quick knows, and the first it does not.
func TestWalkOffsets(t *testing.T) {
	for _, first := range []int32{0, 62, 8190, quickOffsets - 3} {
		var payload []byte
		for i := range int32(10) {
			payload = append(payload, rawRecord(0, int(first+i), "k", "v")...)
		}
		payload = append(payload, make([]byte, quickBytes)...)
		compareWalks(t, payload, walk{count: 10, lastDelta: first - 1, dense: true, lo: minInt64, hi: maxInt64, base: testNow})
	}
}

// TestValidateAllocations: the hot path allocates nothing.
func TestValidateAllocations(t *testing.T) {
	for _, n := range []int{1, 1000} {
		for codec := None; codec <= Zstd; codec++ {
			if raceEnabled && codec != None {
				continue // under the race detector a pool forgets at random
			}
			c := NewCodecs()
			b := benchBatch(t, c, codec, n, 100)
			o := benchOptions(c)
			var s Scratch
			if got := testing.AllocsPerRun(50, func() {
				if _, err := Validate(b, o, &s); err != nil {
					t.Fatal(err)
				}
			}); got != 0 {
				t.Errorf("%d records, %v: %v allocations", n, codec, got)
			}
		}
	}
}
