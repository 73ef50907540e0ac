package raftwal

import (
	"bytes"
	"encoding/binary"
	"path"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// FuzzPayload decodes what a record could hold: no panic, no memory out of proportion, and what is accepted is encoded
// to something that decodes to the same.
func FuzzPayload(f *testing.F) {
	for _, c := range []*change{
		{reset: true},
		{hardState: hardState(3, 2), entries: []*raftpb.Entry{entry(3, 3, "abc"), entry(3, 4, "")}},
	} {
		f.Add(appendRecord(nil, 1, c)[recordHeader:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodePayload(b)
		if err != nil {
			return
		}
		again := appendRecord(nil, 1, c)
		d, err := decodePayload(again[recordHeader:])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, appendRecord(nil, 1, d)) {
			t.Fatalf("%x is not what it was", again)
		}
	})
}

// FuzzSnapshot decodes what a snapshot file could hold behind its header, the checksum being right.
func FuzzSnapshot(f *testing.F) {
	f.Add(encodeSnapshot(member, snapshot(300, 7))[snapshotHeader:])
	f.Fuzz(func(t *testing.T, b []byte) {
		file := append(encodeSnapshot(member, snapshot(1, 1))[:snapshotHeader:snapshotHeader], b...)
		putCRC(file)
		s, err := decodeSnapshot(member, file)
		if err != nil {
			return
		}
		again, err := decodeSnapshot(member, encodeSnapshot(member, s))
		if err != nil || again.Index != s.Index || !bytes.Equal(again.Data, s.Data) {
			t.Fatalf("%v: %+v became %+v", err, s, again)
		}
	})
}

func putCRC(snapshot []byte) {
	binary.BigEndian.PutUint32(snapshot[16:], checksum(snapshot[snapshotHeader:]))
}

// FuzzSegment opens a WAL whose segment could hold anything: it is opened or refused, and what is opened can be written
// on.
func FuzzSegment(f *testing.F) {
	header := appendSegmentHeader(nil, member, 1)
	one := appendRecord(header, 1, &change{hardState: hardState(2, 1), entries: []*raftpb.Entry{entry(2, 2, "x")}})
	two := appendRecord(one, 2, &change{entries: []*raftpb.Entry{entry(2, 3, "y")}})
	for _, b := range [][]byte{nil, header, one, two, two[:len(two)-3], append(bytes.Clone(two), make([]byte, 30)...)} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		disk := newDisk(t)
		w, _ := open(t, disk)
		w.Close()
		write(t, disk, path.Join("/data", DirName, segmentName(1)), b)
		if err := disk.SyncDir("/data/" + DirName); err != nil { // as it is after the second record
			t.Fatal(err)
		}
		w, state, err := Open(options(disk))
		if err != nil {
			return
		}
		next := state.Snapshot.Index + uint64(len(state.Entries)) + 1
		if err := w.Append(hardState(9, 1), []*raftpb.Entry{entry(9, next, "more")}); err != nil {
			t.Fatal(err)
		}
		w.Close()
		_, again := open(t, disk.CrashWorst())
		if n := len(again.Entries); n != len(state.Entries)+1 || string(again.Entries[n-1].Data) != "more" {
			t.Fatalf("%s became %s", show(state), show(again))
		}
	})
}
