package archtest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// importTable is testdata/imports.txt.
type importTable struct {
	aliases map[string]string
	code    []importRule // what packages may import
	tests   []importRule // what their tests may import besides
}

// importRule is one line.
type importRule struct {
	packages string // pattern
	ours     []string
	others   []string // import paths
}

func readImportTable(t *testing.T) *importTable {
	t.Helper()
	data, err := os.ReadFile("testdata/imports.txt")
	if err != nil {
		t.Fatal(err)
	}
	table := &importTable{aliases: map[string]string{}}
	for i, line := range strings.Split(string(data), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if err := table.add(line); err != nil {
			t.Fatalf("testdata/imports.txt:%d: %v", i+1, err)
		}
	}
	return table
}

func (table *importTable) add(line string) error {
	if alias, importPath, ok := strings.Cut(line, " = "); ok {
		table.aliases[strings.TrimSpace(alias)] = strings.TrimSpace(importPath)
		return nil
	}
	packages, imports, ok := strings.Cut(line, ":")
	if !ok {
		return fmt.Errorf("%q is neither an alias nor a rule", line)
	}
	ours, others, _ := strings.Cut(imports, "|")
	rule := importRule{packages: packages, ours: strings.Fields(ours)}
	for _, alias := range strings.Fields(others) {
		importPath, ok := table.aliases[alias]
		if !ok {
			return fmt.Errorf("alias %q is not defined above", alias)
		}
		rule.others = append(rule.others, importPath)
	}
	list := &table.code
	if tested, ok := strings.CutPrefix(packages, "test "); ok {
		rule.packages, list = tested, &table.tests
	}
	*list = append(*list, rule)
	return nil
}

// allows reports whether an import of our package dir, or of importPath from another module, is allowed by the rule.
func (r *importRule) allows(dir, importPath string) bool {
	if dir != "" {
		return slices.ContainsFunc(r.ours, func(pattern string) bool { return covers(pattern, dir) })
	}
	return slices.ContainsFunc(r.others, func(prefix string) bool { return covers(prefix+"/...", importPath) })
}

// allowed reports whether source s may import importPath.
func (table *importTable) allowed(s *source, importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	if !strings.Contains(first, ".") {
		return true // the standard library; banned_test.go has its rules
	}
	dir, _ := strings.CutPrefix(importPath, module+"/")
	if dir == importPath {
		dir = ""
	}
	if s.test && dir == s.dir {
		return true // an external test package
	}
	for _, r := range table.code {
		if covers(r.packages, s.dir) && r.allows(dir, importPath) {
			return true
		}
	}
	for _, r := range table.tests {
		if s.test && (r.packages == "*" || covers(r.packages, s.dir)) && r.allows(dir, importPath) {
			return true
		}
	}
	return false
}

func TestImports(t *testing.T) {
	table := readImportTable(t)
	seen := map[string]bool{}
	for _, s := range load(t) {
		rule := slices.IndexFunc(table.code, func(r importRule) bool { return covers(r.packages, s.dir) })
		if rule < 0 {
			t.Errorf("%s: package %s has no line in testdata/imports.txt; add one that says what it may import", s.name, s.dir)
			continue
		}
		seen[table.code[rule].packages] = true
		for spec, importPath := range s.imports {
			if !table.allowed(s, importPath) {
				t.Errorf("%s: %s may not import %s; if this edge belongs to the design, add it to testdata/imports.txt",
					s.line(spec), s.dir, importPath)
			}
		}
	}
	for _, r := range table.code {
		if !seen[r.packages] {
			t.Logf("testdata/imports.txt: no package %s yet", r.packages)
		}
	}
}

// TestImportTable shows that the table can say no: each of these edges would break the design.
func TestImportTable(t *testing.T) {
	table := readImportTable(t)
	tests := []struct {
		from       string
		test       bool
		importPath string
		want       bool
	}{
		{"log", false, module + "/log/record", true},
		{"log", false, module + "/internal/simfs", false},
		{"log", true, module + "/internal/simfs", true},
		{"log", false, module + "/replica", false},
		{"log", true, module + "/replica", false},
		{"replica", false, module + "/controller", false},
		{"controller", false, module + "/replica", false},
		{"handler", false, module + "/internal/vfs", false},
		{"metadata", false, "github.com/twmb/franz-go/pkg/kgo", false},
		{"examples/simple-send-recv", false, "github.com/twmb/franz-go/pkg/kgo", true},
		{"examples/simple-send-recv", false, module + "/wire", false},
		{"wire", false, "net", true},
		{"internal/broker", false, module + "/integration/kafkapeer", false},
	}
	for _, test := range tests {
		s := &source{name: test.from + "/x.go", dir: test.from, test: test.test}
		if got := table.allowed(s, test.importPath); got != test.want {
			t.Errorf("%s (test %v) imports %s: allowed %v, want %v", test.from, test.test, test.importPath, got, test.want)
		}
	}
}

// TestPackageDocs wants every package to say what it is, in one place; a program may say it once per system that it is
// built for. The sentence starts as godoc expects it.
func TestPackageDocs(t *testing.T) {
	docs := map[string][]string{}
	for _, s := range load(t) {
		if s.test {
			continue
		}
		if _, ok := docs[s.dir]; !ok {
			docs[s.dir] = nil
		}
		text := s.file.Doc.Text()
		if text == "" {
			continue
		}
		docs[s.dir] = append(docs[s.dir], s.name)
		name := s.file.Name.Name
		if name == "main" {
			docs[s.dir] = docs[s.dir][:1]
		} else if !strings.HasPrefix(text, "Package "+name+" ") {
			t.Errorf("%s: the package comment must start with \"Package %s\"", s.name, name)
		}
	}
	for dir, files := range docs {
		if len(files) != 1 {
			t.Errorf("package %s has %d package comments %v, want one that says what it guarantees", dir, len(files), files)
		}
	}
}
