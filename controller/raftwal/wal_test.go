package raftwal

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
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

func TestWhatWasAppendedIsThere(t *testing.T) {
	disk := newDisk(t)
	w, _ := open(t, disk)
	for _, step := range []error{
		w.Append(hardState(2, 1), nil),
		w.Append(nil, []*raftpb.Entry{entry(2, 2, ""), entry(2, 3, "x")}),
		w.Append(hardState(3, 2), []*raftpb.Entry{entry(3, 3, "y"), entry(3, 4, "z")}), // takes the place of entry 3
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	_, state := open(t, disk.CrashWorst())
	want := `snapshot 1/1 "state at 1" voters [11259375]; term 3 vote abcdef commit 2; 2/2 ""; 3/3 "y"; 4/3 "z"`
	if got := show(state); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// One append is one record and one sync, whatever it holds.
func TestOneSyncPerAppend(t *testing.T) {
	disk := vfs.Counting(newDisk(t))
	o := options(disk)
	o.SegmentBytes = 1 << 20
	w, _, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Bootstrap(snapshot(1, 1)); err != nil {
		t.Fatal(err)
	}
	if err := w.Append(hardState(2, 1), nil); err != nil {
		t.Fatal(err)
	}
	disk.Reset()
	for i := range uint64(10) {
		if err := w.Append(hardState(2, i+1), []*raftpb.Entry{entry(2, i+2, "data")}); err != nil {
			t.Fatal(err)
		}
	}
	if n := disk.Total().Syncs; n != 10 || disk.SyncDirCalls() != 0 {
		t.Errorf("10 appends made %d syncs, and %d of directories", n, disk.SyncDirCalls())
	}
}

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

// A segment that ends anywhere gives the records that are whole, and can be written on.
func TestTornTail(t *testing.T) {
	disk := newDisk(t)
	w, _ := open(t, disk)
	var ends []int64
	for i := range uint64(4) {
		if err := w.Append(hardState(2, 1), []*raftpb.Entry{entry(2, i+2, strings.Repeat("x", 20))}); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, w.size)
	}
	name := files(t, disk, segmentSuffix)[0]
	whole := read(t, disk, name)
	for cut := range len(whole) + 1 {
		for _, tail := range [][]byte{nil, make([]byte, 40), bytes.Repeat([]byte{0xff}, 40)} {
			write(t, disk, name, append(slices.Clone(whole[:cut]), tail...))
			w, state, err := Open(options(disk))
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			want := 0
			for want < len(ends) && int(ends[want]) <= cut {
				want++
			}
			if len(state.Entries) != want {
				t.Fatalf("cut at %d: %d entries, want %d", cut, len(state.Entries), want)
			}
			if err := w.Append(hardState(3, 1), []*raftpb.Entry{entry(3, uint64(want)+2, "more")}); err != nil {
				t.Fatal(err)
			}
			w.Close()
			w, state, err = Open(options(disk))
			if err != nil || len(state.Entries) != want+1 || string(state.Entries[want].Data) != "more" {
				t.Fatalf("cut at %d and written on: %v, %s", cut, err, show(state))
			}
			w.Close()
			for _, extra := range files(t, disk, segmentSuffix) {
				if extra != name {
					disk.Remove(extra)
				}
			}
		}
	}
}

// A record that is damaged in front of a whole one is not taken for a torn one: something acknowledged would be lost.
func TestDamageIsNotCutOff(t *testing.T) {
	disk := newDisk(t)
	w, _ := open(t, disk)
	for i := range uint64(3) {
		if err := w.Append(hardState(2, 1), []*raftpb.Entry{entry(2, i+2, "some data")}); err != nil {
			t.Fatal(err)
		}
	}
	name := files(t, disk, segmentSuffix)[0]
	whole := read(t, disk, name)
	last := int(w.size) - len(w.buf)
	for at := range last {
		b := slices.Clone(whole)
		b[at] ^= 0x10
		write(t, disk, name, b)
		if _, state, err := Open(options(disk)); err == nil {
			t.Fatalf("damage at byte %d of %d was not noticed: %s", at, len(b), show(state))
		}
	}
	b := slices.Clone(whole)
	b[last+20] ^= 0x10 // the last record may have been torn
	write(t, disk, name, b)
	if _, state, err := Open(options(disk)); err != nil || len(state.Entries) != 2 {
		t.Fatalf("damage in the last record: %v", err)
	}
}

func TestDamagedSnapshot(t *testing.T) {
	disk := newDisk(t)
	w, _ := open(t, disk)
	for i := range uint64(20) {
		if err := w.Append(hardState(2, 1), []*raftpb.Entry{entry(2, i+2, strings.Repeat("x", 100))}); err != nil {
			t.Fatal(err)
		}
		if i%7 == 6 {
			if err := w.SaveSnapshot(snapshot(i, 2)); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.Close()
	snapshots := files(t, disk, snapshotSuffix)
	if len(snapshots) != keepSnapshots {
		t.Fatalf("snapshots %v", snapshots)
	}
	b := read(t, disk, snapshots[1])
	b[len(b)-1]++
	write(t, disk, snapshots[1], b)
	_, state := open(t, disk)
	if state.Snapshot.Index != 6 || len(state.Entries) != 15 {
		t.Errorf("with the newest snapshot damaged: %s", show(state))
	}
	if got := files(t, disk, damagedSuffix); len(got) != 1 {
		t.Errorf("put aside: %v", got)
	}
	write(t, disk, snapshots[0], b[:30])
	if _, _, err := Open(options(disk)); err == nil || !strings.Contains(err.Error(), "no snapshot is whole") {
		t.Errorf("with both damaged: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		what, want string
		do         func(t *testing.T, disk *simfs.FS, o *Options)
	}{
		{"another member", "belongs to raft id", func(_ *testing.T, _ *simfs.FS, o *Options) { o.RaftID++ }},
		{"no snapshot", "there are segments and no snapshot", func(t *testing.T, disk *simfs.FS, _ *Options) {
			disk.Remove(files(t, disk, snapshotSuffix)[0])
		}},
		{"a missing segment", "are missing", func(t *testing.T, disk *simfs.FS, _ *Options) {
			disk.Remove(files(t, disk, segmentSuffix)[0])
		}},
		{"a newer segment", "has format 2", func(t *testing.T, disk *simfs.FS, _ *Options) {
			name := files(t, disk, segmentSuffix)[0]
			b := read(t, disk, name)
			b[7] = 2
			copy(b, appendNewer(b[:segmentHeader]))
			write(t, disk, name, b)
		}},
		{"a newer snapshot", "has format 2", func(t *testing.T, disk *simfs.FS, _ *Options) {
			name := files(t, disk, snapshotSuffix)[0]
			b := read(t, disk, name)
			b[7] = 2
			write(t, disk, name, b)
		}},
	}
	for _, test := range tests {
		disk := newDisk(t)
		w, _ := open(t, disk)
		for i := range uint64(20) {
			if err := w.Append(hardState(2, 1), []*raftpb.Entry{entry(2, i+2, strings.Repeat("x", 100))}); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		o := options(disk)
		test.do(t, disk, &o)
		if _, _, err := Open(o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want an error with %q", test.what, err, test.want)
		}
	}
}

// A full disk: records go on in the reserve, and when that is full as well the call fails and can be made again.
func TestFullDisk(t *testing.T) {
	disk := newDisk(t)
	w, _ := open(t, disk)
	if err := w.Append(hardState(2, 1), nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Reserve(); err != nil || !w.reserved {
		t.Fatal("no reserve", err)
	}
	used := func() int64 {
		free, total, err := disk.Space("/data")
		if err != nil {
			t.Fatal(err)
		}
		return int64(total - free)
	}
	disk.SetCapacity(used())
	next, data := uint64(2), strings.Repeat("x", 100_000)
	for err := error(nil); ; next++ {
		if err = w.Append(nil, []*raftpb.Entry{entry(2, next, data)}); err == nil {
			continue
		}
		if !IsNoSpace(err) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		break
	}
	if n := next - 2; n < 9 {
		t.Errorf("%d records of 100 kB fit the reserve of 1 MiB", n)
	}
	disk.SetCapacity(used() + 4*reserveBytes)
	if err := w.Append(nil, []*raftpb.Entry{entry(2, next, data)}); err != nil {
		t.Fatal("after room was made:", err)
	}
	if err := w.Reserve(); err != nil || !w.reserved {
		t.Fatal("no reserve again", err)
	}
	_, state := open(t, disk.CrashWorst())
	if len(state.Entries) != int(next-1) {
		t.Errorf("%d entries, want %d", len(state.Entries), next-1)
	}
}

// After a sync that failed nothing is known of the disk, and nothing is tried any more.
func TestFailedSync(t *testing.T) {
	disk := newDisk(t)
	w, _ := open(t, disk)
	if err := w.Append(hardState(2, 1), nil); err != nil {
		t.Fatal(err)
	}
	disk.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "*" + segmentSuffix, Times: 1, Err: syscall.EIO})
	first := w.Append(nil, []*raftpb.Entry{entry(2, 2, "x")})
	if !errors.Is(first, syscall.EIO) || IsNoSpace(first) {
		t.Fatal(first)
	}
	if err := w.Append(nil, []*raftpb.Entry{entry(2, 2, "x")}); !errors.Is(err, syscall.EIO) {
		t.Errorf("the next append: %v", err)
	}
	if err := w.SaveSnapshot(snapshot(2, 2)); !errors.Is(err, syscall.EIO) {
		t.Errorf("a snapshot: %v", err)
	}
}

// appendNewer is a segment header with another format.
func appendNewer(b []byte) []byte {
	h := appendSegmentHeader(nil, member, 1)
	h = append(h[:7], b[7:segmentHeader-4]...)
	return binary.BigEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
}

// The bytes on disk are what FORMAT.md says, for ever.
func TestGolden(t *testing.T) {
	got := map[string][]byte{
		"segment.hex": appendRecord(appendSegmentHeader(nil, member, 7), 7, &change{hardState: hardState(3, 2),
			entries: []*raftpb.Entry{entry(3, 3, "abc"), {Type: raftpb.EntryConfChangeV2.Enum(), Term: new(uint64(3)), Index: new(uint64(4))}}}),
		"reset.hex":    appendRecord(nil, 8, &change{reset: true}),
		"snapshot.hex": encodeSnapshot(member, snapshot(300, 7)),
	}
	for name, b := range got {
		name = path.Join("testdata", name)
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if text := hex.Dump(b); text != string(want) {
			t.Errorf("%s: got\n%s", name, text)
		}
	}
}
