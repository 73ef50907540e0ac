package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// jsonRecord is a record as consume -o json writes and produce -i json reads it, one a line. Keys and values that are
// not UTF-8 are in the fields for base64; null is a missing field.
type jsonRecord struct {
	Topic       string       `json:"topic,omitempty"`
	Partition   *int32       `json:"partition,omitempty"`
	Offset      *int64       `json:"offset,omitempty"`
	Timestamp   *int64       `json:"timestamp,omitempty"` // in milliseconds
	Key         *string      `json:"key,omitempty"`
	KeyBase64   *string      `json:"key_base64,omitempty"`
	Value       *string      `json:"value,omitempty"`
	ValueBase64 *string      `json:"value_base64,omitempty"`
	Headers     []jsonHeader `json:"headers,omitempty"`
}

type jsonHeader struct {
	Key         string  `json:"key"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 *string `json:"value_base64,omitempty"`
}

// toText returns bytes as text, or as base64 where they are not UTF-8. Both are nil for nil.
func toText(b []byte) (text, encoded *string) {
	switch {
	case b == nil:
		return nil, nil
	case utf8.Valid(b):
		return new(string(b)), nil
	}
	return nil, new(base64.StdEncoding.EncodeToString(b))
}

// fromText is the reverse of toText.
func fromText(text, encoded *string) ([]byte, error) {
	switch {
	case encoded != nil && text != nil:
		return nil, errors.New("has the same field as text and as base64")
	case encoded != nil:
		return base64.StdEncoding.DecodeString(*encoded)
	case text != nil:
		return []byte(*text), nil
	}
	return nil, nil
}

func toJSON(r *kgo.Record) jsonRecord {
	j := jsonRecord{Topic: r.Topic, Partition: &r.Partition, Offset: &r.Offset, Timestamp: new(r.Timestamp.UnixMilli())}
	j.Key, j.KeyBase64 = toText(r.Key)
	j.Value, j.ValueBase64 = toText(r.Value)
	for _, h := range r.Headers {
		jh := jsonHeader{Key: h.Key}
		jh.Value, jh.ValueBase64 = toText(h.Value)
		j.Headers = append(j.Headers, jh)
	}
	return j
}

// record returns the record to produce. Topic, partition and offset are of where it came from, and are not used.
func (j *jsonRecord) record() (*kgo.Record, error) {
	r := &kgo.Record{}
	var err error
	if r.Key, err = fromText(j.Key, j.KeyBase64); err != nil {
		return nil, fmt.Errorf("the key %w", err)
	}
	if r.Value, err = fromText(j.Value, j.ValueBase64); err != nil {
		return nil, fmt.Errorf("the value %w", err)
	}
	for _, h := range j.Headers {
		v, err := fromText(h.Value, h.ValueBase64)
		if err != nil {
			return nil, fmt.Errorf("the header %s %w", h.Key, err)
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: v})
	}
	if j.Timestamp != nil {
		r.Timestamp = time.UnixMilli(*j.Timestamp)
	}
	return r, nil
}

// maxLine bounds a line of input in bytes. No broker takes a larger record.
const maxLine = 100 << 20

// lineReader reads records from lines.
type lineReader struct {
	in        *bufio.Scanner
	json      bool
	separator string // between key and value; empty: the line is the value
	line      int
}

func newLineReader(in io.Reader) *lineReader {
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 64<<10), maxLine)
	s.Split(splitLines)
	return &lineReader{in: s}
}

// interruptible is input of which a read that waits, for somebody to type, ends when ctx does. The goroutine of that read
// ends with the input, or with the process: nothing else stops it.
type interruptible struct {
	ctx context.Context
	in  io.Reader
}

func (r interruptible) Read(p []byte) (int, error) {
	var n int
	var err error
	done := make(chan struct{})
	go func() {
		n, err = r.in.Read(p)
		close(done)
	}()
	select {
	case <-done:
		return n, err
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
}

// splitLines splits at \n only: what else a line holds is the record's.
func splitLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// next returns the next record, or io.EOF.
func (r *lineReader) next() (*kgo.Record, error) {
	if !r.in.Scan() {
		if err := r.in.Err(); err != nil {
			return nil, fmt.Errorf("reading line %d: %w", r.line+1, err)
		}
		return nil, io.EOF
	}
	r.line++
	if !r.json {
		return r.text(r.in.Bytes())
	}
	var j jsonRecord
	if err := json.Unmarshal(r.in.Bytes(), &j); err != nil {
		return nil, fmt.Errorf("line %d is not a record in JSON: %w", r.line, err)
	}
	record, err := j.record()
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", r.line, err)
	}
	return record, nil
}

func (r *lineReader) text(line []byte) (*kgo.Record, error) {
	if r.separator == "" {
		return &kgo.Record{Value: bytes.Clone(line)}, nil
	}
	key, value, ok := bytes.Cut(line, []byte(r.separator))
	if !ok {
		return nil, fmt.Errorf("line %d has no %q between key and value", r.line, r.separator)
	}
	return &kgo.Record{Key: bytes.Clone(key), Value: bytes.Clone(value)}, nil
}
