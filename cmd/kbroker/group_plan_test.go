package main

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseSelection(t *testing.T) {
	for text, want := range map[string]string{
		"a": "a []", "a:0": "a [0]", "a:2,0,5-7,6": "a [0 2 5 6 7]", "a.b_c-d:1": "a.b_c-d [1]",
		"": "error", ":1": "error", "a:": "error", "a:x": "error", "a:-1": "error", "a:3-1": "error", "a:0-2000000000": "error", "a:1,": "error",
	} {
		s, err := parseSelection(text)
		got := fmt.Sprint(s.topic, " ", s.partitions)
		if err != nil {
			got = "error"
			if exitCode(err) != exitUsage {
				t.Errorf("%q: exit code %d", text, exitCode(err))
			}
		}
		if got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

// TestResetPlan: a new offset lies in its partition, whatever was asked for, and a note says when it is another one.
func TestResetPlan(t *testing.T) {
	full := []partitionOffsets{{"b", 0, 7, 5, 20, 12}, {"a", 1, -1, 0, 0, -1}, {"a", 0, 30, 5, 20, -1}}
	committed := full[:1]
	for _, c := range []struct {
		target resetTarget
		all    []partitionOffsets
		want   string
	}{
		{resetTarget{kind: toEarliest}, full, "a-0 30>5 15, a-1 ->0 0, b-0 7>5 15"},
		{resetTarget{kind: toLatest}, full, "a-0 30>20 0, a-1 ->0 0, b-0 7>20 0"},
		{resetTarget{kind: toOffset, n: 10}, full, "a-0 30>10 10, a-1 ->0 0 10 is beyond the end, b-0 7>10 10"},
		{resetTarget{kind: toOffset, n: 4}, committed, "b-0 7>5 15 4 is below the start"},
		{resetTarget{kind: toTime}, full, "a-0 30>20 0 no record then or later, a-1 ->0 0 no record then or later, b-0 7>12 8"},
		{resetTarget{kind: shiftBy, n: 3}, committed, "b-0 7>10 10"},
		{resetTarget{kind: shiftBy, n: -3}, committed, "b-0 7>5 15 4 is below the start"},
		{resetTarget{kind: shiftBy, n: math.MaxInt64}, committed, "b-0 7>20 0 9223372036854775807 is beyond the end"},
		{resetTarget{kind: shiftBy, n: math.MinInt64}, committed, "b-0 7>5 15 -9223372036854775801 is below the start"},
		{resetTarget{kind: shiftBy, n: 1}, full, "a-1 has no committed offset to shift"},
	} {
		rows, err := c.target.plan(c.all)
		var all []string
		for _, r := range rows {
			old := "-"
			if r.Old != nil {
				old = fmt.Sprint(*r.Old)
			}
			all = append(all, strings.TrimSpace(fmt.Sprintf("%s-%d %s>%d %d %s", r.Topic, r.Partition, old, r.New, r.Lag, r.Note)))
		}
		got := strings.Join(all, ", ")
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%+v:\n got %s\nwant %s", c.target, got, c.want)
		}
	}
}

func TestTimesAndDurations(t *testing.T) {
	utc := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	local := time.Date(2026, 11, 24, 8, 0, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"2026-11-24T08:00:00Z": utc, "2026-11-24T09:00:00+01:00": utc, "2026-11-24T08:00:00.000": local, "2026-11-24T08:00": local,
		"2026-11-24 08:00:00": local, "2026-11-24": local.Add(-8 * time.Hour), fmt.Sprint(utc.UnixMilli()): utc,
		"yesterday": {}, "2026": {}, "": {},
	} {
		got, err := parseTime(text)
		if !got.Equal(want) || (err != nil) != want.IsZero() {
			t.Errorf("%q is %v (%v), want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]time.Duration{
		"90m": 90 * time.Minute, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "PT1H30M": 90 * time.Minute, "P2D": 48 * time.Hour,
		"P1DT1.5S": 24*time.Hour + 1500*time.Millisecond, "0s": 0, "x": -1, "-5m": -1, "P": -1, "xd": -1, "": -1, "99999999d": -1,
	} {
		got, err := parseDuration(text)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q is %v (%v), want %v", text, got, err, want)
		}
	}
}
