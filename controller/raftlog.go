package controller

import (
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// raftLog is Raft's view of what the disk holds: the entries since a snapshot, in memory. It belongs to the controller's
// goroutine, which puts things in when the disk has them. Snapshots bound its length.
type raftLog struct {
	hardState *raftpb.HardState
	conf      *raftpb.ConfState
	// base and baseTerm are those of the entry before the first.
	base, baseTerm uint64
	entries        []*raftpb.Entry
	// snapshot makes a snapshot of what is applied, for a member whose next entry is not there any more.
	snapshot func() (*raftpb.Snapshot, error)
}

var _ raft.Storage = (*raftLog)(nil)

// InitialState implements raft.Storage.
func (l *raftLog) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	return l.hardState, l.conf, nil
}

// Entries implements raft.Storage.
func (l *raftLog) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	if lo <= l.base {
		return nil, raft.ErrCompacted
	}
	if hi > l.last()+1 {
		return nil, raft.ErrUnavailable
	}
	entries := l.entries[lo-l.base-1 : hi-l.base-1]
	var size uint64
	for i, e := range entries {
		if size += uint64(len(e.GetData())); size > maxSize && i > 0 {
			entries = entries[:i]
			break
		}
	}
	return slices.Clip(entries), nil
}

// Term implements raft.Storage.
func (l *raftLog) Term(i uint64) (uint64, error) {
	switch {
	case i < l.base:
		return 0, raft.ErrCompacted
	case i == l.base:
		return l.baseTerm, nil
	case i > l.last():
		return 0, raft.ErrUnavailable
	}
	return l.entries[i-l.base-1].GetTerm(), nil
}

// FirstIndex implements raft.Storage.
func (l *raftLog) FirstIndex() (uint64, error) { return l.base + 1, nil }

// LastIndex implements raft.Storage.
func (l *raftLog) LastIndex() (uint64, error) { return l.last(), nil }

// Snapshot implements raft.Storage.
func (l *raftLog) Snapshot() (*raftpb.Snapshot, error) { return l.snapshot() }

func (l *raftLog) last() uint64 { return l.base + uint64(len(l.entries)) }

// append adds entries that are durable. Each takes the place of the one with its index and of all behind that.
func (l *raftLog) append(entries []*raftpb.Entry) {
	for len(entries) > 0 && entries[0].GetIndex() <= l.base {
		entries = entries[1:] // a snapshot has them
	}
	if len(entries) == 0 {
		return
	}
	// Clip: Entries handed out slices that must stay what they are.
	keep := l.entries[:entries[0].GetIndex()-l.base-1]
	if len(keep) < len(l.entries) {
		keep = slices.Clip(keep)
	}
	l.entries = append(keep, entries...)
}

// compact forgets the entries up to index.
func (l *raftLog) compact(index uint64) {
	if index <= l.base {
		return
	}
	l.baseTerm, _ = l.Term(index)
	l.entries = slices.Clone(l.entries[index-l.base:]) // a copy lets go of what is forgotten
	l.base = index
}

// install begins again behind a snapshot.
func (l *raftLog) install(index, term uint64) {
	l.base, l.baseTerm, l.entries = index, term, nil
}
