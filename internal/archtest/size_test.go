package archtest

import (
	"flag"
	"fmt"
	"go/ast"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// The limits, in lines. A function that passes its limit does two things; a file that passes it hides a noun that
// wants to exist. Tests may be longer, because tables are.
const (
	maxFunc, maxTestFunc = 70, 100
	maxFile, maxTestFile = 400, 500
)

var shrink = flag.Bool("shrink", false, "lower the sizes in testdata/oversize.txt to what they are now")

const oversizeFile = "testdata/oversize.txt"

const oversizeHeader = `# What is larger than it may be: kind, name, lines. The list may only shrink, entry by entry and line by line:
#   go test ./internal/archtest -run TestSizes -shrink
# takes out and lowers what has become smaller, and never adds.
`

// TestSizes is a ratchet: nothing new may pass the limits, and what passed them once may not grow.
func TestSizes(t *testing.T) {
	tolerated, actual := readOversize(t), oversize(load(t))
	kept := map[string]int{}
	for _, what := range slices.Sorted(maps.Keys(actual)) {
		lines, old := actual[what], tolerated[what]
		switch {
		case old == 0:
			t.Errorf("%s has %d lines, more than a function (%d) or file (%d) may have; split it", what, lines, maxFunc, maxFile)
		case lines > old:
			t.Errorf("%s grew from %d to %d lines; it may only shrink", what, old, lines)
		case lines < old && !*shrink:
			t.Errorf("%s shrank from %d to %d lines: run with -shrink to keep it so", what, old, lines)
		}
		if old > 0 {
			kept[what] = min(lines, old)
		}
	}
	for what := range tolerated {
		if actual[what] == 0 && !*shrink {
			t.Errorf("%s is within the limits now: run with -shrink to keep it so", what)
		}
	}
	if *shrink {
		writeOversize(t, kept)
	}
}

// oversize returns the lines of each function and file that is over its limit, by kind and name.
func oversize(sources []*source) map[string]int {
	found := map[string]int{}
	for _, s := range sources {
		funcLimit, fileLimit := maxFunc, maxFile
		if s.test {
			funcLimit, fileLimit = maxTestFunc, maxTestFile
		}
		if lines := s.fset.File(s.file.Pos()).LineCount() - 1; lines > fileLimit {
			found["file "+s.name] = lines
		}
		for _, decl := range s.file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if lines := s.lines(fn); lines > funcLimit {
				found[fmt.Sprintf("func %s.%s%s", s.dir, receiver(fn), fn.Name.Name)] = lines
			}
		}
	}
	return found
}

// receiver returns "T." for a method of T or *T, and "" for a function.
func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return ""
	}
	typ := fn.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if generic, ok := typ.(*ast.IndexExpr); ok {
		typ = generic.X
	}
	if id, ok := typ.(*ast.Ident); ok {
		return id.Name + "."
	}
	return "?."
}

func readOversize(t *testing.T) map[string]int {
	t.Helper()
	data, err := os.ReadFile(oversizeFile)
	if err != nil {
		t.Fatal(err)
	}
	tolerated := map[string]int{}
	for i, line := range strings.Split(string(data), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		var kind, name string
		var lines int
		if _, err := fmt.Sscan(line, &kind, &name, &lines); err != nil {
			t.Fatalf("%s:%d: %v", oversizeFile, i+1, err)
		}
		tolerated[kind+" "+name] = lines
	}
	return tolerated
}

func writeOversize(t *testing.T, sizes map[string]int) {
	t.Helper()
	var out strings.Builder
	out.WriteString(oversizeHeader)
	for _, what := range slices.Sorted(maps.Keys(sizes)) {
		fmt.Fprintln(&out, what, sizes[what])
	}
	if err := os.WriteFile(oversizeFile, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
