package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocuments: the commands and flags that documents for users name are there.
func TestDocuments(t *testing.T) {
	call := regexp.MustCompile("(?:`|^| )(?:\\./)?kbroker ([a-z][^`\n|]*)")
	flag := regexp.MustCompile(`(?:^| )--?([a-z][a-z-]*)`)
	seen := 0
	for _, page := range []string{"README.md", "CHANGELOG.md", "docs/compatibility.md", "docs/configuration.md", "docs/metrics.md", "log/FORMAT.md"} {
		text, err := os.ReadFile("../../" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, span := range regexp.MustCompile("`[^`\n]+`").FindAllString(string(text), -1) {
			m := call.FindStringSubmatch(span)
			if m == nil {
				continue
			}
			seen++
			cmd, rest, err := rootCommand().Find(strings.Fields(m[1]))
			if err != nil || cmd.HasSubCommands() {
				t.Errorf("%s: %s: there is no such command: %v", page, span, err)
				continue
			}
			for _, f := range flag.FindAllStringSubmatch(strings.Join(rest, " "), -1) {
				if cmd.Flag(f[1]) == nil && (len(f[1]) > 1 || cmd.Flags().ShorthandLookup(f[1]) == nil) {
					t.Errorf("%s: %s: there is no flag %s", page, span, f[1])
				}
			}
		}
	}
	if seen < 8 {
		t.Errorf("only %d commands were looked at", seen)
	}
}
