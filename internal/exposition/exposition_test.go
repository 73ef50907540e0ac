package exposition

import (
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

func TestWriter(t *testing.T) {
	var out strings.Builder
	w := NewWriter(&out)
	w.Begin(&Family{Name: "none", Kind: Gauge, Help: "No series."})
	w.Begin(&Family{Name: "plain", Kind: Gauge, Help: "A \\ and\na line."})
	w.Series(1)
	w.Begin(&Family{Name: "labelled_total", Kind: Counter, Help: "Labels.", Labels: []string{"a", "b"}})
	w.Series(9007199254740991, "x", "y")
	w.Series(1.5, "", "q\"\\\nz")
	w.Series(-3, "", "")
	w.Series(math.Inf(1), "inf", "")
	w.Series(math.NaN(), "nan", "")
	w.Begin(&Family{Name: "h", Kind: Histogram, Help: "Buckets.", Labels: []string{"a"}})
	w.Buckets([]float64{0.1, 2}, []int64{3, 0, 4}, 12.5, "x")
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := `# HELP plain A \\ and\na line.
# TYPE plain gauge
plain 1
# HELP labelled_total Labels.
# TYPE labelled_total counter
labelled_total{a="x",b="y"} 9007199254740991
labelled_total{b="q\"\\\nz"} 1.5
labelled_total -3
labelled_total{a="inf"} +Inf
labelled_total{a="nan"} NaN
# HELP h Buckets.
# TYPE h histogram
h_bucket{a="x",le="0.1"} 3
h_bucket{a="x",le="2"} 3
h_bucket{a="x",le="+Inf"} 7
h_sum{a="x"} 12.5
h_count{a="x"} 7
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

// TestWriterUTF8: the format is UTF-8, and Prometheus drops a whole scrape for one label that is not. Names that clients
// choose, such as those of groups, may be any bytes.
func TestWriterUTF8(t *testing.T) {
	var out strings.Builder
	w := NewWriter(&out)
	w.Begin(&Family{Name: "x", Kind: Gauge, Help: "Groups.", Labels: []string{"group"}})
	w.Series(1, "gr\xc3\xbc\u00dfe \xff\"\xfe\xfd\\")
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "# HELP x Groups.\n# TYPE x gauge\nx{group=\"grüße \ufffd\\\"\ufffd\\\\\"} 1\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

type broken struct{ io.Writer }

func (broken) Write([]byte) (int, error) { return 0, errors.New("the peer is gone") }

func TestWriterFails(t *testing.T) {
	w := NewWriter(broken{})
	w.Begin(&Family{Name: "x", Kind: Gauge})
	for range 10_000 {
		w.Series(1)
	}
	if err := w.Flush(); err == nil || err.Error() != "the peer is gone" {
		t.Errorf("the error is %v", err)
	}
}

// TestWriterMemory: the memory of a scrape does not grow with the number of series.
func TestWriterMemory(t *testing.T) {
	f := &Family{Name: "x", Kind: Gauge, Labels: []string{"topic", "partition"}}
	w := NewWriter(io.Discard)
	w.Begin(f)
	topic, partition := "topic", "7"
	w.Series(1, topic, partition)
	if n := testing.AllocsPerRun(1000, func() { w.Series(2, topic, partition) }); n != 0 {
		t.Errorf("%v allocations for a series", n)
	}
}
