package log

import (
	"fmt"
	"io/fs"
	"os"
	"sync"
	"testing"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/internal/vfs"
)

type traceFS struct{ vfs.FS }
type traceFile struct{ vfs.File }

var traceMu sync.Mutex

func tr(f string, a ...any) {
	traceMu.Lock()
	defer traceMu.Unlock()
	dbg.trace = append(dbg.trace, "      "+fmt.Sprintf(f, a...))
}
func (t *traceFS) OpenFile(n string, fl int, p fs.FileMode) (vfs.File, error) {
	f, err := t.FS.OpenFile(n, fl, p)
	if fl&os.O_CREATE != 0 {
		tr("create %s %v", n, err)
	}
	if err != nil {
		return nil, err
	}
	return &traceFile{f}, nil
}
func (t *traceFS) Remove(n string) error {
	err := t.FS.Remove(n)
	tr("remove %s %v", n, err)
	return err
}
func (t *traceFS) Rename(n, m string) error {
	err := t.FS.Rename(n, m)
	tr("rename %s %s %v", n, m, err)
	return err
}
func (t *traceFS) SyncDir(n string) error {
	err := t.FS.SyncDir(n)
	tr("syncdir %s %v", n, err)
	return err
}
func (t *traceFS) SyncFS(n string) error {
	err := t.FS.SyncFS(n)
	tr("syncfs %s %v", n, err)
	return err
}
func (t *traceFile) Sync() error { err := t.File.Sync(); tr("sync %s %v", t.Name(), err); return err }
func (t *traceFile) Truncate(n int64) error {
	err := t.File.Truncate(n)
	tr("truncate %s %d %v", t.Name(), n, err)
	return err
}
func (t *traceFile) WriteAt(p []byte, o int64) (int, error) {
	n, err := t.File.WriteAt(p, o)
	tr("write %s %d+%d %v", t.Name(), o, len(p), err)
	return n, err
}
func (t *traceFile) WritevAt(p [][]byte, o int64) (int64, error) {
	n, err := t.File.WritevAt(p, o)
	tr("writev %s %d+%d %v", t.Name(), o, n, err)
	return n, err
}

func TestDbg(t *testing.T) {
	var seed uint64
	fmt.Sscan(os.Getenv("SEED"), &seed)
	if os.Getenv("SEED") == "" {
		return
	}
	w := newPowerWalk(seed, func(d *simfs.FS) {})
	dbg = w
	dbgFS = func(f vfs.FS) vfs.FS { return &traceFS{f} }
	err := w.run(60)
	t.Log(err)
	for _, s := range w.trace[max(0, len(w.trace)-100):] {
		t.Log(s)
	}
}
