package raftwal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/kbroker/kbroker/internal/fields"
)

const (
	// recordHeader is length (4 bytes), CRC (4) and number (8).
	recordHeader = 16
	// maxRecord bounds the payload of one record: it is what opening a segment may ask of memory at once. The largest
	// that a controller writes is the change of leader of each partition of a broker, 25 bytes each.
	maxRecord = 64 << 20
	// MaxEntries bounds the data of the entries of one Append: half a record, since there is more in one than data.
	MaxEntries = maxRecord / 2
	// minEntry is the least number of bytes that an entry takes in a payload.
	minEntry = 4
)

// castagnoli is the polynomial of all checksums here: Kafka's files use it as well, and the CPU computes it.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// change is what one record holds.
type change struct {
	// reset says that the log before it is gone: it begins again behind the snapshot that was installed.
	reset     bool
	hardState *raftpb.HardState // nil: as before
	entries   []*raftpb.Entry
}

// Flags of a payload.
const (
	flagHardState = 1 << iota
	flagReset
	unknownFlags = 0xff &^ (flagHardState | flagReset)
)

// appendRecord appends the record of c to b, as number.
func appendRecord(b []byte, number uint64, c *change) []byte {
	start := len(b)
	b = append(b, make([]byte, recordHeader+1)...)
	flags := &b[start+recordHeader]
	if c.reset {
		*flags |= flagReset
	}
	if hs := c.hardState; hs != nil {
		*flags |= flagHardState
		b = binary.AppendUvarint(b, hs.GetTerm())
		b = binary.AppendUvarint(b, hs.GetVote())
		b = binary.AppendUvarint(b, hs.GetCommit())
	}
	b = binary.AppendUvarint(b, uint64(len(c.entries)))
	for _, e := range c.entries {
		b = binary.AppendUvarint(b, uint64(e.GetType()))
		b = binary.AppendUvarint(b, e.GetTerm())
		b = binary.AppendUvarint(b, e.GetIndex())
		b = binary.AppendUvarint(b, uint64(len(e.GetData())))
		b = append(b, e.GetData()...)
	}
	r := b[start:]
	binary.BigEndian.PutUint32(r, uint32(len(r)-recordHeader))
	binary.BigEndian.PutUint64(r[8:], number)
	binary.BigEndian.PutUint32(r[4:], recordCRC(r))
	return b
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// recordCRC is the checksum of a record's length, number and payload.
func recordCRC(r []byte) uint32 {
	return crc32.Update(checksum(r[:4]), castagnoli, r[8:])
}

// errBroken says that no whole record with the right number stands where one was looked for.
var errBroken = errors.New("no whole record")

// nextRecord returns the record with the given number at the front of b, header and payload, or errBroken.
func nextRecord(b []byte, number uint64) ([]byte, error) {
	if len(b) < recordHeader {
		return nil, errBroken
	}
	n := binary.BigEndian.Uint32(b)
	if n == 0 || n > maxRecord || uint64(n) > uint64(len(b)-recordHeader) {
		return nil, errBroken
	}
	r := b[:recordHeader+int(n)]
	if binary.BigEndian.Uint64(r[8:]) != number || binary.BigEndian.Uint32(r[4:]) != recordCRC(r) {
		return nil, errBroken
	}
	return r, nil
}

// decodePayload reads what a record holds. The entries' data is part of b.
func decodePayload(b []byte) (*change, error) {
	r := fields.Reader{B: b}
	flags := r.Byte()
	if flags&unknownFlags != 0 {
		return nil, fmt.Errorf("flags %#x are not known to this version of kbroker: upgrade this node", flags)
	}
	c := &change{reset: flags&flagReset != 0}
	if flags&flagHardState != 0 {
		c.hardState = &raftpb.HardState{Term: new(r.Uint()), Vote: new(r.Uint()), Commit: new(r.Uint())}
	}
	c.entries = make([]*raftpb.Entry, r.Length(minEntry))
	for i := range c.entries {
		kind := r.Uint()
		if _, ok := raftpb.EntryType_name[int32(kind)]; !ok || kind > math.MaxInt32 {
			r.Fail("entry type %d is unknown", kind)
		}
		c.entries[i] = &raftpb.Entry{Type: raftpb.EntryType(kind).Enum(), Term: new(r.Uint()), Index: new(r.Uint()), Data: r.Bytes()}
	}
	if r.Err == nil && len(r.B) > 0 {
		r.Fail("%d bytes are behind the last entry", len(r.B))
	}
	return c, r.Err
}

// uints reads a list of numbers.
func uints(r *fields.Reader) []uint64 {
	list := make([]uint64, r.Length(1))
	for i := range list {
		list[i] = r.Uint()
	}
	return list
}
