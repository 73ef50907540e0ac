package group

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/kbroker/kbroker/metadata"
)

// offset is one committed offset.
type offset struct {
	committed   int64
	leaderEpoch int32 // of the last record consumed; -1 unknown (rule 8.4.6)
	metadata    string
	commitTime  int64 // milliseconds since 1970
	// expireTime is when the offset expires whatever the retention, in milliseconds since 1970; -1 when nothing is said
	// (rule 8.4.5).
	expireTime int64
	topicID    metadata.UUID // of the topic as it was then; zero when the record does not tell
	at         int64         // offset of the record itself, for rule 8.4.12
}

// Versions of OffsetCommitValue: with an explicit expiry, and the newest that Kafka 4.3.1 writes.
const (
	offsetValueExpiring = 1
	offsetValueNewest   = 4
)

// appendOffsetKey encodes the key of a committed offset.
func appendOffsetKey(dst []byte, group, topic string, partition int32) []byte {
	dst = kbin.AppendInt16(dst, keyOffset)
	dst = kbin.AppendString(dst, group)
	dst = kbin.AppendString(dst, topic)
	return kbin.AppendInt32(dst, partition)
}

// appendOffsetValue encodes a committed offset: version 4, with the topic's id behind it as Kafka 4.3.1 does, or version 1
// when it carries its own expiry, for which newer ones have no field.
func appendOffsetValue(dst []byte, o *offset) []byte {
	if o.expireTime >= 0 {
		dst = kbin.AppendInt16(dst, offsetValueExpiring)
		dst = kbin.AppendInt64(dst, o.committed)
		dst = kbin.AppendString(dst, o.metadata)
		dst = kbin.AppendInt64(dst, o.commitTime)
		return kbin.AppendInt64(dst, o.expireTime)
	}
	dst = kbin.AppendInt16(dst, offsetValueNewest)
	dst = kbin.AppendInt64(dst, o.committed)
	dst = kbin.AppendInt32(dst, o.leaderEpoch)
	dst = kbin.AppendCompactString(dst, o.metadata)
	dst = kbin.AppendInt64(dst, o.commitTime)
	if o.topicID.IsZero() {
		return kbin.AppendUvarint(dst, 0) // no tags
	}
	dst = append(dst, 1, 0, 16) // one tag: number 0, of 16 bytes
	return kbin.AppendUuid(dst, o.topicID)
}

// readOffsetValue decodes a value of any version. The metadata aliases it.
func readOffsetValue(value []byte) (offset, error) {
	r := kbin.Reader{Src: value}
	version := r.Int16()
	o := offset{leaderEpoch: -1, expireTime: -1}
	switch {
	case !r.Ok() || version < 0:
		return o, errRecord
	case version > offsetValueNewest:
		return o, fmt.Errorf("version %d of the value is newer than this broker", version)
	}
	o.committed = r.Int64()
	if version >= 3 {
		o.leaderEpoch = r.Int32()
	}
	if version < 4 {
		o.metadata = r.UnsafeString()
	} else {
		o.metadata = r.UnsafeCompactString()
	}
	o.commitTime = r.Int64()
	if version == offsetValueExpiring {
		o.expireTime = r.Int64()
	}
	if version >= 4 {
		readTags(&r, func(tag uint32, field []byte) {
			if tag == 0 && len(field) == len(o.topicID) {
				o.topicID = metadata.UUID(field)
			}
		})
	}
	if !r.Ok() {
		return o, errRecord
	}
	return o, nil
}

// readTags calls yield for every tagged field at r's place. A cut one leaves r not Ok.
func readTags(r *kbin.Reader, yield func(tag uint32, field []byte)) {
	for n := r.Uvarint(); n > 0 && r.Ok(); n-- {
		tag, size := r.Uvarint(), r.Uvarint()
		if int64(size) > int64(len(r.Src)) {
			r.Span(len(r.Src) + 1) // as any read beyond the end
			return
		}
		yield(tag, r.Span(int(size)))
	}
}
