package raftwal

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/kbroker/kbroker/internal/simfs"
)

// model is what a WAL must give back.
type model struct {
	snapshots map[uint64]string // those that were asked for, as text
	newest    uint64            // index of the last one that was acknowledged
	hardState string
	entries   map[uint64]string // by index
	last      uint64
}

func (m *model) clone() *model {
	n := *m
	n.entries, n.snapshots = map[uint64]string{}, map[uint64]string{}
	for k, v := range m.entries {
		n.entries[k] = v
	}
	for k, v := range m.snapshots {
		n.snapshots[k] = v
	}
	return &n
}

func (m *model) append(hs *raftpb.HardState, entries []*raftpb.Entry) {
	if hs != nil {
		m.hardState = fmt.Sprint(hs.GetTerm(), hs.GetVote(), hs.GetCommit())
	}
	for _, e := range entries {
		for i := e.GetIndex(); i <= m.last; i++ {
			delete(m.entries, i)
		}
		m.entries[e.GetIndex()], m.last = fmt.Sprintf("%d %s", e.GetTerm(), e.GetData()), e.GetIndex()
	}
}

// differs says how a recovered state is not that of the model, or "".
func (m *model) differs(s *State) string {
	got := ""
	if s.HardState != nil {
		got = fmt.Sprint(s.HardState.GetTerm(), s.HardState.GetVote(), s.HardState.GetCommit())
	}
	if got != m.hardState {
		return fmt.Sprintf("the hard state is %s, want %s", got, m.hardState)
	}
	if s.Snapshot.Index < m.newest || m.snapshots[s.Snapshot.Index] != string(s.Snapshot.Data) {
		return fmt.Sprintf("the snapshot is %d %q, want %d or a newer one", s.Snapshot.Index, s.Snapshot.Data, m.newest)
	}
	if n := uint64(len(s.Entries)); s.Snapshot.Index+n != max(m.last, s.Snapshot.Index) {
		return fmt.Sprintf("%d entries are behind snapshot %d, want them up to %d", n, s.Snapshot.Index, m.last)
	}
	for i, e := range s.Entries {
		want := m.entries[s.Snapshot.Index+1+uint64(i)]
		if got := fmt.Sprintf("%d %s", e.GetTerm(), e.GetData()); e.GetIndex() != s.Snapshot.Index+1+uint64(i) || got != want {
			return fmt.Sprintf("entry %d is %q, want %q", e.GetIndex(), got, want)
		}
	}
	return ""
}

// TestRandomWalkWithPowerCuts plays what a member does to a WAL, cuts the power before some operation of the file system
// or kills the process, and checks what the next process finds: all that was acknowledged, and of what was under way
// all or nothing.
func TestRandomWalkWithPowerCuts(t *testing.T) {
	for seed := range uint64(30) {
		if fault := walk(t, seed, newDisk(t)); fault != "" {
			t.Errorf("seed %d: %s", seed, fault)
		}
	}
}

// A disk that does not do what it says must not pass.
func TestRandomWalkFindsWhatIsNotSynced(t *testing.T) {
	for what, lie := range map[string]func(*simfs.FS, bool){"files": (*simfs.FS).SetSyncNoop, "directories": (*simfs.FS).SetSyncDirNoop} {
		faults := 0
		for seed := range uint64(10) {
			disk := newDisk(t)
			lie(disk, true)
			if walk(t, seed, disk) != "" {
				faults++
			}
		}
		if faults == 0 {
			t.Errorf("that %s are not synced was not noticed in 10 walks", what)
		}
	}
}

// walker is one random walk.
type walker struct {
	rng  *rand.Rand
	disk *simfs.FS // the current process's view
	next *simfs.FS // the view of the process after a power cut
	wal  *WAL
	term uint64

	acked, pending *model
}

// walk returns what was wrong, or "".
func walk(t *testing.T, seed uint64, disk *simfs.FS) string {
	w := &walker{rng: rand.New(rand.NewPCG(seed, 1)), disk: disk, term: 1}
	w.acked = &model{snapshots: map[uint64]string{1: "state at 1"}, newest: 1, entries: map[uint64]string{}, last: 1}
	w.wal, _ = open(t, w.disk)
	for range 25 {
		w.armPowerCut()
		for w.next == nil {
			if err := w.step(); err == nil {
				w.acked = w.pending
			} else if w.next == nil {
				return err.Error()
			}
			if w.next == nil && w.rng.IntN(40) == 0 {
				w.next, w.pending = w.disk.Kill(), w.acked
			}
		}
		if fault := w.reopen(); fault != "" {
			return fault
		}
	}
	return ""
}

// armPowerCut has the power cut before one of the operations that follow.
func (w *walker) armPowerCut() {
	disk, seed, worst := w.disk, w.rng.Uint64(), w.rng.IntN(4) == 0
	disk.ClearRules()
	disk.Inject(simfs.Rule{
		Ops:     simfs.OpWrite | simfs.OpSync | simfs.OpRename | simfs.OpRemove | simfs.OpSyncDir | simfs.OpTruncate | simfs.OpOpen,
		Pattern: "*", Skip: w.rng.IntN(80), Times: 1,
		Before: func() {
			if w.next != nil {
				return
			}
			if w.next = disk.Crash(seed); worst {
				w.next = disk.CrashWorst()
			}
		},
	})
}

// step does one thing, after which the model is pending.
func (w *walker) step() error {
	w.pending = w.acked.clone()
	m := w.pending
	switch w.rng.IntN(12) {
	case 0: // a snapshot of something that is applied
		if m.last <= m.newest {
			return nil
		}
		index := m.newest + 1 + w.rng.Uint64N(m.last-m.newest)
		var term uint64
		if _, err := fmt.Sscan(m.entries[index], &term); err != nil {
			return err
		}
		s := snapshot(index, term)
		m.snapshots[index] = string(s.Data)
		w.acked.snapshots[index] = string(s.Data) // it may be found although it was not acknowledged
		err := w.wal.SaveSnapshot(s)
		m.newest = index
		return err
	case 1: // a snapshot from the leader, which replaces the log
		w.term++
		index := m.last + 1 + w.rng.Uint64N(5)
		s, hs := snapshot(index, w.term), hardState(w.term, index)
		w.acked.snapshots[index] = string(s.Data)
		m.snapshots[index], m.newest, m.entries, m.last = string(s.Data), index, map[uint64]string{}, index
		m.append(hs, nil)
		return w.wal.Install(s, hs, nil)
	case 2: // an election
		w.term++
		hs := hardState(w.term, m.newest)
		m.append(hs, nil)
		return w.wal.Append(hs, nil)
	}
	from := m.last + 1
	if w.rng.IntN(5) == 0 && m.last > m.newest { // a new leader's entries take the place of others
		w.term++
		from = m.newest + 1 + w.rng.Uint64N(m.last-m.newest)
	}
	var entries []*raftpb.Entry
	for i := range 1 + w.rng.Uint64N(3) {
		entries = append(entries, entry(w.term, from+i, strings.Repeat("d", w.rng.IntN(200))))
	}
	var hs *raftpb.HardState
	if w.rng.IntN(2) == 0 {
		hs = hardState(w.term, m.newest)
	}
	m.append(hs, entries)
	return w.wal.Append(hs, entries)
}

// reopen is the next process. It returns what was wrong with what it found, or "".
func (w *walker) reopen() string {
	w.disk, w.next = w.next, nil
	wal, state, err := Open(options(w.disk))
	if err != nil {
		return err.Error()
	}
	if state == nil {
		return "nothing is there"
	}
	w.wal = wal
	switch acked, pending := w.acked.differs(state), w.pending.differs(state); {
	case acked == "":
	case pending == "":
		w.acked = w.pending
	default:
		return fmt.Sprintf("what was found is neither\n  what was acknowledged: %s\nnor with what was under way: %s\n%s", acked, pending, show(state))
	}
	w.acked.newest = state.Snapshot.Index
	w.acked.last = state.Snapshot.Index + uint64(len(state.Entries))
	return ""
}
