package group

import (
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/kbroker/kbroker/coordinator/group/assignor"
	"github.com/kbroker/kbroker/metadata"
)

// errTruncated says that a record ends before its fields do, or that a length in it is impossible.
var errTruncated = errors.New("cut short, or with an impossible length")

// noTags ends a struct without tagged fields.
const noTags = 0

// The encoding of the records of consumer groups: keys as Kafka has always written them, values flexible (rule 8.6.2).

func appendNames(b []byte, names []string) []byte {
	b = kbin.AppendCompactArrayLen(b, len(names))
	for _, n := range names {
		b = kbin.AppendCompactString(b, n)
	}
	return b
}

func appendNullable(b []byte, s *string) []byte { return kbin.AppendCompactNullableString(b, s) }

// appendTag appends one tagged field.
func appendTag(b []byte, tag uint32, value []byte) []byte {
	b = kbin.AppendUvarint(b, tag)
	b = kbin.AppendUvarint(b, uint32(len(value)))
	return append(b, value...)
}

// byTopic calls yield for each run of partitions of one topic, with its place in the set.
func byTopic(set assignor.Partitions, yield func(from, to int)) {
	for from := 0; from < len(set); {
		to := from + 1
		for to < len(set) && set[to].Topic == set[from].Topic {
			to++
		}
		yield(from, to)
		from = to
	}
}

// appendPartitions appends a set of partitions as an array of topics. epochs is parallel to it, or nil where the record
// has no assignment epochs.
func appendPartitions(b []byte, set assignor.Partitions, epochs []int32) []byte {
	topics := 0
	byTopic(set, func(int, int) { topics++ })
	b = kbin.AppendCompactArrayLen(b, topics)
	byTopic(set, func(from, to int) {
		b = append(b, set[from].Topic[:]...)
		b = kbin.AppendCompactArrayLen(b, to-from)
		for _, p := range set[from:to] {
			b = kbin.AppendInt32(b, p.Index)
		}
		if epochs == nil {
			b = append(b, noTags)
			return
		}
		value := kbin.AppendCompactArrayLen(nil, to-from)
		for _, e := range epochs[from:to] {
			value = kbin.AppendInt32(value, e)
		}
		b = append(b, 1) // one tagged field
		b = appendTag(b, 0, value)
	})
	return b
}

// recordReader reads the fields of a record. Every length is checked against what is left before memory is taken for it.
type recordReader struct{ kbin.Reader }

// fail makes everything that is read from now on empty.
func (r *recordReader) fail() { r.Src = nil; r.Span(1) }

// count reads the length of an array whose elements take at least size bytes each. A null array counts as empty.
func (r *recordReader) count(size int) int {
	n := int(r.CompactArrayLen())
	if n < 0 {
		return 0
	}
	if n > len(r.Src)/size {
		r.fail()
		return 0
	}
	return n
}

func (r *recordReader) names() []string {
	n := r.count(1)
	if n == 0 {
		return nil
	}
	list := make([]string, 0, n)
	for range n {
		list = append(list, r.CompactString())
	}
	return list
}

// tags calls yield for each tagged field of a struct with a reader of its value.
func (r *recordReader) tags(yield func(tag uint32, value *recordReader)) {
	for n := r.Uvarint(); n > 0; n-- {
		if len(r.Src) == 0 {
			r.fail()
			return
		}
		tag := r.Uvarint()
		size := int(r.Uvarint())
		if size < 0 || size > len(r.Src) {
			r.fail()
			return
		}
		yield(tag, &recordReader{kbin.Reader{Src: r.Span(size)}})
	}
}

func (r *recordReader) skipTags() { r.tags(func(uint32, *recordReader) {}) }

// minTopic is the least that a topic takes in an array: an id, an array's length, a count of tags.
const minTopic = 18

// owned is a set of partitions with the epoch in which each was assigned.
type owned struct {
	partitions assignor.Partitions
	epochs     []int32 // parallel to partitions
}

// partitions reads an array of topics. Epochs are 0 where the record has none.
func (r *recordReader) partitions() owned {
	var o owned
	for range r.count(minTopic) {
		topic := metadata.UUID(r.Uuid())
		first := len(o.partitions)
		for range r.count(4) {
			o.partitions = append(o.partitions, assignor.Partition{Topic: topic, Index: r.Int32()})
			o.epochs = append(o.epochs, 0)
		}
		r.tags(func(tag uint32, v *recordReader) {
			if tag != 0 {
				return
			}
			for i := range v.count(4) {
				if e := v.Int32(); first+i < len(o.epochs) {
					o.epochs[first+i] = e
				}
			}
		})
	}
	o.sort()
	return o
}

// sort puts the partitions in order, and takes out what is there twice.
func (o *owned) sort() {
	if slices.IsSortedFunc(o.partitions, assignor.Partition.Compare) && !hasTwins(o.partitions) {
		return
	}
	order := make([]int, len(o.partitions))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return o.partitions[a].Compare(o.partitions[b]) })
	sorted := owned{}
	for _, i := range order {
		if n := len(sorted.partitions); n > 0 && sorted.partitions[n-1] == o.partitions[i] {
			continue
		}
		sorted.add(o.partitions[i], o.epochs[i])
	}
	*o = sorted
}

func hasTwins(set assignor.Partitions) bool {
	for i := 1; i < len(set); i++ {
		if set[i] == set[i-1] {
			return true
		}
	}
	return false
}

// add appends a partition, which comes after all that are there.
func (o *owned) add(p assignor.Partition, epoch int32) {
	o.partitions = append(o.partitions, p)
	o.epochs = append(o.epochs, epoch)
}

// equal reports whether two sets and their epochs are the same.
func (o owned) equal(p owned) bool {
	return o.partitions.Equal(p.partitions) && slices.Equal(o.epochs, p.epochs)
}
