package raftwal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"go.etcd.io/raft/v3/raftpb"
)

const (
	segmentMagic  = "KBWL"
	segmentFormat = 1
	// segmentHeader is magic (4 bytes), format (4), raft id (8), number of the first record (8) and CRC of those (4).
	segmentHeader = 28
	segmentSuffix = ".wal"
	// maxSegment bounds what reading a segment asks of memory: a full one and the largest record behind it.
	maxSegment = 2 * maxRecord
	// damagedSuffix is put behind the name of a snapshot that cannot be read, so that it can be looked at.
	damagedSuffix = ".damaged"
)

func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, segmentSuffix) }

func appendSegmentHeader(b []byte, raftID, first uint64) []byte {
	start := len(b)
	b = append(b, segmentMagic...)
	b = binary.BigEndian.AppendUint32(b, segmentFormat)
	b = binary.BigEndian.AppendUint64(b, raftID)
	b = binary.BigEndian.AppendUint64(b, first)
	return binary.BigEndian.AppendUint32(b, checksum(b[start:]))
}

// checkSegmentHeader returns errBroken when there is no whole header.
func checkSegmentHeader(b []byte, raftID, first uint64) error {
	if len(b) < segmentHeader || string(b[:4]) != segmentMagic ||
		checksum(b[:segmentHeader-4]) != binary.BigEndian.Uint32(b[segmentHeader-4:]) {
		return errBroken
	}
	if f := binary.BigEndian.Uint32(b[4:]); f != segmentFormat {
		return fmt.Errorf("the segment has format %d, and this version of kbroker reads %d: upgrade this node", f, segmentFormat)
	}
	if id := binary.BigEndian.Uint64(b[8:]); id != raftID {
		return foreignError(id, raftID)
	}
	if n := binary.BigEndian.Uint64(b[16:]); n != first {
		return fmt.Errorf("its first record is number %d by its header and %d by its name", n, first)
	}
	return nil
}

// recovery collects what a WAL says, record by record.
type recovery struct {
	hardState *raftpb.HardState
	entries   []*raftpb.Entry // without gaps
}

// add follows one record.
func (r *recovery) add(c *change) error {
	if c.hardState != nil {
		r.hardState = c.hardState
	}
	if c.reset {
		r.entries = nil
	}
	for _, e := range c.entries {
		if len(r.entries) > 0 {
			// An entry takes the place of the one with its index and of all behind that.
			first := r.entries[0].GetIndex()
			switch at := e.GetIndex() - first; {
			case e.GetIndex() < first:
				r.entries = nil
			case at > uint64(len(r.entries)):
				return fmt.Errorf("entry %d follows entry %d", e.GetIndex(), first+uint64(len(r.entries))-1)
			default:
				r.entries = r.entries[:at]
			}
		}
		r.entries = append(r.entries, e)
	}
	return nil
}

// behind returns the entries behind a snapshot, and whether the snapshot has replaced the log: it came from another
// member, whose log this one is not a part of, and the process ended before the record that says so was written.
func (r *recovery) behind(s *Snapshot) (entries []*raftpb.Entry, replaced bool, err error) {
	if len(r.entries) == 0 {
		return nil, false, nil
	}
	first := r.entries[0].GetIndex()
	last := first + uint64(len(r.entries)) - 1
	switch {
	case first > s.Index+1:
		return nil, false, fmt.Errorf("the entries from %d to %d are missing", s.Index+1, first-1)
	case first == s.Index+1:
		return r.entries, false, nil
	case last < s.Index || r.entries[s.Index-first].GetTerm() != s.Term:
		return nil, true, nil
	}
	return r.entries[s.Index-first+1:], false, nil
}

// recover reads the directory.
func (w *WAL) recover() (*State, error) {
	listing, err := w.o.FS.ReadDir(w.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var segments []uint64
	for _, e := range listing {
		if strings.HasSuffix(e.Name(), tempSuffix) {
			if err := w.o.FS.Remove(path.Join(w.dir, e.Name())); err != nil {
				return nil, err
			}
		}
		if n, ok := numbered(e, snapshotSuffix); ok {
			w.snapshots = append(w.snapshots, n)
		}
		if n, ok := numbered(e, segmentSuffix); ok {
			segments = append(segments, n)
		}
	}
	if len(w.snapshots) == 0 && len(segments) == 0 {
		return nil, nil
	}
	slices.Sort(w.snapshots)
	slices.Sort(segments)
	snapshot, err := w.newestSnapshot()
	if err != nil {
		return nil, err
	}
	var r recovery
	for i, first := range segments {
		if err := w.readSegment(first, i == len(segments)-1, &r); err != nil {
			return nil, fmt.Errorf("segment %s: %w", segmentName(first), err)
		}
	}
	entries, replaced, err := r.behind(snapshot)
	if err != nil {
		return nil, err
	}
	w.hardState, w.replaced = r.hardState, replaced
	return &State{Snapshot: snapshot, HardState: r.hardState, Entries: entries}, nil
}

// newestSnapshot reads the newest snapshot that is whole, and puts damaged ones aside.
func (w *WAL) newestSnapshot() (*Snapshot, error) {
	var damage error
	for n := len(w.snapshots); n > 0; n-- {
		name := path.Join(w.dir, snapshotName(w.snapshots[n-1]))
		s, err := readSnapshot(w.o.FS, name, w.o.RaftID)
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, errDamaged) {
			return nil, err
		}
		w.o.Logger.Error("a snapshot of the cluster's metadata is damaged; trying the one before it", "file", name, "err", err)
		damage = err
		if n > 1 {
			if err := w.o.FS.Rename(name, name+damagedSuffix); err != nil {
				return nil, err
			}
			w.snapshots = w.snapshots[:n-1]
		}
	}
	if damage != nil {
		return nil, fmt.Errorf("no snapshot is whole: %w", damage)
	}
	return nil, errors.New("there are segments and no snapshot: files are missing")
}

// readSegment reads one segment into r, and makes it the one that is written if it is the last.
func (w *WAL) readSegment(first uint64, last bool, r *recovery) (err error) {
	if len(w.segments) > 0 && first != w.next {
		// A power cut may have brought back a segment that was removed, and not the one behind it. Whether what is
		// needed is there is seen at the end, from the indexes of the entries.
		r.entries = nil
	}
	file, err := w.o.FS.OpenFile(w.segmentPath(first), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() {
		if w.file != file {
			err = errors.Join(err, file.Close())
		}
	}()
	b, err := readFile(file, maxSegment)
	if err != nil {
		return err
	}
	w.next = first
	if err := checkSegmentHeader(b, w.o.RaftID, first); err != nil {
		if errors.Is(err, errBroken) && last && !laterRecord(b, first) {
			// The process ended while it made the segment.
			w.o.Logger.Info("a segment of the controller's log was never finished and is removed", "segment", segmentName(first))
			return w.o.FS.Remove(w.segmentPath(first))
		}
		return err
	}
	w.segments = append(w.segments, segment{first: first})
	tail, good, err := w.readRecords(b, r)
	if err != nil {
		return err
	}
	if good == len(b) {
		if !last {
			return nil
		}
		w.file, w.size, w.unproven = file, int64(good), slices.Clone(b[tail:])
		if w.next-first <= 1 {
			// The process may have ended before the segment's name was durable: with a second record it certainly is.
			return w.o.FS.SyncDir(w.dir)
		}
		return nil
	}
	if !last || laterRecord(b[good:], w.next+1) {
		return fmt.Errorf("record %d, at byte %d, is damaged, and there are whole ones behind it: "+
			"changes of the cluster's metadata that were acknowledged are lost; restore %s from a copy", w.next, good, w.dir)
	}
	w.o.Logger.Info("the end of the controller's log was never finished and is cut off", "segment", segmentName(first),
		"at", good, "bytes", len(b)-good)
	if err := errors.Join(file.Truncate(int64(good)), file.Sync()); err != nil {
		return err
	}
	w.file, w.size = file, int64(good)
	return w.o.FS.SyncDir(w.dir) // its name may not be durable either
}

// readRecords reads the records of a segment up to the first that is broken, and returns where that begins, and what was
// written with the last whole one: the header belongs to the first.
func (w *WAL) readRecords(b []byte, r *recovery) (tail, good int, err error) {
	at := segmentHeader
	for at < len(b) {
		record, err := nextRecord(b[at:], w.next)
		if err != nil {
			return tail, at, nil
		}
		c, err := decodePayload(record[recordHeader:])
		if err == nil {
			err = r.add(c)
		}
		if err != nil {
			return tail, at, fmt.Errorf("record %d, at byte %d: %w", w.next, at, err)
		}
		if at > segmentHeader {
			tail = at
		}
		w.note(c)
		w.next++
		w.since += int64(len(record))
		at += len(record)
	}
	return tail, at, nil
}

// laterRecord reports whether a whole record with a number of at least number is somewhere in b. A record is written
// only when those before it are durable, so that one which is broken in front of a whole one was not torn by a crash:
// it is damaged.
func laterRecord(b []byte, number uint64) bool {
	for ; len(b) >= recordHeader; b = b[1:] {
		n := binary.BigEndian.Uint64(b[8:])
		if n < number || n-number > maxSegment/recordHeader {
			continue
		}
		if _, err := nextRecord(b, n); err == nil {
			return true
		}
	}
	return false
}
