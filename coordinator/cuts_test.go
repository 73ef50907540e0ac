package coordinator

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// TestCuts: records are parted at cuts and nowhere else, and only where they have to be.
func TestCuts(t *testing.T) {
	for _, c := range []struct {
		sizes string // of values in kilobytes, and | for a cut
		most  int    // kilobytes
		want  string // records of each batch
	}{
		{"1 1 1", 10, "[3]"},
		{"1 | 1 | 1", 10, "[3]"},
		{"4 | 4 | 4 | 4", 10, "[2 2]"},
		{"4 4 4 | 4 | 4", 10, "[3 2]"}, // what has no cut stays together, though it is too large
		{"4 4 | 4 4 | 4 4", 10, "[2 2 2]"},
		{"1 | 1 | 9 9", 10, "[2 2]"},
		{"9 | 1 1 1 | 9 |", 10, "[1 3 1]"},
		{"20 20", 10, "[2]"},
		{"| 1 | | 1", 1, "[1 1]"},
		{"", 10, "[]"},
	} {
		e := &Effects{Most: c.most << 10}
		for _, f := range strings.Fields(c.sizes) {
			if f == "|" {
				e.Cut()
				continue
			}
			n, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			e.Append(nil, make([]byte, n<<10))
		}
		got := []int{}
		for first := 0; first < len(e.Records); first += got[len(got)-1] {
			got = append(got, e.fit(first))
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%q: batches of %v, want %s", c.sizes, got, c.want)
		}
	}
}

// TestCutsAtRandom: batches are all records in order, end at cuts, fit where a cut allows it, and are as few as that takes:
// no batch and its successor would fit into one.
func TestCutsAtRandom(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		e := &Effects{Most: 200 + r.IntN(2000)}
		cut := map[int]bool{}
		for range r.IntN(40) {
			e.Append(nil, make([]byte, r.IntN(400)))
			if r.IntN(3) > 0 {
				e.Cut()
				cut[len(e.Records)] = true
			}
		}
		cut[len(e.Records)] = true
		size := func(from, to int) (n int) {
			for _, x := range e.Records[from:to] {
				n += len(x.Value)
			}
			return n
		}
		fits := func(from, to int) bool { return e.Fits(to-from, size(from, to)) }
		last := -1
		for first := 0; first < len(e.Records); {
			n := e.fit(first)
			parted := false
			for at := first + 1; at < first+n; at++ {
				parted = parted || cut[at]
			}
			switch {
			case n < 1 || !cut[first+n]:
				t.Fatalf("seed %d: a batch of %d records from %d on does not end at a cut", seed, n, first)
			case parted && !fits(first, first+n):
				t.Fatalf("seed %d: a batch of %d records from %d on is too large, and could be parted", seed, n, first)
			case last >= 0 && fits(last, first+n):
				t.Fatalf("seed %d: the batches at %d and %d would fit into one", seed, last, first)
			}
			last, first = first, first+n
		}
	}
}
