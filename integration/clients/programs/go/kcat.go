package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"

	"github.com/kbroker/kbroker/integration/clients/programs/go/record"
)

// kcat runs Debian's kcat. It writes the plain shape only: it takes one line per record, one list of headers for all,
// and no timestamps.
type kcat struct{}

// command runs kcat with the given input and returns its output.
func (kcat) command(stdin io.Reader, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "kcat", args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = stdin, &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("kcat %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return out, err
}

// produce runs kcat once per partition, since it sends all records of a run to one.
func (k kcat) produce(bootstrap string, t record.Task) error {
	if t.Rich {
		return errors.New("kcat can't write the rich shape")
	}
	for p := range record.Partitions {
		var lines bytes.Buffer
		for i := p; i < t.Records; i += record.Partitions {
			r := t.Record(i)
			fmt.Fprintf(&lines, "%s\t%s\n", r.Key, r.Value)
		}
		args := []string{"-P", "-b", bootstrap, "-t", t.Topic, "-p", strconv.Itoa(p), "-K", "\t", "-Z",
			"-z", t.Codec, "-X", "enable.idempotence=" + strconv.FormatBool(t.Idempotent)}
		for _, h := range t.Record(0).Headers {
			args = append(args, "-H", h.Key+"="+string(h.Value))
		}
		if _, err := k.command(&lines, args...); err != nil {
			return err
		}
	}
	return nil
}

func (k kcat) consume(bootstrap string, t record.Task) error {
	v := newVerifier(t)
	for p := range record.Partitions {
		ends, err := k.command(nil, "-Q", "-b", bootstrap, "-t", fmt.Sprintf("%s:%d:-1", t.Topic, p))
		if err != nil {
			return err
		}
		// "topic [0] offset 33334"
		fields := strings.Fields(string(ends))
		end, err := strconv.ParseInt(fields[len(fields)-1], 10, 64)
		if err != nil {
			return fmt.Errorf("kcat -Q says %q", ends)
		}
		v.end(p, end)
		out, err := k.command(nil, "-C", "-b", bootstrap, "-t", t.Topic, "-p", strconv.Itoa(p), "-o", "beginning", "-e", "-q",
			"-X", "fetch.wait.max.ms=50",
			"-f", "%o %T %K %S %h\n%k%s\n")
		if err != nil {
			return err
		}
		if err := k.verify(bufio.NewReaderSize(bytes.NewReader(out), 1<<16), p, v); err != nil {
			return err
		}
	}
	if v.err == nil && !v.done() {
		return fmt.Errorf("kcat stopped early: %v", v)
	}
	return v.err
}

// verify reads lines of "offset timestamp key-length value-length headers", each with key and value behind it; a
// length of -1 is null.
func (kcat) verify(r *bufio.Reader, partition int, v *verifier) error {
	for {
		line, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			return nil
		}
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 5)
		if err != nil || len(f) != 5 {
			return fmt.Errorf("kcat printed %q: %w", line, err)
		}
		var n [4]int64 // offset, timestamp, key length, value length
		for i := range n {
			if n[i], err = strconv.ParseInt(f[i], 10, 64); err != nil {
				return fmt.Errorf("kcat printed %q: %w", line, err)
			}
		}
		got := record.Record{Millis: n[1], Headers: kcatHeaders(f[4])}
		data := make([]byte, max(n[2], 0)+max(n[3], 0)+1)
		if _, err := io.ReadFull(r, data); err != nil {
			return err
		}
		if n[2] >= 0 {
			got.Key = data[:n[2]:n[2]]
		}
		if n[3] >= 0 {
			got.Value = data[max(n[2], 0) : len(data)-1]
		}
		v.add(partition, n[0], got)
	}
}

// kcatHeaders parses "a=1,b=2". kcat prints NULL for a null value.
func kcatHeaders(s string) (headers []record.Header) {
	for pair := range strings.SplitSeq(s, ",") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			h := record.Header{Key: key, Value: []byte(value)}
			if value == "NULL" {
				h.Value = nil
			}
			headers = append(headers, h)
		}
	}
	return headers
}

// admin lists the metadata, which is all that kcat can do.
func (k kcat) admin(bootstrap, topic string) error {
	out, err := k.command(nil, "-L", "-b", bootstrap)
	if err == nil && !bytes.Contains(out, []byte("1 brokers")) {
		err = fmt.Errorf("kcat -L for %s printed %q", topic, out)
	}
	return err
}
