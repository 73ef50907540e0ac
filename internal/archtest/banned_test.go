package archtest

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// ban forbids names of a standard or other package, everywhere but in some places.
type ban struct {
	importPath string
	names      []string // empty: the import itself
	except     []string // packages, patterns as in imports.txt
	only       []string // if not empty, the ban holds only here
	tests      bool     // holds in tests too
	why        string
}

// outside is what is not the server: programs that people run, tests that drive them, and generators.
var outside = []string{"cmd/...", "integration/...", "examples/...", "wire/shape/gen", "internal/config/gen"}

var bans = []ban{
	{
		importPath: "log", tests: true,
		why: "package log is the replica's log here; logging is log/slog, passed in as *slog.Logger",
	},
	{
		importPath: "log/slog", names: []string{"Default", "SetDefault", "Debug", "Info", "Warn", "Error", "Log", "LogAttrs", "With"},
		except: outside,
		why:    "loggers are passed in, the default one belongs to whoever runs the process",
	},
	{
		importPath: "os",
		names: []string{"Open", "OpenFile", "OpenRoot", "OpenInRoot", "Create", "CreateTemp", "ReadFile", "WriteFile", "Remove", "RemoveAll",
			"Rename", "Mkdir", "MkdirAll", "MkdirTemp", "ReadDir", "Stat", "Lstat", "Truncate", "Chmod", "Chtimes", "Link", "Symlink",
			"DirFS", "CopyFS"},
		// internal/config reads server.properties, which is no data file; internal/kafkatree is for tests alone.
		except: append([]string{"internal/vfs", "internal/config", "internal/kafkatree"}, outside...),
		why:    "files go through internal/vfs, so that tests can lose what was not synced",
	},
	{
		importPath: "os", names: []string{"Exit", "Stdout", "Stderr", "Stdin"}, except: outside,
		why: "only a program ends the process or owns its streams",
	},
	{
		importPath: "fmt", names: []string{"Print", "Printf", "Println"}, except: outside,
		why: "only a program writes to the standard output",
	},
	{
		importPath: "net", names: []string{"Listen", "ListenTCP", "ListenConfig", "Dial", "DialTCP", "DialTimeout", "Dialer"},
		except: append([]string{"internal/broker"}, outside...),
		why:    "Listen and Dial functions are passed in, so that tests run on internal/simnet",
	},
	{
		importPath: "time",
		names:      []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"},
		only:       []string{"metadata", "log/record", "internal/config", "internal/security/acl"},
		why:        "this package is pure: the caller says what time it is",
	},
	{
		importPath: "net/http", names: []string{"Handle", "HandleFunc", "ListenAndServe", "DefaultServeMux", "DefaultClient", "Get", "Post"},
		except: outside,
		why:    "global servers and clients hide who owns them and have no limits",
	},
	{
		importPath: "github.com/prometheus/client_golang/prometheus",
		names:      []string{"MustRegister", "Register", "DefaultRegisterer", "DefaultGatherer"},
		why:        "metrics go to the Registerer that the broker owns, so that two brokers fit in one process",
	},
	{
		importPath: "github.com/prometheus/client_golang/prometheus/promauto", names: nil,
		why: "metrics go to the Registerer that the broker owns, so that two brokers fit in one process",
	},
}

// holdsIn reports whether the ban applies to source s.
func (b *ban) holdsIn(s *source) bool {
	here := func(pattern string) bool { return covers(pattern, s.dir) }
	return (b.tests || !s.test) && !slices.ContainsFunc(b.except, here) &&
		(len(b.only) == 0 || slices.ContainsFunc(b.only, here))
}

// uses calls report with every use of package importPath in s: its import with name "", then each selector.
func uses(s *source, importPath string, report func(n ast.Node, name string)) {
	local := ""
	for spec, p := range s.imports {
		if p != importPath {
			continue
		}
		report(spec, "")
		if local = path.Base(p); spec.Name != nil {
			local = spec.Name.Name
		}
	}
	if local == "" {
		return
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == local {
				report(sel, sel.Sel.Name)
			}
		}
		return true
	})
}

func TestBannedCalls(t *testing.T) {
	for _, s := range load(t) {
		for _, b := range bans {
			if !b.holdsIn(s) {
				continue
			}
			uses(s, b.importPath, func(n ast.Node, name string) {
				if name == "" && len(b.names) == 0 || name != "" && slices.Contains(b.names, name) {
					t.Errorf("%s: %s is banned in %s: %s", s.line(n), strings.TrimSuffix(b.importPath+"."+name, "."), s.dir, b.why)
				}
			})
		}
	}
}

// TestNoSkips wants every test to run wherever it is counted. What a test needs is installed by `make test`, and is
// missing there only by mistake.
func TestNoSkips(t *testing.T) {
	for _, s := range load(t) {
		if !s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			on, ok := sel.X.(*ast.Ident)
			if ok && slices.Contains([]string{"t", "b", "f", "tb"}, on.Name) && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
				t.Errorf("%s: a skipped test shows nothing; install what it needs in a setup.sh, or use a build tag for other systems", s.line(call))
			}
			return true
		})
	}
}

// TestNoPackageState finds pools, locks and channels in package variables: they hide who owns them, and break tests in
// synctest bubbles. Tables and error values are fine.
func TestNoPackageState(t *testing.T) {
	for _, s := range load(t) {
		if s.test {
			continue
		}
		for _, decl := range s.file.Decls {
			vars, ok := decl.(*ast.GenDecl)
			if !ok || vars.Tok.String() != "var" {
				continue
			}
			if what := stateIn(vars); what != "" {
				t.Errorf("%s: a package variable holds a %s; give it an owner and pass it down", s.line(vars), what)
			}
		}
	}
}

// stateIn returns what mutable state a declaration holds outside of function bodies, or "".
func stateIn(decl *ast.GenDecl) string {
	found := ""
	ast.Inspect(decl, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ChanType:
			found = "channel"
		case *ast.SelectorExpr:
			id, ok := n.X.(*ast.Ident)
			if ok && (id.Name == "sync" || id.Name == "atomic") && !strings.HasPrefix(n.Sel.Name, "Once") {
				found = id.Name + "." + n.Sel.Name
			}
		}
		return true
	})
	return found
}
