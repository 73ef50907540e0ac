package log

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/kbroker/kbroker/internal/vfs"
)

const (
	snapshotVersion     = 1
	snapshotHeaderBytes = 10 // version, CRC, count
	snapshotEntryBytes  = 46
	// maxSnapshotBytes bounds a snapshot file: a million producers. Kafka has no bound on them, ours is
	// DefaultMaxProducers.
	maxSnapshotBytes = snapshotHeaderBytes + 1_000_000*snapshotEntryBytes
)

// castagnoli is the polynomial of every CRC on disk.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SnapshotEntry is one producer in a snapshot file (rule 3.2.10). Only the newest batch is kept.
type SnapshotEntry struct {
	ProducerID       int64
	Epoch            int16
	LastSequence     int32 // -1: no batch of this epoch
	LastOffset       int64 // -1: no batch of this epoch
	OffsetDelta      int32
	LastTimestamp    int64
	CoordinatorEpoch int32 // -1: no marker yet
	TxnFirstOffset   int64 // -1: no open transaction
}

// FirstSequence returns the first sequence number of the newest batch, when there is one.
func (e *SnapshotEntry) FirstSequence() int32 { return subSequence(e.LastSequence, e.OffsetDelta) }

// snapshot returns the entries of a snapshot file, ordered by producer id so that equal states make equal files. The
// caller holds the log's mutex; encoding and writing need not happen under it.
func (s *producerState) snapshot() []SnapshotEntry {
	entries := make([]SnapshotEntry, 0, len(s.index))
	for _, i := range s.index {
		e := &s.entries[i]
		se := SnapshotEntry{
			ProducerID: e.id, Epoch: e.epoch, LastSequence: -1, LastOffset: -1,
			LastTimestamp: e.lastTimestamp, CoordinatorEpoch: e.coordinatorEpoch, TxnFirstOffset: e.txnFirstOffset,
		}
		if m := e.newest(); m != nil {
			se.LastSequence, se.LastOffset, se.OffsetDelta = m.LastSeq, m.LastOffset, m.OffsetDelta
		}
		entries = append(entries, se)
	}
	slices.SortFunc(entries, func(a, b SnapshotEntry) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return entries
}

// load replaces the state by that of a snapshot. now is the broker's time in milliseconds: a loaded producer counts as
// seen now, since the snapshot does not say when its batches were received. The oldest by timestamp are left out when
// there are more than the limit.
func (s *producerState) load(entries []SnapshotEntry, now int64) {
	s.reset()
	s.newest = max(s.newest, now)
	entries = slices.Clone(entries)
	slices.SortStableFunc(entries, func(a, b SnapshotEntry) int { return cmp.Compare(a.LastTimestamp, b.LastTimestamp) })
	for _, se := range entries {
		i := s.insert(se.ProducerID, se.Epoch)
		e := &s.entries[i]
		e.lastTimestamp, e.seen = se.LastTimestamp, s.newest
		e.coordinatorEpoch, e.txnFirstOffset = se.CoordinatorEpoch, se.TxnFirstOffset
		if se.LastOffset >= 0 {
			e.addBatch(batchMeta{LastOffset: se.LastOffset, Timestamp: se.LastTimestamp, LastSeq: se.LastSequence, OffsetDelta: se.OffsetDelta})
		}
		if se.TxnFirstOffset >= 0 {
			s.txns.begin(se.TxnFirstOffset, se.ProducerID)
		}
		s.link(i)
		s.evict(i)
	}
	slices.SortFunc(s.txns.txns, func(a, b unstableTxn) int { return cmp.Compare(a.first, b.first) })
}

// encodeSnapshot returns the bytes of a snapshot file (rule 3.2.10).
func encodeSnapshot(entries []SnapshotEntry) []byte {
	b := make([]byte, 0, snapshotHeaderBytes+len(entries)*snapshotEntryBytes)
	b = binary.BigEndian.AppendUint16(b, snapshotVersion)
	b = binary.BigEndian.AppendUint32(b, 0) // the CRC, below
	b = binary.BigEndian.AppendUint32(b, uint32(len(entries)))
	for i := range entries {
		e := &entries[i]
		b = binary.BigEndian.AppendUint64(b, uint64(e.ProducerID))
		b = binary.BigEndian.AppendUint16(b, uint16(e.Epoch))
		b = binary.BigEndian.AppendUint32(b, uint32(e.LastSequence))
		b = binary.BigEndian.AppendUint64(b, uint64(e.LastOffset))
		b = binary.BigEndian.AppendUint32(b, uint32(e.OffsetDelta))
		b = binary.BigEndian.AppendUint64(b, uint64(e.LastTimestamp))
		b = binary.BigEndian.AppendUint32(b, uint32(e.CoordinatorEpoch))
		b = binary.BigEndian.AppendUint64(b, uint64(e.TxnFirstOffset))
	}
	fixSnapshotCRC(b)
	return b
}

func fixSnapshotCRC(b []byte) {
	binary.BigEndian.PutUint32(b[2:], crc32.Checksum(b[6:], castagnoli))
}

// decodeSnapshot reads the bytes of a snapshot file. Its error wraps ErrCorrupt: the caller deletes the file and falls
// back to the one before it (rule 3.2.10).
func decodeSnapshot(b []byte) ([]SnapshotEntry, error) {
	if len(b) < snapshotHeaderBytes {
		return nil, fmt.Errorf("%d bytes are less than a header: %w", len(b), ErrCorrupt)
	}
	if v := binary.BigEndian.Uint16(b); v != snapshotVersion {
		return nil, fmt.Errorf("version %d is not %d: %w", v, snapshotVersion, ErrCorrupt)
	}
	if want, got := binary.BigEndian.Uint32(b[2:]), crc32.Checksum(b[6:], castagnoli); want != got {
		return nil, fmt.Errorf("CRC %08x in the header, %08x computed: %w", want, got, ErrCorrupt)
	}
	count, rest := int64(int32At(b, 6)), b[snapshotHeaderBytes:]
	if count < 0 || count*snapshotEntryBytes != int64(len(rest)) {
		return nil, fmt.Errorf("%d entries announced, but %d bytes follow: %w", count, len(rest), ErrCorrupt)
	}
	entries := make([]SnapshotEntry, 0, count)
	seen := make(map[int64]bool, count)
	for ; len(rest) > 0; rest = rest[snapshotEntryBytes:] {
		e := SnapshotEntry{
			ProducerID: int64At(rest, 0), Epoch: int16(binary.BigEndian.Uint16(rest[8:])), LastSequence: int32At(rest, 10),
			LastOffset: int64At(rest, 14), OffsetDelta: int32At(rest, 22), LastTimestamp: int64At(rest, 26),
			CoordinatorEpoch: int32At(rest, 34), TxnFirstOffset: int64At(rest, 38),
		}
		if e.ProducerID < 0 || seen[e.ProducerID] || e.LastOffset >= 0 && (e.LastSequence < 0 || e.OffsetDelta < 0) {
			return nil, fmt.Errorf("the entry of producer %d makes no sense: %w", e.ProducerID, ErrCorrupt)
		}
		seen[e.ProducerID] = true
		entries = append(entries, e)
	}
	return entries, nil
}

// writeSnapshot writes a snapshot file durably and atomically. It waits for the disk: no lock of a log may be held.
func writeSnapshot(fsys vfs.FS, name string, entries []SnapshotEntry) error {
	return writeFileAtomic(fsys, name, encodeSnapshot(entries))
}

// ReadSnapshot reads a producer snapshot file (rule 3.2.10). Its error wraps ErrCorrupt or fs.ErrNotExist.
func ReadSnapshot(fsys vfs.FS, name string) ([]SnapshotEntry, error) {
	b, err := readFileBounded(fsys, name, maxSnapshotBytes)
	if err != nil {
		return nil, err
	}
	entries, err := decodeSnapshot(b)
	if err != nil {
		return nil, fmt.Errorf("producer snapshot %s: %w", name, err)
	}
	return entries, nil
}
