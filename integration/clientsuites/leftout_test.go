package clientsuites

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// leftOut is a test, or a subtest, that is not run.
type leftOut struct {
	name   string // such as TestConn or TestConn/nettest
	reason string
}

// readLeftOut reads one more list: a name and its reason a line, with a tab between; # begins a comment. It fails if a name is
// not one of the suite's any more.
func (s *suite) readLeftOut(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	names := s.names(t)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, reason, _ := strings.Cut(line, "\t")
		if strings.TrimSpace(reason) == "" {
			t.Errorf("%s: %s has no reason", file, name)
		}
		test, subtest, _ := strings.Cut(name, "/")
		if !slices.Contains(names, test) {
			t.Errorf("%s: the suite has no %s any more", file, test)
		}
		if subtest != "" && !s.mentions(t, subtest) {
			t.Errorf("%s: the suite has no subtest %s any more", file, name)
		}
		s.leftOut = append(s.leftOut, leftOut{name: name, reason: strings.TrimSpace(reason)})
	}
}

// mentions looks for a subtest's name in the sources, since a binary lists tests only. Package testing has made underscores of
// spaces in it.
func (s *suite) mentions(t *testing.T, subtest string) bool {
	t.Helper()
	pattern := regexp.MustCompile(`\b` + strings.ReplaceAll(regexp.QuoteMeta(subtest), "_", "[ _]") + `\b`)
	files, err := filepath.Glob(filepath.Join(s.dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s: %v", s.dir, err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return pattern.Match(text)
	})
}

// skipPattern is the regular expression for -test.skip.
func skipPattern(list []leftOut) string {
	var all []string
	for _, l := range list {
		parts := strings.Split(l.name, "/")
		for i, part := range parts {
			parts[i] = "^" + regexp.QuoteMeta(part) + "$"
		}
		all = append(all, strings.Join(parts, "/"))
	}
	return strings.Join(all, "|")
}
