//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseOutput(t *testing.T) {
	got := parseOutput(" produce acks=-1 MB/s=12.5\n x e2e_ack us_p50=100 lat=none\n")
	want := map[string]float64{"produce.acks": -1, "produce.MB/s": 12.5, "x e2e_ack.us_p50": 100}
	if len(got) != len(want) {
		t.Fatalf("parsed %v, want %v", got, want)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %v, want %v", k, got[k], v)
		}
	}
}

// TestRatioWithinRounds has two contenders whose machine becomes three times as fast in round 2: the ratio must not
// notice, and round 3, in which others worked, must not count.
func TestRatioWithinRounds(t *testing.T) {
	var s series
	add := func(round int, others, ours, theirs float64) {
		s = append(s,
			sample{Row: "r", Contender: kbroker, Round: round, Others: others, Values: map[string]float64{"k": ours}},
			sample{Row: "r", Contender: limit, Round: round, Values: map[string]float64{"k": theirs}})
	}
	add(1, 0.1, 80, 100)
	add(2, 0.2, 240, 300)
	add(3, 0.9, 10, 300)
	add(4, 0.0, 160, 200)
	got, ok := s.of("r").ratio(kbroker, limit, "k")
	if want := (spread{0.8, 0.8, 0.8}); !ok || got != want {
		t.Errorf("ratio = %v, %v; want %v", got, ok, want)
	}
	if v, _ := s.of("r").values(kbroker, "k"); v != (spread{160, 80, 240}) {
		t.Errorf("values = %v", v)
	}
}

// TestFloor checks both directions of a floor.
func TestFloor(t *testing.T) {
	more, less := metric{}, metric{lowerIsBetter: true}
	for _, c := range []struct {
		m            metric
		ratio, floor float64
		want         bool
	}{{more, 0.7, 0.7, true}, {more, 0.69, 0.7, false}, {less, 1.6, 1.6, true}, {less, 1.7, 1.6, false}, {more, 0.1, 0, true}} {
		if got := c.m.holds(c.ratio, c.floor); got != c.want {
			t.Errorf("holds(%v, %v) with lowerIsBetter %v = %v", c.ratio, c.floor, c.m.lowerIsBetter, got)
		}
	}
}

// TestHarness runs the shortest form of every row against the limit server: the programs, their flags and the keys of
// their output must fit together, and nothing may be left behind.
func TestHarness(t *testing.T) {
	dir := t.TempDir()
	o := options{only: []contender{limit}, rounds: 1, port: 22180}
	built, err := buildTools(t.Context(), "../../..", filepath.Join(dir, "bin"), "", o.only)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{options: o, tools: built, dir: filepath.Join(dir, "data"), log: t.Output()}
	const smallest = 0.05
	all := append(rows(smallest), startRow(smallest))
	if err := b.run(context.WithoutCancel(t.Context()), all); err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if !r.by(limit) {
			continue
		}
		for _, m := range r.metrics {
			if _, ok := b.samples.of(r.name).values(limit, m.key); !ok {
				t.Errorf("row %s has no figure %s", r.name, m.key)
			}
		}
	}
	var table strings.Builder
	report(&table, b.samples, all)
	if n := strings.Count(table.String(), "\n|"); n < len(all) {
		t.Errorf("the report has only %d lines:\n%s", n, table.String())
	}
	if left, err := os.ReadDir(b.dir); err == nil && len(left) > 0 {
		t.Errorf("%s is left in %s", left[0].Name(), b.dir)
	}
}
