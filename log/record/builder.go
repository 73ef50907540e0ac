package record

import (
	"encoding/binary"
	"fmt"
	"math"
)

// BuilderOptions is what a new batch's header says apart from its records. The zero value makes an uncompressed batch
// with CreateTime and base offset 0, as a plain producer sends it.
type BuilderOptions struct {
	BaseOffset  int64
	LeaderEpoch int32
	Codec       Codec
	Level       int // of the codec, as in Compression
	// Producer identifies an idempotent or transactional producer, nil for none.
	Producer      *Producer
	Transactional bool
	Control       bool
	// LogAppendTime, when not 0, makes the batch one of that timestamp type and is its timestamp in milliseconds.
	LogAppendTime int64
	// DeleteHorizon, when not 0, is the cleaner's delete horizon in milliseconds, to which timestamps become relative
	// (rule 2.2.3).
	DeleteHorizon int64
}

// Producer is a batch's producer and the sequence number of its first record.
type Producer struct {
	ID           int64
	Epoch        int16
	BaseSequence int32
}

// noProducer is what the header of a batch without a producer says.
var noProducer = Producer{ID: NoProducerID, Epoch: NoProducerEpoch, BaseSequence: NoSequence}

// Builder builds batches. It is not safe for concurrent use.
type Builder struct {
	codecs *Codecs
	opts   BuilderOptions
	plain  []byte // the records, uncompressed

	count      int32
	base       int64 // timestamp that deltas are relative to
	maxTime    int64
	lastOffset int64
}

// NewBuilder returns a Builder for one batch after the other with these options. c may be nil when nothing is to be
// compressed.
func NewBuilder(c *Codecs, o BuilderOptions) *Builder {
	b := &Builder{codecs: c}
	b.Reset(o)
	return b
}

// Reset begins another batch and keeps the memory of the last.
func (b *Builder) Reset(o BuilderOptions) {
	*b = Builder{codecs: b.codecs, opts: o, plain: b.plain[:0], maxTime: NoTimestamp, lastOffset: o.BaseOffset - 1}
}

// Append adds a record at the offset after the last one's; r.Offset is ignored.
func (b *Builder) Append(r Record) {
	r.Offset = b.lastOffset + 1
	b.AppendAt(r)
}

// AppendAt adds a record at r.Offset, which must be above the last one's. Only the cleaner leaves gaps.
func (b *Builder) AppendAt(r Record) {
	if b.count == 0 {
		b.base = r.Timestamp
		if b.opts.DeleteHorizon != 0 {
			b.base = b.opts.DeleteHorizon
		}
	}
	offsetDelta, timestampDelta := r.Offset-b.opts.BaseOffset, r.Timestamp-b.base
	n := 1 + varintLen(timestampDelta) + varintLen(offsetDelta) + fieldLen(r.Key, r.Key == nil) +
		fieldLen(r.Value, r.Value == nil) + varintLen(int64(len(r.Headers)))
	for _, h := range r.Headers {
		n += fieldLen(h.Key, false) + fieldLen(h.Value, h.Value == nil)
	}
	p := appendVarint(b.plain, int64(n))
	p = append(p, 0) // attributes
	p = appendVarint(p, timestampDelta)
	p = appendVarint(p, offsetDelta)
	p = appendField(p, r.Key, r.Key == nil)
	p = appendField(p, r.Value, r.Value == nil)
	p = appendVarint(p, int64(len(r.Headers)))
	for _, h := range r.Headers {
		p = appendField(p, h.Key, false)
		p = appendField(p, h.Value, h.Value == nil)
	}
	b.plain = p
	b.count++
	b.lastOffset = r.Offset
	b.maxTime = max(b.maxTime, r.Timestamp)
}

func fieldLen[T []byte | string](v T, null bool) int {
	if null {
		return 1
	}
	return varintLen(int64(len(v))) + len(v)
}

func appendField[T []byte | string](dst []byte, v T, null bool) []byte {
	if null {
		return appendVarint(dst, -1)
	}
	return append(appendVarint(dst, int64(len(v))), v...)
}

// SetLastOffset makes the batch end at this offset although its last record has a lower one, or it has none, as
// compaction leaves batches (rule 2.1.3).
func (b *Builder) SetLastOffset(offset int64) { b.lastOffset = offset }

// SetTimes sets the base and the largest timestamp of a batch without records.
func (b *Builder) SetTimes(base, maximum int64) { b.base, b.maxTime = base, maximum }

// Len returns the number of records so far.
func (b *Builder) Len() int { return int(b.count) }

// Size returns the batch's length in bytes if it were built now without compression.
func (b *Builder) Size() int { return HeaderSize + len(b.plain) }

// Build returns the batch, in memory of its own.
func (b *Builder) Build() (Batch, error) {
	return b.AppendTo(nil)
}

// AppendTo appends the batch to dst. More can be appended to the builder afterwards for a longer batch.
func (b *Builder) AppendTo(dst []byte) ([]byte, error) {
	if b.opts.Codec == None {
		return b.appendPlain(dst), nil
	}
	if !b.opts.Codec.Valid() || b.codecs == nil {
		return dst, fmt.Errorf("building a batch: cannot compress with %v", b.opts.Codec)
	}
	to := Compression{Codec: b.opts.Codec, Level: b.opts.Level}
	at := len(dst)
	out, err := b.codecs.compress(append(dst, make([]byte, HeaderSize)...), b.plain, to, math.MaxInt32)
	if err != nil {
		return dst, fmt.Errorf("building a batch with %v: %w", b.opts.Codec, err)
	}
	b.header(out[at:])
	return out, nil
}

// appendPlain appends the batch uncompressed.
func (b *Builder) appendPlain(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, HeaderSize)...)
	dst = append(dst, b.plain...)
	b.header(dst[at:])
	return dst
}

// header writes the header of a batch whose payload is complete.
func (b *Builder) header(batch Batch) {
	o := &b.opts
	attrs := Attributes(o.Codec)
	maxTime := b.maxTime
	producer := &noProducer
	if o.Producer != nil {
		producer = o.Producer
	}
	if o.LogAppendTime != 0 {
		attrs |= attrLogAppendTime
		maxTime = o.LogAppendTime
	}
	if o.Transactional {
		attrs |= attrTransactional
	}
	if o.Control {
		attrs |= attrControl
	}
	if o.DeleteHorizon != 0 {
		attrs |= attrDeleteHorizon
	}
	batch.SetBaseOffset(o.BaseOffset)
	batch.SetPartitionLeaderEpoch(o.LeaderEpoch)
	batch[atMagic] = Magic2
	put := binary.BigEndian
	put.PutUint32(batch[atBatchLength:], uint32(len(batch)-Overhead))
	put.PutUint16(batch[atAttributes:], uint16(attrs))
	put.PutUint32(batch[atLastOffsetDelta:], uint32(b.lastOffset-o.BaseOffset))
	put.PutUint64(batch[atBaseTimestamp:], uint64(b.base))
	put.PutUint64(batch[atMaxTimestamp:], uint64(maxTime))
	put.PutUint64(batch[atProducerID:], uint64(producer.ID))
	put.PutUint16(batch[atProducerEpoch:], uint16(producer.Epoch))
	put.PutUint32(batch[atBaseSequence:], uint32(producer.BaseSequence))
	put.PutUint32(batch[atRecordCount:], uint32(b.count))
	batch.Reseal()
}
