package group

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/kbroker/kbroker/coordinator/group/assignor"
)

// Key types of the records of consumer groups (rule 8.6.1). Type 4 is no longer written but to delete what older
// releases of Kafka wrote, and never read.
const (
	keyGroupEpoch         = 3
	keyPartitionMetadata  = 4
	keyMember             = 5
	keyTargetEpoch        = 6
	keyTarget             = 7
	keyCurrent            = 8
	keyRegex              = 16
	consumerRecordVersion = 0 // of all values
)

// consumerRecord is one change of a consumer group. A group is what its records say: a decision writes them and applies
// them at once, loading reads and applies them, and both are the same code.
type consumerRecord interface {
	// appendKey appends what follows the group's id in the key.
	appendKey(b []byte) []byte
	// appendValue appends the value, without its version.
	appendValue(b []byte) []byte
	// deletes reports whether the record is a tombstone.
	deletes() bool
	keyType() int16
	apply(g *consumerGroup)
	// before is what the group says of the same key as yet: applied after the record it takes that back.
	before(g *consumerGroup) consumerRecord
}

// epochRecord says which epoch the group is in, and what the topics looked like that it consumes then.
type epochRecord struct {
	epoch int32
	hash  int64
	gone  bool
}

// memberRecord says what a member told about itself; nil deletes the member.
type memberRecord struct {
	id   string
	info *memberInfo
}

// targetEpochRecord says which group epoch the target assignment was made for.
type targetEpochRecord struct {
	epoch int32
	at    int64 // milliseconds since 1970; 0 when it is not known
	gone  bool
}

// targetRecord says what a member is to have.
type targetRecord struct {
	id   string
	set  assignor.Partitions
	gone bool
}

// currentRecord says what a member has; nil deletes that.
type currentRecord struct {
	id      string
	current *memberCurrent
}

// regexRecord says which topics a regular expression stands for; nil deletes that.
type regexRecord struct {
	regex      string
	resolution *resolution
}

// partitionMetadataRecord deletes what an older Kafka may have left.
type partitionMetadataRecord struct{}

func (epochRecord) keyType() int16             { return keyGroupEpoch }
func (memberRecord) keyType() int16            { return keyMember }
func (targetEpochRecord) keyType() int16       { return keyTargetEpoch }
func (targetRecord) keyType() int16            { return keyTarget }
func (currentRecord) keyType() int16           { return keyCurrent }
func (regexRecord) keyType() int16             { return keyRegex }
func (partitionMetadataRecord) keyType() int16 { return keyPartitionMetadata }

func (r epochRecord) deletes() bool           { return r.gone }
func (r memberRecord) deletes() bool          { return r.info == nil }
func (r targetEpochRecord) deletes() bool     { return r.gone }
func (r targetRecord) deletes() bool          { return r.gone }
func (r currentRecord) deletes() bool         { return r.current == nil }
func (r regexRecord) deletes() bool           { return r.resolution == nil }
func (partitionMetadataRecord) deletes() bool { return true }

func (epochRecord) appendKey(b []byte) []byte             { return b }
func (r memberRecord) appendKey(b []byte) []byte          { return kbin.AppendString(b, r.id) }
func (targetEpochRecord) appendKey(b []byte) []byte       { return b }
func (r targetRecord) appendKey(b []byte) []byte          { return kbin.AppendString(b, r.id) }
func (r currentRecord) appendKey(b []byte) []byte         { return kbin.AppendString(b, r.id) }
func (r regexRecord) appendKey(b []byte) []byte           { return kbin.AppendString(b, r.regex) }
func (partitionMetadataRecord) appendKey(b []byte) []byte { return b }

func (partitionMetadataRecord) appendValue(b []byte) []byte { return b }
func (partitionMetadataRecord) apply(*consumerGroup)        {}

func (r epochRecord) appendValue(b []byte) []byte {
	b = kbin.AppendInt32(b, r.epoch)
	if r.hash == 0 {
		return append(b, noTags)
	}
	return appendTag(append(b, 1), 0, kbin.AppendInt64(nil, r.hash))
}

func (r targetEpochRecord) appendValue(b []byte) []byte {
	b = kbin.AppendInt32(b, r.epoch)
	if r.at == 0 {
		return append(b, noTags)
	}
	return appendTag(append(b, 1), 0, kbin.AppendInt64(nil, r.at))
}

func (r targetRecord) appendValue(b []byte) []byte {
	return append(appendPartitions(b, r.set, nil), noTags)
}

func (r currentRecord) appendValue(b []byte) []byte {
	c := r.current
	b = kbin.AppendInt32(b, c.epoch)
	b = kbin.AppendInt32(b, c.previous)
	b = kbin.AppendInt8(b, int8(c.state))
	b = appendPartitions(b, c.assigned.partitions, c.assigned.epochs)
	b = appendPartitions(b, c.revoking.partitions, c.revoking.epochs)
	return append(b, noTags)
}

func (r regexRecord) appendValue(b []byte) []byte {
	b = appendNames(b, r.resolution.topics)
	b = kbin.AppendInt64(b, r.resolution.version)
	b = kbin.AppendInt64(b, r.resolution.at)
	return append(b, noTags)
}

func (r memberRecord) appendValue(b []byte) []byte {
	i := r.info
	b = appendNullable(b, i.instance)
	b = appendNullable(b, i.rack)
	b = kbin.AppendCompactString(b, i.clientID)
	b = kbin.AppendCompactString(b, i.clientHost)
	b = appendNames(b, i.topics)
	b = appendNullable(b, &i.regex)
	b = kbin.AppendInt32(b, i.rebalanceTimeout)
	b = appendNullable(b, i.assignor)
	if i.classic == nil {
		return appendTag(append(b, 1), 0, []byte{0}) // Kafka writes the tag of what is not there too
	}
	// A nullable struct in a tag begins with a byte that says whether it is there.
	value := kbin.AppendInt8(nil, 1)
	value = kbin.AppendInt32(value, i.classic.sessionTimeout)
	value = kbin.AppendCompactArrayLen(value, len(i.classic.protocols))
	for _, p := range i.classic.protocols {
		value = kbin.AppendCompactString(value, p.name)
		value = kbin.AppendCompactBytes(value, p.metadata)
		value = append(value, noTags)
	}
	value = append(value, noTags)
	return appendTag(append(b, 1), 0, value)
}

// encodeConsumerRecord returns the key and the value of a record; a nil value is a tombstone.
func encodeConsumerRecord(group string, r consumerRecord) (key, value []byte) {
	key = kbin.AppendInt16(nil, r.keyType())
	key = r.appendKey(kbin.AppendString(key, group))
	if !r.deletes() {
		value = r.appendValue(kbin.AppendInt16(make([]byte, 0, 64), consumerRecordVersion))
	}
	return key, value
}

// decodeConsumerRecord reads a record of a type of consumer groups. key is whole, a nil value a tombstone.
func decodeConsumerRecord(key, value []byte) (group string, r consumerRecord, err error) {
	k := recordReader{kbin.Reader{Src: key}}
	typ := k.Int16()
	group = k.String()
	var v *recordReader
	if value != nil {
		v = &recordReader{kbin.Reader{Src: value}}
		if version := v.Int16(); version != consumerRecordVersion && v.Ok() {
			return group, nil, fmt.Errorf("a record of key type %d of group %q has version %d, and this release reads %d", typ, group, version, consumerRecordVersion)
		}
	}
	switch typ {
	case keyGroupEpoch:
		r = readEpoch(v)
	case keyPartitionMetadata:
		r = partitionMetadataRecord{}
	case keyMember:
		r = memberRecord{k.String(), readInfo(v)}
	case keyTargetEpoch:
		r = readTargetEpoch(v)
	case keyTarget:
		r = readTarget(k.String(), v)
	case keyCurrent:
		r = currentRecord{k.String(), readCurrent(v)}
	case keyRegex:
		r = regexRecord{k.String(), readResolution(v)}
	default:
		return group, nil, fmt.Errorf("key type %d is not one of consumer groups", typ)
	}
	if !k.Ok() || v != nil && !v.Ok() {
		return group, nil, fmt.Errorf("a record of key type %d of group %q: %w", typ, group, errTruncated)
	}
	return group, r, nil
}

func readEpoch(v *recordReader) consumerRecord {
	if v == nil {
		return epochRecord{gone: true}
	}
	r := epochRecord{epoch: v.Int32()}
	v.tags(func(tag uint32, f *recordReader) {
		if tag == 0 {
			r.hash = f.Int64()
		}
	})
	return r
}

func readTargetEpoch(v *recordReader) consumerRecord {
	if v == nil {
		return targetEpochRecord{gone: true}
	}
	r := targetEpochRecord{epoch: v.Int32()}
	v.tags(func(tag uint32, f *recordReader) {
		if tag == 0 {
			r.at = f.Int64()
		}
	})
	return r
}

func readTarget(id string, v *recordReader) consumerRecord {
	if v == nil {
		return targetRecord{id: id, gone: true}
	}
	r := targetRecord{id: id, set: v.partitions().partitions}
	v.skipTags()
	return r
}

func readCurrent(v *recordReader) *memberCurrent {
	if v == nil {
		return nil
	}
	c := &memberCurrent{epoch: v.Int32(), previous: v.Int32(), state: memberState(v.Int8())}
	c.assigned = v.partitions()
	c.revoking = v.partitions()
	v.skipTags()
	return c
}

func readResolution(v *recordReader) *resolution {
	if v == nil {
		return nil
	}
	r := &resolution{topics: v.names(), version: v.Int64(), at: v.Int64()}
	slices.Sort(r.topics)
	v.skipTags()
	return r
}

func readInfo(v *recordReader) *memberInfo {
	if v == nil {
		return nil
	}
	i := &memberInfo{instance: v.CompactNullableString(), rack: v.CompactNullableString(), clientID: v.CompactString(), clientHost: v.CompactString()}
	i.topics = sortedNames(v.names())
	if regex := v.CompactNullableString(); regex != nil {
		i.regex = *regex
	}
	i.rebalanceTimeout = v.Int32()
	i.assignor = v.CompactNullableString()
	v.tags(func(tag uint32, f *recordReader) {
		if tag == 0 {
			i.classic = readClassicPart(f)
		}
	})
	return i
}

func readClassicPart(f *recordReader) *classicPart {
	if f.Int8() <= 0 {
		return nil
	}
	c := &classicPart{sessionTimeout: f.Int32()}
	for range f.count(3) {
		p := protocol{f.CompactString(), slices.Clone(f.CompactBytes())}
		f.skipTags()
		c.protocols = append(c.protocols, p)
	}
	f.skipTags()
	return c
}
