package main

import (
	"fmt"

	"github.com/kbroker/kbroker/integration/clients/programs/go/record"
)

// verifier checks the records of a topic as they are read: the right ones, at the right offsets, in order, and nothing
// besides. It is used by one goroutine.
type verifier struct {
	task record.Task
	next [record.Partitions]int64 // offset expected next
	err  error                    // the first thing wrong
}

func newVerifier(t record.Task) *verifier { return &verifier{task: t} }

// end takes a partition's end offset as the broker tells it.
func (v *verifier) end(partition int, offset int64) {
	if want := v.task.Count(partition); offset != int64(want) && v.err == nil {
		v.err = fmt.Errorf("partition %d ends at offset %d, want %d", partition, offset, want)
	}
}

func (v *verifier) add(partition int, offset int64, got record.Record) {
	if v.err != nil {
		return
	}
	if offset != v.next[partition] {
		v.err = fmt.Errorf("partition %d: got offset %d, want %d", partition, offset, v.next[partition])
		return
	}
	v.next[partition]++
	if offset >= int64(v.task.Count(partition)) {
		v.err = fmt.Errorf("partition %d: offset %d is past the last record", partition, offset)
		return
	}
	v.err = v.task.Check(partition, offset, got)
}

// done reports whether everything was read or something was wrong.
func (v *verifier) done() bool {
	if v.err != nil {
		return true
	}
	for p, n := range v.next {
		if n < int64(v.task.Count(p)) {
			return false
		}
	}
	return true
}

// full reports whether a partition has been read to its end.
func (v *verifier) full(partition int) bool {
	return v.next[partition] >= int64(v.task.Count(partition))
}

// String says how far it came.
func (v *verifier) String() string { return fmt.Sprintf("read up to offsets %v", v.next) }
