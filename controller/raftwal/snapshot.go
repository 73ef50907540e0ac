package raftwal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/kbroker/kbroker/internal/fields"
	"github.com/kbroker/kbroker/internal/vfs"
)

// Snapshot is the state of the machine as of an index, with what Raft needs to know about that point of its log.
type Snapshot struct {
	Index uint64
	Term  uint64
	// Conf is who votes.
	Conf *raftpb.ConfState
	// Data is the state; this package does not look into it.
	Data []byte
}

const (
	snapshotMagic  = "KBSN"
	snapshotFormat = 1
	// snapshotHeader is magic (4 bytes), format (4), raft id (8) and CRC of the rest (4).
	snapshotHeader = 20
	snapshotSuffix = ".snapshot"
	tempSuffix     = ".tmp"
	// keepSnapshots is how many snapshots there are: should the newest one be damaged, the one before it and the
	// segments since give the same state.
	keepSnapshots = 2
	// maxSnapshot bounds what opening asks of memory: an image of a million partitions is a tenth of it.
	maxSnapshot = 1 << 30
)

func snapshotName(index uint64) string { return fmt.Sprintf("%020d%s", index, snapshotSuffix) }

// encodeSnapshot returns the bytes of a snapshot file.
func encodeSnapshot(raftID uint64, s *Snapshot) []byte {
	b := make([]byte, snapshotHeader, snapshotHeader+64+len(s.Data))
	copy(b, snapshotMagic)
	binary.BigEndian.PutUint32(b[4:], snapshotFormat)
	binary.BigEndian.PutUint64(b[8:], raftID)
	b = binary.AppendUvarint(b, s.Index)
	b = binary.AppendUvarint(b, s.Term)
	for _, ids := range [][]uint64{s.Conf.GetVoters(), s.Conf.GetLearners(), s.Conf.GetVotersOutgoing(), s.Conf.GetLearnersNext()} {
		b = binary.AppendUvarint(b, uint64(len(ids)))
		for _, id := range ids {
			b = binary.AppendUvarint(b, id)
		}
	}
	if s.Conf.GetAutoLeave() {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = append(b, s.Data...)
	binary.BigEndian.PutUint32(b[16:], checksum(b[snapshotHeader:]))
	return b
}

// errDamaged says that a snapshot file is not what was written.
var errDamaged = errors.New("damaged")

// decodeSnapshot reads the bytes of a snapshot file. Data is part of b.
func decodeSnapshot(raftID uint64, b []byte) (*Snapshot, error) {
	if len(b) < snapshotHeader || string(b[:4]) != snapshotMagic {
		return nil, fmt.Errorf("%w: no snapshot header", errDamaged)
	}
	if crc := checksum(b[snapshotHeader:]); crc != binary.BigEndian.Uint32(b[16:]) {
		return nil, fmt.Errorf("%w: wrong checksum", errDamaged)
	}
	if f := binary.BigEndian.Uint32(b[4:]); f != snapshotFormat {
		return nil, fmt.Errorf("the snapshot has format %d, and this version of kbroker reads %d: upgrade this node", f, snapshotFormat)
	}
	if id := binary.BigEndian.Uint64(b[8:]); id != raftID {
		return nil, foreignError(id, raftID)
	}
	r := fields.Reader{B: b[snapshotHeader:]}
	s := Snapshot{Index: r.Uint(), Term: r.Uint(), Conf: &raftpb.ConfState{}}
	s.Conf.Voters, s.Conf.Learners = uints(&r), uints(&r)
	s.Conf.VotersOutgoing, s.Conf.LearnersNext = uints(&r), uints(&r)
	s.Conf.AutoLeave = new(r.Byte() == 1)
	s.Data = r.B
	if r.Err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, r.Err)
	}
	return &s, nil
}

// foreignError says that a file was written by another member of the quorum.
func foreignError(has, want uint64) error {
	return fmt.Errorf("it belongs to raft id %016x, and this data directory is %016x: the files were copied from another "+
		"data directory; give this one its own files back, or remove kbroker-raft to start with an empty cluster", has, want)
}

// writeSnapshot makes a snapshot file whose name appears only when it is whole and durable.
func writeSnapshot(fsys vfs.FS, dir string, raftID uint64, s *Snapshot) error {
	name := path.Join(dir, snapshotName(s.Index))
	if err := writeFile(fsys, name+tempSuffix, encodeSnapshot(raftID, s)); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	if err := fsys.Rename(name+tempSuffix, name); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return fsys.SyncDir(dir)
}

// writeFile writes and syncs a file.
func writeFile(fsys vfs.FS, name string, b []byte) (err error) {
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.Sync()
}

// readFile reads a file of at most max bytes.
func readFile(f vfs.File, max int64) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > max {
		return nil, fmt.Errorf("%s has %d bytes, and at most %d are expected", f.Name(), size, max)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

// readSnapshot reads the snapshot file called name.
func readSnapshot(fsys vfs.FS, name string, raftID uint64) (*Snapshot, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := readFile(f, maxSnapshot)
	if err != nil {
		return nil, err
	}
	s, err := decodeSnapshot(raftID, b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// numbered returns the number in a file's name, and whether it is one of the files with the given suffix.
func numbered(e fs.DirEntry, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(e.Name(), suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	var n uint64
	_, err := fmt.Sscanf(digits, "%d", &n)
	return n, err == nil
}
