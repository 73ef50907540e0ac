//go:build linux

package main

import (
	"slices"
	"strconv"
	"strings"
)

// sample is what one measurement of one contender in one round gave.
type sample struct {
	Row       string             `json:"row"`
	Contender contender          `json:"contender"`
	Round     int                `json:"round"`
	Others    float64            `json:"others"` // cores used by others meanwhile
	Values    map[string]float64 `json:"values"` // by "TAG.KEY"
}

// parseOutput reads lines like "produce conns=4 MB/s=12.5": the words without a = are the tag.
func parseOutput(out string) map[string]float64 {
	values := map[string]float64{}
	for line := range strings.Lines(out) {
		var tag []string
		pairs := map[string]float64{}
		for _, word := range strings.Fields(line) {
			key, value, ok := strings.Cut(word, "=")
			if !ok {
				tag = append(tag, word)
			} else if n, err := strconv.ParseFloat(value, 64); err == nil {
				pairs[key] = n
			}
		}
		for key, n := range pairs {
			values[strings.Join(tag, " ")+"."+key] = n
		}
	}
	return values
}

// spread is a median with its range.
type spread struct{ median, low, high float64 }

// spreadOf summarizes values; ok is false if there are none.
func spreadOf(values []float64) (s spread, ok bool) {
	if len(values) == 0 {
		return spread{}, false
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return spread{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}, true
}

// quietEnough is the use of cores by others from which on a sample is dropped, as long as keepAtLeast remain.
const (
	quietEnough = 0.25
	keepAtLeast = 3
)

// series is the samples of one row, by round and contender.
type series []sample

func (s series) of(row string) series {
	return slices.DeleteFunc(slices.Clone(s), func(x sample) bool { return x.Row != row })
}

// rounds returns the rounds to be used: those in which others left the machine alone while every contender was
// measured, or the quietest ones when there are too few.
func (s series) rounds() []int {
	noise := map[int]float64{}
	for _, x := range s {
		noise[x.Round] = max(noise[x.Round], x.Others)
	}
	var all []int
	for r := range noise {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b int) int {
		if noise[a] != noise[b] {
			if noise[a] < noise[b] {
				return -1
			}
			return 1
		}
		return a - b
	})
	n := 0
	for n < len(all) && (noise[all[n]] < quietEnough || n < keepAtLeast) {
		n++
	}
	return all[:n]
}

// value returns what a contender reached in a round.
func (s series) value(round int, c contender, key string) (float64, bool) {
	for _, x := range s {
		if x.Round == round && x.Contender == c {
			v, ok := x.Values[key]
			return v, ok
		}
	}
	return 0, false
}

// values summarizes one figure of a contender.
func (s series) values(c contender, key string) (spread, bool) {
	var all []float64
	for _, r := range s.rounds() {
		if v, ok := s.value(r, c, key); ok {
			all = append(all, v)
		}
	}
	return spreadOf(all)
}

// ratio summarizes a / b, formed round by round: figures of different rounds are not comparable.
func (s series) ratio(a, b contender, key string) (spread, bool) {
	var all []float64
	for _, r := range s.rounds() {
		x, okX := s.value(r, a, key)
		y, okY := s.value(r, b, key)
		if okX && okY && y != 0 {
			all = append(all, x/y)
		}
	}
	return spreadOf(all)
}
