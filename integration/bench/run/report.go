//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// report writes the table in Markdown: medians over the rounds, ratios formed within each round, both with their
// range, and what falls short of its floor marked.
func report(w io.Writer, all series, rows []row) {
	fmt.Fprintln(w, "| work | figure | kbroker | Kafka | limit | kbroker / limit | kbroker / Kafka | floor |")
	fmt.Fprintln(w, "| --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, r := range rows {
		s := all.of(r.name)
		if len(s) == 0 {
			continue
		}
		title := r.title
		if r.durability == synced {
			title = "**synced**: " + title
		}
		for _, m := range r.metrics {
			ofLimit, hasLimit := s.ratio(kbroker, limit, m.key)
			ofKafka, hasKafka := s.ratio(kbroker, kafka, m.key)
			value, has := s.values(kbroker, m.key)
			cells := []string{title, m.title}
			for _, c := range contenders {
				v, ok := s.values(c, m.key)
				cells = append(cells, figure(v, ok))
			}
			cells = append(cells,
				figure(ofLimit, hasLimit)+miss(hasLimit && !m.holds(ofLimit.median, m.floor.limitRatio)),
				figure(ofKafka, hasKafka)+miss(hasKafka && !m.holds(ofKafka.median, m.floor.kafkaRatio)),
				m.floorText()+miss(has && m.floor.absolute > 0 && value.median > m.floor.absolute))
			fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
			title = ""
		}
	}
	fmt.Fprintln(w, "\nMedian [lowest..highest]; ✗ marks what misses its floor.")
	noisy(w, all, rows)
}

// noisy says which rows had to use rounds in which others used the machine.
func noisy(w io.Writer, all series, rows []row) {
	for _, r := range rows {
		s := all.of(r.name)
		worst, used := 0.0, s.rounds()
		for _, x := range s {
			for _, round := range used {
				if x.Round == round {
					worst = max(worst, x.Others)
				}
			}
		}
		if worst >= quietEnough {
			fmt.Fprintf(w, "Disturbed: %s, where others used up to %.2f cores.\n", r.name, worst)
		}
	}
}

func (m metric) holds(ratio, floor float64) bool {
	switch {
	case floor == 0:
		return true
	case m.lowerIsBetter:
		return ratio <= floor
	default:
		return ratio >= floor
	}
}

func (m metric) floorText() string {
	sign := "≥"
	if m.lowerIsBetter {
		sign = "≤"
	}
	var parts []string
	if m.floor.limitRatio > 0 {
		parts = append(parts, fmt.Sprintf("%s %g limit", sign, m.floor.limitRatio))
	}
	if m.floor.kafkaRatio > 0 {
		parts = append(parts, fmt.Sprintf("%s %g Kafka", sign, m.floor.kafkaRatio))
	}
	if m.floor.absolute > 0 {
		parts = append(parts, fmt.Sprintf("≤ %g", m.floor.absolute))
	}
	return strings.Join(parts, ", ")
}

func miss(missed bool) string {
	if missed {
		return " ✗"
	}
	return ""
}

func figure(s spread, ok bool) string {
	switch {
	case !ok:
		return "–"
	case s.low == s.high:
		return number(s.median)
	default:
		return fmt.Sprintf("%s [%s..%s]", number(s.median), number(s.low), number(s.high))
	}
}

// number gives three significant digits, and all digits of what is larger.
func number(v float64) string {
	if v == 0 || math.IsNaN(v) {
		return "0"
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	return fmt.Sprintf("%.*f", digits, v)
}
