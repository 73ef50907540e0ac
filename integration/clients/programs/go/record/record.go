// Package record says which records the client programs write and expect: record number i of a topic is a function of
// i, the seed and the shape, the same in every language (../../README.md).
package record

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Partitions is the number of partitions of each topic. Record i goes to partition i%Partitions, so it has offset
// i/Partitions there.
const Partitions = 3

// Header is a record header. A nil value is null.
type Header struct {
	Key   string
	Value []byte
}

// Record is one record. A nil key or value is null.
type Record struct {
	Key, Value []byte
	Headers    []Header
	Millis     int64 // timestamp; 0 means the time of writing
}

// Task is one topic to write or read.
type Task struct {
	Topic      string
	Records    int
	Seed       uint32
	Rich       bool // shape "rich"; otherwise "plain"
	Codec      string
	Idempotent bool
}

// ParseTask reads TOPIC:RECORDS:SEED:SHAPE:CODEC:IDEMPOTENT.
func ParseTask(s string) (t Task, err error) {
	f := strings.Split(s, ":")
	if len(f) != 6 {
		return t, fmt.Errorf("task %q: want TOPIC:RECORDS:SEED:SHAPE:CODEC:IDEMPOTENT", s)
	}
	records, err1 := strconv.Atoi(f[1])
	seed, err2 := strconv.ParseUint(f[2], 10, 32)
	if err1 != nil || err2 != nil {
		return t, fmt.Errorf("task %q: bad number", s)
	}
	return Task{Topic: f[0], Records: records, Seed: uint32(seed), Rich: f[3] == "rich", Codec: f[4], Idempotent: f[5] == "true"}, nil
}

// Count is how many of the task's records partition p holds.
func (t Task) Count(p int) int { return (t.Records - p + Partitions - 1) / Partitions }

const (
	patternBytes = 64 << 10
	largeBytes   = 50_000 // value of every largeEvery-th record, more than a small frame or a page holds
	largeEvery   = 5_000
	firstMillis  = 1_700_000_000_000
	millisRange  = 1_000_000
)

// pattern is what values are cut from.
var pattern = makePattern()

func makePattern() []byte {
	p := make([]byte, patternBytes)
	y := uint32(12345)
	for i := range p {
		y = y*1664525 + 1013904223
		p[i] = 'a' + byte(y>>24%26)
	}
	return p
}

// hash mixes the record's number and the seed.
func hash(i int, seed uint32) uint32 {
	x := uint32(i+1)*2654435761 + seed*40503
	x ^= x >> 15
	x *= 2246822519
	return x ^ x>>13
}

// Record returns record i.
func (t Task) Record(i int) Record {
	x := hash(i, t.Seed)
	length, from := int(x%200), int(x>>8%1009)
	if i%largeEvery == largeEvery-1 {
		length = largeBytes
	}
	r := Record{
		Key:   []byte("key-" + strconv.Itoa(int(x%1000))),
		Value: append([]byte(strconv.Itoa(i)+" "), pattern[from:from+length]...),
	}
	if i%11 == 3 {
		r.Value = nil
	}
	if !t.Rich {
		r.Headers = []Header{{"client", []byte("kcat")}, {"n", []byte("1")}}
		return r
	}
	switch i % 7 {
	case 2:
		r.Key = nil
	case 4:
		r.Key = []byte{}
	}
	all := []Header{{"h0", []byte(strconv.Itoa(i))}, {"h0", []byte{}}, {"h2", nil}}
	r.Headers = all[:i%4]
	r.Millis = firstMillis + int64(x%millisRange)
	return r
}

// Check compares what was read at an offset of a partition with what must be there.
func (t Task) Check(partition int, offset int64, got Record) error {
	i := int(offset)*Partitions + partition
	want := t.Record(i)
	where := fmt.Sprintf("record %d at offset %d of partition %d", i, offset, partition)
	if !same(got.Key, want.Key) {
		return fmt.Errorf("%s: key %q, want %q", where, got.Key, want.Key)
	}
	if !same(got.Value, want.Value) {
		return fmt.Errorf("%s: value of %d bytes %.40q, want %d bytes %.40q", where, len(got.Value), got.Value, len(want.Value), want.Value)
	}
	if len(got.Headers) != len(want.Headers) {
		return fmt.Errorf("%s: %d headers, want %d", where, len(got.Headers), len(want.Headers))
	}
	for k, h := range want.Headers {
		if g := got.Headers[k]; g.Key != h.Key || !same(g.Value, h.Value) {
			return fmt.Errorf("%s: header %d is %s=%q, want %s=%q", where, k, g.Key, g.Value, h.Key, h.Value)
		}
	}
	return checkTime(where, got.Millis, want.Millis)
}

// same tells null from empty.
func same(a, b []byte) bool { return string(a) == string(b) && (a == nil) == (b == nil) }

// clockRange is how far from now a timestamp may lie that was set at the time of writing.
const clockRange = time.Hour

func checkTime(where string, got, want int64) error {
	if want != 0 && got != want {
		return fmt.Errorf("%s: timestamp %d, want %d", where, got, want)
	}
	if age := time.Since(time.UnixMilli(got)).Abs(); want == 0 && age > clockRange {
		return fmt.Errorf("%s: timestamp %d is %v from now", where, got, age)
	}
	return nil
}
