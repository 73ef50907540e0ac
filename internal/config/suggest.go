package config

import "strings"

// maxMistakes is how many letters of a name may be wrong, missing or too many for it to count as a misspelling.
const maxMistakes = 2

// Suggest returns the setting of the broker that somebody who wrote name, which nobody knows, most likely meant, or "".
// It is the one that supplies a topic's setting of that name, or the one with the fewest letters to change.
func Suggest(name string) string {
	if t := TopicKeys.Key(name); t != nil && len(t.Synonyms) > 0 {
		return t.Synonyms[0].Name
	}
	written := strings.ReplaceAll(strings.ToLower(name), "_", ".")
	best, fewest := "", maxMistakes+1
	for i := range BrokerKeys.Keys {
		known := BrokerKeys.Keys[i].Name
		if n := mistakes(written, known); n < fewest {
			best, fewest = known, n
		}
	}
	return best
}

// mistakes counts the letters to change, add or take away between a and b (Levenshtein's distance).
func mistakes(a, b string) int {
	row := make([]int, len(b)+1) // of the letters of a so far, to each beginning of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
