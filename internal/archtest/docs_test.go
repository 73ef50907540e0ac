package archtest

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// page is a Markdown file.
type page struct {
	name string // slash-separated, from the top of the repository
	text string
}

func pages(t *testing.T) (all []page) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && name != root && strings.HasPrefix(entry.Name(), ".") {
			return fs.SkipDir
		}
		if !entry.IsDir() && strings.HasSuffix(name, ".md") {
			all = append(all, page{strings.TrimPrefix(filepath.ToSlash(name), root+"/"), read(t, name)})
		}
		return nil
	})
	if err != nil || len(all) < 5 {
		t.Fatalf("%d Markdown files: %v", len(all), err)
	}
	return all
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// section returns what stands under a heading of ARCHITECTURE.md.
func section(t *testing.T, heading string) string {
	t.Helper()
	_, text, ok := strings.Cut(read(t, root+"/ARCHITECTURE.md"), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("ARCHITECTURE.md has no heading %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

func exists(name string) bool {
	_, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
	return err == nil
}

var (
	link   = regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
	quoted = regexp.MustCompile("`([^`\n]+)`")
	// rooted is a path, and filename a file of ours beside the page; neither has wild cards or variables.
	rooted   = regexp.MustCompile(`^[a-z][\w-]*(/[\w.-]+)+/?$`)
	filename = regexp.MustCompile(`^[\w./-]+\.(go|md|txt|sh|java|py|mod)$`)
	// command is a call of Go's tool or of a script.
	command = regexp.MustCompile(`\b(go run|go test|bash) ([^\n` + "`" + `#]*)`)
	target  = regexp.MustCompile("`make ([a-z]+)`")
	option  = regexp.MustCompile(`^-([a-z][\w-]*)`)
)

// TestPaths: links, files and make targets that Markdown names are there.
func TestPaths(t *testing.T) {
	makefile := read(t, root+"/Makefile")
	for _, p := range pages(t) {
		here := path.Dir(p.name)
		for _, m := range link.FindAllStringSubmatch(p.text, -1) {
			if !strings.Contains(m[1], "://") && !exists(path.Join(here, m[1])) {
				t.Errorf("%s: the link to %s leads nowhere", p.name, m[1])
			}
		}
		for _, m := range quoted.FindAllStringSubmatch(p.text, -1) {
			top, _, _ := strings.Cut(m[1], "/")
			if filename.MatchString(m[1]) || rooted.MatchString(m[1]) && exists(top) {
				if !exists(m[1]) && !exists(path.Join(here, m[1])) {
					t.Errorf("%s: there is no %s", p.name, m[1])
				}
			}
		}
		for _, m := range target.FindAllStringSubmatch(p.text, -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s: make has no target %s", p.name, m[1])
			}
		}
	}
}

// TestCommands: what Markdown and comments tell people to run exists, with its flags.
func TestCommands(t *testing.T) {
	texts := pages(t)
	for _, s := range load(t) {
		for _, c := range s.file.Comments {
			texts = append(texts, page{s.name, c.Text()})
		}
	}
	seen := 0
	for _, p := range texts {
		for _, m := range command.FindAllStringSubmatch(p.text, -1) {
			if what := wrongIn(m[1], strings.Fields(m[2])); what != "" {
				t.Errorf("%s: %s: %s", p.name, m[0], what)
			}
			seen++
		}
	}
	if seen < 10 {
		t.Errorf("%d commands were looked at", seen)
	}
}

// testFlags are flags of `go test` that comments use.
var testFlags = []string{"run", "v", "count", "timeout", "race", "fuzz", "fuzztime", "bench", "tags", "cpuprofile", "short", "update"}

// wrongIn says what is wrong with a command, "" when nothing is.
func wrongIn(command string, words []string) string {
	pkg := ""
	for _, w := range words {
		if command == "bash" {
			if filename.MatchString(w) && !exists(w) {
				return w + " does not exist"
			}
			return ""
		}
		if o := option.FindStringSubmatch(w); o != nil && pkg != "" && !(command == "go test" && slices.Contains(testFlags, o[1])) && !hasFlag(pkg, o[1]) {
			return fmt.Sprintf("%s has no flag -%s", pkg, o[1])
		}
		if rel, ok := strings.CutPrefix(w, "./"); ok && pkg == "" {
			pkg = strings.TrimSuffix(strings.Trim(strings.TrimRight(rel, ".,;:)"), "/"), "/")
			if pkg != "" && !exists(pkg) {
				return pkg + " does not exist"
			}
		}
	}
	return ""
}

// hasFlag reports whether a package's files define a flag of this name.
func hasFlag(pkg, name string) bool {
	files, _ := filepath.Glob(filepath.Join(root, pkg, "*.go"))
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), `"`+name+`"`) {
			return true
		}
	}
	return false
}

// TestHouse: ARCHITECTURE.md names every package, and no other.
func TestHouse(t *testing.T) {
	var rooms []string
	for _, m := range quoted.FindAllStringSubmatch(section(t, "The house"), -1) {
		if room := strings.Replace(m[1], "/*", "/...", 1); room == strings.ToLower(room) { // else it is a name in the code
			rooms = append(rooms, room)
		}
	}
	packages := map[string]bool{}
	for _, s := range load(t) {
		packages[s.dir] = true
	}
	for dir := range packages {
		if !slices.ContainsFunc(rooms, func(room string) bool { return covers(room, dir) }) {
			t.Errorf("package %s is not in the house", dir)
		}
	}
	for _, room := range rooms {
		if dir := strings.TrimSuffix(room, "/..."); !exists(dir) {
			t.Errorf("the house has a room %s, which does not exist", room)
		}
	}
}

// TestDependencies: every module that go.mod asks for has its reason, and there is no reason without a module.
func TestDependencies(t *testing.T) {
	reasons := map[string]bool{}
	for line := range strings.Lines(section(t, "Dependencies")) {
		modules, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, m := range quoted.FindAllStringSubmatch(modules, -1) {
			reasons[m[1]] = false
		}
	}
	version := regexp.MustCompile(`/v\d+$`)
	for line := range strings.Lines(read(t, root+"/go.mod")) {
		words := strings.Fields(line)
		if len(words) != 2 || !strings.HasPrefix(words[1], "v") {
			continue // not a direct requirement
		}
		_, short, _ := strings.Cut(version.ReplaceAllString(words[0], ""), "/") // without the host
		if _, ok := reasons[short]; !ok {
			t.Errorf("ARCHITECTURE.md gives no reason for %s: add a row `%s`", words[0], short)
		}
		reasons[short] = true
	}
	for short, used := range reasons {
		if !used {
			t.Errorf("ARCHITECTURE.md gives a reason for %s, which go.mod does not ask for", short)
		}
	}
}
