// Package exposition writes metrics in Prometheus' text format, version 0.0.4.
//
// What is written goes straight to the one who asked: a scrape of a million series takes the memory of one line. The
// client library makes an object of every series of every scrape instead, which for ten thousand partitions is garbage
// of a hundred megabytes each quarter of a minute.
package exposition

import (
	"bufio"
	"io"
	"math"
	"strconv"
	"strings"
)

// ContentType is the media type of the format.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Kind is the type of a family.
type Kind string

// The kinds.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// Family is a metric and its series.
type Family struct {
	Name   string
	Kind   Kind
	Help   string
	Labels []string // names, in the order in which their values are given
}

// Writer writes families one after the other. Its errors are those of what it writes to, told by Flush.
type Writer struct {
	w     *bufio.Writer
	f     *Family
	begun bool // the head of f is written
	line  []byte
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, 16<<10)} }

// Begin says which family the next series are of. One without series leaves no trace.
func (w *Writer) Begin(f *Family) { w.f, w.begun = f, false }

// Series writes one series with the values of the family's labels.
func (w *Writer) Series(v float64, labels ...string) { w.series("", v, "", labels) }

// Buckets writes a histogram: counts[i] observations were at most bounds[i] and above the bound before it; counts has
// one more for those above all bounds.
func (w *Writer) Buckets(bounds []float64, counts []int64, sum float64, labels ...string) {
	total := int64(0)
	for i, n := range counts {
		total += n
		le := "+Inf"
		if i < len(bounds) {
			le = strconv.FormatFloat(bounds[i], 'g', -1, 64)
		}
		w.series("_bucket", float64(total), le, labels)
	}
	w.series("_sum", sum, "", labels)
	w.series("_count", float64(total), "", labels)
}

// Flush writes what is buffered and returns the first error of all writes.
func (w *Writer) Flush() error { return w.w.Flush() }

var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func (w *Writer) head() {
	if w.begun {
		return
	}
	w.begun = true
	for _, s := range []string{"# HELP ", w.f.Name, " ", helpEscapes.Replace(w.f.Help), "\n# TYPE ", w.f.Name, " ", string(w.f.Kind), "\n"} {
		_, _ = w.w.WriteString(s) // a bufio.Writer keeps its first error
	}
}

// series writes a line. le is the bound of a bucket, empty for others. Labels without a value are left out: that is what
// they mean to Prometheus. Values are names that clients chose, which may be any bytes, and Prometheus drops the whole
// scrape for one that is not UTF-8: what is wrong in it becomes U+FFFD, as Java reads it.
func (w *Writer) series(suffix string, v float64, le string, labels []string) {
	w.head()
	b := append(append(w.line[:0], w.f.Name...), suffix...)
	open := byte('{')
	label := func(name, value string) {
		if value == "" {
			return
		}
		b = append(append(append(b, open), name...), '=', '"')
		b = append(append(b, labelEscapes.Replace(strings.ToValidUTF8(value, "\ufffd"))...), '"')
		open = ','
	}
	for i, value := range labels {
		label(w.f.Labels[i], value)
	}
	label("le", le)
	if open == ',' {
		b = append(b, '}')
	}
	b = append(appendValue(append(b, ' '), v), '\n')
	w.line = b
	_, _ = w.w.Write(b)
}

// exact is the number from which on whole numbers are no longer all floating-point numbers.
const exact = 1 << 53

func appendValue(b []byte, v float64) []byte {
	switch {
	case math.IsInf(v, 1):
		return append(b, "+Inf"...)
	case math.IsInf(v, -1):
		return append(b, "-Inf"...)
	case math.IsNaN(v):
		return append(b, "NaN"...)
	case v == math.Trunc(v) && math.Abs(v) < exact:
		return strconv.AppendInt(b, int64(v), 10)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}
