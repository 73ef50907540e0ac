package raftwal

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/kbroker/kbroker/internal/simfs"
)

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
