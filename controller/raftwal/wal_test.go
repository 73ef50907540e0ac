package raftwal

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"os"
	"path"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/internal/vfs"
)

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

// A record whose sync failed is still shown by the page cache, clean: the next process, which reads it there, makes it
// durable before it builds on it.
func TestFailedSyncAndRestart(t *testing.T) {
	for _, fresh := range []bool{false, true} { // whether it is the first record of a segment
		disk := newDisk(t)
		w, _ := open(t, disk)
		data := strings.Repeat("x", 100_000)
		if err := w.Append(hardState(2, 1), nil); err != nil {
			t.Fatal(err)
		}
		next := uint64(2)
		if fresh {
			if err := w.Append(nil, []*raftpb.Entry{entry(2, next, data)}); err != nil {
				t.Fatal(err)
			}
			next++
		}
		disk.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "*" + segmentSuffix, Times: 1, Err: syscall.EIO})
		if err := w.Append(nil, []*raftpb.Entry{entry(2, next, data)}); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		disk = disk.Kill()
		again, state := open(t, disk)
		if n := uint64(len(state.Entries)); n != next-1 {
			t.Fatalf("fresh %v: %d entries in the page cache, want %d", fresh, n, next-1)
		}
		if err := again.Append(nil, []*raftpb.Entry{entry(2, next+1, data)}); err != nil {
			t.Fatal(err)
		}
		_, state = open(t, disk.CrashWorst())
		if n := uint64(len(state.Entries)); n != next {
			t.Errorf("fresh %v: after a power cut there are %d entries, want %d", fresh, n, next)
		}
	}
}

// A process is killed between the write of a record and its sync, the next one writes another, and the power goes: the
// second record is never there without the first, which would look like damage.
func TestKillAndPowerCut(t *testing.T) {
	data := strings.Repeat("x", 1000) // several sectors
	for seed := range uint64(200) {
		disk := newDisk(t)
		w, _ := open(t, disk)
		if err := w.Append(hardState(2, 1), nil); err != nil {
			t.Fatal(err)
		}
		var killed *simfs.FS
		disk.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "*" + segmentSuffix, Times: 1, Before: func() { killed = disk.Kill() }})
		_ = w.Append(nil, []*raftpb.Entry{entry(2, 2, data)}) // its process is no more
		o := options(killed)
		o.SegmentBytes = 1 << 20 // both records are in one segment
		again, state, err := Open(o)
		if err != nil || len(state.Entries) != 1 {
			t.Fatalf("%+v, %v", state, err)
		}
		var cut *simfs.FS
		killed.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "*" + segmentSuffix, Skip: int(seed % 2), Times: 1, Before: func() { cut = killed.Crash(seed) }})
		if err := again.Append(nil, []*raftpb.Entry{entry(2, 3, "y")}); err == nil {
			cut = killed.Crash(seed) // there was one sync
		}
		if w, _, err = Open(options(cut)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		w.Close()
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
