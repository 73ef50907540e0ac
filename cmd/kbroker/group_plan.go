package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// selection is a topic and the partitions of it that are meant; none stands for all.
type selection struct {
	topic      string
	partitions []int32
}

// maxListed bounds the partitions that one selection names: 0-2000000000 is a mistake.
const maxListed = 100_000

// parseSelection reads TOPIC or TOPIC:PARTITIONS, where PARTITIONS are numbers and ranges such as 0,2,5-7. A topic's name
// has no colon.
func parseSelection(text string) (selection, error) {
	topic, list, some := strings.Cut(text, ":")
	s := selection{topic: topic}
	bad := &exitError{exitUsage, fmt.Errorf("%q: write TOPIC, or TOPIC:PARTITIONS such as %s:0,2,5-7", text, cmp.Or(topic, "clicks"))}
	if topic == "" {
		return s, bad
	}
	if !some {
		return s, nil
	}
	for _, part := range strings.Split(list, ",") {
		low, high, isRange := strings.Cut(part, "-")
		from, err := strconv.ParseInt(low, 10, 32)
		to := from
		if err == nil && isRange {
			to, err = strconv.ParseInt(high, 10, 32)
		}
		if err != nil || from < 0 || to < from || to-from > maxListed {
			return s, bad
		}
		for n := from; n <= to; n++ {
			s.partitions = append(s.partitions, int32(n))
		}
	}
	slices.Sort(s.partitions)
	s.partitions = slices.Compact(s.partitions)
	return s, nil
}

// resetKind is where committed offsets are moved to.
type resetKind int

const (
	toEarliest resetKind = iota
	toLatest
	toOffset
	toTime // the first record at or after a time
	shiftBy
)

// resetTarget is a kind with its number or time.
type resetTarget struct {
	kind resetKind
	n    int64
	at   time.Time
}

// partitionOffsets is what is known of one partition before its committed offset is moved.
type partitionOffsets struct {
	topic      string
	partition  int32
	committed  int64 // -1: none
	start, end int64
	found      int64 // with toTime: the offset of the first record then or later; -1: there is none
}

// resetRow is what becomes of one partition.
type resetRow struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Old       *int64 `json:"old_offset"` // null: nothing was committed
	New       int64  `json:"new_offset"`
	Lag       int64  `json:"new_lag"` // records from the new offset to the end
	Note      string `json:"note,omitempty"`
}

// plan says what becomes of every partition, by topic and partition. A new offset always lies in the partition.
func (t resetTarget) plan(all []partitionOffsets) ([]resetRow, error) {
	rows := []resetRow{}
	var problems []error
	for _, p := range all {
		wanted, note := t.wanted(&p)
		if t.kind == shiftBy && p.committed < 0 {
			problems = append(problems, fmt.Errorf("%s-%d has no committed offset to shift", p.topic, p.partition))
			continue
		}
		row := resetRow{Topic: p.topic, Partition: p.partition, New: min(max(wanted, p.start), p.end), Note: note}
		switch {
		case wanted < p.start:
			row.Note = fmt.Sprintf("%d is below the start", wanted)
		case wanted > p.end:
			row.Note = fmt.Sprintf("%d is beyond the end", wanted)
		}
		row.Lag = p.end - row.New
		if p.committed >= 0 {
			row.Old = &p.committed
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b resetRow) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return rows, errors.Join(problems...)
}

// wanted is the offset that is asked for, which need not lie in the partition.
func (t resetTarget) wanted(p *partitionOffsets) (offset int64, note string) {
	switch t.kind {
	case toLatest:
		return p.end, ""
	case toOffset:
		return t.n, ""
	case shiftBy:
		return saturated(p.committed, t.n), ""
	case toTime:
		if p.found < 0 {
			return p.end, "no record then or later"
		}
		return p.found, ""
	}
	return p.start, ""
}

// saturated adds without overflow; a is not negative.
func saturated(a, b int64) int64 {
	if sum := a + b; b < 0 || sum >= a {
		return sum
	}
	return 1<<63 - 1
}

// timeLayouts are how a time may be written; without a zone it is local.
var timeLayouts = []string{time.RFC3339, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02"}

func parseTime(text string) (time.Time, error) {
	for _, layout := range timeLayouts {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms > 1e10 { // an earlier one would be a year or a typing error
		return time.UnixMilli(ms), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time; write it as 2026-11-24T08:00:00Z, without Z for local time, or in milliseconds since 1970", text)
}

// parseDuration reads 90m as Go writes it, with d for days, and PT1H30M as Kafka's tools do.
func parseDuration(text string) (time.Duration, error) {
	goText := strings.ToLower(text)
	if iso, ok := strings.CutPrefix(goText, "p"); ok {
		goText = strings.Replace(iso, "t", "", 1)
	}
	days := time.Duration(0)
	if n, rest, ok := strings.Cut(goText, "d"); ok {
		count, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return 0, badDuration(text)
		}
		days, goText = time.Duration(count)*24*time.Hour, cmp.Or(rest, "0s")
	}
	d, err := time.ParseDuration(goText)
	if err != nil || d < 0 {
		return 0, badDuration(text)
	}
	return days + d, nil
}

func badDuration(text string) error {
	return fmt.Errorf("%q is no duration; write it as 90m, 7d or PT1H30M", text)
}
