package record

import (
	"encoding/binary"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Origin is who writes a batch. Batches that come by replication are not validated here at all: a follower appends them
// verbatim (rule 2.5.6).
type Origin uint8

const (
	// OriginClient is a client's Produce request.
	OriginClient Origin = iota
	// OriginCoordinator is a coordinator of this broker. It may write control batches, may leave out the sequence, and
	// its batches are never recompressed (rules 2.4.6 and 2.5.5).
	OriginCoordinator
)

// NoTimeLimit switches a limit of ValidateOptions on timestamps off.
const NoTimeLimit int64 = math.MaxInt64

// ValidateOptions is what Validate has to know of the topic, the broker and the request.
type ValidateOptions struct {
	Origin Origin
	// ProduceVersion is the version of the Produce request. It matters to clients only: zstd needs 7 (rule 2.4.1).
	ProduceVersion int16
	// MaxMessageBytes is max.message.bytes: the largest batch, in bytes with its header (rule 2.4.3).
	MaxMessageBytes int32
	// Compact is set when cleanup.policy contains compact: every record needs a key (rule 2.4.8).
	Compact bool
	// TimestampType is message.timestamp.type.
	TimestampType TimestampType
	// BeforeMaxMs and AfterMaxMs are message.timestamp.before.max.ms and message.timestamp.after.max.ms: how far from
	// Now a record's timestamp may lie with CreateTime (rule 2.4.9). NoTimeLimit switches them off.
	BeforeMaxMs, AfterMaxMs int64
	// Now is the broker's time in milliseconds since 1970.
	Now int64
	// Compression is compression.type (rule 2.5.4).
	Compression Compression
	// Codecs lends what a compressed batch needs. It is required unless batches are known to be uncompressed.
	Codecs *Codecs
}

// Result is a batch that may be appended.
type Result struct {
	// Batch is ready but for its base offset and leader epoch (rule 2.5.1). It is the bytes given to Validate, rewritten
	// in place where needed, without what followed the batch; or a batch in the Scratch when it had to be recompressed.
	Batch Batch
	Info  Info
}

// Scratch holds what Validate needs for the length of a call, so that calls allocate nothing. One Scratch serves one
// call at a time. A recompressed batch lives in it until its next use. The zero value is ready.
type Scratch struct {
	walk  walk
	check checker
	out   []byte
}

// Validate checks one produced batch as Kafka 4.3.1 does, in its order (rules 2.4.1 to 2.4.13 and 2.4.15), and rewrites
// it for the log (rules 2.5.2 to 2.5.4). b may hold trailing bytes, which are dropped as Kafka drops them (rule 2.4.4).
// A refused batch is left as it was. The error is an *Error. Rules 2.4.12 and 2.4.14, sequence numbers and
// segment.bytes, are the log's.
//
// It only computes, and for a compressed batch may wait for others to have computed (Codecs), so no lock may be held
// across it.
func Validate(b []byte, o *ValidateOptions, s *Scratch) (Result, error) {
	batch, err := checkRequest(b, o)
	if err != nil {
		return Result{}, err
	}
	if err := checkBatch(batch, o); err != nil {
		return Result{}, err
	}
	if err := s.checkRecords(batch, o); err != nil {
		return Result{}, err
	}
	return s.rewrite(batch, o)
}

// CheckRequest is the part of Validate that Kafka does on the request alone, before it looks for the topic's leader
// (rule 2.4.1, in the order of rule 6.1.1): exactly one batch, of format 2, and with a codec that the client's version
// of the request allows. The error is an *Error.
func CheckRequest(b []byte, produceVersion int16) error {
	_, err := checkRequest(b, &ValidateOptions{ProduceVersion: produceVersion})
	return err
}

// checkRequest returns the one batch in b.
func checkRequest(b []byte, o *ValidateOptions) (Batch, error) {
	n, err := frameBatch(b)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, requestError(kerr.InvalidRecord, "the request holds no complete record batch (%d bytes)", len(b))
	}
	batch := Batch(b[:n:n])
	if magic := batch.Magic(); magic != Magic2 {
		return nil, requestError(kerr.InvalidRecord,
			"the message format is version %d; only version 2 can be produced, use a client of Kafka 0.11 or later", magic)
	}
	if o.Origin == OriginClient && o.ProduceVersion < 7 && batch.Codec() == Zstd {
		return nil, requestError(kerr.UnsupportedCompressionType,
			"zstd needs Produce version 7 or later, the client used %d", o.ProduceVersion)
	}
	more, err := frameBatch(b[n:])
	if err != nil {
		return nil, err
	}
	if more > 0 {
		return nil, requestError(kerr.InvalidRecord, "the request holds more than one batch for the partition")
	}
	return batch, nil
}

// minMessageLength is the length field of the smallest message of format 0, below which Kafka calls bytes corrupt
// whatever their format.
const minMessageLength = 14

// Unreadable returns the error of bytes that do not even begin as a batch or message does: those whose length or format
// cannot be. It is nil for everything that CheckRequest finds to be wrong in another way. Kafka looks for it in all of a
// request before it does anything, and fails all of it.
func Unreadable(b []byte) error {
	_, err := frameBatch(b)
	return err
}

// frameBatch returns the size of the batch or message at the start of b, 0 when b ends before it does: such a tail is
// ignored, which leaves either no batch at all or drops what follows the first (rule 2.4.4).
func frameBatch(b []byte) (int, error) {
	if len(b) < Overhead {
		return 0, nil
	}
	length := int32(binary.BigEndian.Uint32(b[atBatchLength:]))
	if length < minMessageLength {
		return 0, requestError(kerr.CorruptMessage, "a batch declares a length of %d bytes", length)
	}
	if len(b) <= atMagic {
		return 0, nil
	}
	if magic := int8(b[atMagic]); magic < 0 || magic > Magic2 {
		return 0, requestError(kerr.CorruptMessage, "unknown message format %d", magic)
	}
	if int(length) > len(b)-Overhead {
		return 0, nil
	}
	return Overhead + int(length), nil
}

// checkBatch looks at the batch's header and checksum (rules 2.4.2 to 2.4.6).
func checkBatch(b Batch, o *ValidateOptions) error {
	if base := b.BaseOffset(); base != 0 && o.Origin == OriginClient {
		return invalid("the base offset of a produced batch must be 0, it is %d", base)
	}
	if n := b.Size(); n > int(o.MaxMessageBytes) {
		return tooLarge("the batch takes %d bytes, max.message.bytes allows %d", n, o.MaxMessageBytes)
	}
	if n := b.BatchLength(); n < minBatchLength {
		return requestError(kerr.CorruptMessage, "the batch length is %d, the header alone takes %d", n, minBatchLength)
	}
	if !b.VerifyCRC() {
		return requestError(kerr.CorruptMessage, "the batch's checksum is wrong: %08x is stored, the bytes have %08x",
			b.CRC(), b.ComputeCRC())
	}
	if !b.Codec().Valid() {
		return invalid("compression codec %d does not exist", uint8(b.Codec()))
	}
	count := b.RecordCount()
	switch offsets := int64(b.LastOffsetDelta()) + 1; {
	case offsets <= 0:
		return invalid("the last offset delta is %d", b.LastOffsetDelta())
	case count <= 0:
		return invalid("the batch declares %d records", count)
	case offsets != int64(count):
		return invalid("the batch declares %d records for %d offsets", count, offsets)
	}
	if o.Origin != OriginClient {
		return nil
	}
	if b.IsControl() {
		return invalid("control records can be written by the broker only")
	}
	if b.ProducerID() >= 0 && b.BaseSequence() < 0 {
		return invalid("a batch of producer id %d needs a sequence number, it has %d", b.ProducerID(), b.BaseSequence())
	}
	return nil
}
