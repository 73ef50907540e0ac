package power

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTakeBackNames(t *testing.T) {
	tests := map[string]struct {
		exists  []string // files and, with a slash at the end, directories before
		journal []string // with D for the directory
		left    []string // files after
	}{
		"created, never synced":   {[]string{"a"}, []string{"create D/a"}, nil},
		"created and synced":      {[]string{"a"}, []string{"create D/a", "sync D"}, []string{"a"}},
		"another directory":       {[]string{"s/a", "b"}, []string{"create D/b", "create D/s", "create D/s/a", "sync D/s", "sync D/x"}, nil},
		"renamed":                 {[]string{"b"}, []string{"create D/a", "sync D", "rename D/a D/b"}, []string{"a"}},
		"made, renamed, unsynced": {[]string{"b"}, []string{"create D/a", "rename D/a D/b"}, nil},
		"synced under its directory's new name": {
			[]string{"t/a"}, []string{"create D/s", "sync D", "create D/s/a", "rename D/s D/t", "sync D/t"}, []string{"s/a"},
		},
		"gone already":      {nil, []string{"create D/a", "rename D/a D/b"}, nil},
		"everything synced": {[]string{"s/a"}, []string{"create D/s", "create D/s/a", "sync /"}, []string{"s/a"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range test.exists {
				if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(f)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			journal := filepath.Join(t.TempDir(), "names")
			text := strings.NewReplacer("D", dir, " ", "\t").Replace(strings.Join(test.journal, "\n") + "\n")
			if err := os.WriteFile(journal, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := takeBackNames(journal); err != nil {
				t.Fatal(err)
			}
			if left := files(t, dir); !slices.Equal(left, test.left) {
				t.Errorf("left %v, want %v", left, test.left)
			}
			if n, err := takeBackNames(journal); n != 0 || err != nil {
				t.Errorf("the journal still has %d changes, %v", n, err)
			}
		})
	}
}

// files lists the regular files below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			found = append(found, strings.TrimPrefix(name, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
