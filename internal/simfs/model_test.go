//go:build unix

package simfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kbroker/kbroker/internal/vfs"
)

// TestAgreesWithTheOperatingSystem does the same random operations on simfs and on a real directory: results, errors
// and contents must be equal. The real one is the oracle for everything but crashes.
func TestAgreesWithTheOperatingSystem(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := &pair{
				rng:  rand.New(rand.NewPCG(seed, 1)),
				sim:  side{fsys: New(), files: map[string]vfs.File{}},
				real: side{fsys: vfs.OS(), root: t.TempDir(), files: map[string]vfs.File{}},
			}
			defer p.sim.closeAll()
			defer p.real.closeAll()
			for step := range 600 {
				op := p.draw()
				got, want := op.do(&p.sim), op.do(&p.real)
				if got != want {
					t.Fatalf("step %d, %s:\nsimfs: %s\nreal:  %s", step, op.text, got, want)
				}
			}
			if got, want := p.sim.tree(t), p.real.tree(t); got != want {
				t.Errorf("trees differ:\nsimfs:\n%s\nreal:\n%s", got, want)
			}
		})
	}
}

// side is one of the two file systems, with the files open on it by the name they were opened with.
type side struct {
	fsys  vfs.FS
	root  string
	files map[string]vfs.File
}

func (s *side) path(name string) string { return filepath.Join(s.root, "/", name) }

func (s *side) closeAll() {
	for _, f := range s.files {
		f.Close()
	}
}

type pair struct {
	rng       *rand.Rand
	sim, real side
}

// operation is one step: do returns all that can be seen of it.
type operation struct {
	text string
	do   func(s *side) string
}

// outcome prints results and an error without its operation and path, which differ between the two sides.
func outcome(err error, results ...any) string {
	var pathErr *fs.PathError
	var linkErr *os.LinkError
	switch {
	case errors.As(err, &pathErr):
		err = pathErr.Err
	case errors.As(err, &linkErr):
		err = linkErr.Err
	}
	return fmt.Sprint(results, " ", err)
}

func (p *pair) name() string {
	names := []string{"a", "b", "c", "d/a", "d/b", "d", "e", "e/a", "d/e", "d/e/b", "a/x"}
	return names[p.rng.IntN(len(names))]
}

func (p *pair) draw() operation {
	if p.rng.IntN(2) == 0 {
		return p.drawNames()
	}
	return p.drawFile()
}

// drawNames draws an operation on names.
func (p *pair) drawNames() operation {
	name, to := p.name(), p.name()
	switch p.rng.IntN(9) {
	case 0:
		return operation{"MkdirAll " + name, func(s *side) string { return outcome(s.fsys.MkdirAll(s.path(name), 0o755)) }}
	case 1:
		return operation{"Remove " + name, func(s *side) string { return outcome(s.fsys.Remove(s.path(name))) }}
	case 2:
		return operation{"RemoveAll " + name, func(s *side) string { return outcome(s.fsys.RemoveAll(s.path(name))) }}
	case 3, 4:
		to = filepath.Join(filepath.Dir(name), filepath.Base(to)) // within one directory
		return operation{"Rename " + name + " " + to, func(s *side) string {
			return outcome(s.fsys.Rename(s.path(name), s.path(to)))
		}}
	case 5:
		return operation{"SyncDir " + name, func(s *side) string { return outcome(ignoreFile(s.fsys.SyncDir(s.path(name)))) }}
	case 6:
		return operation{"Stat " + name, func(s *side) string {
			info, err := s.fsys.Stat(s.path(name))
			if err != nil {
				return outcome(err)
			}
			if info.IsDir() {
				return outcome(nil, info.Name(), info.Mode().Type())
			}
			return outcome(nil, info.Name(), info.Mode().Type(), info.Size())
		}}
	default:
		return operation{"ReadDir " + name, func(s *side) string {
			entries, err := s.fsys.ReadDir(s.path(name))
			var list []string
			for _, e := range entries {
				list = append(list, fmt.Sprint(e.Name(), e.IsDir()))
			}
			return outcome(err, list)
		}}
	}
}

// ignoreFile hides the one known difference: SyncDir of a file, a misuse, succeeds on a real system.
func ignoreFile(err error) error {
	if errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	return err
}

// drawFile draws an operation on an open file, or an opening.
func (p *pair) drawFile() operation {
	name := p.name()
	off, n := int64(p.rng.IntN(3000))-1, p.rng.IntN(2000)
	data := bytes.Repeat([]byte{byte('a' + p.rng.IntN(26))}, n)
	on := func(text string, do func(f vfs.File) string) operation {
		return operation{fmt.Sprintf("%s %s off %d len %d", text, name, off, n), func(s *side) string {
			if f := s.files[name]; f != nil {
				return do(f)
			}
			return "not open"
		}}
	}
	switch p.rng.IntN(8) {
	case 0, 1:
		flags := []int{
			os.O_RDWR, os.O_RDWR | os.O_CREATE, os.O_RDWR | os.O_CREATE | os.O_EXCL, os.O_RDWR | os.O_CREATE | os.O_TRUNC,
			os.O_RDONLY, os.O_WRONLY | os.O_CREATE,
		}
		flag := flags[p.rng.IntN(len(flags))]
		return operation{fmt.Sprintf("OpenFile %s %#x", name, flag), func(s *side) string { return s.open(name, flag) }}
	case 2:
		return on("ReadAt", func(f vfs.File) string {
			buf := make([]byte, n)
			count, err := f.ReadAt(buf, off)
			return outcome(err, string(buf[:count]))
		})
	case 3, 4:
		return on("WriteAt", func(f vfs.File) string {
			count, err := f.WriteAt(data, off)
			return outcome(err, count)
		})
	case 5:
		return on("WritevAt", func(f vfs.File) string {
			count, err := f.WritevAt([][]byte{data[:n/3], data[n/3:]}, max(off, 0))
			return outcome(err, count)
		})
	case 6:
		return on("Truncate", func(f vfs.File) string { return outcome(f.Truncate(off)) })
	default:
		return on("Sync", func(f vfs.File) string {
			size, err := f.Size()
			return outcome(errors.Join(err, f.Sync()), size)
		})
	}
}

func (s *side) open(name string, flag int) string {
	f, err := s.fsys.OpenFile(s.path(name), flag, 0o644)
	if err != nil {
		return outcome(err)
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		f.Close()
		return outcome(syscall.EISDIR) // simfs opens no directories
	}
	if old := s.files[name]; old != nil {
		old.Close()
	}
	s.files[name] = f
	return outcome(nil)
}

// tree prints all names and contents.
func (s *side) tree(t *testing.T) string {
	var out strings.Builder
	var visit func(name string)
	visit = func(name string) {
		entries, err := s.fsys.ReadDir(s.path(name))
		must(t, err)
		for _, e := range entries {
			child := filepath.Join(name, e.Name())
			fmt.Fprintln(&out, child, e.IsDir())
			if e.IsDir() {
				visit(child)
				continue
			}
			fmt.Fprintf(&out, "%q\n", s.read(t, child))
		}
	}
	visit("")
	return out.String()
}

func (s *side) read(t *testing.T, name string) []byte {
	f, err := s.fsys.OpenFile(s.path(name), os.O_RDONLY, 0)
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	buf := make([]byte, size)
	if _, err := f.ReadAt(buf, 0); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, fs.ErrClosed) {
		t.Fatal(err)
	}
	return buf
}
