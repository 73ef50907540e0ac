package record

import (
	"encoding/binary"
	"errors"
)

// checkRecords walks over all records of a batch whose header is in order (rules 2.2.1, 2.4.8 to 2.4.11 and 2.4.15).
func (s *Scratch) checkRecords(b Batch, o *ValidateOptions) error {
	s.walk.begin(b, &s.check)
	s.check.begin(b, o, &s.walk)
	if err := s.walk.batch(b, o.Codecs, produceLimits(o.MaxMessageBytes)); err != nil {
		return refusal(err)
	}
	return s.check.err()
}

// refusal turns what is wrong with a payload into the error for the producer. Bytes that do not decompress passed the
// checksum, so the producer made them that way and sending them again is of no use: INVALID_RECORD, not the retriable
// CORRUPT_MESSAGE, and not Kafka's UNKNOWN_SERVER_ERROR (rule 6.1.9). A payload beyond the limits is answered with the
// code that makes producers split the batch.
func refusal(err error) error {
	if errors.Is(err, errExpands) {
		return tooLarge("%v", err)
	}
	return invalid("%v", err)
}

// rewrite makes a checked batch what the log stores (rules 2.5.2 to 2.5.5).
func (s *Scratch) rewrite(b Batch, o *ValidateOptions) (Result, error) {
	maxTimestamp, maxDelta := s.walk.maxTimestamp, s.walk.maxDelta
	appendTime := NoTimestamp
	if o.TimestampType == LogAppendTime {
		maxTimestamp, maxDelta, appendTime = o.Now, 0, o.Now
	}
	to := o.Compression
	if to.Recompress && to.Codec != b.Codec() && o.Origin == OriginClient {
		var err error
		if b, err = s.recompress(b, o); err != nil {
			return Result{}, err
		}
	}
	b.setTimes(o.TimestampType, maxTimestamp)
	info := b.Info()
	info.OffsetOfMaxTimestamp, info.LogAppendTime = maxDelta, appendTime
	return Result{Batch: b, Info: info}, nil
}

// recompress builds b anew with another codec in s.out (rule 2.5.4). The records' bytes stay what they are, so that
// timestamps, offsets and contents need no second look: they are decompressed and compressed as a stream. Like Kafka's
// own rebuilt batches, the new one has neither unused attribute bits nor a delete horizon.
func (s *Scratch) recompress(b Batch, o *ValidateOptions) (Batch, error) {
	s.out = append(s.out[:0], b[:HeaderSize]...)
	out, err := o.Codecs.recompress(s.out, b, o.Compression, int(o.MaxMessageBytes))
	s.out = out
	if err != nil {
		if errors.Is(err, errFull) {
			return nil, tooLarge("compressed with %v the batch takes more than the %d bytes of max.message.bytes",
				o.Compression.Codec, o.MaxMessageBytes)
		}
		return nil, refusal(err)
	}
	attrs := b.Attributes() & (attrKnown &^ attrCodecMask &^ attrDeleteHorizon)
	r := Batch(out)
	binary.BigEndian.PutUint16(r[atAttributes:], uint16(attrs|Attributes(o.Compression.Codec)))
	binary.BigEndian.PutUint32(r[atBatchLength:], uint32(len(out)-Overhead))
	r.Reseal()
	return r, nil
}
