package log

import (
	"bytes"
	"fmt"
	"strconv"
)

// textVersion is the version in the first line of Kafka's checkpoint files (rules 3.3.1 and 3.3.2).
const textVersion = "0"

// appendTextHeader starts a checkpoint file with n rows: the version and the count, each on a line.
func appendTextHeader(b []byte, n int) []byte {
	b = append(b, textVersion...)
	b = append(b, '\n')
	b = strconv.AppendInt(b, int64(n), 10)
	return append(b, '\n')
}

// parseTextFile calls row with the space-separated fields of each row of a checkpoint file: version, count, then as
// many rows of exactly nfields fields. name and the line number go into errors, which wrap ErrCorrupt. A file without
// the last line break is accepted, and so is one that ends with empty lines; anything else is not.
func parseTextFile(name string, data []byte, nfields int, row func(fields [][]byte) error) error {
	line := 0
	next := func() ([]byte, bool) {
		line++
		if len(data) == 0 {
			return nil, false
		}
		text, rest, _ := bytes.Cut(data, []byte{'\n'})
		data = rest
		return bytes.TrimSuffix(text, []byte{'\r'}), true
	}
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%s, line %d: %s: %w", name, line, fmt.Sprintf(format, a...), ErrCorrupt)
	}
	version, ok := next()
	if !ok {
		return bad("the file is empty")
	}
	if string(version) != textVersion {
		return bad("version %.40q is not %s", version, textVersion)
	}
	text, _ := next()
	count, err := strconv.ParseUint(string(text), 10, 31)
	if err != nil {
		return bad("%.40q is no count of rows", text)
	}
	fields := make([][]byte, nfields)
	for range count {
		text, ok := next()
		if !ok {
			return bad("the file ends, but %d rows were announced", count)
		}
		if bytes.Count(text, []byte{' '}) != nfields-1 {
			return bad("%.80q does not have %d fields", text, nfields)
		}
		for i := range fields {
			fields[i], text, _ = bytes.Cut(text, []byte{' '})
		}
		if err := row(fields); err != nil {
			return bad("%v", err)
		}
	}
	if rest := bytes.TrimRight(data, "\r\n"); len(rest) > 0 {
		line++
		return bad("%.40q follows the %d rows announced", rest, count)
	}
	return nil
}

func parseInt32(b []byte) (int32, error) {
	v, err := strconv.ParseInt(string(b), 10, 32)
	if err != nil || v < 0 {
		return 0, fmt.Errorf("%.40q is no int32 ≥ 0", b)
	}
	return int32(v), nil
}

func parseInt64(b []byte) (int64, error) {
	v, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || v < 0 {
		return 0, fmt.Errorf("%.40q is no int64 ≥ 0", b)
	}
	return v, nil
}
