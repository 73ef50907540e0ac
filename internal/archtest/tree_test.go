package archtest

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/kbroker/kbroker"

// root is the top of the repository as seen from this package.
const root = "../.."

// source is one Go file.
type source struct {
	name string // slash-separated, from the top of the repository
	dir  string // of name; "." at the top
	test bool   // name ends in _test.go
	file *ast.File
	fset *token.FileSet
}

// line returns the line on which a node starts, for messages.
func (s *source) line(n ast.Node) string {
	return s.name + ":" + strconv.Itoa(s.fset.Position(n.Pos()).Line)
}

// lines returns the number of lines that a node spans.
func (s *source) lines(n ast.Node) int {
	return s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line + 1
}

// imports calls yield with each import and its path.
func (s *source) imports(yield func(*ast.ImportSpec, string) bool) {
	for _, spec := range s.file.Imports {
		if importPath, err := strconv.Unquote(spec.Path.Value); err == nil && !yield(spec, importPath) {
			return
		}
	}
}

// load parses every Go file of the module that people write, for all systems and build tags, in name order. Other
// modules inside the repository, testdata and generated files are left out.
func load(t *testing.T) []*source {
	t.Helper()
	var sources []*source
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skip(name, entry.Name())
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		if ast.IsGenerated(file) {
			return nil
		}
		rel := filepath.ToSlash(strings.TrimPrefix(filepath.Clean(name), filepath.Clean(root)+string(filepath.Separator)))
		sources = append(sources, &source{
			name: rel, dir: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go"), file: file, fset: fset,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) == 0 {
		t.Fatal("no Go files found: the tests would pass on anything")
	}
	slices.SortFunc(sources, func(a, b *source) int { return cmp.Compare(a.name, b.name) })
	return sources
}

// skip says which directories have no Go files of ours.
func skip(name, base string) error {
	if name == root {
		return nil
	}
	if base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// covers reports whether pattern, a path or a tree such as integration/..., covers dir.
func covers(pattern, dir string) bool {
	tree, isTree := strings.CutSuffix(pattern, "/...")
	return dir == tree || isTree && strings.HasPrefix(dir, tree+"/")
}
