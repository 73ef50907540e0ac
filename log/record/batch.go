package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Sizes of the parts of a batch, in bytes.
const (
	// HeaderSize is the length of a batch's fixed part. Every accessor of Batch needs these bytes and no more, so that a
	// scan over a log can read headers alone.
	HeaderSize = 61
	// Overhead is what BatchLength does not count: the base offset and the length field itself.
	Overhead = 12
	// minBatchLength is the smallest BatchLength that a whole header can have.
	minBatchLength = HeaderSize - Overhead
)

// Offsets of the header's fields, in bytes (rule 2.1).
const (
	atBaseOffset      = 0
	atBatchLength     = 8
	atLeaderEpoch     = 12
	atMagic           = 16
	atCRC             = 17
	atAttributes      = 21
	atLastOffsetDelta = 23
	atBaseTimestamp   = 27
	atMaxTimestamp    = 35
	atProducerID      = 43
	atProducerEpoch   = 51
	atBaseSequence    = 53
	atRecordCount     = 57
)

// Magic2 is the only format version that kbroker stores.
const Magic2 = 2

// Attributes are the flag bits of a batch (rule 2.1.2). Bits 7 to 15 are unused: ignored when reading, zero when
// writing.
type Attributes uint16

// The bits of Attributes.
const (
	attrCodecMask     Attributes = 0x07
	attrLogAppendTime Attributes = 0x08
	attrTransactional Attributes = 0x10
	attrControl       Attributes = 0x20
	attrDeleteHorizon Attributes = 0x40
	attrKnown         Attributes = 0x7f
)

// Values that stand for "none" in a header.
const (
	NoTimestamp     int64 = -1
	NoProducerID    int64 = -1
	NoProducerEpoch int16 = -1
	NoSequence      int32 = -1
	NoLeaderEpoch   int32 = -1
)

// TimestampType says where the timestamps of a batch's records come from.
type TimestampType uint8

// The timestamp types of Kafka's message.timestamp.type.
const (
	CreateTime    TimestampType = 0
	LogAppendTime TimestampType = 1
)

// String returns Kafka's name of the type.
func (t TimestampType) String() string {
	if t == LogAppendTime {
		return "LogAppendTime"
	}
	return "CreateTime"
}

// castagnoli is the table of CRC-32C, the checksum of batches. crc32.MakeTable returns the standard library's own table,
// whose use is what makes it take the processor's instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is a view of one RecordBatch: the bytes of its header, and of its records where the caller has them. It never
// copies. Accessors panic on fewer than HeaderSize bytes; Next and CheckHeader are the ways to get a Batch from bytes
// that nobody has looked at yet.
type Batch []byte

// BaseOffset returns the offset of the batch's first record.
func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b[atBaseOffset:])) }

// LastOffset returns the offset of the last record the batch was written with. After compaction no record may carry it
// any more, but the next batch still begins above it (rule 2.1.3).
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// BatchLength returns the length field: the bytes that follow it.
func (b Batch) BatchLength() int32 { return int32(binary.BigEndian.Uint32(b[atBatchLength:])) }

// Size returns the length in bytes of the whole batch, header included, as the header states it.
func (b Batch) Size() int { return Overhead + int(b.BatchLength()) }

// PartitionLeaderEpoch returns the epoch of the leader that appended the batch.
func (b Batch) PartitionLeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[atLeaderEpoch:])) }

// Magic returns the format version, Magic2 in every batch that CheckHeader accepts.
func (b Batch) Magic() int8 { return int8(b[atMagic]) }

// CRC returns the stored checksum.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[atCRC:]) }

// Attributes returns the flag bits, unused ones included.
func (b Batch) Attributes() Attributes {
	return Attributes(binary.BigEndian.Uint16(b[atAttributes:]))
}

// Codec returns the codec of the batch's payload. It may be one that Codec.Valid rejects.
func (b Batch) Codec() Codec { return Codec(b.Attributes() & attrCodecMask) }

// TimestampType returns where the timestamps come from.
func (b Batch) TimestampType() TimestampType {
	if b.Attributes()&attrLogAppendTime != 0 {
		return LogAppendTime
	}
	return CreateTime
}

// IsTransactional reports whether the batch belongs to a transaction, as data or as its marker.
func (b Batch) IsTransactional() bool { return b.Attributes()&attrTransactional != 0 }

// IsControl reports whether the batch holds control records, such as transaction markers.
func (b Batch) IsControl() bool { return b.Attributes()&attrControl != 0 }

// HasDeleteHorizon reports whether BaseTimestamp is the cleaner's delete horizon. The records' timestamps are relative
// to it all the same (rule 2.2.3).
func (b Batch) HasDeleteHorizon() bool { return b.Attributes()&attrDeleteHorizon != 0 }

// LastOffsetDelta returns LastOffset - BaseOffset.
func (b Batch) LastOffsetDelta() int32 {
	return int32(binary.BigEndian.Uint32(b[atLastOffsetDelta:]))
}

// BaseTimestamp returns what the records' timestamps are relative to, in milliseconds since 1970.
func (b Batch) BaseTimestamp() int64 {
	return int64(binary.BigEndian.Uint64(b[atBaseTimestamp:]))
}

// MaxTimestamp returns the largest timestamp of the batch's records, or the time of the append with LogAppendTime, in
// milliseconds since 1970; NoTimestamp when the records have none.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[atMaxTimestamp:])) }

// ProducerID returns the producer's id, or NoProducerID.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[atProducerID:])) }

// ProducerEpoch returns the producer's epoch, or NoProducerEpoch.
func (b Batch) ProducerEpoch() int16 {
	return int16(binary.BigEndian.Uint16(b[atProducerEpoch:]))
}

// BaseSequence returns the sequence number of the first record, or NoSequence.
func (b Batch) BaseSequence() int32 {
	return int32(binary.BigEndian.Uint32(b[atBaseSequence:]))
}

// LastSequence returns the sequence number of the last record, or NoSequence. Sequence numbers wrap from 2^31-1 to 0
// (rule 2.1.4).
func (b Batch) LastSequence() int32 {
	base := b.BaseSequence()
	if base == NoSequence {
		return NoSequence
	}
	return AddSequence(base, b.LastOffsetDelta())
}

// AddSequence returns the sequence number n after seq, modulo 2^31 (rules 2.1.4 and 4.1.2).
func AddSequence(seq, n int32) int32 {
	return int32((uint32(seq) + uint32(n)) & 0x7fffffff)
}

// RecordCount returns the number of records that the header states. Compaction can leave 0 (rule 2.1.3).
func (b Batch) RecordCount() int32 { return int32(binary.BigEndian.Uint32(b[atRecordCount:])) }

// Payload returns the records as they lie in the batch, compressed when Codec is not None.
func (b Batch) Payload() []byte { return b[HeaderSize:b.Size()] }

// SetBaseOffset gives the batch its offsets. The checksum does not cover them.
func (b Batch) SetBaseOffset(offset int64) {
	binary.BigEndian.PutUint64(b[atBaseOffset:], uint64(offset))
}

// SetPartitionLeaderEpoch stamps the appending leader's epoch. The checksum does not cover it.
func (b Batch) SetPartitionLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(b[atLeaderEpoch:], uint32(epoch))
}

// ComputeCRC returns the checksum that the batch's bytes have.
func (b Batch) ComputeCRC() uint32 { return crc32.Checksum(b[atAttributes:b.Size()], castagnoli) }

// VerifyCRC reports whether the stored checksum is the one that the bytes have.
func (b Batch) VerifyCRC() bool { return b.CRC() == b.ComputeCRC() }

// Reseal stores the checksum anew, after anything from the attributes on was changed.
func (b Batch) Reseal() { binary.BigEndian.PutUint32(b[atCRC:], b.ComputeCRC()) }

// setTimes rewrites the timestamp type and the largest timestamp and seals the batch; when nothing differs it leaves
// the bytes alone, unused attribute bits included, and saves the checksum (rule 2.5.2).
func (b Batch) setTimes(t TimestampType, maxTimestamp int64) {
	if b.TimestampType() == t && b.MaxTimestamp() == maxTimestamp {
		return
	}
	attrs := b.Attributes() & attrKnown &^ attrLogAppendTime
	if t == LogAppendTime {
		attrs |= attrLogAppendTime
	}
	binary.BigEndian.PutUint16(b[atAttributes:], uint16(attrs))
	binary.BigEndian.PutUint64(b[atMaxTimestamp:], uint64(maxTimestamp))
	b.Reseal()
}

// Errors of Next and CheckHeader.
var (
	// ErrIncomplete says that the bytes end inside a batch: in a log that is a torn tail, in a fetch response a batch
	// that the size limit cut.
	ErrIncomplete = errors.New("the bytes end inside a record batch")
	// ErrBadHeader says that the bytes cannot be a batch of format 2.
	ErrBadHeader = errors.New("not a record batch of format 2")
)

// CheckHeader reports whether the first HeaderSize bytes of hdr can be a batch's header: enough bytes, format 2 and a
// length that holds at least the header. The error wraps ErrIncomplete or ErrBadHeader. It looks neither at the
// checksum nor at the records.
func CheckHeader(hdr []byte) error {
	if len(hdr) < HeaderSize {
		return fmt.Errorf("%w: %d bytes of a header of %d", ErrIncomplete, len(hdr), HeaderSize)
	}
	b := Batch(hdr)
	if magic := b.Magic(); magic != Magic2 {
		return fmt.Errorf("%w: magic byte %d", ErrBadHeader, magic)
	}
	if n := b.BatchLength(); n < minBatchLength {
		return fmt.Errorf("%w: batch length %d, the header alone takes %d", ErrBadHeader, n, minBatchLength)
	}
	return nil
}

// Next splits the first batch off buf and returns it with what follows it. At the end of buf it returns a nil batch and
// no error. Otherwise the error wraps ErrIncomplete when buf ends inside the batch, or ErrBadHeader when it is none,
// and rest is buf. The checksum is left to the caller (Batch.VerifyCRC).
func Next(buf []byte) (b Batch, rest []byte, err error) {
	if len(buf) == 0 {
		return nil, nil, nil
	}
	if err := CheckHeader(buf); err != nil {
		return nil, buf, err
	}
	n := Batch(buf).Size()
	if n > len(buf) {
		return nil, buf, fmt.Errorf("%w: %d of %d bytes", ErrIncomplete, len(buf), n)
	}
	return Batch(buf[:n:n]), buf[n:], nil
}
