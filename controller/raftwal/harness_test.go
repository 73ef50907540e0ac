package raftwal

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/internal/vfs"
)

const member = 0xabcdef

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// newDisk is an empty disk with a data directory.
func newDisk(t testing.TB) *simfs.FS {
	t.Helper()
	disk := simfs.New()
	if err := errors.Join(disk.MkdirAll("/data", 0o755), disk.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	return disk
}

func options(fsys vfs.FS) Options {
	return Options{FS: fsys, DataDir: "/data", RaftID: member, SegmentBytes: 600, Logger: quiet()}
}

// open opens a WAL that must be all right, bootstrapped if it is blank.
func open(t testing.TB, fsys vfs.FS) (*WAL, *State) {
	t.Helper()
	w, state, err := Open(options(fsys))
	if err != nil {
		t.Fatal(err)
	}
	if state == nil {
		state = &State{Snapshot: snapshot(1, 1)}
		if err := w.Bootstrap(state.Snapshot); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { w.Close() })
	return w, state
}

func snapshot(index, term uint64) *Snapshot {
	return &Snapshot{Index: index, Term: term, Conf: &raftpb.ConfState{Voters: []uint64{member}},
		Data: fmt.Appendf(nil, "state at %d", index)}
}

func hardState(term, commit uint64) *raftpb.HardState {
	return &raftpb.HardState{Term: &term, Vote: new(uint64(member)), Commit: &commit}
}

func entry(term, index uint64, data string) *raftpb.Entry {
	return &raftpb.Entry{Type: raftpb.EntryNormal.Enum(), Term: &term, Index: &index, Data: []byte(data)}
}

// show is a state as text.
func show(s *State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "snapshot %d/%d %q voters %v", s.Snapshot.Index, s.Snapshot.Term, s.Snapshot.Data, s.Snapshot.Conf.GetVoters())
	if hs := s.HardState; hs != nil {
		fmt.Fprintf(&b, "; term %d vote %x commit %d", hs.GetTerm(), hs.GetVote(), hs.GetCommit())
	}
	for _, e := range s.Entries {
		fmt.Fprintf(&b, "; %d/%d %q", e.GetIndex(), e.GetTerm(), e.GetData())
	}
	return b.String()
}

// files lists the files of the WAL with a suffix.
func files(t testing.TB, fsys vfs.FS, suffix string) []string {
	t.Helper()
	listing, err := fsys.ReadDir("/data/" + DirName)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range listing {
		if strings.HasSuffix(e.Name(), suffix) {
			names = append(names, path.Join("/data", DirName, e.Name()))
		}
	}
	return names
}

// read and write are whole files.
func read(t testing.TB, fsys vfs.FS, name string) []byte {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := readFile(f, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, fsys vfs.FS, name string, b []byte) {
	t.Helper()
	if err := writeFile(fsys, name, b); err != nil {
		t.Fatal(err)
	}
}
